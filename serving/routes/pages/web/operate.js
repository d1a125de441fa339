// An operator's decisions: may a challenger take the crown, and does the crown go back?
const LONGEST_WORDS = 1000;
const MOST_IN_BRIEF = 3; // past champions beside the word
const READ_MILLISECONDS = 5000; // a refusal stays this long before the question goes

/** A card that shows only while there is a question. */
function approvalsPanel(name, changed) {
  const id = `approvals-${name}`;
  const list = node("ol", { className: "records" });
  const trouble = text("p", "trouble", "");
  const element = node("section", { className: "card approvals", hidden: true, attributes: { "aria-labelledby": id } }, node("h2", { id, textContent: say("approvals") }), trouble, list);
  let shown = "";
  return {
    element,
    update(answer) {
      const questions = answer instanceof Error ? [] : answer.approvals;
      const content = JSON.stringify([questions, answer.prefect]);
      if (content === shown) return;
      shown = content;
      element.hidden = !questions.length;
      trouble.hidden = !answer.prefect;
      trouble.textContent = answer.prefect ? say("prefectAway", answer.prefect) : "";
      list.replaceChildren(...questions.map(question => approvalItem(name, question, scaleOf(questions), changed)));
    },
  };
}

function approvalItem(name, question, scale, changed) {
  const title = question.champion === null ? say("asksFirst", question.challenger) : say("asks", question.challenger, question.champion);
  return node("li", {},
    node("div", { className: "head" }, text("h3", "", title), chip("drifted", say("verdictAsked"), "▲")),
    text("p", "hint", [say("askedAt", moment(question.asked)), question.until ? say("until", moment(question.until)) : ""].filter(Boolean).join(" · ")),
    ...contestParts(question, scale),
    ...question.reasons.map(reason => recorded(reason)),
    question.state === "answered" ? text("p", "lead", say("answeredAlready")) : question.state === "begins" ? text("p", "lead", say("beginsSoon")) : answerForm(name, question, changed));
}

function answerForm(name, question, changed) {
  const id = `answer-${name}-${question.run}`;
  const why = textField(`${id}-why`, say("whyOptional"));
  const by = keptKey() ? null : textField(`${id}-by`, say("yourName"));
  const buttons = [["approve", "primary", true], ["reject", "", false]].map(([word, className, approved]) => {
    const button = node("button", { type: "button", className, textContent: say(word) });
    button.addEventListener("click", () => send(form, `/v1/${encodeURIComponent(name)}/approvals/${encodeURIComponent(question.run)}`,
      { approved, why: why.value(), ...(by?.value() ? { by: by.value() } : {}) }, answer => say(approved ? "approvedBy" : "rejectedBy", answer.by), changed));
    return about(button, say("challengerNumber", question.challenger));
  });
  const form = node("div", { className: "decide" }, node("div", { className: "grid" }, why.element, by?.element ?? null), node("div", { className: "actions" }, ...buttons));
  return form;
}

function textField(id, label) {
  const input = node("input", { id, type: "text", maxLength: LONGEST_WORDS, autocomplete: "off" });
  return { element: node("div", {}, node("label", { htmlFor: id, textContent: label }), input), value: () => input.value.trim() };
}

/** Sends a form; the answer replaces the buttons, a refusal appears below them. */
async function send(form, path, body, words, changed) {
  const buttons = [...form.querySelectorAll("button")];
  form.querySelector(":scope > .trouble")?.remove();
  for (const button of buttons) button.disabled = true;
  try {
    const answer = await ask(path, { body });
    const outcome = node("p", { className: "lead", role: "status", tabIndex: -1 }, `${words(answer)} `, link(answer.page, say("flowRun")));
    form.replaceChildren(outcome);
    outcome.focus({ preventScroll: true });
    changed();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    for (const button of buttons) button.disabled = false;
    form.append(node("p", { className: "trouble", role: "alert", textContent: say(error.status ? "notDone" : "failed", error.message) }));
    if (error.status === 409) setTimeout(changed, READ_MILLISECONDS);
  }
}

