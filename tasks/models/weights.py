"""How much a row counts in a fit: less the older it is, where the use case says so, and of a sample
more the more rows it stands for."""

import inspect
from typing import Any

import numpy as np
import polars as pl

from usecases.definition import UseCase
from usecases.definition.sampling import WEIGHT

_NAME = "sample_weight"


def row_weights(case: UseCase, rows: pl.DataFrame) -> np.ndarray | None:
    """The weight of each row ``(n_rows,)``, on average 1; ``None`` if rows count alike, as those of
    a sample do that is drawn evenly."""
    weights = age_weights(case, rows)
    if WEIGHT not in rows.columns or case.sample is None or case.sample.by is None:
        return weights
    stands_for = rows[WEIGHT].to_numpy()
    weights = stands_for if weights is None else weights * stands_for
    return weights / weights.mean()


def counts_differ(case: UseCase) -> str:
    """By which setting of the use case rows count differently; empty if they count alike."""
    if case.half_life_days is not None:
        return "half_life_days"
    return "sample" if case.sample is not None and case.sample.by is not None else ""


def age_weights(case: UseCase, rows: pl.DataFrame) -> np.ndarray | None:
    """The weight of each row ``(n_rows,)``, on average 1: half of the newest row's for each
    ``half_life_days`` that it is older. ``None`` if rows count alike.
    """
    if case.half_life_days is None:
        return None
    moment = pl.col(case.event_time).dt.replace_time_zone(None)
    age = rows.select((moment.max() - moment).dt.total_seconds() / 86_400).to_series()
    weights: np.ndarray = 0.5 ** (age.to_numpy() / case.half_life_days)
    return weights / weights.mean()


def fit_arguments(model: Any, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """What ``fit`` of ``model`` is called with beside rows and labels; it must take weights."""
    return {} if weights is None else {_path(model): weights}


def takes_weights(model: Any) -> bool:
    """Whether ``model``, or the last step of a pipeline, takes weights of rows."""
    return _NAME in inspect.signature(last_step(model).fit).parameters


def _path(model: Any) -> str:
    """The name by which a pipeline takes the weights of its last step."""
    if not hasattr(model, "steps"):
        return _NAME
    name, last = model.steps[-1]
    return f"{name}__{_path(last)}"


def last_step(model: Any) -> Any:
    """The last step of a pipeline, or of the pipeline that is its last step; else ``model``."""
    return last_step(model.steps[-1][1]) if hasattr(model, "steps") else model
