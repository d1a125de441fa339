// An operator's decisions: may a challenger take the crown, and does the crown go back?
const LONGEST_WORDS = 1000;
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
    ...question.reasons.map(reason => text("p", "reason", reason)),
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

/** Rollback to the previous champion or a version number, with a reason, and a question before anything happens. */
function rollbackPanel(name, changed) {
  const id = `rollback-${name}`;
  const body = node("div", {});
  const panel = node("details", {}, node("summary", { id, textContent: say("rollback") }), text("p", "lead", say("rollbackWhy")), body);
  const element = node("section", { className: "card rollback", hidden: true, attributes: { "aria-labelledby": id } }, panel);
  let serving = null;
  return {
    element,
    /** `answer` is that of `/approvals`: a key that may not read it may not roll back either, and a service without a loop cannot. */
    update(state, answer) {
      element.hidden = !state.ready || answer === null || [401, 403, 404].includes(answer.status);
      if (element.hidden || state.version === serving) return;
      serving = state.version;
      body.replaceChildren(rollbackForm(name, id, serving, changed));
    },
  };
}

function rollbackForm(name, id, serving, changed) {
  const version = node("input", { id: `${id}-version`, type: "text", inputMode: "numeric", pattern: "[1-9][0-9]{0,9}", placeholder: say("previous"), autocomplete: "off" });
  version.setAttribute("aria-describedby", `${id}-problem`);
  const why = textField(`${id}-why`, say("whyOptional"));
  const problem = node("p", { id: `${id}-problem`, className: "problem", role: "alert" });
  const start = node("button", { type: "submit", textContent: say("rollBack") });
  const sure = text("p", "", "");
  const [yes, no] = [node("button", { type: "button", className: "primary", textContent: say("yesRollBack") }), node("button", { type: "button", textContent: say("cancel") })];
  const question = node("dialog", { attributes: { "aria-labelledby": `${id}-sure` } }, node("h3", { id: `${id}-sure`, textContent: say("sure") }), sure, node("div", { className: "actions" }, yes, no));
  no.autofocus = true;
  const form = node("form", { className: "decide", noValidate: true },
    node("div", { className: "grid" }, node("div", {}, node("label", { htmlFor: version.id, textContent: say("toVersion") }), version, problem), why.element),
    node("div", { className: "actions" }, start), question);
  const chosenVersion = () => version.value.trim();
  form.addEventListener("submit", event => {
    event.preventDefault();
    problem.textContent = !version.validity.valid || chosenVersion() === serving ? say("noSuchVersion", serving) : "";
    if (problem.textContent) return version.focus();
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
