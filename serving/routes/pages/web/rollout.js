// The rollout of a use case: where it is, what both sides do, how the estimate narrows, and an operator's buttons.
const ROLLOUT_KINDS = { shadow: "stageShadow", canary: "stageCanary", ab: "stageAb" };
const GUARDS = { failures: "guardFailures", latency: "guardLatency" };
const SHADOW_COUNTS = [["requests", "requestsWord"], ["failures", "failuresWord"], ["dropped", "droppedWord"], ["restarts", "restartsWord"]];

const stageWords = ({ kind }, share) => say(ROLLOUT_KINDS[kind] ?? "stageShadow", percent(share, 1));

/** A card that shows only while a rollout runs, or for its last end. */
function rolloutPanel(name, changed) {
  const id = `rollout-${name}`;
  const body = node("div", {}, node("h2", { id, textContent: say("wordRollout") }));
  const desk = node("div", {});
  const element = node("section", { className: "card rollout", id: `rollout-of-${name}`, hidden: true, attributes: { "aria-labelledby": id } }, body, desk);
  let steered = "";
  return {
    element,
    /** `answer` is that of `/rollout`, or the failure to get it: what was read before stays, and its age stands in the head. */
    update(answer) {
      if (answer instanceof Error) {
        if ([401, 403, 404].includes(answer.status)) element.hidden = true;
        return;
      }
      const { rollout, service } = answer;
      element.hidden = !rollout;
      if (!rollout) return;
      element.classList.toggle("ended", !rollout.is_running);
      refreshInside(body, ...rolloutParts(name, id, rollout, service));
      const now = rollout.is_running ? JSON.stringify([rollout.id, rollout.stage, rollout.step, rollout.held]) : "";
      if (now === steered || (now && steered && desk.contains(document.activeElement) && desk.querySelector("input")?.value)) return;
      steered = now;
      desk.replaceChildren(...(now ? [steerForm(name, `steer-${name}`, rollout, changed)] : []));
    },
  };
}

function rolloutParts(name, id, rollout, service) {
  const { version, champion, is_running: isRunning } = rollout;
  const state = rollout.held ? "held" : isRunning && rollout.verdict !== "won" ? "running" : rollout.verdict;
  return [
    node("div", { className: "head" }, node("h2", { id, textContent: say("rolloutTitle", version, champion) }), rolloutChip(state, rollout)),
    node("p", { className: "lead" }, `${say("stageOf", count(rollout.stage + 1), count(rollout.stages.length), stageWords(rollout.stages[rollout.stage], rollout.share))} `,
      text("span", "since", `${say("championSince", moment(rollout.since))}. `), node("a", { href: decisionHref(name, rollout.decision), textContent: say("whyChampion") })),
    service.reverted && isRunning ? text("p", "trouble", say("revertedHere", version, service.reverted)) : null,
    stageTrack(rollout),
    ...rollout.reasons.map(words => recorded(words)),
    facts([...leftOf(rollout), rollout.shift === null ? null : [say("answersMoved"), say("deviations", signed(rollout.shift, 2))], ...rollout.plan.map(words => [say("planWord"), words])]),
    node("div", { className: "pair" }, gainChart(rollout), shadowCounts(rollout, service.shadow), sidesTable(service.variants), guardList(service.guards)),
  ];
}

function rolloutChip(state, rollout) {
  if (state === "running") return chip("stable", say("rolloutRuns"), "●");
  return verdictChip({ ...rollout, verdict: state, kind: "rollout", promoted: false });
}

/** Each stage and each step of a canary, with the one of now. */
function stageTrack({ stages, stage, step, is_running: isRunning }) {
  const steps = stages.flatMap((planned, place) => planned.kind === "canary"
    ? planned.steps.map((share, number) => [stageWords(planned, share), place, number])
    : [[stageWords(planned, planned.share), place, 0]]);
  const now = steps.findIndex(([, place, number]) => place === stage && number === (stages[stage].kind === "canary" ? step : 0));
  return node("ol", { className: "track", ariaLabel: say("stagesWord") }, ...steps.map(([words], place) => node("li",
    { className: place < now ? "over" : place === now ? "now" : "", attributes: place === now && isRunning ? { "aria-current": "step" } : {} }, words)));
}

/** What is left until this step, or the stage, may end. */
function leftOf({ stages, stage, blocks, is_running: isRunning, minutes_left: minutes, days_left: days }) {
  const planned = stages[stage];
  if (planned.kind === "canary" && !isRunning) return [];
  if (planned.kind === "canary") return [[say("stepNeeds"), say("stepNeedsThat", count(planned.minimum_requests), plain(planned.minimum_minutes, 0))], minutes === null ? null : [say("minutesLeft"), say("minutesOf", plain(minutes, 0))]];
  const horizon = planned.days === null ? null : Math.floor(planned.days / 2);
  return [
    [say("blocksJudged"), horizon === null ? count(blocks.length) : say("ofPlanned", count(blocks.length), count(horizon))],
    isRunning ? [say("verdictIn"), days === null ? say("noPlannedEnd") : say("plannedDays", count(days))] : null,
  ];
}

