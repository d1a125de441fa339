"""The beginning of a rollout, where ``promote`` would give the crown: whether there is one, its
plan, and what cannot be rolled out."""

import hashlib
from contextlib import suppress
from dataclasses import replace
from itertools import count, takewhile

from prefect import task

from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import Manifest
from serving.records.contest import mean_difference
from serving.records.ledger import Decision, Entry
from serving.records.reasons import because
from serving.records.rollout import Rollout
from tasks.ledger.entries import Overtaken, now, read, record, root_run, stamp
from tasks.ledger.outcomes import Outcome, in_a_sentence
from tasks.ledger.reign import find_champion
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
    if champion is None:
        return
    names = (f"challenger {challenger.number}", f"champion {champion.number}")
    learned, served = (read_manifest(registry(), each) for each in (challenger, champion))
    if problem := other_questions(names, learned, served):
        raise RolloutRefused(
            f"{problem} It cannot meet the callers of today. Crown it without a rollout: laurel "
            f"run promote {use_case} --param version={challenger.number} --param rollout=immediate."
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
    name = f"{winner.number}-{hashlib.sha256((root_run() or now()).encode()).hexdigest()[:8]}"
    if winner.number == contest.champion:
        raise RolloutRefused(
            f"Version {winner.number} of {case.name!r} is the champion: there is nothing to "
            "compare it with."
        )
    entry = _record_beginning(case, winner, contest, name)
    assert entry.rollout is not None
    point_registry(winner, entry.rollout)
    announce(entry)
    message = because(
        "rollout_instead_of_crown",
        began=in_short_of(entry),
        challenger=contest.challenger,
        contest=in_a_sentence(contest),
    )
    return Outcome(BEGAN, message)


def mean_differences(contest: Decision) -> list[float]:
    """By how much the challenger's mean answer is above the champion's on the hold-out; of classes,
    each one's. Empty for a contest from before that was recorded."""
    known = (contest.facts.get(mean_difference(place)) for place in count())
    return list(takewhile(lambda value: isinstance(value, float), known))  # type: ignore[arg-type]


def _record_beginning(case: UseCase, winner: ModelVersion, contest: Decision, name: str) -> Entry:
    """The entry of the rollout ``name``, which may stand already. Of two that begin in the same
    moment the ledger takes one."""
    while True:
        last = read(lake(), case.name, 1)  # before the look: what comes after it shows
        standing = find_running(lake(), registry(), case.name)
        if standing is not None and standing.rollout.id == name:
            return standing.entry
        if standing is not None:
            under_way = because("rollout_under_way", version=standing.version, use_case=case.name)
            raise RolloutRefused(f"Version {winner.number} is not rolled out: {under_way}.")
        with suppress(Overtaken):
            beginning = _beginning(case, winner, contest, name)
            return record(beginning, after=last[-1].sequence if last else 0)


def _beginning(case: UseCase, winner: ModelVersion, contest: Decision, name: str) -> Decision:
    """The plan, for the ledger."""
    spread = spread_of_contest(contest.contest)
    written = wanted_stages(case.name, asked_rollout(contest))
    stages = [planned(case, stage, spread) for stage in written]
    rollout = Rollout(
        id=name,
        stages=stages,
        since=now(),
        thread=root_run(),
        differences=mean_differences(contest),
    )
    measured_in = contest.contest.main.metric if contest.contest else ""
    return Decision(
        use_case=case.name,
        kind="rollout",
        verdict="began",
        reasons=[
            because("rollout_began", version=winner.number, stages=_chain(rollout)),
            *plan_in_words(case, stages, spread, measured_in),
        ],
        version=winner.number,
        challenger=contest.challenger,
        champion=contest.champion,
        rollout=rollout,
        **stamp(),
    )


def _chain(rollout: Rollout) -> list[str]:
    return [stage_in_words(replace(rollout, stage=place)) for place in range(len(rollout.stages))]


def asked_rollout(contest: Decision) -> str | None:
    """What was asked for this promotion, if anything."""
    asked = contest.facts.get("rollout")
    return str(asked) if asked else None
