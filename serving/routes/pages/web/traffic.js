// Requests and their latency. The service counts; the page keeps the last two minutes.
const KEPT_MILLISECONDS = 120_000;

function trafficPanel(name) {
  const figures = ["requestsPerSecond", "rowsPerSecond", "half", "most"].map(words => {
    const value = text("span", "value", "–");
    return { value, element: node("div", { className: "figure" }, value, text("span", "name", say(words))) };
  });
  const charts = node("div", { className: "charts" });
  const totals = text("p", "hint", "");
  const log = text("p", "hint", "");
  const troubles = node("div");
  const element = node("section", { className: "card", attributes: { "aria-labelledby": `traffic-${name}` } },
    node("h2", { id: `traffic-${name}`, textContent: say("live") }),
    node("div", { className: "figures quarters" }, ...figures.map(figure => figure.element)), charts, totals, log, troubles);
  return {
    element,
    update({ traffic, log: waiting }, past) {
      const shown = [rate(traffic.requests_per_second), rate(traffic.rows_per_second), latency(traffic.seconds_p50), latency(traffic.seconds_p99)];
      figures.forEach((figure, place) => { figure.value.textContent = shown[place]; });
      charts.replaceChildren(
        chart("requestsPerSecond", "chartRequests", past.map(sample => [sample.at, sample.requests]), rate),
        chart("most", "chartLatency", past.map(sample => [sample.at, sample.p99]), latency));
      totals.textContent = say("totals", count(traffic.requests), count(traffic.rows), count(traffic.errors));
      const lag = waiting.rows_waiting ? say("logLag", plain(waiting.lag_seconds, 0)) : "";
      log.textContent = `${say("logState", count(waiting.rows_uploaded), count(waiting.rows_waiting))} ${lag}`;
      const lost = [waiting.rows_dropped && say("logDropped", count(waiting.rows_dropped)), waiting.lines_torn && say("logTorn", count(waiting.lines_torn))];
      troubles.replaceChildren(...lost.filter(Boolean).map(words => text("p", "trouble", words)));
    },
  };
}

const rate = value => value === null ? "–" : plain(value, value < 10 ? 1 : 0);
const latency = seconds => seconds === null ? "–" : say("milliseconds", plain(1000 * seconds, seconds < 0.01 ? 2 : 1));

/** The newest sample is at the right edge; one from two minutes ago is at the left edge. */
function chart(name, words, samples, shown) {
  const values = samples.map(([, value]) => value).filter(value => value !== null);
  const label = say(words, shown(samples.at(-1)[1]), shown(values.length ? Math.max(...values) : null));
  const points = samples.map(([at, value]) => [1 - (samples.at(-1)[0] - at) / KEPT_MILLISECONDS, value]);
  return node("figure", {}, sparkline(points, label), text("figcaption", "hint", `${say(name)}, ${say("lastTwoMinutes")}`));
}

/** Adds the service's current figures to those of the last two minutes. Rates are between two answers. */
function remember(past, { traffic }) {
  const now = performance.now();
  const before = past.at(-1);
  const seconds = before ? (now - before.at) / 1000 : 0;
  const counted = before && traffic.requests >= before.counted ? (traffic.requests - before.counted) / seconds : null;
  past.push({ at: now, counted: traffic.requests, requests: counted, p99: traffic.seconds_p99 });
  while (past.length && now - past[0].at > KEPT_MILLISECONDS) past.shift();
}
