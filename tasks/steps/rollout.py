"""The steps of ``rollout``: where it is, one look, and what follows from it."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from prefect import get_run_logger, task

from blocks.clients.registry import ROLLOUT, TERMS_TAG
from blocks.registry import ModelVersion
from serving.records.ledger import Decision
from serving.records.reasons import Reason, because
from serving.records.rollout import ENDS, WON, Rollout, revert_key
from tasks.ledger.entries import Overtaken, read, record, stamp
from tasks.ledger.reign import find_reign
from tasks.ledger.running_rollout import Standing, find_running
from tasks.outside.blocks_of_run import PATIENT, lake, registry
from tasks.rollouts.moves import Move, go_on, stage_in_words
from tasks.steps.crown import Crowning, NotServed, crown
from tasks.steps.rollout_announcements import announce, word_of
from usecases.definition import load

Do = Literal["look", "advance", "hold", "resume", "revert"]


@dataclass(frozen=True)
class Request:
    """What a person asks of a rollout, who, and why. Raises ``ValueError`` without the last two."""

    do: Do = "look"
    by: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        if self.do != "look" and not (self.by.strip() and self.why.strip()):
            raise ValueError(
                f"do={self.do} goes to the ledger with who asked, and why: add --param by=<you> "
                "--param why=<why>."
            )


@task(**PATIENT)
def find_rollout(use_case: str) -> Standing | None:
    """The running rollout. An alias that an ended one has left is taken away."""
    use_case = load(use_case).name
    find_reign(use_case)  # which may write, so that the place in the ledger is read after it
    standing = find_running(lake(), registry(), use_case)
    if standing is None:
        _forget_ended(use_case)
    return standing


@task(**PATIENT)
def look_once(standing: Standing, request: Request) -> Move:
    """Look at the rollout, and say what is to be done. Nothing is recorded; the registry gets what
    the ledger says if a run was interrupted between the two.

    Raises ``LogDamaged``, ``CrownUnclear``, ``LakeAway``, ``RegistryAway``."""
    use_case, rollout = standing.entry.use_case, standing.rollout
    if ended := _why_ended(standing):
        return Move("reverted", [ended], rollout)
    if standing.has_won:
        return Move(WON, standing.entry.reasons, rollout)  # type: ignore[arg-type]
    point_registry(registry().version(use_case, standing.version), rollout)
    if request.do != "look":
        return _asked(rollout, request)
    from tasks.rollouts.course import next_move
    from tasks.rollouts.evidence import look_at
    from tasks.rollouts.stages import metric_of

    case = load(use_case)
    metric = None if rollout.now.kind == "canary" else metric_of(case, rollout.now)
    versions = (str(standing.entry.champion), standing.version)
    sight = look_at(lake(), case, rollout, versions, datetime.now(UTC))
    return next_move(rollout, sight, metric)


@task(**PATIENT)
def follow(standing: Standing, move: Move) -> bool:
    """Do what was decided: the ledger first, then the registry, then people. A look that decided
    nothing leaves all as it is. False if something else was recorded meanwhile: nothing is done,
    and the next look sees it."""
    if not move.verdict or (move.verdict == WON and standing.has_won):
        return True
    before = standing.entry
    decision = Decision(
        use_case=before.use_case,
        kind="rollout",
        verdict=move.verdict,
        reasons=list(move.reasons),
        version=before.version,
        challenger=before.challenger,
        champion=before.champion,
        rollout=move.rollout,
        **stamp(),
    )
    try:
        entry = record(decision, after=standing.place)
    except Overtaken as error:
        get_run_logger().warning("rollout use_case=%s: %s", before.use_case, error)
        return False
    if move.verdict in ENDS:
        leave_registry(before.use_case, standing.version)
    elif move.verdict != WON:
        point_registry(registry().version(before.use_case, standing.version), move.rollout)
    announce(entry)
    return True


def crown_winner(standing: Standing, move: Move) -> float:
    """Give the crown to the version that has won. Returns seconds from alias to served. Raises
    ``NotServed`` once the end is recorded: the champion stays."""
    use_case = standing.entry.use_case
    version = registry().version(use_case, standing.version)
    try:
        seconds = crown(version, Crowning(standing.entry.champion, list(move.reasons)))
    except NotServed as error:
        end_rollout(use_case, because("rollout_not_served", why=str(error)))
        raise
    leave_registry(use_case, standing.version)
    return seconds


def end_rollout(use_case: str, reason: Reason) -> None:
    """End the running rollout, if there is one: the champion answers all again. One that a guard
    has ended keeps its own reason."""
    while standing := find_running(lake(), registry(), use_case):
        why = _reverted_by_service(standing) or reason
        if follow.fn(standing, Move("reverted", [why], standing.rollout)):
            return


@task(**PATIENT)
def end_for_crown(use_case: str, flow: str) -> None:
    """End the running rollout before ``flow`` moves the crown by a person's wish."""
    end_rollout(load(use_case).name, because("rollout_ended_by_flow", flow=flow))


