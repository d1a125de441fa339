"""What the intervals cost on the hot path: a table of docs/performance.md.

    python -m benchmarks.contest.interval_cost

200 trees of 31 leaves on two months of flights, as a yes or no and as minutes of delay: the CPU
time in which one thread scores rows (different ones in turn) and makes the values of the answer."""

import time

import numpy as np
import polars as pl

from benchmarks.contest.number_intervals import delays
from serving.package.model import open_session
from serving.package.outputs import Output, values_of
from tasks.models import modelling
from tasks.packages.error_quantiles import fit_error_quantiles
from tasks.packages.exporters.registry import export

TREES, REPEATS = 200, 7
SIZES = (1, 10, 100, 1000)


def spent(model: bytes, outputs: list[Output], matrix: np.ndarray, rows: int) -> float:
    """The least microseconds of a call, over a few rounds."""
    session, threshold = open_session(model), 0.5 if len(outputs) == 2 else None
    values = values_of(outputs, threshold)
    parts = [
        np.ascontiguousarray(matrix[start : start + rows])
        for start in range(0, min(len(matrix), 400 * rows), rows)
    ]
    least = np.inf
    for _ in range(REPEATS):
        start = time.thread_time()
        for part in parts:
            values(session.run(None, {"matrix": part})[0])
        least = min(least, (time.thread_time() - start) / len(parts))
    return least * 1e6


def main() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    case, months = delays()
    rows = pl.concat(list(months.values())[:2])
    encoder = modelling.encoder(case).fit(modelling.inputs(case, rows))
    matrix = np.asarray(encoder.transform(modelling.inputs(case, rows)), dtype=np.float64)
    truth = modelling.labels(case, rows)
    size = {"max_iter": TREES, "early_stopping": False, "random_state": 0}
    late = HistGradientBoostingClassifier(**size).fit(matrix, truth > 15)
    late.classes_ = np.array([0, 1])
    delay = HistGradientBoostingRegressor(**size).fit(matrix, truth)
    binary = export(late, matrix.shape[1])[0]
    number = export(delay, matrix.shape[1])[0]
    owners = np.arange(matrix.shape[1])
    quantiles = fit_error_quantiles(matrix, owners, delay.predict(matrix), truth, 0.9, 0)
    assert quantiles is not None
    value = Output("value", "number")
    models = {
        "a yes or no": (binary, [Output("score", "number"), Output("decision", "decision")]),
        "a number, `split`": (
            number,
            [value, Output("low", "bound", offset=-9.0), Output("high", "bound", offset=9.0)],
        ),
        "a number, `quantiles`": (
            quantiles.into(number),
            [
                value,
                Output("low", "bound", offset=-1.0, quantile="low"),
                Output("high", "bound", offset=1.0, quantile="high"),
            ],
        ),
    }
    print(f"| µs of | {' | '.join(f'{rows:,} rows' for rows in SIZES)} |\n{'|---' * 5}|")
    for name, (model, outputs) in models.items():
        times = [spent(model, outputs, matrix, rows) for rows in SIZES]
        print(f"| {name} | {' | '.join(f'{each:,.0f}' for each in times)} |", flush=True)
    totals = dict.fromkeys(SIZES, 0.0)
    for level in (None, 0.05, 0.95):
        loss = {} if level is None else {"loss": "quantile", "quantile": level}
        fitted = HistGradientBoostingRegressor(**size, **loss).fit(matrix, truth)
        model = export(fitted, matrix.shape[1])[0]
        for count in SIZES:
            totals[count] += spent(model, [value], matrix, count)
    print(f"| three ensembles | {' | '.join(f'{each:,.0f}' for each in totals.values())} |")


if __name__ == "__main__":
    main()
