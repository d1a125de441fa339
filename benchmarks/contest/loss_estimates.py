"""How good the estimate of a number's errors is before labels come: a table of docs/performance.md.

    python -m benchmarks.contest.loss_estimates

The number is a flight's delay in minutes. A champion that was judged on its last month estimates
the months after it, through March and through June. *As on the hold-out* says that each month is
like the hold-out, which is what one knows without an estimate."""

import msgspec
import numpy as np
import polars as pl

from benchmarks.contest.delays import flights_with
from tasks.measures.intervals import days_of
from tasks.measures.metrics import measure_of, score
from tasks.models import modelling
from tasks.packages.expected_losses import fit_losses, loss_inputs, run
from usecases.definition import MAE, RMSE, Candidate, Gate, Number

METRICS = (RMSE, MAE)
SEED = 0


def boosting(params, layout, seed):  # noqa: ANN001, ANN201 - as a use case's build
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(max_iter=100, early_stopping=False, random_state=seed)


def main() -> None:
    case, months = flights_with(
        pl.col("arr_delay").cast(pl.Float64).alias("delay"),
        target=Number(label="delay", unit="minutes"),
        candidates=(Candidate(name="boosting", build=boosting),),
        gate=Gate(metric=RMSE, threshold=60),
    )
    names = list(months)
    inputs = [column.name for column in case.matrix_columns]
    lines = []
    for last in (3, 6):
        learned, holdout = (
            pl.concat([months[name] for name in names[: last - 1]]),
            months[names[last - 1]],
        )
        judge = modelling.fit(case, case.candidates[0], {}, learned, SEED)
        truth, predicted = modelling.labels(case, holdout), modelling.predict(judge, case, holdout)
        matrix = modelling.encode(judge, case, holdout)
        owners = modelling.owners(case, judge)
        days = days_of(holdout[case.event_time])
        models = msgspec.json.decode(
            fit_losses(case, matrix, owners, predicted, truth, days), type=dict[str, bytes]
        )
        everything = pl.concat([learned, holdout])
        champion = modelling.fit(case, case.candidates[0], {}, everything, SEED)
        for metric in METRICS:
            before = score(metric, truth, predicted)
            realised, estimated = [], []
            for name in names[last:]:
                rows = months[name]
                answers = modelling.predict(champion, case, rows)
                realised.append(score(metric, modelling.labels(case, rows), answers))
                given = loss_inputs(
                    inputs, owners, (), modelling.encode(champion, case, rows), answers
                )
                losses = run(models[metric.name], given)
                estimated.append(measure_of(metric, answers).of_mean(float(losses.mean())))
            scored, off = np.array(realised), np.array(estimated) - np.array(realised)
            lines.append(
                [
                    f"through {names[last - 1]}",
                    metric.in_words(),
                    f"{scored.min():.1f} to {scored.max():.1f}",
                    f"{off.mean():+.1f}",
                    f"{np.abs(off).mean():.1f}",
                    f"{np.abs(off).max():.1f}",
                    f"{np.corrcoef(estimated, realised)[0, 1]:.2f}",
                    f"{np.abs(before - scored).mean():.1f}",
                ]
            )
    header = (
        "champion | metric | realised | mean error | mean absolute | largest | correlation"
        " | as on the hold-out, mean absolute"
    )
    print(
        "\n".join(
            [f"| {header} |", "|---" * 8 + "|", *(f"| {' | '.join(cells)} |" for cells in lines)]
        )
    )


if __name__ == "__main__":
    main()
