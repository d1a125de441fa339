// The page: one view for each use case, kept fresh by asking the service.
const REFRESH_MILLISECONDS = 2000;
const HISTORY_MILLISECONDS = 30_000;

const part = id => document.getElementById(id);
const places = { mlflow: part("mlflow").dataset.address, prefect: part("prefect").href.replace(/\/$/, "") };
const views = new Map();
const pasts = new Map();
let timer = 0;
let told = "";

class View {
  constructor(name) {
    this.name = name;
    this.champion = championPanel(name, places);
    this.traffic = trafficPanel(name);
    this.try = tryPanel(name);
    this.drift = driftPanel(name);
    this.decisions = decisionsPanel(name);
    this.approvals = approvalsPanel(name, () => { this.asked = -Infinity; });
    this.rollback = rollbackPanel(name, () => { this.asked = -Infinity; });
    this.questions = null;
    this.known = null;
    this.asked = -Infinity;
    this.served = null;
    this.element = node("div", {}, node("div", { className: "top" }, this.champion.element, this.traffic.element), this.approvals.element, this.try.element,
      node("div", { className: "pair" }, this.drift.element, node("div", {}, this.decisions.element, this.rollback.element)));
  }

  update(said, typed) {
    this.champion.update(said, this.known);
    this.traffic.update(said, pasts.get(this.name));
    this.try.update(said, typed);
    this.rollback.update(said, this.questions);
    if (said.version !== this.served || performance.now() - this.asked > HISTORY_MILLISECONDS) this.#askHistory(said);
  }

  async #askHistory(said) {
    this.asked = performance.now();
    this.served = said.version;
    const path = `/v1/${encodeURIComponent(this.name)}`;
    const [drift, decisions] = await Promise.all(["drift", "decisions"].map(kind => ask(`${path}/${kind}`).then(found => found[kind], error => error)));
    this.drift.update(drift);
    this.decisions.update(decisions);
    this.questions = await ask(`${path}/approvals`).catch(error => error);
    this.approvals.update(this.questions);
    this.rollback.update(said, this.questions);
    if (!(decisions instanceof Error)) this.champion.update(said, this.known = decisions);
  }
}

const wanted = () => decodeURIComponent(location.hash.slice(1));

function showUseCases(names) {
  const chosen = names.includes(wanted()) ? wanted() : names[0];
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
  const names = useCases.map(said => said.use_case);
  const chosen = showUseCases(names);
  const said = useCases.find(one => one.use_case === chosen);
  if (!views.has(chosen)) views.set(chosen, new View(chosen));
  const view = views.get(chosen);
  view.update(said, typed);
  if (part("views").firstElementChild !== view.element) part("views").replaceChildren(view.element);
  document.title = `Laurel: ${said.title ?? said.use_case}`;
  const serving = useCases.filter(one => one.ready).map(one => say("versionOf", one.use_case, one.version));
  const waiting = useCases.filter(one => !one.ready).map(one => one.use_case);
  tell([serving.length ? say("serving", serving.join(", ")) : "", waiting.length ? say("noneYet", waiting.join(", ")) : ""].filter(Boolean).join(" "));
}

/** The status line is read out whenever it changes, so it changes only when there is something new. */
function tell(words) {
  if (words !== told) part("fresh").textContent = told = words;
}

let latest = null;

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      latest = (await ask("/v1")).use_cases;
      for (const said of latest) {
        if (!pasts.has(said.use_case)) pasts.set(said.use_case, []);
        remember(pasts.get(said.use_case), said);
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

/** The form for a key, where the service asks for one; a key that was refused is forgotten and told. */
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
    const typed = views.get(latest && showUseCases(latest.map(said => said.use_case)))?.try.values();
    views.clear();
    speak();
    if (latest) show(latest, typed);
  });
}

addEventListener("hashchange", () => { if (latest) show(latest); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
speak();
refresh();