def point_registry(version: ModelVersion, rollout: Rollout) -> None:
    """Let every service follow the rollout: the terms first, then the alias."""
    store, terms = registry(), json.dumps(rollout.terms)
    if version.tags.get(TERMS_TAG) != terms:
        store.tag(version, {TERMS_TAG: terms})
    holder = store.at(version.use_case, ROLLOUT)
    if holder is None or holder.number != version.number:
        store.set_alias(version, ROLLOUT)


def leave_registry(use_case: str, version: str) -> None:
    """Take the alias from a rollout that has ended."""
    holder = registry().at(use_case, ROLLOUT)
    if holder is not None and holder.number == version:
        registry().remove_alias(use_case, ROLLOUT)


def in_short(standing: Standing, move: Move) -> Reason:
    """How a run ended, in a sentence."""
    use_case, version = standing.entry.use_case, standing.version
    if not move.verdict:
        return because(
            "rollout_waits",
            version=version,
            use_case=use_case,
            stage=stage_in_words(move.rollout),
            why=move.reasons[0],
        )
    return because(
        "rollout_was",
        version=version,
        use_case=use_case,
        verdict=word_of(move.verdict),
        reasons=move.reasons,
    )


def nothing_runs(use_case: str) -> Reason:
    """That there is no rollout to look at."""
    return because("rollout_none", use_case=use_case)


def overtaken(use_case: str) -> Reason:
    """That another run has written to the ledger since the look."""
    return because("rollout_overtaken", use_case=use_case)


def _asked(rollout: Rollout, request: Request) -> Move:
    by, why = request.by, request.why
    if request.do == "revert":
        return Move("reverted", [because("rollout_reverted_by", by=by, why=why)], rollout)
    if request.do == "hold":
        held = replace(rollout, held=True)
        return Move("held", [because("rollout_held_by", by=by, why=why)], held)
    if request.do == "resume":
        resumed = replace(rollout, held=False)
        return Move("resumed", [because("rollout_resumed_by", by=by, why=why)], resumed)
    return go_on(rollout, [because("rollout_advanced_by", by=by, why=why)], datetime.now(UTC))


def _why_ended(standing: Standing) -> Reason | None:
    """Why the rollout is over, whatever its judgement: another champion, a revert by the service,
    or the alias that somebody took away."""
    use_case, version, rollout = standing.entry.use_case, standing.version, standing.rollout
    champion = find_reign(use_case).champion
    if champion == version:
        return because("rollout_is_champion", version=version)
    if champion != standing.entry.champion:
        return because(
            "rollout_other_champion",
            champion=champion or because("nobody"),
            before=standing.entry.champion,
        )
    holder = registry().at(use_case, ROLLOUT)
    if holder is None or holder.number != version:
        tags = registry().version(use_case, version).tags
        if holder is not None or _id_of(tags.get(TERMS_TAG)) == rollout.id:
            return because("rollout_alias_gone")
    return _reverted_by_service(standing)


def _reverted_by_service(standing: Standing) -> Reason | None:
    """Why a guard of the service has ended it, on whichever replica (``serving/champions/``);
    ``None`` if it goes on."""
    path = revert_key(standing.entry.use_case, standing.rollout.id)
    if not lake().exists(path):
        return None
    why: str
    try:
        why = str(json.loads(lake().read(path))["reason"])
    except (ValueError, KeyError, TypeError):
        why = because("rollout_reverted_somehow")
    return because("rollout_reverted_by_service", version=standing.version, why=why)


def _id_of(terms: str | None) -> str | None:
    try:
        return str(json.loads(terms or "{}").get("id"))
    except (ValueError, AttributeError):
        return None


def _forget_ended(use_case: str) -> None:
    """Remove the alias that a run left which was killed after it had recorded the end. One that a
    person has set for a rollout of their own stays."""
    holder = registry().at(use_case, ROLLOUT)
    if holder is None:
        return
    ids = {entry.rollout.id for entry in read(lake(), use_case) if entry.rollout is not None}
    if _id_of(holder.tags.get(TERMS_TAG)) in ids:
        registry().remove_alias(use_case, ROLLOUT)
