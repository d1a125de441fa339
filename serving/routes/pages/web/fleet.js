// All use cases in one table, what needs a person above it.
// The most urgent come first: a person's answer is awaited, then what serves wrongly, then what will.
const URGENCY = ["approval", "no_champion", "swap_failed", "log_dropped", "tampered", "retrain_failed", "breaker", "broken", "unreadable", "drifted", "silent", "worse"];

/** How long ago, in one unit. */
function age(time) {
  const seconds = (Date.now() - Date.parse(time)) / 1000;
  if (!Number.isFinite(seconds)) return "–";
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, length]) => seconds >= 2 * length) ?? ["minute", 60];
  return Math.max(0, Math.floor(seconds / size)).toLocaleString(language, { style: "unit", unit, unitDisplay: "short" });
}

/** The list of what needs a person; empty of one use case if nothing does. */
function needsOf(rows, { without = [] } = {}) {
  const needs = rows.flatMap(row => row.needs.filter(need => !without.includes(need.code)).map(need => [row.use_case, need]))
    .sort(([, one], [, other]) => URGENCY.indexOf(one.code) - URGENCY.indexOf(other.code));
  if (!needs.length) return null;
  return node("section", { className: "card needs", attributes: { "aria-labelledby": "needs" } }, node("h2", { id: "needs", textContent: say("needsYou", count(needs.length)) }),
    node("ul", {}, ...needs.map(([name, need]) => node("li", {}, text("strong", "", name), text("span", "what", need.sentence),
      about(node("a", { href: need.href, textContent: say("look") }), `${name}, ${need.code}`)))));
}

function fleetPanel() {
  const element = node("div", { className: "fleet" });
  return {
    element,
    update(rows) {
      refreshInside(element, rows.length ? needsOf(rows) : null, rows.length ? fleetTable(rows) : nobodyYet());
    },
  };
}

const nobodyYet = () => node("section", { className: "card", attributes: { "aria-labelledby": "nobody" } }, node("h2", { id: "nobody", textContent: say("fleetNone") }), text("p", "lead", say("fleetNoneWhy")), command("laurel new my.csv"));

function fleetTable(rows) {
  const columns = ["useCase", "championWord", "liveAndHoldout", "drift", "requestsPerSecond", "p99Word", "lastRetrain"].map(word => say(word));
  const cells = [...rows].sort((one, other) => (other.needs.length > 0) - (one.needs.length > 0)).map(row => {
    const { unknown } = row;
    return [
      node("a", { href: `#${encodeURIComponent(row.use_case)}`, id: `row-${row.use_case}`, textContent: row.use_case }),
      row.champion ? [say("version", row.champion.version), text("span", "hint", row.champion.since ? ` ${age(row.champion.since)}` : ""), rolloutMark(row)] : missing(unknown.champion),
      [...(row.live ? [`${fixed(row.live.value, 3)} `, text("span", "hint", `(${percent(row.live.coverage)})`), unknown.live ? text("span", "hint", ` ${say("reasonOtherVersion", row.live.version)}`) : null, trend(row)] : [missing(unknown.live)]),
        " / ", row.holdout ? fixed(row.holdout.value, 3) : missing(unknown.holdout)],
      row.drift ? [chip(row.drift.outcome, `${verdictWords(row.drift.outcome)}${row.drift.share === null ? "" : ` ${percent(row.drift.share)}`}`, SIGNS[row.drift.outcome] ?? "?"), text("span", "hint", ` ${row.drift.window}`)] : missing(unknown.drift),
      rate(row.traffic.requests_per_second),
      row.traffic.p99 === null ? missing(unknown.p99) : latency(row.traffic.p99),
      row.retrain ? [node("a", { href: `#${encodeURIComponent(row.use_case)}&decision=${row.retrain.id}`, textContent: verdictWords(row.retrain.verdict) }), text("span", "hint", ` ${age(row.retrain.time)}`)] : missing(unknown.retrain),
    ];
  });
  return node("section", { className: "card", attributes: { "aria-labelledby": "fleet" } }, node("h2", { id: "fleet", textContent: say("fleet") }), text("p", "hint", say("fleetHint")), table(say("useCases"), columns, cells, "cards fleet-table"));
}

/** The challenger that meets real traffic now. */
function rolloutMark({ use_case: name, rollout }) {
  if (!rollout) return null;
  const words = `${say("version", rollout.version)} ${stageWords(rollout, rollout.share)}${rollout.held ? `, ${verdictWords("held")}` : ""}`;
  return node("a", { className: "chip drifted mark-rollout", href: `#${encodeURIComponent(name)}&rollout`, textContent: words, ariaLabel: `${say("rolloutRuns")}: ${words}` });
}

const missing = code => text("span", "unknown", reasonWords(code));

/** The scores of the last windows as a line beside the number. */
function trend({ scores }) {
  const known = scores.filter(Number.isFinite);
  if (known.length < 3) return null;
  const [low, high] = spanOf(known);
  const shares = middles(scores.length);
  return drawSvg("svg", { class: "trend", viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" },
    ...linePaths(scores.map((value, place) => [shares[place], value]), value => 100 - 100 * (value - low) / (high - low || 1), "line"));
}
