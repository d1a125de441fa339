// The flows' records in the lake: a panel of records, and the drift checks.
const SIGNS = { stable: "✓", drifted: "▲", broken: "✕", inconclusive: "?", unreadable: "!" };
const FIRST_RECORDS = 4;

function historyPanel(name, title, items, none, flow) {
  const list = node("div", {}, text("p", "hint", say("historyAsking")));
  const id = `drift-${name}`;
  const element = node("section", { className: "card drift", attributes: { "aria-labelledby": id } }, node("h2", { id, textContent: say(title) }), list);
  let shown = "";
  let all = false;
  const showRecords = records => {
    const entries = items(records);
    const rest = node("button", { type: "button", textContent: say("showAll", count(entries.length)) });
    rest.addEventListener("click", () => {
      all = true;
      showRecords(records);
    });
    const few = !all && entries.length > FIRST_RECORDS + 1;
    replaceInside(list, node("ol", { className: "records" }, ...(few ? entries.slice(0, FIRST_RECORDS) : entries)), few ? rest : null);
  };
  return {
    element,
    /** `records` may be the failure to get them; the earlier records stay below a failure. */
    update(records) {
      const content = records instanceof Error ? `! ${records.message}` : JSON.stringify(records);
      if (content === shown) return;
      shown = content;
      list.querySelector(":scope > .trouble, :scope > .hint")?.remove();
      if (records instanceof Error) {
        list.prepend(refusalOf(records));
      } else if (records.length) {
        showRecords(records);
      } else {
        replaceInside(list, text("p", "lead", say(none)), command(`laurel run ${flow} ${name}`));
      }
    },
  };
}

const driftPanel = name => historyPanel(name, "driftChecks", checks => checks.map(check => driftItem(check)), "driftNone", "drift-check");

const chip = (kind, words, sign) => node("span", { className: `chip ${kind}` }, node("span", { ariaHidden: "true", textContent: `${sign} ` }), words);

function driftItem(check) {
  const known = check.outcome in SIGNS;
  const parts = [
    node("div", { className: "head" }, text("h3", "", check.window), chip(known ? check.outcome : "unreadable", known ? say(check.outcome) : check.outcome, SIGNS[check.outcome] ?? "?")),
  ];
  if (check.share === null) {
    parts.push(...check.reasons.map(reason => recorded(reason)));
  } else {
    const drivers = check.drivers.map(({ name, distance, threshold, weight }) => say("times", name, distance === null || !threshold ? "?" : fixed(distance / threshold, 1), percent(weight ?? 0)));
    parts.push(
      bar(`share ${check.outcome}`, 0, check.share, ["limit", check.limit]),
      text("p", "", say(check.weighted ? "weightedShare" : "share", percent(check.share), count(check.columns), percent(check.limit))),
      drivers.length ? text("p", "hint", say("furthest", drivers.join(", "))) : null);
  }
  const scores = Object.entries(check.scores).map(([metric, value]) => `${metricName(metric)} ${fixed(value)}`);
  const about = check.rows === null ? [] : [say("driftRows", count(check.rows), check.champion), say("labels", percent(check.label_coverage)), ...scores];
  parts.push(...performanceParts(check));
  parts.push(text("p", "hint", [...about, say("checked", moment(check.checked))].join(" · ")), reportLinks(check));
  return node("li", {}, ...parts);
}

/** Performance from the labels, and estimated from the scores if labels are few. */
function performanceParts({ performance }) {
  if (!performance) return [];
  const real = Object.entries(performance.metrics).filter(([, figure]) => Number.isFinite(figure.value)).map(([metric, figure]) => {
    const { low, high } = performance.holdout[metric] ?? {};
    return Number.isFinite(low) ? say("realisedAgainst", metricName(metric), fixed(figure.value), fixed(low), fixed(high)) : `${metricName(metric)} ${fixed(figure.value)}`;
  });
  const estimated = Object.entries(performance.estimates).filter(([, figure]) => Number.isFinite(figure.value)).map(([metric, figure]) =>
    Number.isFinite(figure.error) ? say("estimatedOff", metricName(metric), fixed(figure.value), signed(figure.error)) : say("estimated", metricName(metric), fixed(figure.value)));
  const measured = [performance.provisional ? say("provisional", percent(performance.coverage)) : "", ...real].filter(Boolean);
  return [
    performance.verdict === "worse" ? node("p", { className: "trouble", lang: languageOf(performance.reasons.join(" ")), textContent: performance.reasons.join(" ") }) : null,
    measured.length ? text("p", "", measured.join(" · ")) : null,
    estimated.length ? text("p", "hint", estimated.join(" · ")) : null,
  ].filter(Boolean);
}

function reportLinks({ window: checked, report, report_url: elsewhere }) {
  const links = [];
  if (report && keptKey()) links.push(reportButton(report, checked));
  else if (report) links.push(about(link(`${prefix}${report}`, say("openReport")), checked));
  if (elsewhere) links.push(about(link(elsewhere, say("reportMlflow")), checked));
  return links.length ? node("p", { className: "links" }, ...links) : null;
}

/** Many rows have the same words: this adds the row's name for a screen reader. */
function about(element, row) {
  element.append?.(text("span", "unseen", ` ${say("reportFor", row)}`));
  return element;
}

/** A link cannot send the key, so the report is fetched and handed over as a file. */
function reportButton(path, checked) {
  const button = node("button", { type: "button", textContent: say("fetchReport") });
  button.addEventListener("click", async () => {
    try {
      const content = await (await request(path)).blob();
      const address = URL.createObjectURL(content);
      node("a", { href: address, download: `drift-${checked}.html` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 60000);
    } catch (error) {
      button.after(text("span", "trouble", error.message));
    }
  });
  return about(button, checked);
}
