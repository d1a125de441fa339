"""The steps of ``promote``: which challenger there is, and the contest that it is given."""

import math
from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
from prefect import task

from blocks.clients.registry import CHALLENGER
from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import Manifest
from serving.records.contest import Verdict
from serving.records.ledger import Decision
from tasks.contest.behaviour import failures, try_behaviours
from tasks.contest.decide import blocks_of, judge_rows, other_schema, seen
from tasks.contest.latency import time_packages, too_slow
from tasks.contest.leaks import doubt, strongest_column
from tasks.contest.verdict import too_little, weigh
from tasks.data.dataset import read_periods, read_version
from tasks.data.row_digests import Seen
from tasks.ledger.entries import stamp
from tasks.ledger.outcomes import next_step
from tasks.ledger.reign import find_champion
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.outside.blocks_of_run import RESUMED, lake, registry
from tasks.packages.own_columns import OtherColumns, own_rows
from tasks.packages.packaging import score_rows
from tasks.packages.registered import opened
from tasks.steps.approve.ask import asks_person
from usecases.definition import ROC_AUC, UseCase, load


@task(**RESUMED)
def find_challenger(use_case: str, number: str | None) -> ModelVersion:
    """The named version, or the one with the alias. Raises ``RegistryError`` where there is
    none.
    """
    case, store = load(use_case), registry()
    if number is not None:
        return store.version(case.name, number)
    found = store.at(case.name, CHALLENGER)
    if found is None:
        raise RegistryError(
            f"{use_case!r} has no challenger. Make one: prefect deployment run "
            f"'evaluate/{use_case}'."
        )
    return found


@task(task_run_name="contest of version {challenger.number}", **RESUMED)
def hold_contest(challenger: ModelVersion, seed: int) -> Decision:
    """Champion and challenger, each from its own package and with its own columns, on the same rows
    that neither was trained on.

    Raises ``CrownUnclear`` where nobody can say who is champion.
    """
    case = load(challenger.use_case)
    champion = find_champion(case.name)
    if champion is not None and champion.number == challenger.number:
        raise RegistryError(
            f"Version {champion.number} of {case.name!r} is the champion already: it cannot "
            "contest itself."
        )
    decision = _judge(case, champion, challenger, seed)
    step = next_step(case, decision, asks_person(decision))
    return replace(decision, facts={**decision.facts, "next": step})


def _judge(
    case: UseCase, champion: ModelVersion | None, challenger: ModelVersion, seed: int
) -> Decision:
    store = registry()
    with opened(store, challenger) as (package, _):
        manifest, holdout = package.manifest, challenger.tags.get("laurel.holdout", "")
        dataset = read_version(lake(), case.name, manifest.dataset_version)
        rows = read_periods(lake(), dataset, [holdout], case.label)
        rows_seen = Seen(lake(), case, rows)
        decision = Decision(
            use_case=case.name,
            kind="contest",
            challenger=challenger.number,
            champion=champion.number if champion else None,
            holdout=holdout,
            dataset_version=dataset.version,
            promoted=False,
            verdict="unfair",
            reasons=seen(
                f"challenger {challenger.number}", manifest.trained_on, dataset, holdout, rows_seen
            )
            or other_schema(case, f"challenger {challenger.number}", manifest),
            contest=None,
            gate_score=manifest.metrics.get(case.gate.metric.name),
            facts={
                "rows": float(len(rows)),
                "positives": float(modelling.labels(case, rows).sum()),
            },
            **stamp(),
        )
        if decision.reasons:
            return decision
        scores = score_rows(package, rows)
        if decision.gate_score is None:  # the use case had another gate when it was evaluated
            reached = score(case.gate.metric, modelling.labels(case, rows), scores)
            decision = replace(decision, gate_score=None if math.isnan(reached) else reached)
        decision = replace(decision, behaviours=try_behaviours(case, package, rows, seed))
        if champion is None:
            return _without_champion(case, decision, rows, scores)
        with opened(store, champion) as (other, _):
            who = f"champion {champion.number}"
            if unfair := seen(who, other.manifest.trained_on, dataset, holdout, rows_seen):
                return replace(decision, reasons=unfair)
            try:
                theirs = _rows_of_champion(case, other.manifest, rows, holdout)
            except OtherColumns as error:
                facts = {**decision.facts, "unscored": "the champion is of another schema"}
                return replace(decision, reasons=[f"{who} cannot be scored: {error}"], facts=facts)
            before, latency = score_rows(other, theirs), time_packages(other, package, rows, theirs)
    contest = judge_rows(case, rows, before, scores, seed)
    decision = replace(
        decision,
        contest=contest,
        latency=latency,
        verdict=contest.verdict,
        reasons=contest.reasons,
    )
    return _weighed(case, decision, rows, scores, before)


