// The ledger's entries in words.
const KINDS = { contest: "kindContest", approval: "kindApproval", crown: "kindCrown", rollback: "kindRollback", rollout: "kindRollout", drift: "kindDrift", retrain: "kindRetrain", refusal: "kindRefusal", breaker: "kindBreaker", ledger: "kindLedger" };
const VERDICTS = {
  promote: "verdictPromote", keep: "verdictKeep", suspicious: "verdictSuspicious", unfair: "verdictUnfair",
  asked: "verdictAsked", approved: "verdictApproved", rejected: "verdictRejected", expired: "verdictExpired",
  crowned: "verdictCrowned", failed: "verdictFailed", rollback: "verdictRollback", silent: "verdictSilent",
  adopted: "verdictAdopted", vacated: "verdictVacated", restored: "verdictRestored", "no champion yet": "verdictNobody", crashed: "verdictCrashed", cancelled: "verdictCancelled",
  started: "verdictStarted", promoted: "verdictPromote", kept: "verdictKeep", "below the gate": "verdictBelow", "nothing to do": "verdictNothing", "waits for approval": "verdictAsked",
  running: "verdictRunning", cooldown: "verdictCooldown", budget: "verdictBudget", breaker: "verdictBreaker", closed: "verdictClosed", accepted: "verdictAccepted",
  began: "verdictBegan", judged: "verdictJudged", stepped: "verdictStepped", held: "verdictHeld", resumed: "verdictResumed", "rollout began": "verdictBegan",
  won: "verdictWon", lost: "verdictLost", "no difference": "verdictAlike", "not enough traffic": "verdictThin", reverted: "verdictReverted",
};
const HEADLINES = {
  "approval asked": "approvalAsked", "approval approved": "approvalApproved", "approval rejected": "approvalRejected", "approval expired": "approvalExpired",
  "crown crowned": "crownCrowned", "crown failed": "crownFailed", "crown restored": "restored", "crown adopted": "adopted", "crown vacated": "vacated", "breaker closed": "breakerClosed", "ledger accepted": "ledgerAccepted", "contest suspicious": "contestSuspicious",
};
const GOOD = ["promote", "promoted", "approved", "crowned", "stable", "adopted", "restored", "won"];
const BAD = ["failed", "crashed", "broken", "unreadable", "reverted"];
const WARY = ["drifted", "asked", "expired", "rejected", "suspicious", "silent", "waits for approval", "breaker", "rollback", "vacated", "cancelled", "no champion yet", "accepted", "lost", "no difference", "not enough traffic", "held"];
const HIDDEN_FACTS = ["by", "why", "until", "asked_by", "time_limit", "seed", "contest", "package_sha256", "stored_sha256", "definition", "started_by", "share", "limit"]; // shown elsewhere, or of no use to people
const MOST_FACTS = 8;
const STARTERS = { "the automation": "byAutomation", "a person": "byPerson", "the schedule": "bySchedule" };

const bounded = main => main && Number.isFinite(main.low) && Number.isFinite(main.high);
const verdictWords = verdict => VERDICTS[verdict] ? say(VERDICTS[verdict]) : verdict in SIGNS ? say(verdict) : verdict;
const verdictOf = entry => verdictWords(entry.verdict);

/** The common scale of all contests in `records`. */
function scaleOf(records) {
  const contests = records.map(entry => entry.contest?.main).filter(bounded);
  return [Math.min(0, ...contests.map(main => main.low)), Math.max(0, ...contests.map(main => main.high))];
}

/** Everything that one entry says. */
function entryItem(entry, scale) {
  const item = node("li", {},
    node("div", { className: "head" }, text("h4", "", headline(entry)), node("span", { className: "chips" }, entry.tampered ? chip("broken", say("tampered"), "✕") : null, verdictChip(entry))),
    text("p", "hint", [KINDS[entry.kind] ? say(KINDS[entry.kind]) : entry.kind, moment(entry.time)].filter(Boolean).join(" · ")),
    entry.tampered ? text("p", "trouble", entry.fault) : null,
    whyOf(entry),
    ...contestParts(entry, scale),
    ...entry.reasons.map(reason => recorded(reason)),
    changesOf(entry),
    answerOf(entry),
    factsOf(entry),
    node("p", { className: "links" }, entry.contest ? text("span", "hint", say("contestRows", count(entry.contest.main.rows), entry.holdout)) : null,
      /^https?:/.test(entry.by) ? about(link(entry.by, say("flowRun")), headline(entry)) : text("span", "hint", entry.by)));
  item.dataset.kind = entry.kind;
  return item;
}

/** The language of a sentence of the service: that of the page, or English if it was written without a code. */
const languageOf = sentence => /[가-힣]/.test(sentence) ? "ko" : "en";
const recorded = reason => node("p", { className: "reason", lang: languageOf(reason), textContent: reason });

