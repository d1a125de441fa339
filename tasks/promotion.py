"""The steps of ``promote`` and ``rollback``. The contest is here; what follows it is in the modules whose names are given on."""

import math

import numpy as np
import polars as pl
from prefect import task

from blocks.registry import CHALLENGER, CHAMPION, ModelVersion, RegistryError
from tasks import modelling
from tasks.champions import opened
from tasks.contest import Contest, hold
from tasks.crowning import CROWNED_AT, NotServed, crown, refit_winner
from tasks.dataset import DatasetVersion, read_periods, read_version
from tasks.decisions import record_decision
from tasks.ledger import Decision
from tasks.outside import RESUMED, lake, registry
from tasks.packaging import score_rows
from tasks.rollback import find_predecessor, prove_package, record_rollback
from usecases.definition import UseCase, load

__all__ = [
    "CROWNED_AT",
    "Decision",
    "NotServed",
    "crown",
    "find_challenger",
    "find_predecessor",
    "hold_contest",
    "judge_rows",
    "prove_package",
    "record_decision",
    "record_rollback",
    "refit_winner",
    "retire_challenger",
    "seen",
]


@task(**RESUMED)
def find_challenger(use_case: str, number: str | None) -> ModelVersion:
    """The named version, or the one with the alias. Raises ``RegistryError`` where there is none."""
    case, store = load(use_case), registry()
    if number is not None:
        return store.version(case.name, number)
    found = store.at(case.name, CHALLENGER)
    if found is None:
        raise RegistryError(f"{use_case!r} has no challenger. Make one: prefect deployment run 'evaluate/{use_case}'.")
    return found


@task(task_run_name="contest of version {challenger.number}", **RESUMED)
def hold_contest(challenger: ModelVersion, seed: int) -> Decision:
    """Champion and challenger, each from its own package, on the same rows that neither was trained on."""
    use_case, store = challenger.use_case, registry()
    case, champion = load(use_case), store.at(use_case, CHAMPION)
    if champion is not None and champion.number == challenger.number:
        raise RegistryError(f"Version {champion.number} of {use_case!r} is the champion already: it cannot contest itself.")
    with opened(store, challenger) as (package, _):
        manifest, holdout = package.manifest, challenger.tags.get("laurel.holdout", "")
        dataset = read_version(lake(), use_case, manifest.dataset_version)
        rows = read_periods(lake(), dataset, [holdout], case.label)
        scores = score_rows(package, rows)
    decision = Decision(
        use_case=use_case,
        kind="contest",
        challenger=challenger.number,
        champion=champion.number if champion else None,
        holdout=holdout,
        dataset_version=dataset.version,
        promoted=False,
        verdict="unfair",
        reasons=seen(f"challenger {challenger.number}", manifest.trained_on, dataset, holdout),
        contest=None,
        gate_score=manifest.metrics[case.gate.metric.name],
    )
    if decision.reasons:
        return decision
    if champion is None:
        return _without_champion(case, decision)
    with opened(store, champion) as (package, _):
        if unfair := seen(f"champion {champion.number}", package.manifest.trained_on, dataset, holdout):
            return decision.model_copy(update={"reasons": unfair})
        contest = judge_rows(case, rows, score_rows(package, rows), scores, seed)
    found = {"contest": contest, "verdict": contest.verdict, "reasons": contest.reasons, "promoted": contest.promoted}
    return decision.model_copy(update=found)


def judge_rows(case: UseCase, rows: pl.DataFrame, champion: np.ndarray, challenger: np.ndarray, seed: int) -> Contest:
    """The contest on labelled ``rows``: blocks from the event time, slices from the promotion rule's columns."""
    policy = case.promotion
    width = {"hour": "1h", "day": "1d", "week": "1w"}[policy.block]
    block = rows[case.event_time].dt.truncate(width).to_numpy()
    slices = {
        f"{name}={value}": (rows[name] == value).fill_null(False).to_numpy()
        for name in policy.slices
        for value in rows[name].drop_nulls().unique().sort()
    }
    return hold(policy, case.gate.metric, modelling.labels(case, rows), champion, challenger, block, slices, seed)


def seen(who: str, trained_on: dict[str, str], dataset: DatasetVersion, holdout: str) -> list[str]:
    """Why a contest on ``holdout`` would be unfair: by the period's name, and by the digest of its rows."""
    digest = dataset.digests([holdout])[holdout]
    if holdout in trained_on or digest in trained_on.values():
        return [f"{who} was trained on {holdout}, so it cannot be judged on it"]
    if max(trained_on) > holdout:
        return [f"{who} was trained through {max(trained_on)}, later than {holdout}: it knows the future of those rows"]
    return []


def _without_champion(case: UseCase, decision: Decision) -> Decision:
    """Nobody to contest: the gate decides, and a score too good to be true is suspicious here too."""
    gate, name = case.gate, case.gate.metric.name
    score = math.nan if decision.gate_score is None else decision.gate_score
    if name == "roc_auc" and score > case.promotion.suspicious_score:
        reason = f"{name} {score:.4f} is too good to be true: look for a leak"
        return decision.model_copy(update={"verdict": "suspicious", "reasons": [reason]})
    passed = gate.passes(score)
    reason = f"no champion yet; {name} {score:.4f} against the gate of {gate.threshold:g}"
    return decision.model_copy(update={"verdict": "promote" if passed else "keep", "promoted": passed, "reasons": [reason]})


@task(**RESUMED)
def retire_challenger(challenger: ModelVersion) -> None:
    """Take the alias from a challenger that was judged: it wants the crown no more, whoever has it now."""
    holder = registry().at(challenger.use_case, CHALLENGER)
    if holder is not None and holder.number == challenger.number:
        registry().remove_alias(challenger.use_case, CHALLENGER)
