"""The steps of ``promote`` and ``rollback``. The contest is here; what follows it is in the modules whose names are given on."""

import math
from typing import cast

import numpy as np
import polars as pl
from prefect import task

from blocks.registry import CHALLENGER, CHAMPION, ModelVersion, RegistryError
from tasks import modelling
from tasks.behaviour import failures, try_behaviours
from tasks.champions import opened
from tasks.contest import Contest, Verdict, hold, weigh
from tasks.dataset import DatasetVersion, read_periods, read_version
from tasks.decisions import record_decision
from tasks.latency import time_packages, too_slow
from tasks.leaks import doubt, strongest_column
from tasks.ledger import Decision
from tasks.metrics import score
from tasks.outside import RESUMED, lake, registry
from tasks.packaging import score_rows
from tasks.row_digests import Seen
from usecases.definition import ROC_AUC, UseCase, load

__all__ = [
    "Decision",
    "find_challenger",
    "hold_contest",
    "judge_rows",
    "record_decision",
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
        rows_seen = Seen(lake(), case, rows)
        decision = Decision(
            use_case=use_case,
            kind="contest",
            challenger=challenger.number,
            champion=champion.number if champion else None,
            holdout=holdout,
            dataset_version=dataset.version,
            promoted=False,
            verdict="unfair",
            reasons=seen(f"challenger {challenger.number}", manifest.trained_on, dataset, holdout, rows_seen),
            contest=None,
            gate_score=manifest.metrics[case.gate.metric.name],
        )
        if decision.reasons:
            return decision
        decision = decision.model_copy(update={"behaviours": try_behaviours(case, package, rows, seed)})
        scores = score_rows(package, rows)
        if champion is None:
            return _without_champion(case, decision, rows, scores)
        with opened(store, champion) as (other, _):
            if unfair := seen(f"champion {champion.number}", other.manifest.trained_on, dataset, holdout, rows_seen):
                return decision.model_copy(update={"reasons": unfair})
            before, latency = score_rows(other, rows), time_packages(other, package, rows)
    contest = judge_rows(case, rows, before, scores, seed)
    decision = decision.model_copy(update={"contest": contest, "latency": latency, "verdict": contest.verdict, "reasons": contest.reasons})
    return _weighed(case, decision, rows, scores, before)


def _weighed(case: UseCase, decision: Decision, rows: pl.DataFrame, scores: np.ndarray, champion: np.ndarray | None) -> Decision:
    """The verdict on the scores, with what else is known: how the package behaves, how long it takes, whether one column tells all."""
    truth = modelling.labels(case, rows)
    column, alone = strongest_column(case, rows)
    theirs = None if champion is None else score(ROC_AUC, truth, champion)
    doubts = doubt(case.promotion.suspicious_column, column, alone, score(ROC_AUC, truth, scores), theirs)
    against = [*failures(decision.behaviours), *too_slow(case.promotion, decision.latency)]
    verdict, reasons = weigh(cast(Verdict, decision.verdict), decision.reasons, against, doubts)
    facts = {"strongest_column": column, "strongest_column_roc_auc": None if math.isnan(alone) else alone}
    return decision.model_copy(update={"verdict": verdict, "reasons": reasons, "promoted": verdict == "promote", "facts": facts})


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


def seen(who: str, trained_on: dict[str, str], dataset: DatasetVersion, holdout: str, rows: Seen) -> list[str]:
    """Why a contest on ``holdout`` would be unfair: by the period's name, by the digest of its file, and by the digests of its rows."""
    digest = dataset.digests([holdout])[holdout]
    if holdout in trained_on or digest in trained_on.values():
        return [f"{who} was trained on {holdout}, so it cannot be judged on it"]
    if max(trained_on) > holdout:
        return [f"{who} was trained through {max(trained_on)}, later than {holdout}: it knows the future of those rows"]
    return rows.why_unfair(who, trained_on)


def _without_champion(case: UseCase, decision: Decision, rows: pl.DataFrame, scores: np.ndarray) -> Decision:
    """Nobody to contest: the gate decides, and a score too good to be true is suspicious here too."""
    gate, name = case.gate, case.gate.metric.name
    gate_score = math.nan if decision.gate_score is None else decision.gate_score
    reason = f"no champion yet; {name} {gate_score:.4f} against the gate of {gate.threshold:g}"
    verdict: Verdict = "promote" if gate.passes(gate_score) else "keep"
    if name == "roc_auc" and gate_score > case.promotion.suspicious_score:
        verdict, reason = "suspicious", f"{name} {gate_score:.4f} is too good to be true: look for a leak"
    return _weighed(case, decision.model_copy(update={"verdict": verdict, "reasons": [reason]}), rows, scores, None)


@task(**RESUMED)
def retire_challenger(challenger: ModelVersion) -> None:
    """Take the alias from a challenger that was judged: it wants the crown no more, whoever has it now."""
    holder = registry().at(challenger.use_case, CHALLENGER)
    if holder is not None and holder.number == challenger.number:
        registry().remove_alias(challenger.use_case, CHALLENGER)
