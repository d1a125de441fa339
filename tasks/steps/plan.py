"""What a training will do: the training rows, the hold-out and the recipes."""

from collections.abc import Sequence
from uuid import uuid4

import polars as pl
from prefect import get_run_logger, task

from blocks.registry import ModelVersion
from blocks.settings import Settings
from serving.package.manifest import Manifest
from serving.records.reasons import Reason, Sentence, because
from tasks.data.dataset import DatasetMissing, DatasetVersion, read_periods, read_version
from tasks.data.room import TooManyRows, room_of
from tasks.data.sampling import Drawn, draw_rows
from tasks.data.targets import lacks
from tasks.ledger.reign import find_champion
from tasks.models.fingerprint import has_new_search
from tasks.models.selection import Recipe, Tried, choose_recipes, is_candidate
from tasks.outside.blocks_of_run import RESUMED, lake, registry
from tasks.packages.registered import read_manifest
from tasks.steps.rematch import Rematch, learned_in_refit, plan_rematch
from usecases.definition import (
    UseCase,
    holdout_named,
    last_of,
    load,
    names_before,
    period_named,
    periods_of,
)
from usecases.definition.columns import Frozen


class Plan(Frozen):
    """What is trained on which periods: ``periods`` end strictly before ``holdout``, the latest
    labelled period, or several of them. ``rematch``: the champion has learned them already.

    ``recipes`` are fitted on all of them: one that was chosen on ``chosen_on``, the last, from the
    recipes ``tried``, or all if they could not be compared there."""

    id: str
    use_case: str
    dataset_version: str
    periods: tuple[str, ...]
    holdout: str
    recipes: tuple[Recipe, ...]
    seed: int
    chosen_on: str = ""
    tried: tuple[Tried, ...] = ()
    rematch: Rematch | None = None

    @property
    def competed(self) -> tuple[Recipe, ...]:
        return tuple(trial.recipe for trial in self.tried) or self.recipes

    @property
    def new_search(self) -> bool:
        """Whether HPO runs even if a candidate passes the gate."""
        return self.rematch is not None and has_new_search(self.rematch.changes)

    @property
    def window(self) -> str:
        return f"{self.periods[0]}..{self.periods[-1]}"


class HoldoutUnjudgeable(ValueError):
    """The hold-out has only positive or only negative rows. The message says what to do."""


class NothingToDo(Frozen):
    """There is nothing to train for, and why: an outcome, not a failure."""

    reason: Sentence


@task(**RESUMED)
def plan_training(
    use_case: str,
    dataset_version: str | None,
    holdout: str | None,
    seed: int,
    again: bool = False,
) -> Plan | NothingToDo:
    """Choose windows and recipes. Windows expand, to ``train_periods`` at most; the hold-out is the
    latest labelled period, or the ``Promotion.holdout_periods`` latest, through the period
    ``holdout`` if one is named.

    The champion's recipe always competes, refitted on the longer window. If the champion has
    learned one of them, there is ``NothingToDo``, unless the definition has changed since or
    somebody asks for a contest ``again``. Raises ``DatasetMissing`` for a window without rows,
    ``HoldoutUnjudgeable``, and ``CrownUnclear``."""
    case, dataset = load(use_case), read_version(lake(), use_case, dataset_version)
    labelled = dataset.labelled_periods
    last = holdout or (labelled[-1] if labelled else "")
    through = [*names_before(last, labelled), last] if last in labelled else []
    judged = last_of(through, case.promotion.holdout_periods)
    if not judged:
        raise DatasetMissing(
            f"Dataset {dataset.version} of {use_case!r} has labelled periods {labelled}: a "
            f"hold-out{f' {holdout}' if holdout else ''} and at least one period before it are "
            f"needed. Ingest more: laurel run ingest {use_case}."
        )
    champion, reigning, rematch = find_champion(use_case), None, None
    if champion is not None:
        manifest = read_manifest(registry(), champion)
        if period_named(manifest.trained_through).reaches(period_named(judged[0])):
            reason = _has_learned(case, champion, manifest, through)
            judged = learned_in_refit(champion, manifest, through) or judged
            answer = plan_rematch(case, champion, manifest, holdout_named(judged), again)
            if isinstance(answer, str):
                return NothingToDo(reason=because("nothing_new", learned=reason, next=answer))
            rematch = answer
        reigning = _recipe_of(case, champion, manifest)
    _check_labels(case, dataset, judged)
    periods = case.training_window(names_before(judged[0], labelled))
    _check_room(case, dataset, [*periods, *judged])
    return Plan(
        id=f"{judged[-1]}-{uuid4().hex[:8]}",
        use_case=use_case,
        dataset_version=dataset.version,
        periods=periods,
        holdout=holdout_named(judged),
        recipes=choose_recipes(case, reigning),
        seed=seed,
        rematch=rematch,
    )


