"""The beginning of a rollout, where ``promote`` would give the crown: whether there is one, its
plan, and what cannot be rolled out."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, takewhile

from prefect import task

from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import Manifest
from serving.records.contest import mean_difference
from serving.records.ledger import Decision, Entry
from serving.records.reasons import Reason, because
from serving.records.rollout import Rollout
from serving.records.rollout import Stage as Planned
from tasks.ledger.entries import Overtaken, now, read, record, root_run, stamp
from tasks.ledger.outcomes import Outcome, in_a_sentence
from tasks.ledger.reign import NOBODY, find_champion
from tasks.ledger.running_rollout import find_running
from tasks.outside.blocks_of_run import RESUMED, lake, registry
from tasks.packages.registered import read_manifest
from tasks.rollouts.moves import stage_in_words
from tasks.rollouts.stages import plan_in_words, planned, spread_of_contest
from tasks.steps.rollout import point_registry
from tasks.steps.rollout_announcements import announce, in_short_of
from usecases.definition import Stage, UseCase, load
from usecases.definition.rollouts import misfits, rollout_named

BEGAN = "Rollout began"


class RolloutRefused(RegistryError):
    """The rollout cannot begin; the message says what to do."""


def wanted_stages(use_case: str, asked: str | None) -> tuple[Stage, ...]:
    """What a winner goes through: as ``asked`` for this promotion, or as the file says. Raises
    ``RolloutRefused``."""
    case = load(use_case)
    if asked is None:
        return case.stages
    try:
        stages = rollout_named(asked, case.rollout)
    except ValueError as error:
        raise RolloutRefused(f"{error}.") from error
    target = (case.target.kind, case.label)
    if problems := misfits(stages, case.gate.metric, *target, case.column_names):
        raise RolloutRefused(f"{'; '.join(problems)}.")
    return stages


@task(**RESUMED)
def check_rollout(challenger: ModelVersion, asked: str | None) -> None:
    """Refuse before the contest what cannot follow it: a second rollout, or one of a challenger
    that today's callers cannot ask. Raises ``RolloutRefused``."""
    use_case = challenger.use_case
    stages = wanted_stages(use_case, asked)
    if standing := find_running(lake(), registry(), use_case):
        under_way = because("rollout_under_way", version=standing.version, use_case=use_case)
        raise RolloutRefused(
            f"Challenger {challenger.number} of {use_case!r} is not judged now: {under_way}."
        )
    champion = find_champion(use_case) if stages else None
    if champion is not None:
        at_once = f"promote {use_case} --param version={challenger.number}"
        _check_callers(challenger, champion, f"{at_once} --param rollout=immediate")


@task(**RESUMED)
def check_adopted_rollout(use_case: str, number: str, asked: str | None) -> bool:
    """Whether a person's version is rolled out as ``asked``, and not crowned at once. What cannot
    be rolled out is refused before anything changes. Raises ``RolloutRefused``."""
    use_case = load(use_case).name
    if not asked or not wanted_stages(use_case, asked):
        return False
    champion = find_champion(use_case)
    if number == NOBODY or champion is None:
        raise RolloutRefused(
            f"A rollout compares a version with the champion of {use_case!r}, and here is none to "
            "compare: adopt without rollout."
        )
    if number == champion.number:
        raise RolloutRefused(f"Version {number} of {use_case!r} is the champion already.")
    version = registry().version(use_case, number)
    _check_callers(version, champion, f"adopt {use_case} --param version={number} ...")
    return True


def _check_callers(version: ModelVersion, champion: ModelVersion, at_once: str) -> None:
    names = (f"challenger {version.number}", f"champion {champion.number}")
    learned, served = (read_manifest(registry(), each) for each in (version, champion))
    if problem := other_questions(names, learned, served):
        raise RolloutRefused(
            f"{problem} It cannot meet the callers of today. Crown it without a rollout: laurel "
            f"run {at_once}."
        )


def other_questions(names: tuple[str, str], learned: Manifest, served: Manifest) -> str:
    """Why a challenger cannot answer the champion's callers; empty if it can."""
    asked = {(feature.name, feature.kind) for feature in served.features}
    more = sorted(f"{f.name} ({f.kind})" for f in learned.features if (f.name, f.kind) not in asked)
    if more:
        return f"{names[0].capitalize()} needs {', '.join(more)}, which {names[1]} does not take."
    told, wanted = (
        {(output.name, output.kind) for output in each.outputs if output.kind == "number"}
        for each in (learned, served)
    )
    if (learned.label, told) != (served.label, wanted):
        return f"{names[0].capitalize()} answers something else than {names[1]}."
    return ""


