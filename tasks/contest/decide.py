"""The decision on a challenger: all that is judged on the rows of the hold-out, and the verdict.
Pure: packages and rows in, a judgement out.

``promote`` judges registered versions with it, ``backtest`` the models of a replayed history."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import polars as pl

from serving.package.model import Package
from serving.records.contest import Behaviour, Contest, Latency, Verdict, mean_difference
from serving.records.reasons import because
from tasks.contest.behaviour import failures, try_behaviours
from tasks.contest.latency import time_packages, too_slow
from tasks.contest.leaks import column_doubts, strongest_column, yardstick
from tasks.contest.near_rows import NearRows, find_near_rows
from tasks.contest.verdict import hold, too_little, weigh
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.packages.packaging import score_rows
from usecases.definition import Classes, UseCase


@dataclass(frozen=True)
class Contestant:
    """A model as it enters a contest: its package, and the labelled rows of the hold-out with the
    package's own columns.

    ``unfair``: why it may not be judged on them. ``unscored``: there are no such rows, because it
    has another schema. ``training`` reads the labelled rows that it was fitted on; ``None``: they
    are not looked at. ``rivals`` ``(n_rows,)`` are the scores of candidates that it was chosen from
    on these rows, and ``refits`` gives those of fits of its recipe; ``None``: they would cost too
    much."""

    package: Package
    rows: pl.DataFrame
    unfair: list[str] = field(default_factory=list)
    unscored: bool = False
    training: Callable[[], pl.DataFrame] | None = None
    rivals: Sequence[np.ndarray] = ()
    refits: Callable[[], Sequence[np.ndarray]] | None = None


@dataclass(frozen=True)
class Judgement:
    """The verdict and all that led to it. ``contest`` is ``None`` if there was none; ``facts`` are
    what the ledger keeps with it."""

    verdict: Verdict
    reasons: list[str]
    gate_score: float | None
    facts: dict[str, Any]
    behaviours: list[Behaviour] = field(default_factory=list)
    contest: Contest | None = None
    latency: list[Latency] = field(default_factory=list)

    @property
    def promoted(self) -> bool:
        return self.verdict == "promote"


def decide(
    case: UseCase,
    challenger: Contestant,
    champion: Contestant | None,
    seed: int,
    earlier: Sequence[Contest] = (),
) -> Judgement:
    """Decide whether ``challenger`` takes the crown from ``champion`` (``None``: there is no
    champion). ``earlier`` are the ledger's contests on days of the hold-out."""
    rows, package = challenger.rows, challenger.package
    truth = modelling.labels(case, rows)
    judgement = Judgement(
        "unfair",
        challenger.unfair,
        package.manifest.metrics.get(case.gate.metric.name),
        {"rows": float(len(rows)), **_class_rows(case, truth)},
    )
    if challenger.unfair:
        return judgement
    scores = score_rows(package, rows)
    if judgement.gate_score is None:  # the use case had another gate when it was evaluated
        reached = score(case.gate.metric, truth, scores)
        judgement = replace(judgement, gate_score=None if math.isnan(reached) else reached)
    judgement = replace(judgement, behaviours=try_behaviours(case, package, rows, seed))
    if champion is None:
        return _without_champion(case, judgement, challenger, scores)
    if champion.unfair:
        why = {"unscored": "the champion is of another schema"} if champion.unscored else {}
        return replace(judgement, reasons=champion.unfair, facts={**judgement.facts, **why})
    before = score_rows(champion.package, champion.rows)
    latency = time_packages(champion.package, package, rows, champion.rows)
    contest = _contest(case, challenger, before, scores, seed, earlier)
    judgement = replace(
        judgement,
        contest=contest,
        latency=latency,
        facts={**judgement.facts, **_mean_differences(before, scores)},
        verdict=cast(Verdict, contest.verdict),
        reasons=contest.reasons,
    )
    return _weighed(case, judgement, challenger, scores, before)


def _class_rows(case: UseCase, truth: np.ndarray) -> dict[str, float]:
    """The number of rows that are a yes, or of the rarest class; nothing of a number."""
    if isinstance(case.target, Classes):
        counts = np.bincount(truth, minlength=len(case.target.classes))
        return {"rarest_class_rows": float(counts.min())}
    return {"positives": float(truth.sum())} if case.target.kind == "binary" else {}


def _mean_differences(champion: np.ndarray, challenger: np.ndarray) -> dict[str, float]:
    """By how much the challenger's mean answer is above the champion's; of classes, each one's."""
    away = np.atleast_1d((challenger - champion).mean(axis=0)).tolist()
    return {mean_difference(place): float(f"{value:.6g}") for place, value in enumerate(away)}