/** Why, in the reader's language, of an entry whose reasons have no codes, or tell nothing of it; else `null`. */
function whyOf({ kind, verdict, facts, codes, gate_score: score, contest }) {
  if (kind !== "retrain" && codes.some(code => code !== null)) return null;
  if (kind === "drift" && Number.isFinite(facts.share)) return text("p", "", say("whyDrift", percent(facts.share), percent(facts.limit)));
  if (kind === "retrain" && STARTERS[facts.started_by]) return text("p", "", say("whyStarted", say(STARTERS[facts.started_by])));
  if (kind === "contest" && !contest && Number.isFinite(score)) return text("p", "", say("whyFirst", fixed(score)));
  if (kind !== "contest" || !bounded(contest?.main)) return null;
  const words = { promote: "whyPromote", keep: "whyKeep" }[verdict];
  return words ? text("p", "", say(words, signed(contest.main.gain), signed(contest.main.low))) : null;
}

function verdictChip(entry) {
  if (entry.promoted && entry.kind !== "rollback") return chip("stable", verdictOf(entry), "♛");
  if (GOOD.includes(entry.verdict)) return chip("stable", verdictOf(entry), "✓");
  if (BAD.includes(entry.verdict)) return chip("broken", verdictOf(entry), "✕");
  return chip(WARY.includes(entry.verdict) ? "drifted" : "kept", verdictOf(entry), WARY.includes(entry.verdict) ? "▲" : "·");
}

function headline(entry) {
  const { kind, verdict, promoted, challenger, champion, time } = entry;
  const which = entry.version ?? challenger ?? "?";
  if (kind === "rollback") return say(verdict === "failed" ? "notRolledBack" : "rolledBack", which, champion);
  if (kind === "drift") return say("driftOf", entry.window || time);
  if (kind === "rollout") return say("rolloutOf", which, verdictOf(entry));
  if (kind === "retrain") return say("retrainWas", verdictOf(entry));
  if (kind === "refusal") return say("retrainRefused", verdictOf(entry));
  if (HEADLINES[`${kind} ${verdict}`]) return say(HEADLINES[`${kind} ${verdict}`], kind === "crown" ? which : challenger ?? which);
  if (kind !== "contest" || challenger === null) return time;
  if (champion === null) return say(promoted ? "firstChampion" : "notFirst", challenger);
  return say(promoted ? "took" : "stays", challenger, champion);
}

/** Scores, gain and interval of a contest, with its slices and guards to unfold. */
function contestParts({ contest, behaviours, latency }, [from, to]) {
  if (!contest) return [];
  const { main, guards, slices, confidence } = contest;
  const gains = [...guards.map(comparison => [metricName(comparison.metric), comparison]), ...Object.entries(slices)].map(([name, comparison]) => [name, `${signed(comparison.gain)} (${say("between", signed(comparison.low), signed(comparison.high))})`]);
  const checks = [...(behaviours ?? []).map(behaviour => [behaviour.name, behaviour.passed ? say("behaved", count(behaviour.held), count(behaviour.rows)) : `✕ ${behaviour.reason}`]),
    ...(latency ?? []).map(timing => [say("latencyOf", count(timing.rows)), say("latencies", plain(timing.champion_milliseconds, 2), plain(timing.challenger_milliseconds, 2))])];
  const others = [...gains, ...checks];
  return [
    text("p", "", say("contestScores", metricName(main.metric), fixed(main.champion), fixed(main.challenger))),
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
  const visible = Object.entries(facts).filter(([name, value]) => !HIDDEN_FACTS.includes(name) && !name.startsWith("mean_difference_") && value !== null).slice(0, MOST_FACTS);
  const until = facts.until ? [say("until", moment(facts.until))] : [];
  const words = [...until, ...visible.map(([name, value]) => `${spelled(name)} ${typeof value === "number" ? plain(value) : value}`)];
  return words.length ? text("p", "hint", words.join(" · ")) : null;
}

/** What the challenger's definition has in another way than the champion's, as the use case's file writes it. */
function changesOf({ changes, champion }) {
  if (!changes?.length) return null;
  const code = words => text("code", "", words);
  const items = changes.filter(change => change.name).map(({ name, before, after }) => {
    const parts = before && after ? [" ", code(before), " → ", code(after)] : [` ${say(before === null ? "changeNew" : after === null ? "changeGone" : "changeOther")} `, ...[before || after].filter(Boolean).map(code)];
    return node("li", {}, code(name), ...(before !== "" || after !== "" ? parts : parts.slice(0, 1)));
  });
  return node("div", { className: "changes" }, text("h5", "", say("changedSince", champion)), items.length ? node("ul", {}, ...items) : text("p", "hint", say("changesUnknown")));
}
