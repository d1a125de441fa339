"""What a fitted pipeline reaches on rows that it has not seen, how certain that is, and the package
of a challenger that was judged so."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from tasks.data.sampling import even_rows
from tasks.measures.estimate import fit_calibration, fit_calibrations
from tasks.measures.intervals import days_of, intervals
from tasks.measures.metrics import metrics_of, score
from tasks.models import modelling
from tasks.models.cross_fitting import cross_fit
from tasks.packages.calibration import (
    Unseen,
    answered,
    calibrate_answers,
    promises,
    without_quantiles,
)
from tasks.packages.expected_losses import fit_losses
from tasks.packages.packaging import Holdout, Origin, SavedPackage, make_package
from usecases.definition import Number, UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


def score_holdout(case: UseCase, fitted: "Pipeline", rows: pl.DataFrame) -> dict[str, float]:
    """Return scores by metric name on labelled rows that ``fitted`` has not seen."""
    truth, predicted = modelling.labels(case, rows), modelling.predict(fitted, case, rows)
    return {metric.name: score(metric, truth, predicted) for metric in metrics_of(case)}


def judge_holdout(
    case: UseCase,
    fitted: "Pipeline",
    holdout: str,
    rows: pl.DataFrame,
    seed: int,
    earlier: Unseen | None = None,
) -> Holdout:
    """Return the intervals of the scores on the hold-out, and the calibration there: a later
    champion's window is compared with them. ``earlier`` are training rows, answered out of
    fold."""
    truth, predicted = modelling.labels(case, rows), modelling.predict(fitted, case, rows)
    days = days_of(rows[case.event_time])
    bounds_by_metric = intervals(metrics_of(case), truth, predicted, days, seed)
    bounds = {
        name: interval.bounds
        for name, interval in bounds_by_metric.items()
        if interval.bounds is not None
    }
    unseen = answered(case, fitted, rows, predicted, holdout)
    judged = Holdout(holdout, bounds, calibrated=calibrate_answers(case, unseen, earlier, seed))
    if isinstance(case.target, Number):
        matrix, owners = modelling.encode(fitted, case, rows), modelling.owners(case, fitted)
        losses = fit_losses(case, matrix, owners, predicted, truth, days)
        return replace(judged, losses=losses)
    if predicted.ndim == 2:
        return replace(judged, calibrations=fit_calibrations(predicted, truth, days))
    return replace(judged, calibration=fit_calibration(predicted, truth, days))


def package_challenger(
    folder: Path,
    case: UseCase,
    fitted: "Pipeline",
    origin: Origin,
    training: pl.DataFrame,
    holdout: str,
    rows: pl.DataFrame,
    seed: int,
) -> SavedPackage:
    """Judge ``fitted`` on the labelled ``rows`` of the hold-out, and write its package, proven on
    them, into ``folder``. Raises as ``make_package`` does."""
    training, _ = even_rows(training, seed)
    unseen, earlier = None, None
    if promises(case):
        # What is kept of a model of the use case's own cannot be fitted, so the recipe is.
        candidate = case.candidate(origin.recipe)
        pipeline = modelling.pipeline(case, candidate, origin.params, seed)
        unseen = cross_fit(case, pipeline, training, seed)
        earlier = answered(case, fitted, training, unseen.scores)
    promised = without_quantiles(case, origin.recipe)
    judged = judge_holdout(promised, fitted, holdout, rows, seed, earlier)
    origin = replace(origin, holdout=judged)
    return make_package(folder, case, fitted, origin, training, rows, seed, False, unseen)
