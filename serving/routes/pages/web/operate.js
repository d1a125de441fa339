// What an operator decides here: whether a challenger may take the crown, and whether the crown goes back.
const LONGEST_WORDS = 1000;
const READ_MILLISECONDS = 5000; // a refusal stands so long before the question goes

/** A card that is there only while it has something to ask. */
function approvalsPanel(name, changed) {
  const id = `approvals-${name}`;
  const list = node("ol", { className: "records" });
  const trouble = text("p", "trouble", "");
  const element = node("section", { className: "card approvals", hidden: true, attributes: { "aria-labelledby": id } }, node("h2", { id, textContent: say("approvals") }), trouble, list);
  let shown = "";
  return {
    element,
    update(found) {
      const asked = found instanceof Error ? [] : found.approvals;
      const now = JSON.stringify([asked, found.prefect]);
      if (now === shown) return;
      shown = now;
      element.hidden = !asked.length;
      trouble.hidden = !found.prefect;
      trouble.textContent = found.prefect ? say("prefectAway", found.prefect) : "";
      list.replaceChildren(...asked.map(one => approvalItem(name, one, scaleOf(asked), changed)));
    },
  };
}

function approvalItem(name, one, scale, changed) {
  const headed = one.champion === null ? say("asksFirst", one.challenger) : say("asks", one.challenger, one.champion);
  return node("li", {},
    node("div", { className: "head" }, text("h3", "", headed), chip("drifted", say("verdictAsked"), "▲")),
    text("p", "hint", [say("askedAt", moment(one.asked)), one.until ? say("until", moment(one.until)) : ""].filter(Boolean).join(" · ")),
    ...contestParts(one, scale),
    ...one.reasons.map(reason => text("p", "reason", reason)),
    one.state === "answered" ? text("p", "lead", say("answeredAlready")) : one.state === "begins" ? text("p", "lead", say("beginsSoon")) : answerForm(name, one, changed));
}

function answerForm(name, one, changed) {
  const id = `answer-${name}-${one.run}`;
  const why = textField(`${id}-why`, say("whyOptional"));
  const by = keptKey() ? null : textField(`${id}-by`, say("yourName"));
  const buttons = [["approve", "primary", true], ["reject", "", false]].map(([word, className, approved]) => {
    const button = node("button", { type: "button", className, textContent: say(word) });
    button.addEventListener("click", () => send(form, `/v1/${encodeURIComponent(name)}/approvals/${encodeURIComponent(one.run)}`,
      { approved, why: why.value(), ...(by?.value() ? { by: by.value() } : {}) }, said => say(approved ? "approvedBy" : "rejectedBy", said.by), changed));
    return about(button, say("challengerNumber", one.challenger));
  });
  const form = node("div", { className: "decide" }, node("div", { className: "grid" }, why.element, by?.element ?? null), node("div", { className: "actions" }, ...buttons));
  return form;
}

function textField(id, label) {
  const input = node("input", { id, type: "text", maxLength: LONGEST_WORDS, autocomplete: "off" });
  return { element: node("div", {}, node("label", { htmlFor: id, textContent: label }), input), value: () => input.value.trim() };
}

/** Send it; the answer takes the place of the buttons, a refusal stands below them. */
async function send(form, path, body, words, changed) {
  const buttons = [...form.querySelectorAll("button")];
  form.querySelector(":scope > .trouble")?.remove();
  for (const button of buttons) button.disabled = true;
  try {
    const said = await ask(path, { body });
    const done = node("p", { className: "lead", role: "status", tabIndex: -1 }, `${words(said)} `, link(said.page, say("flowRun")));
    form.replaceChildren(done);
    done.focus({ preventScroll: true });
    changed();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    for (const button of buttons) button.disabled = false;
    form.append(node("p", { className: "trouble", role: "alert", textContent: say(error.status ? "notDone" : "failed", error.message) }));
    if (error.status === 409) setTimeout(changed, READ_MILLISECONDS);
  }
}

/** Rollback: the previous champion or a version by its number, why, and a question before anything happens. */
function rollbackPanel(name, changed) {
  const id = `rollback-${name}`;
  const body = node("div", {});
  const panel = node("details", {}, node("summary", { id, textContent: say("rollback") }), text("p", "lead", say("rollbackWhy")), body);
  const element = node("section", { className: "card rollback", hidden: true, attributes: { "aria-labelledby": id } }, panel);
  let serving = null;
  return {
    element,
    /** `found` is the answer to the question for approvals: who may not ask that may not roll back either, and neither can a service without a loop. */
    update(said, found) {
      element.hidden = !said.ready || found === null || [401, 403, 404].includes(found.status);
      if (element.hidden || said.version === serving) return;
      serving = said.version;
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
  const wanted = () => version.value.trim();
  form.addEventListener("submit", event => {
    event.preventDefault();
    problem.textContent = !version.validity.valid || wanted() === serving ? say("noSuchVersion", serving) : "";
    if (problem.textContent) return version.focus();
    sure.textContent = wanted() ? say("sureTo", serving, wanted()) : say("surePrevious", serving);
    return question.showModal();
  });
  no.addEventListener("click", () => question.close());
  yes.addEventListener("click", () => {
    question.close();
    send(form, `/v1/${encodeURIComponent(name)}/rollback`, { version: wanted() || null, why: why.value(), champion: serving }, () => say("rollbackStarted"), changed);
  });
  return form;
}
