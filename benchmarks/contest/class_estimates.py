"""How good the estimate of classes is before labels come: the table of docs/performance.md.

    python -m benchmarks.contest.class_estimates

Flights become early (ten minutes or more), on time or late (more than fifteen minutes). A champion
that was judged on its last month estimates the months after it, through March and through June."""

import numpy as np
import polars as pl

from benchmarks.contest.delays import flights_with
from tasks.data.targets import truth_of
from tasks.measures.estimate import calibrate_classes, estimate, fit_calibrations
from tasks.measures.intervals import days_of
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import (
    ACCURACY,
    LOG_LOSS,
    MACRO_F1,
    ROC_AUC,
    Candidate,
    Classes,
    Gate,
    UseCase,
)

METRICS = (ROC_AUC, LOG_LOSS, ACCURACY, MACRO_F1)
EARLY, LATE = -10, 15
CLASSES = ("early", "on time", "late")
SEED = 0


def punctuality() -> tuple[UseCase, dict[str, pl.DataFrame]]:
    """The use case, and its labelled rows by month."""
    delay = pl.col("arr_delay")
    label = (
        pl.when(delay <= EARLY)
        .then(pl.lit(CLASSES[0]))
        .when(delay <= LATE)
        .then(pl.lit(CLASSES[1]))
        .when(delay.is_not_null())
        .then(pl.lit(CLASSES[2]))
        .alias("punctuality")
    )
    return flights_with(
        label,
        target=Classes(label="punctuality", classes=CLASSES),
        candidates=(Candidate(name="boosting", build=boosting),),
        gate=Gate(metric=LOG_LOSS, threshold=1.2),
    )


def boosting(params, layout, seed):  # noqa: ANN001, ANN201 - as a use case's build
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=seed)


def main() -> None:
    case, months = punctuality()
    names = sorted(months)
    lines = []
    for last in (3, 6):
        learned = pl.concat([months[name] for name in names[: last - 1]])
        judge = modelling.fit(case, case.candidates[0], {}, learned, SEED)
        holdout = months[names[last - 1]]
        curves = fit_calibrations(
            modelling.predict(judge, case, holdout),
            truth_of(case, holdout[case.label]),
            days_of(holdout[case.event_time]),
        )
        everything = pl.concat([learned, holdout])
        champion = modelling.fit(case, case.candidates[0], {}, everything, SEED)
        reached: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
        errors: dict[str, list[float]] = {metric.name: [] for metric in METRICS}
        for name in names[last:]:
            scores = modelling.predict(champion, case, months[name])
            truth = truth_of(case, months[name][case.label])
            chances = calibrate_classes(curves, scores)
            for metric in METRICS:
                realised = score(metric, truth, scores)
                reached[metric.name].append(realised)
                errors[metric.name].append(estimate(metric, scores, chances) - realised)
        for metric in METRICS:
            off, scored = np.array(errors[metric.name]), np.array(reached[metric.name])
            lines.append(
                [
                    f"through {names[last - 1]}",
                    metric.in_words(),
                    f"{scored.min():.3f} to {scored.max():.3f}",
                    f"{off.mean():+.4f}",
                    f"{np.abs(off).mean():.4f}",
                    f"{np.abs(off).max():.4f}",
                    f"{np.corrcoef(scored + off, scored)[0, 1]:.2f}",
                ]
            )
    header = "champion | metric | realised | mean error | mean absolute | largest | correlation"
    print(
        "\n".join(
            [f"| {header} |", "|---" * 7 + "|", *(f"| {' | '.join(cells)} |" for cells in lines)]
        )
    )


if __name__ == "__main__":
    main()
