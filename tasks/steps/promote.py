"""The steps of ``promote``: the challenger, and its contest."""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import polars as pl
from prefect import task

from blocks.clients.registry import CHALLENGER
from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import Manifest
from serving.package.model import Package
from serving.records.ledger import Decision
from serving.records.reasons import Reason, because
from tasks.contest.decide import Contestant, decide
from tasks.contest.fairness import other_schema, why_unfair
from tasks.contest.tries import earlier_contests
from tasks.data.dataset import DatasetVersion, read_periods, read_version
from tasks.data.row_digests import HoldoutOverlap, rows_in
from tasks.data.sampling import draw_rows
from tasks.ledger.entries import read, root_run, stamp
from tasks.ledger.outcomes import next_step
from tasks.ledger.reign import find_champion
from tasks.models import modelling, settings
from tasks.models.fingerprint import other_answer
from tasks.models.refits import refit_scores, refits_of
from tasks.outside.blocks_of_run import RESUMED, lake, registry
from tasks.packages.own_columns import OtherColumns, own_rows
from tasks.packages.registered import open_package
from tasks.steps.approve.ask import asks_person
from tasks.steps.rematch import REMATCH, before_refit, definition_of
from usecases.definition import UseCase, load, period_named, periods_of


@task(**RESUMED)
def find_challenger(use_case: str, number: str | None) -> ModelVersion:
    """Return the named version, or the one with the alias. Raises ``RegistryError`` if there is
    none."""
    case, store = load(use_case), registry()
    if number is not None:
        return store.version(case.name, number)
    version = store.at(case.name, CHALLENGER)
    if version is None:
        raise RegistryError(
            f"{use_case!r} has no challenger. Make one: laurel run evaluate {use_case}."
        )
    return version


@task(task_run_name="contest of version {challenger.number}", **RESUMED)
def hold_contest(challenger: ModelVersion, seed: int, rollout: str | None = None) -> Decision:
    """Judge champion and challenger, each from its own package and with its own columns, on the
    same rows that neither was trained on.

    ``rollout`` is what was asked for this promotion; the decision keeps it, for who approves it
    later. Raises ``CrownUnclear`` if the champion is unclear."""
    case = load(challenger.use_case)
    champion = find_champion(case.name)
    if champion is not None and champion.number == challenger.number:
        raise RegistryError(
            f"Version {champion.number} of {case.name!r} is already the champion: it cannot "
            "contest itself."
        )
    decision = _judge(case, champion, challenger, seed)
    step = next_step(case, decision, asks_person(decision))
    asked = {"rollout": rollout} if rollout else {}
    return replace(decision, facts={**decision.facts, "next": step, **asked})


def _judge(
    case: UseCase, champion: ModelVersion | None, challenger: ModelVersion, seed: int
) -> Decision:
    holdout = challenger.tags.get("laurel.holdout", "")
    with ExitStack() as packages:
        package, _ = packages.enter_context(open_package(registry(), challenger))
        ground = _Ground.of(case, package.manifest, holdout)
        contestant = because("challenger_named", version=challenger.number)
        unfair = ground.why_unfair(contestant, package.manifest) or other_schema(
            case, contestant, package.manifest
        )
        other, stand_in = None, None
        if champion is not None and not unfair:
            other, stand_in = _enter_opponent(packages, ground, champion, challenger)
        enters = ground.enter_challenger(challenger, package, unfair, seed)
        entries = read(lake(), case.name)
        earlier = earlier_contests(entries, holdout, root_run(), challenger.number)
        judgement = decide(case, enters, other, seed, earlier)
    facts = {**judgement.facts, "definition": definition_of(challenger, package.manifest)}
    reasons = judgement.reasons
    if stand_in is not None:
        facts["stand_in"] = stand_in.number
        reasons = [*reasons, _why_stand_in(stand_in, holdout)]
    return Decision(
        use_case=case.name,
        kind="contest",
        challenger=challenger.number,
        champion=champion.number if champion else None,
        holdout=holdout,
        dataset_version=ground.dataset.version,
        promoted=judgement.promoted,
        verdict=judgement.verdict,
        reasons=reasons,
        contest=judgement.contest,
        gate_score=judgement.gate_score,
        behaviours=judgement.behaviours,
        latency=judgement.latency,
        facts=facts,
        changes=settings.changes_between(
            champion.tags.get(settings.TAG), challenger.tags.get(settings.TAG)
        )
        if champion
        else [],
        **stamp(),
    )