/** The gain of each judged block, and the estimate with its interval as it narrowed, in the room that was planned. */
function gainChart(rollout) {
  const { blocks, looks, stages, stage } = rollout;
  const planned = stages[stage];
  if (planned.kind === "canary") return null;
  const title = [say("gainByBlock", metricName(planned.metric)), say("gainHint")].join(" · ");
  if (!blocks.length) return node("figure", { className: "chart" }, text("figcaption", "", title), text("p", "hint", say("noBlockYet", count(planned.label_days))));
  const room = Math.max(blocks.length, planned.days === null ? 0 : Math.floor(planned.days / 2));
  const shares = middles(room);
  const gains = blocks.map((block, place) => [shares[place], block.gain]);
  const estimates = looks.map(look => [shares[look.blocks - 1], look.gain]);
  const last = looks.at(-1);
  const words = blocks.map(block => block.first.slice(5));
  return plot({
    title, summary: say("chartGain", metricName(planned.metric), count(blocks.length), last ? signed(last.gain) : "–", last ? intervalOf(last, signed) : "–"),
    span: spanOf([0, ...blocks.map(block => block.gain), ...looks.flatMap(look => [look.gain, look.low, look.high])]),
    labels: labelsOf(Array.from({ length: room }, (_, place) => words[place] ?? "")), shown: value => signed(value, 3),
    layers: down => [
      ...bandPaths(looks.map(look => shares[look.blocks - 1]), looks.map(look => ({ score: look })), down),
      drawSvg("line", { class: "zero", x1: 0, x2: 100, y1: down(0), y2: down(0) }),
      ...linePaths(estimates, down, "line"), ...dots(gains, down, "block")],
  });
}

/** Champion and challenger side by side, as this service has counted them. */
function sidesTable(variants) {
  if (!variants.length) return null;
  const all = variants.reduce((sum, side) => sum + side.requests, 0);
  const columns = ["variantWord", "requestsWord", "shareWord", "failuresWord", "fallbacksWord", "p50Word", "p99Word"].map(word => say(word));
  const rows = variants.map(side => [
    `${say(side.role === "champion" ? "championWord" : "wordChallenger")} ${say("version", side.version)}`, count(side.requests), percent(all ? side.requests / all : NaN, 1), count(side.failures),
    side.role === "champion" ? "–" : count(side.fallbacks), latency(side.seconds_p50), latency(side.seconds_p99)]);
  return node("div", {}, text("h3", "", say("bySide")), text("p", "hint", say("bySideHint")), table(say("bySide"), columns, rows, "cards sides"));
}

/** What the shadow took and missed, while it is one. */
function shadowCounts({ stages, stage }, shadow) {
  if (!shadow || stages[stage].kind !== "shadow") return null;
  return node("div", {}, text("h3", "", say("shadowHere")), text("p", "hint", say("shadowHint")), facts(SHADOW_COUNTS.map(([field, word]) => [say(word), count(shadow[field] ?? 0)]), "facts counts"));
}

/** How near each guard is to a revert. */
function guardList(guards) {
  const known = guards.filter(({ guard }) => guard in GUARDS);
  if (!known.length) return null;
  return node("div", {}, text("h3", "", say("guardsWord")), node("ul", { className: "guards" }, ...known.map(({ guard, trials, bad, evidence }) => node("li", {},
    text("span", "what", say(GUARDS[guard], count(bad), count(trials))), text("span", "hint", say("evidence", percent(evidence), percent(1))), bar(`share ${evidence >= 1 ? "broken" : evidence >= 0.5 ? "drifted" : ""}`, 0, evidence)))));
}

/** What an operator may ask: the next step, hold or resume, revert. What changes who answers is asked about first. */
function steerForm(name, id, rollout, changed) {
  const why = textField(`${id}-why`, say("why"));
  const by = keptKey() ? null : textField(`${id}-by`, say("yourName"));
  const problem = node("p", { id: `${id}-problem`, className: "problem", role: "alert" });
  const sure = node("h3", { id: `${id}-sure` });
  const [yes, no] = [node("button", { type: "button", className: "primary", textContent: say("revert") }), node("button", { type: "button", textContent: say("cancel") })];
  const question = node("dialog", { attributes: { "aria-labelledby": sure.id } }, sure, node("div", { className: "actions" }, yes, no));
  no.autofocus = true;
  const asked = [["advance", "advance", "advanceSure"], rollout.held ? ["resume", "resume", null] : ["hold", "hold", null], ["revert", "revert", "revertSure"]];
  const start = act => send(form, `/v1/${encodeURIComponent(name)}/rollout`, { do: act, why: why.value(), rollout: rollout.id, stage: rollout.stage, step: rollout.step, ...(by?.value() ? { by: by.value() } : {}) }, () => say("steered"), changed);
  let wanted = "";
  const buttons = asked.map(([act, word, words]) => {
    const button = node("button", { type: "button", textContent: say(word) + (words ? "…" : "") });
    button.addEventListener("click", () => {
      problem.textContent = why.value() ? "" : say("whyNeeded");
      if (!why.value()) return part(`${id}-why`).focus();
      if (!words) return start(act);
      [wanted, sure.textContent, yes.textContent] = [act, say(words, rollout.version, rollout.champion), say(word)];
      return question.showModal();
    });
    return about(button, say("versionNumber", rollout.version));
  });
  no.addEventListener("click", () => question.close());
  yes.addEventListener("click", () => {
    question.close();
    start(wanted);
  });
  const form = node("div", { className: "decide" }, node("div", { className: "grid" }, why.element, by?.element ?? null), problem, node("div", { className: "actions" }, ...buttons), question);
  why.element.querySelector("input").setAttribute("aria-describedby", problem.id);
  return form;
}
