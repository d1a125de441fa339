"""What the loss of a predicted number probably is, before its label comes.

Direct loss estimation (DLE, NannyML:
https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html#direct-loss-estimation-dle):
a second model learns, on the hold-out that the first was judged on, how far off the answer is for
which inputs. It sees that rows got harder; as CBPE it cannot see that the same rows now end
otherwise. Its measured error is in docs/performance.md."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from serving.package.manifest import LOSSES
from serving.package.model import Package, open_session
from serving.package.outputs import number_places
from tasks.measures.metrics import measure_of, metrics_of
from tasks.models.executors import one_core
from tasks.models.modelling import dense
from tasks.packages.exporters.registry import export
from usecases.definition import UseCase

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_LEAST_ROWS, _MOST_ROWS = 300, 8_000
_MOST_PLACES = 50
_FOLDS = 5
_LEAVES, _ROWS_OF_A_LEAF, _ROUNDS, _RATE = 8, 30, 60, 0.1

_MODELS = msgspec.json.Decoder(dict[str, bytes])


def fit_losses(
    case: UseCase,
    matrix: "np.ndarray | csr_matrix",
    owners: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    days: np.ndarray,
) -> bytes:
    """The models of the losses, of each metric of the use case that is a mean over rows: the file
    ``LOSSES`` of a package. ``matrix`` ``(n_rows, width)`` is the encoded hold-out, of which 8,000
    rows at most are learned from, and ``owners`` ``(width,)`` the column of each of its places.

    A model counts only where it proves itself: fitted without a fifth of the ``days``, it must tell
    the losses on those better than their mean does. Columns that the prediction log leaves out are
    no inputs."""
    models: dict[str, bytes] = {}
    if len(truth) > _MOST_ROWS:
        drawn = np.random.default_rng(0).choice(len(truth), _MOST_ROWS, replace=False)
        matrix, predicted, truth, days = (part[drawn] for part in (matrix, predicted, truth, days))
    names = [column.name for column in case.matrix_columns]
    inputs = loss_inputs(names, owners, case.prediction_log.leave_out, matrix, predicted)
    for metric in metrics_of(case):
        row_loss = measure_of(metric, predicted).row_loss
        if row_loss is None or len(truth) < _LEAST_ROWS:
            continue
        losses = row_loss(truth, predicted)
        if np.isfinite(losses).all() and _proves_itself(inputs, losses, days):
            models[metric.name] = export(_fitted(inputs, losses), inputs.shape[1])[0]
    return msgspec.json.encode(models)


def losses_of(folder: Path) -> bytes:
    """The file ``LOSSES`` of the package in ``folder``; empty if it has none."""
    path = folder / LOSSES
    return path.read_bytes() if path.exists() else b""


def expected_losses(
    package: Package, losses: bytes, rows: pl.DataFrame, partly: Collection[str] = ()
) -> pl.DataFrame:
    """The ``id`` of each of the logged ``rows`` and its expected loss by the name of the metric,
    by the file ``losses`` of the package; no rows without models, or where the log lacks an input
    of theirs, in all files or ``partly``.
    """
    models = _MODELS.decode(losses) if losses else {}
    outputs, left_out = package.manifest.outputs, package.manifest.log_leave_out
    number = outputs[number_places(outputs)[0]].name
    needed = {"id", number, *package.names} - set(left_out)
    if not models or rows.is_empty() or not needed <= set(rows.columns) - set(partly):
        return pl.DataFrame(schema={"id": pl.String})
    columns = {
        name: [None] * len(rows) if name in left_out else rows[name].to_list()
        for name in package.names
    }
    answers = rows[number].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    pieces, at = [], 0
    for matrix in package.matrices(columns):
        answered = answers[at : at + len(matrix)]
        pieces.append(loss_inputs(package.names, package.owners, left_out, matrix, answered))
        at += len(matrix)
    inputs = np.vstack(pieces).astype(np.float64)
    expected = [pl.Series(name, run(model, inputs)) for name, model in models.items()]
    return rows.select("id").with_columns(expected)


def run(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """The expected losses ``(n_rows,)`` by one of the models, of ``loss_inputs``."""
    session = open_session(model)
    (matrix,) = session.get_inputs()
    kind = np.float64 if "double" in matrix.type else np.float32
    (answer,) = session.run(None, {matrix.name: inputs.astype(kind)})
    return np.asarray(answer, dtype=np.float64).ravel()


def loss_inputs(
    names: Sequence[str],
    owners: np.ndarray,
    left_out: Collection[str],
    matrix: "np.ndarray | csr_matrix",
    predicted: np.ndarray,
) -> np.ndarray:
    """The columns that are logged, and the answer ``(n_rows, n_inputs)``. Columns with very many
    places, such as images, are no inputs: too few rows tell which of them matter.
    """
    few = np.bincount(owners) <= _MOST_PLACES
    logged = np.array([name not in left_out for name in names])
    return np.column_stack([dense(matrix[:, (few & logged)[owners]]), predicted])


def _proves_itself(inputs: np.ndarray, losses: np.ndarray, days: np.ndarray) -> bool:
    names, home = np.unique(days, return_inverse=True)
    if len(names) < _FOLDS or not losses.any():
        return False
    fold = home * _FOLDS // len(names)
    expected, mean = np.empty(len(losses)), np.empty(len(losses))
    for number in range(_FOLDS):
        seen, unseen = fold != number, fold == number
        expected[unseen] = _fitted(inputs[seen], losses[seen]).predict(inputs[unseen])
        mean[unseen] = losses[seen].mean()
    return _deviance(losses, expected) < _deviance(losses, mean)


def _deviance(losses: np.ndarray, expected: np.ndarray) -> float:
    """Poisson's of losses that are not negative, which a few large ones do not decide, and the
    squared error of others. Both are least for the mean.
    """
    if losses.min() < 0:
        return float(((losses - expected) ** 2).sum())
    least = np.finfo(float).tiny
    return float((expected - losses * np.log(np.maximum(expected, least))).sum())


def _fitted(inputs: np.ndarray, losses: np.ndarray) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="squared_error" if losses.min() < 0 else "poisson",
        max_iter=_ROUNDS,
        learning_rate=_RATE,
        max_leaf_nodes=_LEAVES,
        min_samples_leaf=_ROWS_OF_A_LEAF,
        early_stopping=False,
        random_state=0,
    )
    with one_core():
        return model.fit(inputs, losses)
