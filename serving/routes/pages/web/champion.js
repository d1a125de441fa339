// The card at the top: the champion.

function championPanel(name, places) {
  const element = node("section", { className: "card champion", attributes: { "aria-labelledby": `champion-${name}` } });
  return {
    element,
    /** `row` is the use case's in the fleet; `champions`, who was champion, and what the last promotion brought may be missing. */
    update(state, row, records) {
      refreshInside(element, ...(state.ready ? crowned(state, row, records, places) : vacant(state)));
    },
  };
}

function vacant(state) {
  return [
    head(state.use_case, state.use_case, text("span", "badge without", say("noChampion"))),
    text("p", "lead", say("trainOne", state.use_case)),
    command(`laurel run retrain ${state.use_case}`),
    ...troubles(state),
  ];
}

function crowned(state, row, { champions, brought }, places) {
  const reign = (champions ?? []).find(one => one.version === state.version);
  const scores = Object.entries(state.metrics).map(([metric, value]) => node("div", { className: "figure" },
    text("span", "value", fixed(value)), text("span", "name", say("onHoldout", metricName(metric))),
    reign?.metric === metric && Number.isFinite(reign.gain) ? text("span", "more", `${say("gainOver", signed(reign.gain))}, ${say("between", signed(reign.low), signed(reign.high))}`) : null));
  const since = row?.champion?.since;
  const why = reign ? node("a", { href: decisionHref(state.use_case, reign.decision), textContent: say("whyChampion") }) : null;
  return [
    head(state.use_case, state.title, text("span", "badge", say("serves", state.version))),
    node("p", { className: "lead" }, `${state.question} `, since ? text("span", "since", `${say("championFor", age(since))} `) : "", why),
    state.provisional ? text("p", "trouble", say("provisionally", state.provisional)) : null,
    ...troubles(state),
    node("div", { className: "figures" }, liveFigure(row), ...scores, broughtFigure(brought)),
    brought?.unknown === "not_compared" ? comparisonHint(state.use_case, brought) : null,
    facts([
      [say("recipe"), state.recipe],
      [say("trainedThrough"), state.trained_through],
      [say("since"), moment(state.since)],
      state.decision_threshold === null ? null : [say("decidesAt"), percent(state.decision_threshold, 1)],
      [say("workers"), workersOf(state.workers)],
      [say("parity"), say("parityRows", count(state.parity.rows), count(state.parity.changed_decisions))],
      [say("dataset"), state.dataset_version],
    ]),
    node("p", { className: "links" },
      link(`${places.mlflow}/#/models/${encodeURIComponent(state.use_case)}/versions/${state.version}`, say("inMlflow", state.version)),
      link(`${places.prefect}/deployments`, say("inPrefect"))),
    node("details", { id: `fields-${state.use_case}` }, text("summary", "", say("fields", count(state.schema.features.length))), schemaTable(state.schema.features)),
  ];
}

/** The score on labels that have come, or why there is none. */
function liveFigure(row) {
  if (!row) return null;
  const { live, unknown } = row;
  if (!live) return node("div", { className: "figure" }, text("span", "value unknown", "–"), text("span", "name", say("liveWord")), text("span", "more", reasonWords(unknown.live)));
  return node("div", { className: "figure" }, text("span", "value", fixed(live.value)), text("span", "name", say("liveOn", metricName(live.metric), live.window)),
    text("span", "more", [intervalOf(live), say("labels", percent(live.coverage)), unknown.live ? say("reasonOtherVersion", live.version) : ""].filter(words => words && words !== "–").join(", ")));
}

/** What the last promotion brought on a later window, or why that is not known. */
function broughtFigure(brought) {
  if (!brought || brought.unknown === "no_promotion") return null;
  const { version, before, window, metric, rows, gain, unknown } = brought;
  const over = text("span", "name", say("brought", version, before));
  const reason = unknown ? reasonWords(unknown) : "";
  if (!window || unknown === "unreadable") return node("div", { className: "figure" }, text("span", "value unknown", "–"), over, text("span", "more", reason));
  return node("div", { className: "figure" }, text("span", unknown ? "value unknown" : "value", signed(gain)), over,
    text("span", "more", [metricName(metric), intervalOf(brought, signed), say("contestRows", count(rows), window), reason].filter(words => words && words !== "–").join(", ")));
}

const comparisonHint = (name, { version, before }) => node("details", { id: `compare-${name}` }, text("summary", "", say("compareHow")),
  text("p", "hint", say("compareWhy", version, before)), command(`laurel run compare ${name} --param window=${say("aWindow")} --param champion=${before} --param challenger=${version}`));

const head = (name, title, badge) => node("div", { className: "head" }, node("h2", { id: `champion-${name}`, textContent: title }), badge);

function troubles(state) {
  const notes = [];
  if (state.ready && state.alias.version && state.alias.version !== state.version && state.last_error) notes.push(say("swapFailed", state.alias.version, state.version));
  return [...notes, state.last_error, state.log.last_error].filter(Boolean).map(words => text("p", "trouble", words));
}

function workersOf(workers) {
  const versions = new Set(workers.map(worker => worker.version));
  if (versions.size === 1 && !versions.has(null)) return say("workersSame", count(workers.length), [...versions][0]);
  return workers.map(worker => say("workerOn", worker.id, worker.version ?? say("workerEmpty"))).join(", ");
}

function allowed(feature) {
  const { kind, categories } = feature;
  if (kind === "text") return say("textOf", count(feature.longest));
  if (kind === "category") return categories?.length ? say("knownValues", count(categories.length)) : say("anyText");
  if (kind === "boolean") return say("yesOrNo");
  if (kind === "image") return say("imageSize", feature.size[1], feature.size[0]);
  return boundsOf(feature) || say(kind === "datetime" ? "anyTime" : "anyNumber");
}

/** The range of a number or of a time; empty if it has none. */
function boundsOf({ kind, low, high, earliest = null, latest = null }) {
  return kind === "datetime" ? rangeOf(earliest, latest, time => time) : rangeOf(low, high, plain);
}

function rangeOf(low, high, write) {
  if (low !== null && high !== null) return say("fieldRange", write(low), write(high));
  if (low !== null) return say("atLeast", write(low));
  return high !== null ? say("atMost", write(high)) : "";
}

function schemaTable(features) {
  const names = ["field", "kind", "mayBe", "nullable", "meaning"].map(name => node("th", { scope: "col", textContent: say(name) }));
  const rows = features.map(feature => node("tr", {},
    node("td", {}, text("code", "", feature.name)),
    text("td", "", feature.kind in INPUTS ? say(feature.kind) : feature.kind),
    text("td", "", allowed(feature)),
    text("td", "", say(feature.nullable ? "yes" : "no")),
    text("td", "", feature.description)));
  const table = node("table", {}, node("thead", {}, node("tr", {}, ...names)), node("tbody", {}, ...rows));
  return node("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: say("fields", features.length) }, table);
}