/** Rollback to a past champion, with a reason, and a question before anything happens. */
function rollbackPanel(name, changed) {
  const id = `rollback-${name}`;
  const body = node("div", {});
  const summary = node("summary", { id, textContent: say("rollback") });
  const panel = node("details", { id: `${id}-panel` }, summary, text("p", "lead", say("rollbackWhy")), body);
  const element = node("section", { className: "card rollback", hidden: true, attributes: { "aria-labelledby": id } }, panel);
  let shown = "";
  return {
    element,
    /** `answer` is that of `/approvals`: a key that may not read it may not roll back either, and a service without a loop cannot. */
    update(state, answer, reigns) {
      element.hidden = !state.ready || answer === null || [401, 403, 404].includes(answer.status);
      if (element.hidden) return;
      const past = pastChampions(reigns, state.version);
      const content = JSON.stringify([state.version, past]);
      if (content === shown || (shown && element.contains(document.activeElement))) return;
      shown = content;
      const brief = past.slice(0, MOST_IN_BRIEF).map(({ version, score }) => `${say("version", version)} ${Number.isFinite(score) ? fixed(score, 3) : ""}`.trim());
      summary.replaceChildren(say("rollback"), text("span", "hint", brief.length ? ` ${brief.join(" · ")}` : ""));
      body.replaceChildren(rollbackForm(name, id, state.version, past, changed));
    },
  };
}

/** The versions that were champion before, the latest first, each once. */
function pastChampions(reigns, serving) {
  const past = new Map();
  for (const reign of reigns ?? []) if (reign.version && reign.version !== serving && !past.has(reign.version)) past.set(reign.version, reign);
  return [...past.values()];
}

const reignWords = ({ version, metric, score, since }) => [say("version", version), Number.isFinite(score) ? `${metricName(metric)} ${fixed(score, 3)}` : "", say("championSince", moment(since))].filter(Boolean).join(" · ");

function rollbackForm(name, id, serving, past, changed) {
  const other = node("input", { id: `${id}-version`, type: "text", inputMode: "numeric", pattern: "[1-9][0-9]{0,9}", placeholder: past.length ? "" : say("previous"), autocomplete: "off" });
  other.setAttribute("aria-describedby", `${id}-problem`);
  const typed = node("div", { hidden: past.length > 0 }, node("label", { htmlFor: other.id, textContent: say("toVersion") }), other);
  const target = node("select", { id: `${id}-target` }, ...past.map(reign => node("option", { value: reign.version, textContent: reignWords(reign) })), node("option", { value: "", textContent: say("anotherVersion") }));
  const listed = past.length ? node("div", {}, node("label", { htmlFor: target.id, textContent: say("toChampion") }), target) : null;
  const why = textField(`${id}-why`, say("whyOptional"));
  const problem = node("p", { id: `${id}-problem`, className: "problem", role: "alert" });
  const start = node("button", { type: "submit" });
  const sure = text("p", "", "");
  const [yes, no] = [node("button", { type: "button", className: "primary", textContent: say("yesRollBack") }), node("button", { type: "button", textContent: say("cancel") })];
  const question = node("dialog", { attributes: { "aria-labelledby": `${id}-sure` } }, node("h3", { id: `${id}-sure`, textContent: say("sure") }), sure, node("div", { className: "actions" }, yes, no));
  no.autofocus = true;
  const form = node("form", { className: "decide", noValidate: true }, node("div", { className: "grid" }, listed, typed, why.element), problem, node("div", { className: "actions" }, start), question);
  const isListed = () => past.length > 0 && target.value !== "";
  const chosenVersion = () => isListed() ? target.value : other.value.trim();
  const nameTarget = () => { start.textContent = chosenVersion() ? say("rollBackTo", chosenVersion()) : say("rollBack"); };
  target.addEventListener("change", () => { typed.hidden = isListed(); nameTarget(); });
  other.addEventListener("input", nameTarget);
  nameTarget();
  form.addEventListener("submit", event => {
    event.preventDefault();
    const wrong = !isListed() && (!other.validity.valid || chosenVersion() === serving || (past.length > 0 && !chosenVersion()));
    problem.textContent = wrong ? say(past.length ? "noSuchVersionListed" : "noSuchVersion", serving) : "";
    if (wrong) return other.focus();
    sure.textContent = chosenVersion() ? say("sureTo", serving, chosenVersion()) : say("surePrevious", serving);
    return question.showModal();
  });
  no.addEventListener("click", () => question.close());
  yes.addEventListener("click", () => {
    question.close();
    send(form, `/v1/${encodeURIComponent(name)}/rollback`, { version: chosenVersion() || null, why: why.value(), champion: serving }, () => say("rollbackStarted"), changed);
  });
  return form;
}
