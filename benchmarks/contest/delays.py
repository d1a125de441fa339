"""Flights with their delay in minutes, for benchmarks that predict something else of them than
flights does."""

from typing import Any

import polars as pl

from usecases._flights_features import SCHEMAS, features
from usecases._flights_source import FlightsSource
from usecases.definition import MONTHS, Promotion, UseCase, load


def flights_with(label: pl.Expr, **changes: Any) -> tuple[UseCase, dict[str, pl.DataFrame]]:
    """The use case flights with ``changes``, and its labelled rows by month. ``label`` is made of
    the column ``arr_delay``, in minutes."""
    source = FlightsSource()
    flights, weather, planes, airports = (
        source._table(name, schema) for name, schema in SCHEMAS.items()
    )
    rows = features(flights, weather, planes, airports)
    rows = rows.with_columns(flights.select(label).to_series())
    fields = {name: getattr(load("flights"), name) for name in UseCase.model_fields}
    case = UseCase(**{**fields, "promotion": Promotion(), "behaviours": (), **changes})
    labelled = rows.filter(pl.col(case.label).is_not_null())
    months = labelled.with_columns(period=MONTHS.names(pl.col("event_time"))).partition_by(
        "period", as_dict=True, include_key=False
    )
    return case, {str(name): part for (name,), part in sorted(months.items())}