def _enter_opponent(
    packages: ExitStack, ground: "_Ground", champion: ModelVersion, challenger: ModelVersion
) -> tuple[Contestant, ModelVersion | None]:
    """Return the champion; in a rematch on a hold-out that it has learned, the version that it was
    refitted from and that has not, which stands in for it."""
    package, _ = packages.enter_context(open_package(registry(), champion))
    title = because("champion_named", version=champion.number)
    stand_in = None
    planned = challenger.tags.get(REMATCH) == champion.number
    if planned and ground.is_learned_by(package.manifest):
        stand_in = before_refit(champion, ground.holdout)
    if stand_in is None:
        return ground.enter_champion(title, package), None
    package, _ = packages.enter_context(open_package(registry(), stand_in))
    title = because("stand_in_named", champion=champion.number, version=stand_in.number)
    return ground.enter_champion(title, package), stand_in


def _why_stand_in(stand_in: ModelVersion, holdout: str) -> Reason:
    return because("stood_in", holdout=holdout, version=stand_in.number)


@dataclass(frozen=True)
class _Ground:
    """What a contest is held on: the labelled rows of the hold-out."""

    case: UseCase
    dataset: DatasetVersion
    holdout: str
    rows: pl.DataFrame
    overlap: HoldoutOverlap

    @classmethod
    def of(cls, case: UseCase, manifest: Manifest, holdout: str) -> Self:
        dataset = read_version(lake(), case.name, manifest.dataset_version)
        rows = read_periods(lake(), dataset, periods_of(holdout), case.label)
        return cls(case, dataset, holdout, rows, HoldoutOverlap(case, rows, rows_in(lake(), case)))

    def why_unfair(self, contestant: str, manifest: Manifest) -> list[str]:
        judged_on = self.dataset.digests(periods_of(self.holdout))
        return why_unfair(contestant, manifest.trained_on, judged_on, self.overlap)

    def is_learned_by(self, manifest: Manifest) -> bool:
        return not manifest.trained_on.keys().isdisjoint(periods_of(self.holdout))

    def training(self, manifest: Manifest, seed: int) -> pl.DataFrame:
        """Return labelled rows that a package of this dataset version was fitted on, or, of a
        sample, rows that were drawn in the same way."""
        periods = sorted(manifest.trained_on, key=period_named)
        return draw_rows(lake(), self.dataset, periods, self.case, seed).rows

    def enter_challenger(
        self, version: ModelVersion, package: Package, unfair: list[str], seed: int
    ) -> Contestant:
        """Return the challenger, with the candidates that it was chosen from on these rows, and
        refits of its recipe."""
        case, manifest = self.case, package.manifest
        if unfair:
            return Contestant(package, self.rows, unfair)
        rivals = [
            modelling.predict(registry().load_model(run_id), case, self.rows)
            for run_id in version.tags.get("laurel.rivals", "").split()
        ]
        files = [file for file in self.dataset.periods if file.period in manifest.trained_on]
        whole = sum(file.labelled for file in files)
        number = refits_of(case, min(whole, case.sample.rows) if case.sample else whole)
        training = partial(self.training, manifest, seed)

        def refits() -> list[np.ndarray]:
            name, params = manifest.recipe, manifest.params
            return refit_scores(case, name, params, training(), self.rows, number, seed)

        return Contestant(
            package,
            self.rows,
            training=training,
            rivals=rivals,
            refits=refits if number else None,
        )

    def enter_champion(self, contestant: str, package: Package) -> Contestant:
        """Return the champion with its own columns of the rows; without rows if it has another
        schema."""
        manifest = package.manifest
        if unfair := self.why_unfair(contestant, manifest):
            return Contestant(package, self.rows, unfair)
        try:
            return Contestant(package, _rows_of(self.case, manifest, self.rows, self.holdout))
        except OtherColumns as error:
            reason = because("cannot_be_scored", who=contestant, why=error.args[0])
            return Contestant(package, self.rows.clear(), [reason], unscored=True)


def _rows_of(case: UseCase, manifest: Manifest, rows: pl.DataFrame, holdout: str) -> pl.DataFrame:
    """Return the hold-out with the champion's columns. Raises ``OtherColumns``, also if it predicts
    something else."""
    if other := other_answer(case, manifest):
        raise OtherColumns(other)
    return own_rows(lake(), case, manifest, rows, holdout)


@task(**RESUMED)
def retire_challenger(challenger: ModelVersion) -> None:
    """Take the alias from a challenger that was judged, whoever has the crown now."""
    holder = registry().at(challenger.use_case, CHALLENGER)
    if holder is not None and holder.number == challenger.number:
        registry().remove_alias(challenger.use_case, CHALLENGER)
