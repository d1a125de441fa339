// Who serves: the card at the top.

function championPanel(name, places) {
  const element = node("section", { className: "card champion", attributes: { "aria-labelledby": `champion-${name}` } });
  let shown = "";
  return {
    element,
    update(said, decisions) {
      const now = JSON.stringify([said.version, said.provisional, said.since, said.alias.version, said.last_error, said.log.last_error, said.workers, decisions]);
      if (now === shown) return;
      shown = now;
      const open = element.querySelector("details")?.open ?? false;
      replaceInside(element, ...(said.ready ? crowned(said, decisions, places, open) : vacant(said)));
    },
  };
}

function vacant(said) {
  return [
    head(said.use_case, said.use_case, text("span", "badge without", say("noChampion"))),
    text("p", "lead", say("trainOne", said.use_case)),
    command(`prefect deployment run 'retrain/${said.use_case}'`),
    ...troubles(said),
  ];
}

function crowned(said, decisions, places, open) {
  const gain = gainOf(said, decisions);
  const scores = Object.entries(said.metrics).map(([metric, value]) => node("div", { className: "figure" },
    text("span", "value", fixed(value)), text("span", "name", say("onHoldout", metric)),
    gain?.metric === metric ? text("span", "more", `${say("gainOver", signed(gain.gain))}, ${say("between", signed(gain.low), signed(gain.high))}`) : null));
  return [
    head(said.use_case, said.title, text("span", "badge", say("serves", said.version))),
    text("p", "lead", said.question),
    said.provisional ? text("p", "trouble", say("provisionally", said.provisional)) : null,
    ...troubles(said),
    node("div", { className: "figures" }, ...scores),
    facts([
      [say("recipe"), said.recipe],
      [say("trainedThrough"), said.trained_through],
      [say("since"), moment(said.since)],
      said.decision_threshold === null ? null : [say("decidesAt"), percent(said.decision_threshold, 1)],
      [say("workers"), workersOf(said.workers)],
      [say("parity"), say("parityRows", count(said.parity.rows), count(said.parity.changed_decisions))],
      [say("dataset"), said.dataset_version],
    ]),
    node("p", { className: "links" },
      link(`${places.mlflow}/#/models/${encodeURIComponent(said.use_case)}/versions/${said.version}`, say("inMlflow", said.version)),
      link(`${places.prefect}/deployments`, say("inPrefect"))),
    node("details", { open }, text("summary", "", say("fields", count(said.schema.features.length))), schemaTable(said.schema.features)),
  ];
}

const head = (name, title, badge) => node("div", { className: "head" }, node("h2", { id: `champion-${name}`, textContent: title }), badge);

function troubles(said) {
  const told = [];
  if (said.ready && said.alias.version && said.alias.version !== said.version && said.last_error) told.push(say("swapFailed", said.alias.version, said.version));
  return [...told, said.last_error, said.log.last_error].filter(Boolean).map(words => text("p", "trouble", words));
}

/** The gain of the contest that led to this champion: the last one that was won before its package was made. */
function gainOf(said, decisions) {
  const won = (decisions ?? []).filter(one => one.verdict === "promote" && Date.parse(one.time) <= Date.parse(said.created));
  return won[0]?.contest?.main;
}

function workersOf(workers) {
  const versions = new Set(workers.map(worker => worker.version));
  if (versions.size === 1 && !versions.has(null)) return say("workersSame", count(workers.length), [...versions][0]);
  return workers.map(worker => say("workerOn", worker.id, worker.version ?? say("workerEmpty"))).join(", ");
}

function allowed({ kind, low, high, categories }) {
  if (kind === "category") return categories?.length ? say("knownValues", count(categories.length)) : say("anyText");
  return rangeOf(low, high) || say("anyNumber");
}

function rangeOf(low, high) {
  if (low !== null && high !== null) return say("fieldRange", plain(low), plain(high));
  if (low !== null) return say("atLeast", plain(low));
  return high !== null ? say("atMost", plain(high)) : "";
}

function schemaTable(features) {
  const names = ["field", "kind", "mayBe", "nullable", "meaning"].map(name => node("th", { scope: "col", textContent: say(name) }));
  const rows = features.map(feature => node("tr", {},
    node("td", {}, text("code", "", feature.name)),
    text("td", "", ["number", "category"].includes(feature.kind) ? say(feature.kind) : feature.kind),
    text("td", "", allowed(feature)),
    text("td", "", say(feature.nullable ? "yes" : "no")),
    text("td", "", feature.description)));
  const table = node("table", {}, node("thead", {}, node("tr", {}, ...names)), node("tbody", {}, ...rows));
  return node("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: say("fields", features.length) }, table);
}
