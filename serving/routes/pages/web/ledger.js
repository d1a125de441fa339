// The ledger as a table: one row a retrain, whatever belongs to it; filters, search, all pages, and one decision by its address.
const PAGE_ROWS = 25;
const TYPING_MILLISECONDS = 300;

const decisionHref = (name, id) => `#${encodeURIComponent(name)}&decision=${id}`;

function ledgerPanel(name) {
  const id = `decisions-${name}`;
  const path = `/v1/${encodeURIComponent(name)}/decisions`;
  const wanted = { kind: "", verdict: "", q: "" };
  let pages = [null]; // the `before` of each page up to this one
  let typing = 0;
  let asked = 0;
  let opened = "";

  const kind = selection(`${id}-kind`, "kindWord", Object.entries(KINDS).map(([value, words]) => [value, say(words)]));
  const verdict = selection(`${id}-verdict`, "verdictWord", verdictChoices());
  const search = node("input", { id: `${id}-search`, type: "search", maxLength: 100, autocomplete: "off", spellcheck: false });
  const filters = node("div", { className: "filters", role: "search", ariaLabel: say("decisions") }, kind.element, verdict.element, node("div", {}, node("label", { htmlFor: search.id, textContent: say("search") }), search));
  const list = node("div", { className: "rows" }, text("p", "hint", say("historyAsking")));
  const found = node("p", { className: "hint found", role: "status" });
  const newer = node("button", { type: "button", textContent: say("newer") });
  const older = node("button", { type: "button", textContent: say("older") });
  const pager = node("div", { className: "pager" }, found, newer, older);
  const detail = node("div", { className: "detail", hidden: true });
  const element = node("section", { className: "card decisions", attributes: { "aria-labelledby": id } }, node("h2", { id, textContent: say("decisions") }), detail, filters, list, pager);

  const query = () => new URLSearchParams([["limit", PAGE_ROWS], ...Object.entries({ ...wanted, before: pages.at(-1) ?? "" }).filter(([, value]) => value)]);
  async function update() {
    const number = ++asked;
    const answer = await ask(`${path}?${query()}`).catch(error => error);
    if (number === asked) show(answer);
  }
  function show(answer) {
    if (answer instanceof Error) {
      if (!(answer instanceof Failure)) throw answer;
      refreshInside(list, refusalOf(answer));
      pager.hidden = filters.hidden = true;
      return;
    }
    const filtered = Object.values(wanted).some(Boolean);
    const empty = !answer.total && !filtered && pages.length === 1;
    pager.hidden = filters.hidden = empty;
    refreshInside(list, ...(empty ? [text("p", "lead", say("decisionsNone")), command(`laurel run retrain ${name}`)] : answer.items.length ? [decisionTable(name, answer.items)] : [text("p", "lead", say("nothingFound"))]));
    const first = PAGE_ROWS * (pages.length - 1);
    const words = say("rowsOf", count(answer.items.length ? first + 1 : 0), count(first + answer.items.length), `${count(answer.total)}${answer.searched.first > 1 ? "+" : ""}`);
    if (found.textContent !== words) found.textContent = words;
    newer.disabled = pages.length === 1;
    older.disabled = answer.next === null;
    older.dataset.before = answer.next ?? "";
  }
  function restart() {
    Object.assign(wanted, { kind: kind.select.value, verdict: verdict.select.value, q: search.value.trim() });
    pages = [null];
    update();
  }
  for (const select of [kind.select, verdict.select]) select.addEventListener("change", restart);
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(restart, TYPING_MILLISECONDS);
  });
  newer.addEventListener("click", () => { pages.pop(); update(); });
  older.addEventListener("click", () => { pages.push(older.dataset.before); update(); });

  return {
    element,
    update,
    /** Shows one decision above the table; none for an empty id. */
    async open(decision) {
      if (decision === opened) return;
      opened = decision;
      detail.hidden = !decision;
      if (!decision) return;
      detail.replaceChildren(text("p", "hint", say("historyAsking")));
      const answer = await ask(`${path}/${encodeURIComponent(decision)}`).catch(error => error);
      if (decision !== opened) return;
      if (answer instanceof Error) detail.replaceChildren(answer.status === 404 || answer.status === 422 ? text("p", "trouble", say("noSuchDecision", decision)) : refusalOf(answer), closing(name));
      else detail.replaceChildren(...decisionDetail(name, answer.decision));
      const title = detail.querySelector("h3, .trouble, .hint");
      title.tabIndex = -1;
      title.focus({ preventScroll: true });
      detail.scrollIntoView({ block: "start" });
    },
  };
}

function selection(id, words, options) {
  const select = node("select", { id }, node("option", { value: "", textContent: say("any") }), ...options.map(([value, label]) => node("option", { value, textContent: label })));
  return { select, element: node("div", {}, node("label", { htmlFor: id, textContent: say(words) }), select) };
}

/** The verdicts that a row can have, one for each word; those of entries within a row are not among them. */
function verdictChoices() {
  const within = ["promote", "keep", "asked", "approved", "expired", "suspicious", "unfair"];
  const values = [...Object.keys(VERDICTS).filter(value => !within.includes(value)), "stable", "drifted", "broken", "inconclusive", "unreadable"];
  return values.map(value => [value, verdictWords(value)]).sort(([, one], [, other]) => one.localeCompare(other, language));
}

/** A row in words: what came of it. */
function itemHeadline(item) {
  const leader = item.parts.findLast(part => part.kind === item.kind);
  if (item.kind !== "retrain") return headline(leader);
  const drift = item.parts.some(part => part.kind === "drift");
  const outcome = item.promoted && item.version ? say("becameChampion", item.version) : verdictOf(item);
  return drift ? `${say("retrainOnDrift", item.window)}: ${outcome}` : say("retrainWas", outcome);
}

function decisionTable(name, items) {
  const rows = items.map(item => {
    const inside = [...new Set(item.parts.map(part => part.kind))].filter(kind => KINDS[kind]).map(kind => say(KINDS[kind]));
    return [
      moment(item.time),
      [node("a", { href: decisionHref(name, item.id), textContent: itemHeadline(item) }), inside.length > 1 ? text("span", "hint", ` ${inside.join(", ")}`) : null],
      node("span", { className: "chips" }, item.tampered ? chip("broken", say("tampered"), "✕") : null, verdictChip({ ...item, promoted: item.promoted && item.kind !== "rollback" })),
      item.gain === null ? "–" : [signed(item.gain), text("span", "hint", ` ${say("between", signed(item.low), signed(item.high))}`)],
    ];
  });
  return table(say("decisionRows"), [say("time"), say("decision"), say("verdictWord"), say("gain")], rows, "cards decision-table");
}

const closing = name => node("p", { className: "links" }, node("a", { href: `#${encodeURIComponent(name)}`, textContent: say("closeDecision") }));

function decisionDetail(name, item) {
  const scale = scaleOf(item.parts);
  const address = node("a", { href: decisionHref(name, item.id), textContent: say("address", item.id) });
  return [text("h3", "", itemHeadline(item)), node("p", { className: "links" }, address, node("a", { href: `#${encodeURIComponent(name)}`, textContent: say("closeDecision") })),
    node("ol", { className: "records" }, ...item.parts.map(part => entryItem(part, scale)))];
}