def _contest(
    case: UseCase,
    challenger: Contestant,
    before: np.ndarray,
    scores: np.ndarray,
    seed: int,
    earlier: Sequence[Contest],
) -> Contest:
    """Hold the contest; again with refits of the recipe, if the challenger would win without
    them."""
    rows, rivals, refits = challenger.rows, challenger.rivals, challenger.refits
    contest = judge_rows(case, rows, before, scores, seed, earlier, rivals)
    if contest.verdict not in ("promote", "suspicious"):
        return contest
    if refits is not None and (drawn := refits()):
        return judge_rows(case, rows, before, scores, seed, earlier, rivals, drawn)
    return replace(contest, reasons=[*contest.reasons, because("no_refits")])


def judge_rows(
    case: UseCase,
    rows: pl.DataFrame,
    champion: np.ndarray,
    challenger: np.ndarray,
    seed: int,
    earlier: Sequence[Contest] | None = None,
    rivals: Sequence[np.ndarray] = (),
    refits: Sequence[np.ndarray] = (),
) -> Contest:
    """Hold the contest on labelled ``rows``: blocks from the event time, slices from the promotion
    rule's columns. The last three are those of ``hold``."""
    policy = case.promotion
    block = blocks_of(case, rows).to_numpy()
    slices = {
        label: there for name in policy.slices for label, there in slices_of(rows[name]).items()
    }
    return hold(
        policy,
        case.gate.metric,
        modelling.labels(case, rows),
        champion,
        challenger,
        block,
        slices,
        seed,
        earlier=earlier,
        rivals=rivals,
        refits=refits,
    )


def slices_of(values: pl.Series) -> dict[str, np.ndarray]:
    """Return the rows of each value, and those without one, as booleans ``(n_rows,)`` by the
    slice's name."""
    slices = {
        f"{values.name}={value}": values.eq_missing(value).to_numpy()
        for value in values.drop_nulls().unique().sort()
    }
    if values.has_nulls():
        slices[f"{values.name} is null"] = values.is_null().to_numpy()
    return slices


def blocks_of(case: UseCase, rows: pl.DataFrame) -> pl.Series:
    """The block of each row ``(n_rows,)``: the begin of its hour, day or week."""
    width = {"hour": "1h", "day": "1d", "week": "1w"}[case.promotion.block]
    return rows[case.event_time].dt.truncate(width)


def _weighed(
    case: UseCase,
    judgement: Judgement,
    challenger: Contestant,
    scores: np.ndarray,
    champion: np.ndarray | None,
) -> Judgement:
    """Weigh the verdict on the scores with behaviour, latency, a column that leaks the label, and
    copies of the hold-out in the training data."""
    truth = modelling.labels(case, challenger.rows)
    alone = strongest_column(case, challenger.rows)
    gate, measure = case.gate.metric, yardstick(case.gate.metric)
    theirs = None if champion is None else score(measure, truth, champion)
    ours = score(measure, truth, scores)
    doubts = column_doubts(case.promotion, gate, alone, ours, theirs)
    against = [*failures(judgement.behaviours), *too_slow(case.promotion, judgement.latency)]
    facts = {
        **judgement.facts,
        "strongest_column": alone.column or None,
        f"strongest_column_{measure.name}": None if math.isnan(alone.score) else alone.score,
    }
    might_win = judgement.verdict in ("promote", "suspicious") and not against
    copies = _copies(case, challenger) if might_win else None
    if copies is not None:
        doubts += copies.doubts
        facts["near_rows"] = float(copies.rows)
    verdict, reasons = weigh(judgement.verdict, judgement.reasons, against, doubts)
    return replace(judgement, verdict=verdict, reasons=reasons, facts=facts)


def _copies(case: UseCase, challenger: Contestant) -> NearRows | None:
    """Compare the hold-out with what the challenger has learned; ``None`` if nobody knows that."""
    if challenger.training is None or not case.promotion.suspicious_copies:
        return None
    return find_near_rows(case, challenger.rows, challenger.training())


def _without_champion(
    case: UseCase, judgement: Judgement, challenger: Contestant, scores: np.ndarray
) -> Judgement:
    """Judge by the gate without a champion; a score too good to be true is suspicious here too.

    On too little evidence the crown is provisional: a small table must lead to a model, and nobody
    may mistake that model for a proven one."""
    gate, name = case.gate, case.gate.metric.in_each_language
    gate_score = math.nan if judgement.gate_score is None else judgement.gate_score
    reasons: list[str] = [
        because("no_champion_yet", metric=name, score=gate_score, gate=gate.threshold)
    ]
    verdict: Verdict = "promote" if gate.passes(gate_score) else "keep"
    rows = challenger.rows
    blocks = blocks_of(case, rows).n_unique()
    truth = modelling.labels(case, rows)
    little = too_little(case.promotion, gate.metric, truth, scores, blocks)
    if case.promotion.too_good(gate.metric, gate_score):
        verdict = "suspicious"
        reasons = [because("first_too_good", metric=name, score=gate_score)]
    if little is not None:
        reasons.append(because("thin_evidence", why=little))
    judgement = _weighed(
        case, replace(judgement, verdict=verdict, reasons=reasons), challenger, scores, None
    )
    return replace(judgement, facts={**judgement.facts, "provisional": little})