def begins_rollout(contest: Decision) -> bool:
    """Whether the winner of the contest is rolled out, and not crowned at once: there must be a
    champion to compare with."""
    return bool(contest.champion and wanted_stages(contest.use_case, asked_rollout(contest)))


@task(task_run_name="begin the rollout of version {winner.number}", **RESUMED)
def begin_rollout(winner: ModelVersion, contest: Decision) -> Outcome:
    """Record the plan, let the services follow it, and tell people. Raises ``RolloutRefused`` if
    another rollout has begun meanwhile, or the version is champion."""
    case = load(winner.use_case)
    plan = _planned(case, contest)
    entry = _begin(winner, contest.champion, contest.challenger, plan)
    message = because(
        "rollout_instead_of_crown",
        began=in_short_of(entry),
        challenger=contest.challenger,
        contest=in_a_sentence(contest),
    )
    return Outcome(BEGAN, message)


@task(task_run_name="begin the rollout of version {version.number}", **RESUMED)
def begin_adopted_rollout(
    version: ModelVersion, champion: str | None, asked: str, by: str, why: str
) -> Outcome:
    """As ``begin_rollout``, of a version that a person wants to crown without a contest."""
    case = load(version.use_case)
    stages = [planned(case, stage, None) for stage in wanted_stages(case.name, asked)]
    plan = _Plan(stages, [because("rollout_asked_by", by=by, why=why)])
    entry = _begin(version, champion, version.tags.get("laurel.refit_of"), plan)
    return Outcome(BEGAN, in_short_of(entry))


@dataclass(frozen=True)
class _Plan:
    """What a rollout will be, and what is said of it; ``differences`` as in ``Rollout``."""

    stages: list[Planned]
    reasons: list[Reason]
    differences: list[float] = field(default_factory=list)


def _planned(case: UseCase, contest: Decision) -> _Plan:
    spread = spread_of_contest(contest.contest)
    written = wanted_stages(case.name, asked_rollout(contest))
    stages = [planned(case, stage, spread) for stage in written]
    measured_in = contest.contest.main.metric if contest.contest else ""
    reasons = plan_in_words(case, stages, spread, measured_in)
    return _Plan(stages, reasons, mean_differences(contest))


def mean_differences(contest: Decision) -> list[float]:
    """By how much the challenger's mean answer is above the champion's on the hold-out; of classes,
    each one's. Empty for a contest from before that was recorded."""
    known = (contest.facts.get(mean_difference(place)) for place in count())
    return list(takewhile(lambda value: isinstance(value, float), known))  # type: ignore[arg-type]


def _begin(
    version: ModelVersion, champion: str | None, challenger: str | None, plan: _Plan
) -> Entry:
    """Record the beginning, let the services follow it, and tell people."""
    if version.number == champion:
        raise RolloutRefused(
            f"Version {version.number} of {version.use_case!r} is the champion: there is nothing "
            "to compare it with."
        )
    run = root_run()
    rollout = Rollout(
        id=f"{version.number}-{hashlib.sha256((run or now()).encode()).hexdigest()[:8]}",
        stages=plan.stages,
        since=now(),
        thread=run,
        differences=plan.differences,
    )
    began = because("rollout_began", version=version.number, stages=_chain(rollout))
    entry = _record_beginning(
        Decision(
            use_case=version.use_case,
            kind="rollout",
            verdict="began",
            reasons=[began, *plan.reasons],
            version=version.number,
            challenger=challenger,
            champion=champion,
            rollout=rollout,
            **stamp(),
        )
    )
    assert entry.rollout is not None
    point_registry(version, entry.rollout)
    announce(entry)
    return entry


def _record_beginning(beginning: Decision) -> Entry:
    """The entry of the rollout, which may stand already. Of two that begin in the same moment the
    ledger takes one."""
    use_case, version = beginning.use_case, beginning.version
    assert beginning.rollout is not None
    while True:
        last = read(lake(), use_case, 1)  # before the look: what comes after it shows
        standing = find_running(lake(), registry(), use_case)
        if standing is not None and standing.rollout.id == beginning.rollout.id:
            return standing.entry
        if standing is not None:
            under_way = because("rollout_under_way", version=standing.version, use_case=use_case)
            raise RolloutRefused(f"Version {version} is not rolled out: {under_way}.")
        with suppress(Overtaken):
            return record(beginning, after=last[-1].sequence if last else 0)


def _chain(rollout: Rollout) -> list[str]:
    return [stage_in_words(replace(rollout, stage=place)) for place in range(len(rollout.stages))]


def asked_rollout(contest: Decision) -> str | None:
    """What was asked for this promotion, if anything."""
    asked = contest.facts.get("rollout")
    return str(asked) if asked else None
