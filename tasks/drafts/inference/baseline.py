"""What a gate can ask for: the draft's own candidates, fitted quickly on rows of the table.

Five folds, each as large as the hold-out of rows that arrive. The gate is two standard deviations
of a fold below the mean, so that a model of the same worth passes it 39 times of 40. With event
times the last periods are held out once more, as the flows will do, and the worse of the two
counts."""

import math
from dataclasses import replace

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from tasks.drafts.inference.draft import Baseline, Draft
from tasks.measures.metrics import score
from tasks.models.modelling import fit, labels, predict
from usecases.definition import Candidate, UseCase

_ROWS, _CELLS = 20_000, 1_500_000
_FOLDS = 5
_TREES, _TREES_OF_WIDE, _WIDE = 40, 20, 60


def find_baseline(draft: Draft, case: UseCase) -> Baseline:
    """``case`` is the draft's, with any gate."""
    rows = draft.rows(case)
    most = min(_ROWS, max(1000, _CELLS // max(1, len(case.columns))))
    few = rows.sample(most, seed=0) if len(rows) > most else rows
    fold = _folds(draft, labels(case, few))
    # Trees of a busy machine wait for each other's threads: one is never much slower.
    with threadpool_limits(1):
        tried = [
            _cross_validated(case, candidate, few, fold) for candidate in _worth_trying(case, few)
        ]
        later = _held_out(draft, case, rows) if draft.timing.column is not None else None
    higher = case.gate.metric.higher_is_better
    known = [one for one in tried if not math.isnan(one.mean)]
    if not known:
        return _unknown(case, few)
    best = (max if higher else min)(known, key=lambda one: one.mean)
    worst = best.mean - best.spread if higher else best.mean + best.spread
    if later is not None and not math.isnan(later):
        worst = min(worst, later - best.spread) if higher else max(worst, later + best.spread)
    return _with_gate(best, case, few, worst)


def _worth_trying(case: UseCase, rows: pl.DataFrame) -> list[Candidate]:
    """All of them on small tables, the last alone on large ones."""
    if len(rows) * len(case.columns) <= _CELLS // 10:
        return list(case.candidates)
    return [case.candidates[-1]]


def _folds(draft: Draft, truth: np.ndarray) -> np.ndarray:
    """The fold of each row ``(n_rows,)``; classes are dealt over all folds."""
    chance = np.random.default_rng(0)
    order = chance.permutation(len(truth))
    if not draft.target.is_number:
        order = order[np.argsort(truth[order], kind="stable")]
    fold = np.empty(len(truth), dtype=int)
    fold[order] = np.arange(len(truth)) % _FOLDS
    return fold


def _cross_validated(
    case: UseCase, candidate: Candidate, rows: pl.DataFrame, fold: np.ndarray
) -> Baseline:
    scores = [
        _fitted_score(case, candidate, rows.filter(fold != at), rows.filter(fold == at))
        for at in range(_FOLDS)
    ]
    return Baseline(
        candidate.name, float(np.mean(scores)), 2 * float(np.std(scores, ddof=1)), 0.0, 0.0
    )


def _fitted_score(
    case: UseCase, candidate: Candidate, learned: pl.DataFrame, later: pl.DataFrame
) -> float:
    trees = _TREES if len(case.columns) <= _WIDE else _TREES_OF_WIDE
    params = {**candidate.params, **({"max_iter": trees} if candidate.search else {})}
    fitted = fit(case, candidate, params, learned, seed=0)
    return score(case.gate.metric, labels(case, later), predict(fitted, case, later))


def _held_out(draft: Draft, case: UseCase, rows: pl.DataFrame) -> float | None:
    """The score of the last candidate on the last periods, learned from those before; ``None`` if
    too few rows are.
    """
    names = rows.select(case.period_of_rows).to_series()
    periods = sorted(names.unique(), key=lambda name: case.period_kind.parse(name).start)
    held = names.is_in(periods[-draft.timing.holdout_periods :])
    learned, later = rows.filter(~held), rows.filter(held)
    learned, later = (
        part.sample(_ROWS, seed=0) if len(part) > _ROWS else part for part in (learned, later)
    )
    most = max(1000, _CELLS // len(case.columns))
    learned = learned.sample(most, seed=0) if len(learned) > most else learned
    if min(len(learned), len(later)) < _FOLDS or len(np.unique(labels(case, later))) < 2:
        return None
    return _fitted_score(case, case.candidates[-1], learned, later)


def _chance(case: UseCase, rows: pl.DataFrame) -> float:
    """What the best constant answer reaches."""
    truth = labels(case, rows)
    if case.target.kind == "binary":
        return 0.5
    if case.target.kind == "classes":
        shares = np.bincount(truth) / len(truth)
        said = np.tile(shares, (len(truth), 1))
    else:
        said = np.full(len(truth), truth.mean())
    return score(case.gate.metric, truth, said)


def _with_gate(best: Baseline, case: UseCase, rows: pl.DataFrame, worst: float) -> Baseline:
    chance, higher = _chance(case, rows), case.gate.metric.higher_is_better
    no_better = worst <= chance if higher else worst >= chance
    threshold = chance if no_better else worst
    return replace(best, threshold=_rounded(threshold, higher), chance=chance, no_better=no_better)


def _unknown(case: UseCase, rows: pl.DataFrame) -> Baseline:
    chance = _chance(case, rows)
    threshold = _rounded(chance, case.gate.metric.higher_is_better)
    return Baseline(case.candidates[-1].name, chance, 0.0, threshold, chance, no_better=True)


def _rounded(threshold: float, higher: bool) -> float:
    """Two digits of a share, three of a number, on the side that is easier to pass."""
    if higher:
        return math.floor(threshold * 100) / 100
    if threshold <= 0:
        return threshold
    scale = 10.0 ** (math.floor(math.log10(threshold)) - 2)
    return float(f"{math.ceil(threshold / scale) * scale:.4g}")
