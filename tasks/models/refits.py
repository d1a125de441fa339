"""How much fits of one recipe differ: on draws of the training rows that another history could have
given.

A contest judges one fit, and another fit of the same recipe will serve. Its rows are drawn by whole
days with replacement, since rows of one day are alike (Efron & Tibshirani 1993, ch. 8); another
seed alone changes little or nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from tasks.data.targets import lacks
from tasks.models import modelling
from usecases.definition import UseCase

REFITS = 3
_DRAWS = 20
_COLUMNS_OF_A_TEXT = 50  # a text costs as much to cut and to learn
CELLS = 2_000_000  # of the training rows; fits of more cost too much to be repeated by default


def refits_of(case: UseCase, rows: int) -> int:
    """How many refits the promotion rule makes for ``rows`` training rows: ``Promotion.refits``,
    or by default as many as their cost allows."""
    if case.promotion.refits is not None:
        return case.promotion.refits
    columns = len(case.columns) + _COLUMNS_OF_A_TEXT * len(case.texts)
    return REFITS if rows * columns <= CELLS else 0


def refit_scores(
    case: UseCase,
    candidate: str,
    params: Mapping[str, Any],
    training: pl.DataFrame,
    holdout: pl.DataFrame,
    count: int,
    seed: int,
) -> list[np.ndarray]:
    """Fit the recipe ``count`` times, each on other days of ``training``. Returns the scores of
    each on the rows of ``holdout`` ``(n_rows,)``."""
    days = training[case.event_time].dt.date().rank("dense").to_numpy() - 1
    order = np.argsort(days, kind="stable")
    starts = np.searchsorted(days[order], np.arange(days.max() + 2))
    chance, scores = np.random.default_rng([seed, count]), []
    for number in range(count):
        places = _draw_days(case, training, order, starts, chance)
        if places is None:
            break
        fitted = modelling.fit(
            case, case.candidate(candidate), params, training[places], seed + number + 1
        )
        scores.append(modelling.predict(fitted, case, holdout))
    return scores if len(scores) > 1 else []


def _draw_days(
    case: UseCase,
    training: pl.DataFrame,
    order: np.ndarray,
    starts: np.ndarray,
    chance: np.random.Generator,
) -> np.ndarray | None:
    """Return the rows of a draw of days that has every class; ``None`` if a class is so rare that
    it is not in any of twenty draws."""
    for _ in range(_DRAWS):
        drawn = chance.integers(0, len(starts) - 1, len(starts) - 1)
        places = np.concatenate([order[starts[day] : starts[day + 1]] for day in drawn])
        if not lacks(case, training[places][case.label]):
            return places
    return None
