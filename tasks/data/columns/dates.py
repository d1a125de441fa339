"""Dates as sources write them: dates, times of any unit, and texts in ISO's form; all become local
times in microseconds."""

from datetime import datetime

import polars as pl

_YEARS = (1, 9999)  # of Python's datetime, in which the service answers
_TEXT = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?$"
_ZONED = r"\d:\d\d.*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)$"
_FORMS = ("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f")


def holds_dates(dtype: pl.DataType) -> bool:
    """Whether values of the type may be dates."""
    return isinstance(dtype, pl.Datetime) or dtype in (pl.Date, pl.String)


def misfit_of_dates(values: pl.Series) -> str | None:
    """Why ``values`` are no local times; ``None`` if they are."""
    name = values.name
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        zone = values.dtype.time_zone if values.dtype.time_zone != "UTC" else "Europe/Berlin"
        return (
            f"holds {values.dtype}, expected local dates or times without a zone. In read, with "
            f"its local zone: rows.with_columns(pl.col({name!r}).dt.convert_time_zone({zone!r})"
            ".dt.replace_time_zone(None))"
        )
    if values.dtype != pl.String:
        return None
    texts = _stripped(values)
    bad = texts.filter(texts.is_not_null() & _read(texts).is_null())
    if bad.is_empty():
        return None
    if bad.str.contains(_ZONED).any():
        example = bad.filter(bad.str.contains(_ZONED))[0]
        return (
            f"has times with a zone, such as {example!r}, expected local ones. In read, with their "
            f"local zone: rows.with_columns(pl.col({name!r}).str.to_datetime(time_zone='UTC')"
            ".dt.convert_time_zone('Europe/Berlin').dt.replace_time_zone(None))"
        )
    return (
        f"has texts that are no dates, such as {bad[0][:40]!r}, expected 2024-01-31 or "
        f"2024-01-31T15:00:00. In read: rows.with_columns(pl.col({name!r})"
        ".str.to_datetime('%d.%m.%Y'))"
    )


def as_local_times(name: str) -> pl.Expr:
    """The local times of a column that fits."""
    return pl.col(name).map_batches(_local_times, return_dtype=pl.Datetime("us"))


def _local_times(values: pl.Series) -> pl.Series:
    if values.dtype == pl.String:
        return _read(_stripped(values))
    return values.cast(pl.Datetime("us"))


def date_faults(values: pl.Series) -> dict[str, pl.Series]:
    """Times that no calendar of Python's has."""
    possible = values.dt.year().is_between(*_YEARS)
    return {f"outside the years {_YEARS[0]} to {_YEARS[1]}": ~possible.fill_null(True)}


def middle_date(values: pl.Series) -> datetime | None:
    """The median of dates, to the second."""
    middle = values.dt.truncate("1s").median()
    return middle if isinstance(middle, datetime) else None


def weekdays(values: pl.Series) -> pl.Series:
    """0 (Monday) to 6. A date moves forward and would always drift; its weekday and its hour do
    not.
    """
    return (values.dt.weekday() - 1).cast(pl.Float64)


def hours(values: pl.Series) -> pl.Series:
    """The time of day in hours, 0-24."""
    return (values - values.dt.truncate("1d")).dt.total_seconds().cast(pl.Float64) / 3600


def _stripped(texts: pl.Series) -> pl.Series:
    stripped = texts.str.strip_chars()
    return stripped.set(stripped == "", None)


def _read(texts: pl.Series) -> pl.Series:
    """Local times in ISO's form; null for anything else."""
    plain = texts.set(~texts.str.contains(_TEXT).fill_null(False), None)
    plain = plain.str.replace("T", " ", literal=True)
    moments = pl.Series(texts.name, [None] * len(texts), dtype=pl.Datetime("us"))
    for form in _FORMS:
        found = plain.str.to_datetime(form, strict=False, time_unit="us")
        moments = moments.zip_with(moments.is_not_null(), found)
    return moments
