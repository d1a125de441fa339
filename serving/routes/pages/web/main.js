// The page: one view for each use case, refreshed from the service.
const REFRESH_MILLISECONDS = 2000;
const HISTORY_MILLISECONDS = 30_000;

const part = id => document.getElementById(id);
const places = { mlflow: part("mlflow").dataset.address, prefect: part("prefect").href.replace(/\/$/, "") };
const views = new Map();
const pasts = new Map();
let timer = 0;
let statusWords = "";

class View {
  constructor(name) {
    this.name = name;
    this.champion = championPanel(name, places);
    this.traffic = trafficPanel(name);
    this.try = tryPanel(name);
    this.drift = driftPanel(name);
    this.decisions = decisionsPanel(name);
    this.approvals = approvalsPanel(name, () => { this.historyTime = -Infinity; });
    this.rollback = rollbackPanel(name, () => { this.historyTime = -Infinity; });
    this.questions = null;
    this.latestDecisions = null;
    this.historyTime = -Infinity;
    this.served = null;
    this.element = node("div", {}, node("div", { className: "top" }, this.champion.element, this.traffic.element), this.approvals.element, this.try.element,
      node("div", { className: "pair" }, this.drift.element, node("div", {}, this.decisions.element, this.rollback.element)));
  }

  update(state, typed) {
    this.champion.update(state, this.latestDecisions);
    this.traffic.update(state, pasts.get(this.name));
    this.try.update(state, typed);
    this.rollback.update(state, this.questions);
    if (state.version !== this.served || performance.now() - this.historyTime > HISTORY_MILLISECONDS) this.#askHistory(state);
  }

  async #askHistory(state) {
    this.historyTime = performance.now();
    this.served = state.version;
    const path = `/v1/${encodeURIComponent(this.name)}`;
    const [drift, decisions] = await Promise.all(["drift", "decisions"].map(kind => ask(`${path}/${kind}`).then(answer => answer[kind], error => error)));
    this.drift.update(drift);
    this.decisions.update(decisions);
    this.questions = await ask(`${path}/approvals`).catch(error => error);
    this.approvals.update(this.questions);
    this.rollback.update(state, this.questions);
    if (!(decisions instanceof Error)) this.champion.update(state, this.latestDecisions = decisions);
  }
}

const hashName = () => decodeURIComponent(location.hash.slice(1));

function showUseCases(names) {
  const chosen = names.includes(hashName()) ? hashName() : names[0];
  const tabs = part("use-cases");
  tabs.hidden = names.length < 2;
  const shown = [...tabs.querySelectorAll("a")].map(tab => tab.dataset.name);
  if (shown.join() !== names.join()) {
    tabs.replaceChildren(...names.map(name => {
      const tab = node("a", { href: `#${encodeURIComponent(name)}`, textContent: spelled(name) });
      tab.dataset.name = name;
      return tab;
    }));
  }
  for (const tab of tabs.querySelectorAll("a")) {
    if (tab.dataset.name === chosen) tab.setAttribute("aria-current", "page");
    else tab.removeAttribute("aria-current");
  }
  return chosen;
}

function show(useCases, typed) {
  const names = useCases.map(state => state.use_case);
  const chosen = showUseCases(names);
  const state = useCases.find(state => state.use_case === chosen);
  if (!views.has(chosen)) views.set(chosen, new View(chosen));
  const view = views.get(chosen);
  view.update(state, typed);
  if (part("views").firstElementChild !== view.element) part("views").replaceChildren(view.element);
  document.title = `Laurel: ${state.title ?? state.use_case}`;
  const serving = useCases.filter(state => state.ready).map(state => say("versionOf", state.use_case, state.version));
  const waiting = useCases.filter(state => !state.ready).map(state => state.use_case);
  tell([serving.length ? say("serving", serving.join(", ")) : "", waiting.length ? say("noneYet", waiting.join(", ")) : ""].filter(Boolean).join(" "));
}

/** A screen reader reads the status line at each change, so it changes only for news. */
function tell(words) {
  if (words !== statusWords) part("fresh").textContent = statusWords = words;
}

let latest = null;

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      latest = (await ask("/v1")).use_cases;
      for (const state of latest) {
        if (!pasts.has(state.use_case)) pasts.set(state.use_case, []);
        remember(pasts.get(state.use_case), state);
      }
      showKeyForm(null);
      show(latest);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.status === 401 || error.status === 403) showKeyForm(error);
      else tell(say("noAnswer"));
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
  views.clear();
  refresh();
});

part("forget-key").addEventListener("click", () => {
  stored("sessionStorage", KEY, null);
  views.clear();
  part("views").replaceChildren();
  refresh();
});

function speak() {
  document.documentElement.lang = language;
  for (const spoken of document.querySelectorAll("[data-say]")) spoken.textContent = say(spoken.dataset.say);
  for (const labelled of document.querySelectorAll("[data-label]")) labelled.ariaLabel = say(labelled.dataset.label);
  for (const button of document.querySelectorAll("[data-language]")) button.ariaPressed = String(button.dataset.language === language);
}

for (const button of document.querySelectorAll("[data-language]")) {
  button.addEventListener("click", () => {
    language = stored("localStorage", "laurel.language", button.dataset.language) ?? button.dataset.language;
    const typed = views.get(latest && showUseCases(latest.map(state => state.use_case)))?.try.values();
    views.clear();
    speak();
    if (latest) show(latest, typed);
  });
}

addEventListener("hashchange", () => { if (latest) show(latest); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
speak();
refresh();
