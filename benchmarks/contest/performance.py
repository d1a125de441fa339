"""What is known of a champion before its labels come, and when the labels say *worse*: the figures
of docs/performance.md.

    python -m benchmarks.contest.performance

Two champions of flights, refitted through March and through June, on the months after it.

Realised ROC AUC and log loss of each month; estimated (CBPE) with the scores as they are, with the
curve that the package would hold, and with a curve that is always fitted; the verdict of each
month. Then how often each rule would say *worse* where nothing changed: days of those months, drawn
at random for a hold-out and for a window that has none of them."""

import argparse
from dataclasses import dataclass

import numpy as np
import polars as pl

from serving.records.performance import Interval
from tasks.data.sources import source_of
from tasks.measures.estimate import Curve, calibrate_scores, estimate, isotonic_curve
from tasks.measures.intervals import days_of, intervals
from tasks.models import modelling
from tasks.packages.judging import judge_holdout
from tasks.packages.packaging import Holdout
from usecases.definition import BRIER, LOG_LOSS, ROC_AUC, Metric, UseCase, load

METRICS = (ROC_AUC, LOG_LOSS, BRIER)
SEED = 0


@dataclass(frozen=True)
class Champion:
    """A refit through ``last``, with what it was judged on before, and its scores on the months
    after.
    """

    last: str
    holdout: Holdout
    curves: dict[str, Curve]
    months: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # label, score, day


def make_champion(case: UseCase, rows: dict[str, pl.DataFrame], last: int, recipe: str) -> Champion:
    """As the loop does it: judged on its last month by a model of the months before, then fitted
    with it.
    """
    names = list(rows)
    candidate = case.candidate(recipe)

    def fit(periods: list[str]):  # noqa: ANN202
        return modelling.fit(
            case, candidate, candidate.params, pl.concat([rows[name] for name in periods]), SEED
        )

    last_period = names[last - 1]
    judge = fit(names[: last - 1])
    holdout = judge_holdout(case, judge, last_period, rows[last_period], SEED)
    always = isotonic_curve(
        modelling.predict(judge, case, rows[last_period]),
        modelling.labels(case, rows[last_period]).astype(float),
    )
    fitted = fit(names[:last])
    later = {
        name: (
            modelling.labels(case, rows[name]),
            modelling.predict(fitted, case, rows[name]),
            days_of(rows[name][case.event_time]),
        )
        for name in names[last:]
    }
    return Champion(
        last_period,
        holdout,
        {"as it is": [], "package": holdout.calibration, "always": always},
        later,
    )


def report(champion: Champion) -> list[str]:
    """A table of months, then a line for each curve with its errors."""
    holdout = champion.holdout
    proven = (
        "the diagonal"
        if list(holdout.calibration) == [(0.0, 0.0), (1.0, 1.0)]
        else f"{len(holdout.calibration)} points"
    )
    bounds = {name: f"{low:.4f} to {high:.4f}" for name, (low, high) in holdout.intervals.items()}
    lines = [
        f"### Champion through {champion.last}",
        "",
        f"Hold-out: {bounds}. Calibration in the package: {proven}.",
        "",
    ]
    lines += [
        (
            "| month | labels | realised | 90 % | as it is | package | always | log loss | as it "
            "is | package | always | verdict |"
        )
    ]
    lines += ["|---" * 12 + "|"]
    errors: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for month, (truth, scores, days) in champion.months.items():
        bounds_of = intervals(METRICS, truth, scores, days, SEED)
        guessed = {
            (metric.name, name): estimate(metric, scores, calibrate_scores(curve, scores))
            for metric in METRICS
            for name, curve in champion.curves.items()
        }
        for (metric_name, name), value in guessed.items():
            errors.setdefault((metric_name, name), []).append(
                (value, bounds_of[metric_name].value or np.nan)
            )
        now, loss = bounds_of["roc_auc"], bounds_of["log_loss"]
        assert now.value is not None and now.bounds is not None and loss.value is not None
        low = holdout.intervals["roc_auc"][0]
        verdict = "worse" if now.bounds[1] < low else "point below" if now.value < low else "level"
        cells = [month, f"{len(truth):,}", f"{now.value:.4f}", f"{now.low:.4f} to {now.high:.4f}"]
        cells += [f"{guessed['roc_auc', name] - now.value:+.4f}" for name in champion.curves] + [
            f"{loss.value:.4f}"
        ]
        cells += [f"{guessed['log_loss', name] - loss.value:+.4f}" for name in champion.curves] + [
            verdict
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "| metric | scores | mean error | mean absolute | largest | correlation |",
        "|---|---|---|---|---|---|",
    ]
    for (measured, name), pairs in errors.items():
        guess, real = np.array(pairs).T
        off = guess - real
        same = np.corrcoef(guess, real)[0, 1]
        lines.append(
            f"| {measured} | {name} | {off.mean():+.4f} | {np.abs(off).mean():.4f} | "
            f"{np.abs(off).max():.4f} | {same:.2f} |"
        )
    return lines


def false_alarms(champion: Champion, draws: int, days: int = 30) -> list[str]:
    """Each rule on pairs of disjoint random sets of ``days`` days of all months: nothing changed
    between them but the days.
    """
    truth, scores, day = (
        np.concatenate(parts) for parts in zip(*champion.months.values(), strict=True)
    )
    names, home = np.unique(day, return_inverse=True)
    chance = np.random.default_rng(SEED)
    widths = {metric.name: np.zeros(2) for metric in METRICS}
    for _ in range(draws):
        days_drawn = chance.permutation(len(names))[: 2 * days]
        then, now = (
            intervals(METRICS, truth[rows], scores[rows], home[rows], SEED)
            for rows in (
                np.isin(home, days_drawn[part]) for part in (slice(days), slice(days, None))
            )
        )
        for metric in METRICS:
            widths[metric.name] += _worse(metric, then[metric.name], now[metric.name])
    lines = [
        "",
        f"Nothing changed: {draws} pairs of {days} random days each, of {len(names)} days.",
        "",
    ]
    lines += [
        "| metric | the point is beyond the hold-out's bound | the intervals are apart |",
        "|---|---|---|",
    ]
    return lines + [
        f"| {name} | {point / draws:.1%} | {apart / draws:.1%} |"
        for name, (point, apart) in widths.items()
    ]


def _worse(metric: Metric, then: Interval, now: Interval) -> tuple[bool, bool]:
    """Whether the point is beyond the hold-out's worse bound, and whether the intervals are
    apart."""
    assert then.bounds is not None and now.bounds is not None and now.value is not None
    if metric.higher_is_better:
        return now.value < then.bounds[0], now.bounds[1] < then.bounds[0]
    return now.value > then.bounds[1], now.bounds[0] > then.bounds[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--use-case", default="flights")
    parser.add_argument("--recipe", default="boosting")
    parser.add_argument(
        "--through",
        type=int,
        nargs="+",
        default=[3, 6],
        help="how many months a champion is refitted on",
    )
    parser.add_argument("--draws", type=int, default=400, help="pairs for the false alarms")
    arguments = parser.parse_args()
    case = load(arguments.use_case)
    source = source_of(case)
    rows = {
        name: source.read(name).filter(pl.col(case.label).is_not_null())
        for name in source.periods()
    }
    champions = [make_champion(case, rows, last, arguments.recipe) for last in arguments.through]
    for champion in champions:
        print("\n".join([*report(champion), ""]))
    print("\n".join(false_alarms(champions[0], arguments.draws)))


if __name__ == "__main__":
    main()
