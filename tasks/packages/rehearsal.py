"""A rehearsal on a few rows, before minutes of work: each candidate is built, fitted, saved and
converted once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import polars as pl

from blocks.saved_models import saved_types
from tasks.models import modelling
from tasks.models.tuning import check_search
from tasks.outside.user_code import UseCaseFailed, WrongAnswers, calling
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.exporters.registry import export
from tasks.packages.keeping import keep
from tasks.packages.packaging import Origin
from tasks.packages.proof import ParityBroken, with_nulls
from usecases.definition import Candidate, Number, UseCase

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ROWS_OF_A_CLASS = 300
ROWS_OF_A_KIND = 20


def rehearse(
    case: UseCase, candidate: Candidate, params: Mapping[str, Any], rows: pl.DataFrame, seed: int
) -> bool:
    """Take ``candidate`` through every step after the fit, on a sample of the labelled ``rows``.

    ``False`` if the sample is too small to fit this model on: the fit itself then shows what is
    wrong, if anything is. Raises ``ValueError`` for rows that nothing can be trained on,
    ``UseCaseFailed`` for a model that cannot be built, saved, or scored on nulls,
    ``NotConvertible`` for a step that cannot become ONNX, and ``ParityBroken`` for a use case's own
    ONNX that answers otherwise than its model."""
    modelling.check_rows(case, rows)
    check_search(case, candidate, seed)
    modelling.build(case, candidate, params, seed)
    sample = draw_sample(case, rows, seed)
    try:
        fitted = modelling.fit(case, candidate, params, sample, seed)
        modelling.predict(fitted, case, sample)
    except WrongAnswers:
        raise
    except (UseCaseFailed, ValueError):
        return False
    name = f"candidate {candidate.name!r}"
    try:
        if candidate.export is None:
            export(fitted.named_steps["model"], len(modelling.owners(case, fitted)))
            kept = fitted
        else:
            kept = _keep(case, candidate, fitted, sample, seed)
    except (NotConvertible, ParityBroken) as error:
        raise type(error)(f"{case.name}: {name} cannot be served: {error}") from error
    _check_saving(case, name, kept)
    with calling(
        case.name,
        f"{name} on rows with nulls and unknown categories",
        "The service lets such rows through.",
    ):
        modelling.predict(fitted, case, with_nulls(case, sample, seed))
    return True


def _keep(
    case: UseCase, candidate: Candidate, fitted: "Pipeline", sample: pl.DataFrame, seed: int
) -> "Pipeline":
    periods = sample.select(case.period_of_rows).to_series().unique().to_list()
    origin = Origin(candidate.name, {}, "rehearsal", dict.fromkeys(periods, ""), {})
    return keep(case, fitted, origin, sample, lambda: sample, seed)


def _check_saving(case: UseCase, name: str, fitted: Any) -> None:
    remedy = "Use models and steps of the supported libraries, and compute features in read."
    with calling(case.name, f"saving {name}", remedy):
        strangers = saved_types(fitted)[1]
    if strangers:
        raise UseCaseFailed(
            f"{case.name}: {name} contains types that belong to no supported library and cannot be "
            f"saved: {strangers}. {remedy}"
        )


def draw_sample(case: UseCase, rows: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Return some rows of each class, enough to train on, and for each column some with a value and
    some without.

    All as far as there are any: a model may learn that there are nulls, and refuse them if it has
    seen none. Only the drawn rows are copied."""
    of_a_class = max(ROWS_OF_A_CLASS, case.minimum_training_rows)
    order = pl.int_range(len(rows), eager=True).shuffle(seed)
    samples = [order.filter(mask).head(of_a_class) for mask in _classes(case, rows, order)]
    for name in case.column_names:
        is_null = rows[name].is_null().gather(order)
        samples += [order.filter(mask).head(ROWS_OF_A_KIND) for mask in (is_null, ~is_null)]
    return rows[pl.concat(samples).unique(maintain_order=True)]


def _classes(case: UseCase, rows: pl.DataFrame, order: pl.Series) -> list[pl.Series]:
    """Return the rows of each class, in ``order``, as booleans ``(n_rows,)``; of a number its lower
    and upper half."""
    truth = rows[case.label].gather(order)
    if isinstance(case.target, Number):
        upper = truth > truth.median()
        return [upper, ~upper]
    return [truth == value for value in truth.unique()]
