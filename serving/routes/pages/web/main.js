// The page: all use cases, or one of them by the address; refreshed from the service.
const REFRESH_MILLISECONDS = 2000;
const HISTORY_MILLISECONDS = 30_000;
const MOST_TABS = 12;
const PANELS_OF_RECORDS = ["drift", "series", "champions", "approvals"];

const part = id => document.getElementById(id);
const places = { mlflow: part("mlflow").dataset.address, prefect: part("prefect").href.replace(/\/$/, "") };
const views = new Map();
const pasts = new Map();
let fleet = null;
let timer = 0;
let statusWords = "";
let answered = null; // when the service answered last
let latest = null; // the fleet's rows, and the shown use case as the service describes it

class View {
  constructor(name) {
    this.name = name;
    const again = () => { this.historyTime = -Infinity; };
    this.champion = championPanel(name, places);
    this.traffic = trafficPanel(name);
    this.try = tryPanel(name);
    this.drift = driftPanel(name);
    this.series = seriesPanel(name);
    this.ledger = ledgerPanel(name);
    this.approvals = approvalsPanel(name, again);
    this.rollback = rollbackPanel(name, again);
    this.rollout = rolloutPanel(name, again);
    this.needs = node("div", {});
    this.records = { approvals: null, champions: null, brought: null };
    this.historyTime = -Infinity;
    this.seen = null;
    this.approvals.element.id = `approvals-of-${name}`;
    this.element = node("div", {}, this.needs, this.approvals.element, this.rollout.element, node("div", { className: "top" }, this.champion.element, this.traffic.element), this.rollback.element,
      this.series.element, this.drift.element, this.ledger.element, this.try.element);
  }

  update(state, row, typed) {
    refreshInside(this.needs, needsOf([row], { without: ["approval", "no_champion"] }));
    this.champion.update(state, row, this.records);
    this.traffic.update(state, pasts.get(this.name));
    this.try.update(state, typed);
    this.rollback.update(state, this.records.approvals, this.records.champions);
    const seen = JSON.stringify([state.version, row.retrain?.time, row.drift, row.rollout, row.needs.length]);
    if (row.rollout) this.#askRollout();
    if (seen !== this.seen || performance.now() - this.historyTime > HISTORY_MILLISECONDS) this.#askHistory(state, row, seen);
  }

  /** With each refresh while a rollout runs, for the last end of one with the records. */
  async #askRollout() {
    this.rollout.update(await ask(`/v1/${encodeURIComponent(this.name)}/rollout`).catch(error => error));
  }

  async #askHistory(state, row, seen) {
    this.historyTime = performance.now();
    this.seen = seen;
    const path = `/v1/${encodeURIComponent(this.name)}`;
    this.ledger.update();
    if (!row.rollout) this.#askRollout();
    const [drift, series, champions, approvals] = await Promise.all(PANELS_OF_RECORDS.map(kind => ask(`${path}/${kind}`).catch(error => error)));
    this.drift.update(drift instanceof Error ? drift : drift.drift);
    this.series.update(series);
    this.approvals.update(approvals);
    this.records = champions instanceof Error ? { ...this.records, approvals } : { approvals, ...champions };
    this.rollback.update(state, approvals, this.records.champions);
    this.champion.update(state, row, this.records);
  }
}

/** A piece of the address; as it stands if it was cut in the middle of a letter. */
function decoded(piece) {
  try {
    return decodeURIComponent(piece);
  } catch {
    return piece;
  }
}

/** What the address names: a use case, and in it a decision or a panel. */
function readAddress() {
  const [first = "", ...rest] = location.hash.slice(1).split("&").map(decoded);
  const named = first.includes("=") ? "" : first;
  const decision = [first, ...rest].find(piece => piece.startsWith("decision="))?.slice(9) ?? "";
  return { name: named, decision, panel: rest.find(piece => !piece.includes("=")) ?? "" };
}

/** The use case to show; `null` for the fleet. A service with one use case has no fleet to choose from. */
function chosenOf(rows) {
  const { name } = readAddress();
  if (rows.some(row => row.use_case === name)) return name;
  return rows.length === 1 ? rows[0].use_case : null;
}

function showTabs(rows, chosen) {
  const tabs = part("use-cases");
  tabs.hidden = rows.length < 2;
  const names = rows.length > MOST_TABS ? rows.filter(row => row.use_case === chosen) : rows;
  const tab = (href, words, current) => node("a", { href, textContent: words, attributes: current ? { "aria-current": "page" } : {} });
  refreshInside(tabs, tab("#", say("fleet"), chosen === null), ...names.map(row => tab(`#${encodeURIComponent(row.use_case)}`, row.use_case, row.use_case === chosen)));
}

