// The windows of a use case in three charts, and the numbers behind them as a table.
const MOST_LABELS = 6;
const CROWN_LABEL_SHARE = 0.08; // of the width: labels that are nearer to each other would overlap

function seriesPanel(name) {
  const id = `series-${name}`;
  const body = node("div", {}, text("p", "hint", say("historyAsking")));
  const element = node("section", { className: "card series", attributes: { "aria-labelledby": id } }, node("h2", { id, textContent: say("series") }), body);
  return {
    element,
    /** `answer` may be the failure to get it; what was read before stays below a failure. */
    update(answer) {
      if (answer instanceof Error) {
        if (!body.querySelector(":scope > .refusal")) body.prepend(node("div", { className: "refusal" }));
        refreshInside(body.querySelector(":scope > .refusal"), refusalOf(answer));
        return;
      }
      const { windows, crowns, metric, traffic, counted_since: since } = answer;
      const marks = crownMarks(windows, crowns);
      const charts = windows.length ? [scoreChart(windows, marks, metric), driftChart(windows, marks), predictionChart(windows, marks), latencyChart(windows, marks, since)] : [];
      refreshInside(body,
        windows.length ? null : text("p", "lead", say("seriesNone")),
        node("div", { className: "charts wide" }, ...charts, ...trafficCharts(traffic)),
        windows.length ? numbersTable(name, windows, crowns, metric) : null);
    },
  };
}

const refusalOf = error => text("p", error.status === 403 ? "hint" : "trouble", error.status === 403 ? say("historyScope") : say("historyAway", error.message));

/** The span of some values, widened so that no line runs along an edge. */
function spanOf(values, { floor = null, least = 0 } = {}) {
  const known = values.filter(Number.isFinite);
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const room = Math.max((high - low) * 0.08, least) || Math.abs(high) * 0.05 || 0.5;
  return [floor ?? low - room, high + room];
}

