// The ledger: every decision of the use case, the latest first, in words.
const KINDS = { contest: "kindContest", approval: "kindApproval", crown: "kindCrown", rollback: "kindRollback", drift: "kindDrift", retrain: "kindRetrain", refusal: "kindRefusal", breaker: "kindBreaker" };
const VERDICTS = {
  promote: "verdictPromote", keep: "verdictKeep", suspicious: "verdictSuspicious", unfair: "verdictUnfair",
  asked: "verdictAsked", approved: "verdictApproved", rejected: "verdictRejected", expired: "verdictExpired",
  crowned: "verdictCrowned", failed: "verdictFailed", rollback: "verdictRollback", silent: "verdictSilent",
  adopted: "verdictAdopted", vacated: "verdictVacated", restored: "verdictRestored", "no champion yet": "verdictNobody", crashed: "verdictCrashed", cancelled: "verdictCancelled",
  started: "verdictStarted", promoted: "verdictPromote", kept: "verdictKeep", "below the gate": "verdictBelow", "nothing to do": "verdictNothing", "waits for approval": "verdictAsked",
  running: "verdictRunning", cooldown: "verdictCooldown", budget: "verdictBudget", breaker: "verdictBreaker", closed: "verdictClosed",
};
const HEADLINES = {
  "approval asked": "approvalAsked", "approval approved": "approvalApproved", "approval rejected": "approvalRejected", "approval expired": "approvalExpired",
  "crown crowned": "crownCrowned", "crown failed": "crownFailed", "crown restored": "restored", "crown adopted": "adopted", "crown vacated": "vacated", "breaker closed": "breakerClosed", "contest suspicious": "contestSuspicious",
};
const GOOD = ["promote", "promoted", "approved", "crowned", "stable", "adopted", "restored"];
const BAD = ["failed", "crashed", "broken", "unreadable"];
const WARY = ["drifted", "asked", "expired", "rejected", "suspicious", "silent", "waits for approval", "breaker", "rollback", "vacated", "cancelled", "no champion yet"];
const TOLD_FACTS = ["by", "why", "until", "asked_by", "time_limit", "seed", "contest", "package_sha256"]; // said elsewhere, or of no use to people
const MOST_FACTS = 8;

const decisionsPanel = name => historyPanel(name, "decisions", decisionItems, "decisionsNone", "retrain");

const bounded = main => main && Number.isFinite(main.low) && Number.isFinite(main.high);
const verdictOf = one => VERDICTS[one.verdict] ? say(VERDICTS[one.verdict]) : one.verdict in SIGNS ? say(one.verdict) : one.verdict;

/** What all contests of `records` are drawn on. */
function scaleOf(records) {
  const contests = records.map(one => one.contest?.main).filter(bounded);
  return [Math.min(0, ...contests.map(main => main.low)), Math.max(0, ...contests.map(main => main.high))];
}

function decisionItems(decisions) {
  const scale = scaleOf(decisions);
  return decisions.map(one => {
    const item = node("li", {},
      node("div", { className: "head" }, text("h3", "", headline(one)), node("span", { className: "chips" }, one.tampered ? chip("broken", say("tampered"), "✕") : null, verdictChip(one))),
      text("p", "hint", [KINDS[one.kind] ? say(KINDS[one.kind]) : one.kind, moment(one.time)].filter(Boolean).join(" · ")),
      one.tampered ? text("p", "trouble", one.fault) : null,
      ...contestParts(one, scale),
      ...one.reasons.map(reason => text("p", "reason", reason)),
      answerOf(one),
      factsOf(one),
      node("p", { className: "links" }, one.contest ? text("span", "hint", say("contestRows", count(one.contest.main.rows), one.holdout)) : null,
        /^https?:/.test(one.by) ? about(link(one.by, say("flowRun")), moment(one.time)) : text("span", "hint", one.by)));
    item.dataset.kind = one.kind;
    return item;
  });
}

function verdictChip(one) {
  if (one.promoted && one.kind !== "rollback") return chip("stable", verdictOf(one), "♛");
  if (GOOD.includes(one.verdict)) return chip("stable", verdictOf(one), "✓");
  if (BAD.includes(one.verdict)) return chip("broken", verdictOf(one), "✕");
  return chip(WARY.includes(one.verdict) ? "drifted" : "kept", verdictOf(one), WARY.includes(one.verdict) ? "▲" : "·");
}

function headline(one) {
  const { kind, verdict, promoted, challenger, champion, time } = one;
  const which = one.version ?? challenger ?? "?";
  if (kind === "rollback") return say(verdict === "failed" ? "notRolledBack" : "rolledBack", which, champion);
  if (kind === "drift") return say("driftOf", one.window || time);
  if (kind === "retrain") return say("retrainWas", verdictOf(one));
  if (kind === "refusal") return say("retrainRefused", verdictOf(one));
  if (HEADLINES[`${kind} ${verdict}`]) return say(HEADLINES[`${kind} ${verdict}`], kind === "crown" ? which : challenger ?? which);
  if (kind !== "contest" || challenger === null) return time;
  if (champion === null) return say(promoted ? "firstChampion" : "notFirst", challenger);
  return say(promoted ? "took" : "stays", challenger, champion);
}

/** Scores, gain and interval of a contest; its slices and guards, for who wants to see them. */
function contestParts({ contest, behaviours, latency }, [from, to]) {
  if (!contest) return [];
  const { main, guards, slices, confidence } = contest;
  const gains = [...guards.map(one => [one.metric, one]), ...Object.entries(slices)].map(([name, one]) => [name, `${signed(one.gain)} (${say("between", signed(one.low), signed(one.high))})`]);
  const tried = [...(behaviours ?? []).map(one => [one.name, one.passed ? say("behaved", count(one.held), count(one.rows)) : `✕ ${one.reason}`]),
    ...(latency ?? []).map(one => [say("latencyOf", count(one.rows)), say("latencies", plain(one.champion_milliseconds, 2), plain(one.challenger_milliseconds, 2))])];
  const others = [...gains, ...tried];
  return [
    text("p", "", say("contestScores", main.metric, fixed(main.champion), fixed(main.challenger))),
    bounded(main) ? intervalChart(main, from, to) : null,
    text("p", "", say("contestGain", signed(main.gain), signed(main.low), signed(main.high), percent(confidence))),
    others.length ? node("details", {}, text("summary", "", say("guardsAndSlices", count(others.length))), node("ul", { className: "slices" }, ...others.map(([name, words]) =>
      node("li", {}, text("span", "what", name), text("span", "hint", words))))) : null,
  ];
}

/** Who answered the question, and why. */
function answerOf({ kind, facts }) {
  if (kind !== "approval" || !facts.by) return null;
  return text("p", "", facts.why ? `${facts.by}: ${facts.why}` : facts.by);
}

function factsOf({ facts }) {
  const told = Object.entries(facts).filter(([name, value]) => !TOLD_FACTS.includes(name) && value !== null).slice(0, MOST_FACTS);
  const until = facts.until ? [say("until", moment(facts.until))] : [];
  const words = [...until, ...told.map(([name, value]) => `${spelled(name)} ${typeof value === "number" ? plain(value) : value}`)];
  return words.length ? text("p", "hint", words.join(" · ")) : null;
}
