// Elements, without a library. Text is always inserted as text.

/** An element with its properties; those in `attributes` are set as attributes, a `null` among the children is left out. */
function node(tag, { attributes = {}, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children.filter(child => child !== null));
  return element;
}

function drawSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const text = (tag, className, textContent) => node(tag, { className, textContent });

function facts(pairs, className = "facts") {
  return node("dl", { className }, ...pairs.filter(Boolean).map(([name, value]) => node("div", {}, text("dt", "", name), node("dd", {}, value))));
}

/** A link to another page; plain text if a browser should not follow the address. */
function link(address, words, more = "") {
  if (!/^https?:\/\//.test(address) && !address.startsWith("/")) return document.createTextNode(words);
  return node("a", { href: address, target: "_blank", rel: "noopener noreferrer", textContent: words, className: more });
}

const command = words => node("pre", { className: "command", tabIndex: 0 }, text("code", "", words));

/** New content for an element; the focus in it returns to the same place. */
function replaceInside(element, ...children) {
  const reachable = () => [...element.querySelectorAll("a, button, summary, [tabindex]")];
  const place = reachable().indexOf(document.activeElement);
  element.replaceChildren(...children.filter(child => child !== null));
  reachable()[place]?.focus({ preventScroll: true });
}

/** Makes `element` hold `children`, and changes only what differs: focus, open details and what a reader has reached stay. */
function refreshInside(element, ...children) {
  const fresh = element.cloneNode(false);
  fresh.append(...children.flat().filter(child => child !== null));
  morph(element, fresh);
}

function morph(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.style.cssText !== fresh.style.cssText) old.style.cssText = fresh.style.cssText; // its attribute is for the policy to refuse
  const children = [...fresh.childNodes];
  for (const [place, child] of children.entries()) {
    if (old.childNodes[place]) morph(old.childNodes[place], child);
    else old.append(child);
  }
  while (old.childNodes.length > children.length) old.lastChild.remove();
}

/** A table in a region that scrolls by keyboard; on a telephone each row becomes a card, and each cell is told by its column. */
function table(label, columns, rows, className = "") {
  const header = columns.map(column => node("th", { scope: "col", textContent: column, attributes: { role: "columnheader" } }));
  const body = rows.map(cells => node("tr", { className: cells.className ?? "", attributes: { role: "row" } }, ...cells.map((cell, place) => {
    const element = node(place ? "td" : "th", { attributes: { role: place ? "cell" : "rowheader", ...(place ? {} : { scope: "row" }), "data-column": columns[place] } });
    element.append(...[cell].flat().filter(part => part !== null));
    return element;
  })));
  const element = node("table", { className, attributes: { role: "table" } }, node("thead", { attributes: { role: "rowgroup" } }, node("tr", { attributes: { role: "row" } }, ...header)), node("tbody", { attributes: { role: "rowgroup" } }, ...body));
  return node("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, element);
}

/** A line, with the area below it, of `[share of the width, value from 0 on]`; a value of `null` breaks it. All is scaled to the largest. */
function sparkline(points, label) {
  const [width, height] = [240, 48];
  const most = Math.max(...points.map(([, value]) => value ?? 0)) || 1;
  const pieces = [[]];
  for (const [share, value] of points) {
    if (value === null) pieces.push([]);
    else pieces.at(-1).push([(share * width).toFixed(1), (height - 2 - (value / most) * (height - 6)).toFixed(1)]);
  }
  const paths = pieces.filter(piece => piece.length > 1).flatMap(piece => {
    const line = piece.map(([x, y]) => `${x} ${y}`).join(" L");
    return [
      drawSvg("path", { class: "area", d: `M${piece[0][0]} ${height} L${line} L${piece.at(-1)[0]} ${height} Z` }),
      drawSvg("path", { class: "line", d: `M${line}` }),
    ];
  });
  const attributes = { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": label };
  return drawSvg("svg", attributes, ...paths);
}

/** Zero, the gain, and the interval around it, all on one scale. */
function intervalChart({ gain, low, high }, from, to) {
  const [width, height, middle] = [220, 22, 11];
  const place = value => (8 + ((value - from) / (to - from || 1)) * (width - 16)).toFixed(1);
  return drawSvg("svg", { class: "interval", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    drawSvg("line", { class: "axis", x1: 0, x2: width, y1: middle, y2: middle }),
    drawSvg("line", { class: "zero", x1: place(0), x2: place(0), y1: 1, y2: height - 1 }),
    drawSvg("line", { class: "range", x1: place(low), x2: place(high), y1: middle, y2: middle }),
    drawSvg("circle", { class: "gain", cx: place(gain), cy: middle, r: 4.5 }));
}

/** A bar that is filled from one share (0-1) to another, with marks at others. */
function bar(className, from, to, ...marks) {
  const filled = text("span", "fill", "");
  filled.style.insetInlineStart = `${100 * Math.min(from, to)}%`;
  filled.style.inlineSize = `${100 * Math.abs(to - from)}%`;
  const marked = marks.map(([name, share]) => {
    const mark = text("span", `mark ${name}`, "");
    mark.style.insetInlineStart = `${100 * share}%`;
    return mark;
  });
  return node("span", { className: `bar ${className}`, ariaHidden: "true" }, filled, ...marked);
}
