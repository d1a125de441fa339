"""Columns that tell the target by themselves: sure leaks are left out, and suspects are named.

Alone means cross-fitted: a shallow tree of the column, or of a category the mean of the target
elsewhere, shrunk by five rows. A score is ROC AUC, of classes the mean over them, or of a number
R²."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from tasks.contest.leaks import SURE, count_far_above
from tasks.drafts.inference.targets import Target
from tasks.drafts.reading.facts import Facts
from tasks.measures.metrics import score
from usecases.definition import R2, ROC_AUC, Metric

_SURE_NULLS = 0.9
_AFTER = 0.95
_ROWS, _SCREEN_ROWS = 20_000, 2_000
_CLOSE, _CLOSE_R2 = 0.85, 0.75  # a score of few rows from which all are asked
_FOLDS = 5
_SHRINK = 5.0
_LEAST_ROWS = 60


@dataclass(frozen=True)
class Leaks:
    """``sure`` are columns that are left out, with the reason; ``suspects`` have their score, and
    ``next`` is the best score of the others. ``score`` is the name of what was measured."""

    score: str
    sure: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, float] = field(default_factory=dict)
    next: float = 0.0


def find_leaks(inputs: Sequence[Facts], target: Target, event: Facts | None) -> Leaks:
    """Columns of ``inputs`` that cannot be known before ``target``, or hardly."""
    name = "R²" if target.is_number else "AUC"
    known = target.labels.is_not_null()
    rows = np.flatnonzero(known.to_numpy())
    sure = _dates_after(inputs, event, known)
    if len(rows) < _LEAST_ROWS:
        return Leaks(name, sure)
    alone: dict[str, float] = {}
    for column in inputs:
        if column.name in sure or column.kind == "text":
            continue
        few = _score(column, target, _some(rows, _SCREEN_ROWS), folds=2)
        usual = 0.0 if target.is_number else 0.5
        close = few > (_CLOSE_R2 if target.is_number else _CLOSE) and len(rows) > _SCREEN_ROWS
        alone[column.name] = (
            _score(column, target, _some(rows, _ROWS), _FOLDS) if close else max(usual, few)
        )
        if column.nulls and (nulls := _of_nulls(column, target, rows)) > _SURE_NULLS:
            sure[column.name] = f"whether it is empty tells the target ({name} {nulls:.2f})"
        elif alone[column.name] - _error(alone[column.name], target, rows) > SURE:
            sure[column.name] = f"tells the target alone ({name} {alone[column.name]:.2f})"
    left = {name: score for name, score in alone.items() if name not in sure}
    order = sorted(left, key=lambda column: -left[column])
    # A column without others stands above none.
    scores = [*(left[column] for column in order), 0.0]
    count = count_far_above(_metric(target), scores)
    suspects = {column: left[column] for column in order[:count]}
    return Leaks(name, sure, suspects, scores[count])


def _metric(target: Target) -> Metric:
    return R2 if target.is_number else ROC_AUC


def _error(score: float, target: Target, rows: np.ndarray) -> float:
    """About the standard error of the score: of 150 flowers a good column may have .98."""
    fewest = len(rows)
    if not target.is_number:
        fewest = int(target.labels.drop_nulls().value_counts()["count"].min() or 1)  # type: ignore[arg-type]
    return float(np.sqrt(max(0.0, score * (1 - score)) / max(1, fewest)))


def _dates_after(inputs: Sequence[Facts], event: Facts | None, known: pl.Series) -> dict[str, str]:
    """Dates that come after the event: they are not known at its time."""
    if event is None:
        return {}
    after: dict[str, str] = {}
    for column in inputs:
        if column.kind == "datetime":
            is_after = (column.values > event.values).drop_nulls()
            share = int(is_after.sum()) / max(1, len(is_after))
            if share > _AFTER:
                after[column.name] = f"after {event.name} in {share:.0%} of rows"
    return after


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    return rows if len(rows) <= most else np.random.default_rng(0).permutation(rows)[:most]


def _of_nulls(column: Facts, target: Target, rows: np.ndarray) -> float:
    is_null = column.values.is_null().to_numpy()[rows].astype(float)
    return _measure(target, rows, _folded(is_null, target, rows, _folds(len(rows), _FOLDS)))


def _score(column: Facts, target: Target, rows: np.ndarray, folds: int) -> float:
    """ROC AUC or R² of what the column alone says, cross-fitted."""
    fold = _folds(len(rows), folds)
    values = column.values.gather(rows)
    if column.kind == "category":
        codes = values.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
        return _measure(target, rows, _by_means(codes, target, rows, fold))
    if column.kind == "datetime":
        values = values.dt.epoch("s")
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return _measure(target, rows, _folded(numbers, target, rows, fold))


def _folds(rows: int, folds: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, folds, rows)


def _truth(target: Target, rows: np.ndarray) -> np.ndarray:
    """``(n_rows,)`` numbers, or ``(n_rows, n_classes)`` of 0 and 1."""
    labels = target.labels.gather(rows)
    if target.kind == "classes":
        return np.stack([(labels == name).to_numpy() for name in target.classes], axis=1) * 1.0
    return labels.cast(pl.Float64).to_numpy()


def _folded(numbers: np.ndarray, target: Target, rows: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """What a tree of the column says of rows that it has not seen."""
    from sklearn.tree import DecisionTreeRegressor

    truth = _truth(target, rows)
    leaves = 16 if target.is_number else max(4, 2 * len(target.classes))
    filled = np.nan_to_num(numbers, nan=-1e300)[:, None].clip(-3e38, 3e38)
    said = np.zeros_like(truth)
    for number in np.unique(fold):
        tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=5, random_state=0)
        learned = fold != number
        if learned.all() or not learned.any():
            continue
        said[~learned] = tree.fit(filled[learned], truth[learned]).predict(filled[~learned])
    return said


def _by_means(codes: np.ndarray, target: Target, rows: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """The mean of the target among rows elsewhere that have the same category."""
    truth = _truth(target, rows)
    said = np.zeros_like(truth)
    for number in np.unique(fold):
        learned = fold != number
        if learned.all() or not learned.any():
            continue
        mean = truth[learned].mean(axis=0)
        counts = np.bincount(codes[learned], minlength=codes.max() + 1)
        columns = truth if truth.ndim == 2 else truth[:, None]
        sums = np.stack(
            [
                np.bincount(codes[learned], weights=part[learned], minlength=codes.max() + 1)
                for part in columns.T
            ],
            axis=1,
        )
        means = (sums + _SHRINK * mean) / (counts[:, None] + _SHRINK)
        said[~learned] = means[codes[~learned]].reshape(said[~learned].shape)
    return said


def _measure(target: Target, rows: np.ndarray, said: np.ndarray) -> float:
    truth = _truth(target, rows)
    columns = [(truth, said)] if truth.ndim == 1 else list(zip(truth.T, said.T, strict=True))
    scores = [score(_metric(target), part, own) for part, own in columns]
    known = [one for one in scores if np.isfinite(one)]
    return float(np.mean(known)) if known else (0.0 if target.is_number else 0.5)
