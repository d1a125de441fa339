"""A fit that learns a batch at a time, by ``partial_fit``: the matrix of all rows is never made.

Batches are the rows in an order that follows from the seed, another one in each pass. The steps
before the model learn first: one that has ``partial_fit``, such as ``StandardScaler``, sees every
batch, and any other, such as ``SimpleImputer``, the first one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from tasks.models.weights import fit_arguments, last_step

Encode = Callable[[pl.DataFrame], Any]


def why_not_in_batches(model: Any) -> str:
    """Why ``model``, or the last step of a pipeline, cannot learn in batches; empty if it can."""
    last = last_step(model)
    if callable(getattr(last, "partial_fit", None)):
        return ""
    return (
        f"returned a {type(last).__name__} without partial_fit, by which batch_rows fits: leave "
        "batch_rows out, or use a model that has it, such as SGDClassifier(loss='log_loss'), "
        "MLPClassifier or GaussianNB"
    )


def fit_batches(
    model: Any,
    encode: Encode,
    rows: pl.DataFrame,
    truth: np.ndarray,
    weights: np.ndarray | None,
    size: int,
    passes: int,
    seed: int,
) -> None:
    """Fit ``model`` on ``rows`` with labels ``truth`` ``(n_rows,)`` and perhaps ``weights``, which
    ``encode`` makes matrices of, ``size`` rows at a time."""
    from sklearn.base import is_classifier

    *before, last = _steps(model)

    def batches(number: int) -> Iterator[tuple[Any, np.ndarray]]:
        order = np.random.default_rng([seed, number]).permutation(len(rows))
        for at in range(0, len(rows), size):
            places = np.sort(order[at : at + size])
            yield encode(rows[places]), places

    for count, step in enumerate(before):
        for matrix, places in batches(0):
            learned = _through(before[:count], matrix)
            if not hasattr(step, "partial_fit"):
                step.fit(learned, truth[places])
                break
            step.partial_fit(learned)
    classes = {"classes": np.unique(truth)} if is_classifier(last) else {}
    for number in range(passes):
        for matrix, places in batches(number):
            own = {} if weights is None else fit_arguments(last, weights[places])
            last.partial_fit(_through(before, matrix), truth[places], **classes, **own)


def _steps(model: Any) -> list[Any]:
    """The steps of a pipeline, and of pipelines in it; the model itself."""
    if not hasattr(model, "steps"):
        return [model]
    return [one for _, step in model.steps for one in _steps(step) if step != "passthrough"]


def _through(steps: list[Any], matrix: Any) -> Any:
    for step in steps:
        matrix = step.transform(matrix)
    return matrix