def _has_learned(
    case: UseCase, champion: ModelVersion, manifest: Manifest, through: Sequence[str]
) -> Reason:
    """Say that too few of the labelled periods ``through`` the hold-out are newer than the
    champion, in a sentence."""
    needed, limit = case.promotion.holdout_periods, period_named(manifest.trained_through)
    newer = [period for period in through if not limit.reaches(period_named(period))]
    if not newer:
        return because(
            "has_learned_all",
            champion=champion.number,
            use_case=case.name,
            through=manifest.trained_through,
            latest=through[-1],
        )
    return because(
        "has_learned_most",
        champion=champion.number,
        use_case=case.name,
        through=manifest.trained_through,
        needed=needed,
        newer=holdout_named(newer),
    )


def _recipe_of(case: UseCase, champion: ModelVersion, manifest: Manifest) -> Recipe:
    """Return the champion's recipe, and warn if the use case no longer has it."""
    if not is_candidate(case, manifest.recipe):
        warning = (
            "champion %s of %s came from %r, which is no longer a candidate of the use case: "
            "it does not compete again"
        )
        get_run_logger().warning(warning, champion.number, case.name, manifest.recipe)
    return Recipe(
        candidate=manifest.recipe, params=manifest.params, why=f"champion {champion.number}"
    )


def _check_labels(case: UseCase, dataset: DatasetVersion, judged: Sequence[str]) -> None:
    """Raises ``HoldoutUnjudgeable`` before anything is fitted that could not be judged."""
    labels = read_periods(lake(), dataset, judged, case.label)[case.label]
    if missing := lacks(case, labels):
        others = names_before(judged[0], dataset.labelled_periods)[1:]
        way = (
            f"laurel run train {case.name} --param holdout={others[-1]}"
            if others
            else f"'ingest/{case.name}'"
        )
        raise HoldoutUnjudgeable(
            f"The hold-out {holdout_named(judged)} of {case.name!r} has {len(labels):,} labelled "
            f"rows, and {missing}: nothing can be judged on them. Check whether all of its labels "
            f"have arrived; ingest more, or name another hold-out: {way}."
        )


def _check_room(case: UseCase, dataset: DatasetVersion, periods: Sequence[str]) -> None:
    """Raises ``TooManyRows`` if a stated memory is too small for what the refit of a winner learns,
    and warns if the machine's may be."""
    rows = sum(file.labelled for file in dataset.periods if file.period in periods)
    room = room_of(Settings.read().memory_gib)
    why = room.why_too_small(case, rows)
    if why and room.stated:
        raise TooManyRows(why)
    if why:
        get_run_logger().warning(why)


def training_rows(case: UseCase, plan: Plan) -> tuple[DatasetVersion, Drawn]:
    """Return the dataset version of the plan, and the labelled rows of its training window, or a
    sample of them."""
    dataset = read_version(lake(), plan.use_case, plan.dataset_version)
    return dataset, draw_rows(lake(), dataset, plan.periods, case, plan.seed)


def holdout_rows(case: UseCase, plan: Plan) -> pl.DataFrame:
    """Return the labelled rows of the plan's hold-out."""
    dataset = read_version(lake(), plan.use_case, plan.dataset_version)
    return read_periods(lake(), dataset, periods_of(plan.holdout), case.label)