function show({ rows, state }, typed) {
  const chosen = chosenOf(rows);
  showTabs(rows, chosen);
  part("skip-to-try").hidden = !state?.ready;
  const waiting = rows.reduce((sum, row) => sum + row.needs.length, 0);
  if (chosen === null || state?.use_case !== chosen) {
    fleet ??= fleetPanel();
    fleet.update(rows);
    place(fleet.element);
    document.title = `${waiting ? `(${count(waiting)}) ` : ""}Laurel: ${say("fleet")}`;
  } else {
    if (!views.has(chosen)) views.set(chosen, new View(chosen));
    const view = views.get(chosen);
    place(view.element);
    view.update(state, rows.find(row => row.use_case === chosen), typed);
    view.ledger.open(readAddress().decision);
    document.title = `${waiting ? `(${count(waiting)}) ` : ""}Laurel: ${state.title ?? chosen}`;
  }
  const serving = rows.filter(row => row.champion).map(row => say("versionOf", row.use_case, row.champion.version));
  const without = rows.filter(row => !row.champion).map(row => row.use_case);
  tell([serving.length ? say("serving", serving.join(", ")) : "", without.length ? say("noneYet", without.join(", ")) : ""].filter(Boolean).join(" "));
}

function place(element) {
  if (part("views").firstElementChild !== element) part("views").replaceChildren(element);
}

/** A screen reader reads the status line at each change, so it changes only for news. */
function tell(words) {
  if (words !== statusWords) part("fresh").textContent = statusWords = words;
}

/** The head says how old the page is; all of it is red while the service is silent. */
function showAge(silent) {
  document.body.classList.toggle("silent", silent);
  const clock = answered?.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  part("as-of").textContent = clock ? `${say("asOf", clock)} ${silent ? "✕" : "●"}` : "";
  const words = silent ? (clock ? say("silentSince", clock) : say("noAnswer")) : "";
  if (part("silence").textContent !== words) part("silence").textContent = words;
  if (silent && !document.title.startsWith("✕")) document.title = `✕ ${document.title}`;
}

async function read() {
  const rows = (await ask("/v1?view=fleet")).use_cases;
  const chosen = chosenOf(rows);
  const state = chosen === null ? null : await ask(`/v1/${encodeURIComponent(chosen)}`);
  if (state) {
    if (!pasts.has(chosen)) pasts.set(chosen, []);
    remember(pasts.get(chosen), state);
  }
  return { rows, state };
}

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      latest = await read();
      answered = new Date();
      showKeyForm(null);
      show(latest);
      showAge(false);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      const isRefused = error.status === 401 || error.status === 403;
      if (isRefused) showKeyForm(error);
      showAge(!isRefused);
    }
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MILLISECONDS);
}

/** The form for a key, if the service requires one; a refused key is forgotten, and the refusal is shown. */
function showKeyForm(error) {
  part("key-form").hidden = error === null;
  part("forget-key").hidden = error !== null || !keptKey();
  part("views").hidden = error !== null;
  if (error === null) return;
  tell(say("keyTitle"));
  if (keptKey()) {
    part("key-problem").textContent = say("keyWrong", error.message);
    stored("sessionStorage", KEY, null);
    part("key").focus();
  }
}

function forgetViews() {
  views.clear();
  fleet = null;
}

part("key-form").addEventListener("submit", event => {
  event.preventDefault();
  const key = part("key").value.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) {
    part("key-problem").textContent = say("keyForm");
    return;
  }
  part("key-problem").textContent = "";
  stored("sessionStorage", KEY, key);
  part("key").value = "";
  forgetViews();
  refresh();
});

part("forget-key").addEventListener("click", () => {
  stored("sessionStorage", KEY, null);
  forgetViews();
  part("views").replaceChildren();
  refresh();
});

function speak() {
  document.documentElement.lang = language;
  for (const spoken of document.querySelectorAll("[data-say]")) spoken.textContent = say(spoken.dataset.say);
  for (const labelled of document.querySelectorAll("[data-label]")) labelled.ariaLabel = say(labelled.dataset.label);
  for (const button of document.querySelectorAll("[data-language]")) button.ariaPressed = String(button.dataset.language === language);
  refreshInside(part("glossary"), ...GLOSSARY.map(([word, meaning]) => node("div", {}, text("dt", "", say(word)), text("dd", "", say(meaning)))));
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = stored("localStorage", "laurel.language", button.dataset.language) ?? button.dataset.language;
    const typed = latest?.state && views.get(latest.state.use_case)?.try.values();
    forgetViews();
    speak();
    if (latest) show(latest, typed);
    showAge(document.body.classList.contains("silent"));
    refresh(); // the service's own sentences
  });
}

/** An address leads to its panel, and the focus with it: to `try` and to panels; a decision takes the focus itself. */
function follow() {
  const { name, panel } = readAddress();
  const target = { try: `try-${name}`, approvals: `approvals-of-${name}`, rollout: `rollout-of-${name}`, drift: `drift-${name}`, score: `series-${name}` }[panel];
  const element = target && part(target);
  if (!element) return;
  if (!element.hasAttribute("tabindex")) element.tabIndex = -1;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: "start" });
}

addEventListener("hashchange", async () => {
  await refresh();
  follow();
});
for (const [id, target] of [["skip", () => part("main")], ["skip-to-try", () => document.querySelector(".try h2")]]) {
  part(id).addEventListener("click", event => {
    event.preventDefault();
    target()?.focus();
    target()?.scrollIntoView({ block: "start" });
  });
}
document.addEventListener("click", event => {
  if (event.target.closest?.('a[href^="#"]')?.getAttribute("href") === location.hash) follow(); // no change of the address tells
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
speak();
refresh().then(follow);