/** A plot that fills its place at any width: lines are drawn to scale, words are text beside them. `marks` are lines with words. */
function plot({ title, summary, span: [low, high], labels, shown, layers, marks = [] }) {
  const down = value => 100 - 100 * (value - low) / (high - low || 1);
  const canvas = drawSvg("svg", { class: "plot", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": summary },
    ...[0.25, 0.5, 0.75].map(share => drawSvg("line", { class: "grid-line", x1: 0, x2: 100, y1: 100 * share, y2: 100 * share })),
    ...marks.map(([share]) => drawSvg("line", { class: "crowned", x1: 100 * share, x2: 100 * share, y1: 0, y2: 100 })), ...layers(down));
  const scale = node("div", { className: "scale", ariaHidden: "true" }, ...[high, (high + low) / 2, low].map(value => text("span", "", shown(value))));
  const below = node("div", { className: "below", ariaHidden: "true" }, ...labels.map(([share, words]) => placed("span", "", words, share)));
  const above = node("div", { className: "above", ariaHidden: "true" }, ...apart(marks).map(([share, words]) => placed("span", "crown", words, share)));
  return node("figure", { className: "chart" }, text("figcaption", "", title), node("div", { className: "frame" }, scale, node("div", { className: "field-of-plot" }, above, canvas, below)));
}

function placed(tag, className, words, share) {
  const element = text(tag, className, words);
  element.style.insetInlineStart = `${100 * share}%`;
  if (share > 0.93) element.classList.add("at-end");
  if (share < 0.06) element.classList.add("at-begin");
  return element;
}

/** The middle of each of `count` places, as shares of the width. */
const middles = count => Array.from({ length: count }, (_, place) => (place + 0.5) / count);

function labelsOf(words) {
  const step = Math.ceil(words.length / MOST_LABELS);
  return middles(words.length).map((share, place) => [share, words[place], place]).filter(([, , place]) => place % step === 0);
}

/** Paths through `[share, value]`; a value that is not known breaks the line. A single point is a dot. */
function linePaths(points, down, className) {
  const pieces = [[]];
  for (const [share, value] of points) {
    if (Number.isFinite(value)) pieces.at(-1).push(`${(100 * share).toFixed(2)} ${down(value).toFixed(2)}`);
    else pieces.push([]);
  }
  return pieces.filter(piece => piece.length).map(piece => drawSvg("path", { class: className, d: `M${piece.join(" L")}${piece.length === 1 ? " h0" : ""}` }));
}

const dots = (points, down, className) => points.filter(([, value]) => Number.isFinite(value)).map(([share, value]) =>
  drawSvg("path", { class: `dot ${className}`, d: `M${(100 * share).toFixed(2)} ${down(value).toFixed(2)} h0` }));

/** The band of the intervals, in pieces where one is not known. */
function bandPaths(shares, windows, down) {
  const pieces = [[]];
  windows.forEach(({ score }, place) => {
    if (Number.isFinite(score.low) && Number.isFinite(score.high)) pieces.at(-1).push([100 * shares[place], down(score.low), down(score.high)]);
    else pieces.push([]);
  });
  return pieces.filter(piece => piece.length).map(piece => {
    const wide = piece.length > 1 ? piece : [[piece[0][0] - 0.6, ...piece[0].slice(1)], [piece[0][0] + 0.6, ...piece[0].slice(1)]];
    const upper = wide.map(([x, , high]) => `${x.toFixed(2)} ${high.toFixed(2)}`);
    const lower = wide.map(([x, low]) => `${x.toFixed(2)} ${low.toFixed(2)}`).reverse();
    return drawSvg("path", { class: "band", d: `M${[...upper, ...lower].join(" L")} Z` });
  });
}

/** Where a new champion begins, as `[share of the width, words]`. */
function crownMarks(windows, crowns) {
  return crowns.filter(crown => crown.window !== null).map(crown => [windows.findIndex(window => window.window === crown.window) / windows.length, say("crownMark", crown.version)]);
}

function scoreChart(windows, marks, metric) {
  const shares = middles(windows.length);
  const scores = windows.map((window, place) => [shares[place], window.score.value]);
  const estimates = windows.map((window, place) => [shares[place], window.estimate]);
  const last = windows.findLast(window => Number.isFinite(window.score.value));
  const words = last
    ? say("chartScore", metricName(metric), last.window, fixed(last.score.value), intervalOf(last.score), marks.map(([, mark]) => mark).join(", ") || "–")
    : say("chartNoScore", metricName(metric));
  return plot({
    title: [say("scoreByWindow", metricName(metric)), say("scoreHint")].join(" · "), summary: words,
    span: spanOf(windows.flatMap(({ score, estimate }) => [score.value, score.low, score.high, estimate])),
    labels: labelsOf(windows.map(window => window.window)), shown: value => fixed(value, 3), marks,
    layers: down => [...bandPaths(shares, windows, down), ...linePaths(estimates, down, "estimate"), ...linePaths(scores, down, "line"), ...dots(scores, down, "scored")],
  });
}

/** Of labels that would overlap only the later ones. */
function apart(marks) {
  const kept = [];
  for (const mark of [...marks].reverse()) if (!kept.length || kept.at(-1)[0] - mark[0] >= CROWN_LABEL_SHARE) kept.push(mark);
  return kept.reverse();
}

function driftChart(windows, marks) {
  const shares = middles(windows.length);
  const values = windows.map(window => window.drift_share);
  const limits = windows.map((window, place) => [shares[place], window.limit]);
  const over = windows.filter(window => window.outcome === "drifted").map(window => window.window);
  return plot({
    title: [say("driftByWindow"), say("driftHint")].join(" · "), summary: say("chartDrift", over.join(", ") || "–", percent(values.findLast(Number.isFinite) ?? NaN)),
    span: [0, Math.min(1, Math.ceil(Math.max(0.01, ...[...values, ...windows.map(window => window.limit)].filter(Number.isFinite)) * 10.5) / 10)], labels: labelsOf(windows.map(window => window.window)), shown: value => percent(value), marks,
    layers: down => [
      ...columns(windows.map(({ drift_share: share, outcome }) => [share, Number.isFinite(share) ? outcome : `unknown ${outcome}`]), down),
      ...linePaths(limits, down, "limit")],
  });
}

/** A column for each `[value, class]`; a stub on the axis where the value is not known. */
function columns(values, down) {
  const wide = Math.min(70 / values.length, 6);
  return values.map(([value, kind], place) => {
    const top = Number.isFinite(value) ? down(value) : 94;
    return drawSvg("rect", { class: `column ${kind}`, x: 100 * middles(values.length)[place] - wide / 2, width: wide, y: top, height: 100 - top });
  });
}

/** The predictions of the log, by their event time. */
function predictionChart(windows, marks) {
  const values = windows.map(window => window.rows);
  const known = values.filter(Number.isFinite);
  const most = Math.max(...known, 0);
  return plot({
    title: [say("predictionsByWindow"), say("predictionsHint")].join(" · "), summary: say("chartTraffic", say("predictionsByWindow"), known.length ? count(known.at(-1)) : "–", count(most)),
    span: [0, (most || 1) * 1.1], labels: labelsOf(windows.map(window => window.window)), shown: value => plain(value, 0), marks,
    layers: down => columns(values.map(value => [value, Number.isFinite(value) ? "rows" : "unknown"]), down),
  });
}

/** p50 and p99 of all services, by the time of the answer; why there are none if there are none. */
function latencyChart(windows, marks, since) {
  const known = windows.map(window => window.p99).filter(Number.isFinite);
  const title = [say("latencyByWindow"), say("latencyHint")].join(" · ");
  if (!known.length) return node("figure", { className: "chart" }, text("figcaption", "", title), text("p", "hint", since ? say("latencyElsewhere", moment(`${since}:00Z`)) : say("latencyNever")));
  const shares = middles(windows.length);
  const points = field => windows.map((window, place) => [shares[place], window[field]]);
  return plot({
    title, summary: say("chartTraffic", say("latencyByWindow"), latency(known.at(-1)), latency(Math.max(...known))),
    span: [0, Math.max(...known) * 1.1], labels: labelsOf(windows.map(window => window.window)), shown: latency, marks,
    layers: down => [...linePaths(points("p50"), down, "estimate"), ...linePaths(points("p99"), down, "line"), ...dots(points("p99"), down, "scored")],
  });
}

function trafficCharts(steps) {
  if (!steps.length) return [node("figure", { className: "chart" }, text("figcaption", "", say("trafficByTime")), text("p", "hint", say("trafficSoon")))];
  const shares = middles(steps.length);
  const clock = step => new Date(1000 * step.to).toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
  const seen = steps.map(step => step.requests / Math.max(step.to - step.from, 1));
  const slow = steps.map(step => step.p99);
  return [["trafficByTime", seen, rate], ["p99ByTime", slow, latency]].map(([title, values, shown]) => {
    const points = values.map((value, place) => [shares[place], value]);
    const known = values.filter(Number.isFinite);
    return plot({
      title: say(title), summary: say("chartTraffic", say(title), shown(known.at(-1) ?? null), shown(known.length ? Math.max(...known) : null)),
      span: [0, (Math.max(...known, 0) || 1) * 1.1], labels: labelsOf(steps.map(clock)).filter((_, place) => place % 2 === 0), shown,
      layers: down => linePaths(points, down, "line"),
    });
  });
}

/** Why a figure is not there, in a word or two. */
const reasonWords = code => say(REASONS[code] ?? "reasonUnknown");
const REASONS = {
  no_check: "reasonNoCheck", no_labels: "reasonNoLabels", too_few_labels: "reasonFewLabels", not_judged: "reasonNotJudged", unreadable: "unreadable", other_champion: "reasonOther",
  no_requests: "reasonNoRequests", not_in_ledger: "reasonNotInLedger", none_in_ledger: "reasonNone", lake_away: "reasonAway", not_compared: "reasonNotCompared", not_read_yet: "historyAsking", scope: "reasonScope", no_champion: "noChampion",
};

const intervalOf = ({ low, high }, shown = fixed) => Number.isFinite(low) && Number.isFinite(high) ? say("between", shown(low), shown(high)) : "–";

function numbersTable(name, windows, crowns, metric) {
  const columns = ["window", "championWord", "scoreWord", "interval90", "coverage", "estimate", "driftShare", "limitWord", "verdictWord", "rowsWord", "requestsWord", "p50Word", "p99Word"].map(word => word === "scoreWord" ? metricName(metric) : say(word));
  const rows = [...windows].reverse().map(window => {
    const crown = crowns.find(one => one.window === window.window);
    const score = Number.isFinite(window.score.value) ? fixed(window.score.value) : reasonWords(window.score.reason);
    return [window.window, crown ? `♛ ${window.champion}` : window.champion ?? "–", score, intervalOf(window.score), percent(window.score.coverage ?? NaN), fixed(window.estimate),
      percent(window.drift_share ?? NaN), percent(window.limit ?? NaN), verdictWords(window.outcome), ...[window.rows, window.requests].map(number => number === null ? "–" : count(number)), latency(window.p50), latency(window.p99)];
  });
  return node("details", { id: `numbers-${name}` }, text("summary", "", say("numbersAsTable")), table(say("numbersAsTable"), columns, rows, "numbers"));
}
