"""What a model scores on rows that it has not learned, and what it uses: by models of the same
recipe, each fitted without one block.

A model's scores of its own training rows are sharper than those it will give (the flights: 9 % more
spread), so a window would differ from them though nothing changed. Each block's rows are scored by
a clone fitted on the other blocks (cross-fitting: Stone 1974), and that clone's permutation
importance (Breiman 2001) is taken on the same unseen rows. The model that won on a hold-out has not
seen it: where a block is that hold-out, it stands in for the clone."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from tasks.data.targets import lacks
from tasks.data.traits import share_out
from tasks.models import modelling
from tasks.models.executors import core_threads
from tasks.models.importance import permutation_importance
from usecases.definition import ROC_AUC, Binary, Classes, UseCase, period_named

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_FOLDS = 3
# A clone that learned far fewer rows than the model is surer of itself than the model is: not the
# policy's sample, which compares rows.
MOST_FIT_ROWS = 50_000
_IMPORTANCE_ROWS = 4000
# Of either class half. Of 4,000 rows a quarter of which are positive, the standard error of ROC AUC
# is a tenth smaller; where fewer than a fifth are, larger.
_PAIRED_ROWS = 2500


@dataclass(frozen=True)
class Judged:
    """A ``model`` of the same recipe that has not learned ``periods``, on which it was judged."""

    model: "Pipeline"
    periods: tuple[str, ...]


@dataclass(frozen=True)
class CrossFit:
    """``answers`` (n_rows,) to the training rows, null where too few others were left to fit on:
    the probability of a yes, the number, or the likeliest class. ``scores`` are the same, or the
    probability of each of several classes ``(n_rows, n_classes)``; NaN for null.

    ``importance`` of each input, or of the traits that it is watched by, at least 0, all together
    1. Empty: not known, since no fold could be fitted, or shuffling no column made the scores
    worse."""

    answers: pl.Series
    importance: dict[str, float]
    scores: np.ndarray


def cross_fit(
    case: UseCase,
    fitted: "Pipeline",
    training: pl.DataFrame,
    seed: int,
    judged: Judged | None = None,
) -> CrossFit:
    """Score ``training``, all labelled, by clones of ``fitted`` that have not seen the row's block;
    at most three of them.

    A clone is fitted on at most 50,000 rows, and its importance is taken on at most 4,000; for the
    ROC AUC of a yes or no on 2,500, of either class alike. ``judged`` scores a block of which it
    has learned no period."""
    fold, truth = _folds(case, training), modelling.labels(case, training)
    stand_in = _judged_folds(case, training, fold, judged)
    paired = case.gate.metric == ROC_AUC and isinstance(case.target, Binary)
    known = training[case.label]
    classes = len(case.target.classes) if isinstance(case.target, Classes) else 0
    scores = np.full((len(training), classes) if classes else len(training), np.nan)

    def leave_out(number: int) -> np.ndarray | None:
        inside, chance = np.flatnonzero(fold == number), np.random.default_rng([seed, number])
        if judged is not None and number in stand_in:
            learned = judged.model
        else:
            others = chance.permutation(np.flatnonzero(fold != number))[:MOST_FIT_ROWS]
            if len(others) < case.minimum_training_rows or lacks(case, known[others]):
                return None
            learned = _without(case, fitted, training, others)
        model = learned.named_steps["model"]
        matrix = modelling.encode(learned, case, training[inside])
        scores[inside] = modelling.scores_of(model, matrix)
        if lacks(case, known[inside]):
            return None
        return permutation_importance(
            model,
            matrix,
            truth[inside],
            modelling.owners(case, learned),
            case.gate.metric,
            seed,
            rows=_PAIRED_ROWS if paired else _IMPORTANCE_ROWS,
            alike=paired,
        )

    with core_threads() as threads:
        losses = [
            loss
            for loss in threads.map(leave_out, range(fold.max(initial=0) + 1))
            if loss is not None
        ]
    return CrossFit(modelling.watched(case, scores), _normalised(case, losses), scores)


def _without(
    case: UseCase, fitted: "Pipeline", training: pl.DataFrame, others: np.ndarray
) -> "Pipeline":
    """A clone of ``fitted`` that was fitted on the rows ``others`` alone."""
    from sklearn.base import clone

    known = training[others]
    learned: Pipeline = clone(fitted)
    return learned.fit(
        modelling.inputs(case, known),
        modelling.labels(case, known),
        **modelling.weighing(case, learned, known),
    )


def _folds(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """The fold of each row ``(n_rows,)``: its period, neighbours together where there are more than
    three; two halves of a single one.
    """
    names = rows.select(case.period_of_rows).to_series()
    order = sorted(names.unique(), key=period_named)
    number = names.replace_strict(order, range(len(order)), return_dtype=pl.Int64).to_numpy()
    if number.max(initial=0) == 0:
        return (rows[case.event_time].rank("ordinal").to_numpy() > len(rows) / 2).astype(np.int64)
    return number * min(_FOLDS, number.max() + 1) // (number.max() + 1)


def _judged_folds(
    case: UseCase, rows: pl.DataFrame, fold: np.ndarray, judged: Judged | None
) -> set[int]:
    """The folds that are wholly of periods that ``judged`` has not learned."""
    if judged is None:
        return set()
    unseen = rows.select(case.period_of_rows.is_in(judged.periods)).to_series().to_numpy()
    return set(fold[unseen].tolist()) - set(fold[~unseen].tolist())


def _normalised(case: UseCase, losses: list[np.ndarray]) -> dict[str, float]:
    if not losses:
        return {}
    used = np.maximum(np.mean(losses, axis=0), 0)
    whole = float(used.sum())
    names = [column.name for column in case.matrix_columns]
    shares = dict(zip(names, (used / whole).tolist(), strict=True)) if whole > 0 else {}
    return share_out(case, shares)