def _rows_of_champion(
    case: UseCase, manifest: Manifest, rows: pl.DataFrame, holdout: str
) -> pl.DataFrame:
    """The hold-out with the champion's columns. Raises ``OtherColumns``, also where it answers
    another question.
    """
    if manifest.label != case.label:
        raise OtherColumns(
            f"it says whether {manifest.label!r} is true, and the use case asks for {case.label!r}"
        )
    return own_rows(lake(), case, manifest, rows, holdout)


def _weighed(
    case: UseCase,
    decision: Decision,
    rows: pl.DataFrame,
    scores: np.ndarray,
    champion: np.ndarray | None,
) -> Decision:
    """The verdict on the scores, with what else is known: how the package behaves, how long it
    takes, whether one column tells all.
    """
    truth = modelling.labels(case, rows)
    column, alone = strongest_column(case, rows)
    theirs = None if champion is None else score(ROC_AUC, truth, champion)
    doubts = doubt(
        case.promotion.suspicious_column, column, alone, score(ROC_AUC, truth, scores), theirs
    )
    against = [*failures(decision.behaviours), *too_slow(case.promotion, decision.latency)]
    verdict, reasons = weigh(cast(Verdict, decision.verdict), decision.reasons, against, doubts)
    facts = {
        **decision.facts,
        "strongest_column": column,
        "strongest_column_roc_auc": None if math.isnan(alone) else alone,
    }
    return replace(
        decision,
        verdict=verdict,
        reasons=reasons,
        promoted=verdict == "promote",
        facts=facts,
    )


def _without_champion(
    case: UseCase, decision: Decision, rows: pl.DataFrame, scores: np.ndarray
) -> Decision:
    """Nobody to contest: the gate decides, and a score too good to be true is suspicious here too.

    On too little evidence the crown is provisional: a small table must lead to a model, and nobody
    may take that one for proven."""
    gate, name = case.gate, case.gate.metric.name
    gate_score = math.nan if decision.gate_score is None else decision.gate_score
    reasons = [f"no champion yet; {name} {gate_score:.4f} against the gate of {gate.threshold:g}"]
    verdict: Verdict = "promote" if gate.passes(gate_score) else "keep"
    little = too_little(
        case.promotion, modelling.labels(case, rows), blocks_of(case, rows).n_unique()
    )
    if case.promotion.too_good(gate.metric, gate_score):
        verdict, reasons = (
            "suspicious",
            [f"{name} {gate_score:.4f} is too good to be true: look for a leak"],
        )
    if little is not None:
        reasons.append(f"the evidence is thin, so a crown is provisional: {little}")
    decision = _weighed(
        case,
        replace(decision, verdict=verdict, reasons=reasons),
        rows,
        scores,
        None,
    )
    return replace(decision, facts={**decision.facts, "provisional": little})


@task(**RESUMED)
def retire_challenger(challenger: ModelVersion) -> None:
    """Take the alias from a challenger that was judged: it wants the crown no more, whoever has it
    now.
    """
    holder = registry().at(challenger.use_case, CHALLENGER)
    if holder is not None and holder.number == challenger.number:
        registry().remove_alias(challenger.use_case, CHALLENGER)
