"""Validates what enters the lake: rows one by one (pandera), and each batch as a whole.

A bad row goes to quarantine with its reason. A batch that is broken as a whole (a column missing or
renamed, a unit changed, nulls beyond tolerance, labels that are not the target's, a zone, empty) is
refused by name: quarantining all of it would hide that the source changed."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from serving.records.reasons import because
from tasks.data.kinds import KINDS
from tasks.data.row_digests import is_rounded
from tasks.data.targets import label_dtype, label_faults, label_problem, normalized_label
from usecases.definition import Column, UseCase

REASON = "quarantine_reason"
LARGEST_QUARANTINED_SHARE = 0.2


class BatchRefused(ValueError):
    """A batch is broken as a whole; the message names every problem, the column and both
    numbers. ``problems`` are the same, one by one.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems) or (message,)


@dataclass(frozen=True)
class Validated:
    """``good`` holds the use case's columns in order; ``quarantined`` the same and
    ``quarantine_reason``.
    """

    good: pl.DataFrame
    quarantined: pl.DataFrame

    @property
    def reasons(self) -> dict[str, int]:
        """Rows in quarantine by reason; a row with two faults counts under both together."""
        counts = self.quarantined[REASON].value_counts(sort=True)
        return dict(zip(counts[REASON].to_list(), counts["count"].to_list(), strict=True))


def validate(case: UseCase, period: str, rows: pl.DataFrame) -> Validated:
    """Split ``rows`` of ``period`` into good and quarantined ones. Raises ``BatchRefused`` for a
    batch broken as a whole.
    """
    if rows.is_empty():
        raise BatchRefused(
            f"{case.name} {period}: the batch is empty. Check that the source has this period."
        )
    problems = _missing_columns(case, rows) or _wrong_types(case, rows)
    if problems:
        raise BatchRefused(_refusal(case, period, problems), problems)
    columns = dict.fromkeys([*case.key, case.event_time, *case.column_names, case.label])
    # Sources that use pandas say NaN for null, and count time in another unit.
    batch = rows.select(*columns).with_columns(
        *(KINDS[column.kind].normalize(column.name) for column in case.columns),
        normalized_label(case, rows[case.label]).alias(case.label),
        pl.col(case.event_time).dt.cast_time_unit("us"),
        pl.col(
            [
                name
                for name in case.key
                if rows.schema[name] in (pl.Categorical, pl.Enum) and name not in case.column_names
            ]
        ).cast(pl.String),
    )
    problems = batch_problems(case, batch)
    known = rows[REASON] if rows.schema.get(REASON) == pl.String else None
    reasons = _row_reasons(case, period, batch, known)
    bad = reasons.is_not_null()
    share = float(bad.sum()) / len(batch)
    if share > LARGEST_QUARANTINED_SHARE:
        most = str(reasons.drop_nulls().mode()[0])
        problems.append(
            f"{share:.0%} of the rows are bad (tolerated {LARGEST_QUARANTINED_SHARE:.0%}), "
            f"most often: {most}"
        )
    if problems:
        raise BatchRefused(_refusal(case, period, problems), problems)
    good = batch.filter(~bad).with_columns(pl.col(case.label).cast(label_dtype(case)))
    return Validated(good=good, quarantined=batch.with_columns(reasons.alias(REASON)).filter(bad))


def batch_problems(case: UseCase, batch: pl.DataFrame, medians: bool = True) -> list[str]:
    """What is wrong with ``batch`` as a whole: nulls beyond tolerance, or (``medians``) a median
    that no healthy batch has.

    Also asked of a window of the prediction log, where the answer makes it *broken* and not
    *drifted*."""
    problems: list[str] = []
    for column in case.columns:
        values = batch[column.name]
        nulls = values.null_count() / len(values)
        if nulls > column.null_tolerance:
            problems.append(
                because(
                    "column_null",
                    column=column.name,
                    nulls=nulls,
                    tolerated=column.null_tolerance,
                )
            )
        elif (
            medians
            and column.typical is not None
            and not column.typical[0] <= (middle := _median(values)) <= column.typical[1]
        ):
            low, high = column.typical
            problems.append(
                because("column_median", column=column.name, median=middle, low=low, high=high)
            )
    return problems


def _median(values: pl.Series) -> float:
    middle = values.median()
    return float("nan") if middle is None else float(middle)  # type: ignore[arg-type]


def _missing_columns(case: UseCase, rows: pl.DataFrame) -> list[str]:
    columns = dict.fromkeys([*case.key, case.event_time, *case.column_names, case.label])
    strangers = [name for name in rows.columns if name not in columns]
    problems = []
    for name in columns:
        if name not in rows.columns:
            nearest = difflib.get_close_matches(name, strangers, n=1)
            problems.append(
                f"column {name!r} is missing"
                + (f"; was it renamed to {nearest[0]!r}?" if nearest else "")
            )
    return problems


def _wrong_types(case: UseCase, rows: pl.DataFrame) -> list[str]:
    problems = []
    for column in case.columns:
        dtype = rows.schema[column.name]
        if dtype != pl.Null and not KINDS[column.kind].holds(dtype):
            problems.append(f"column {column.name!r} holds {dtype}, expected {column.noun}")
        elif dtype != pl.Null and (misfit := KINDS[column.kind].misfit(rows[column.name])):
            problems.append(f"column {column.name!r} {misfit}")
    if problem := label_problem(case, rows[case.label]):
        problems.append(problem)
    times = {
        case.event_time,
        *(name for name in case.key if isinstance(rows.schema[name], pl.Datetime)),
    }
    problems += [
        problem for name in sorted(times) for problem in _wrong_time(name, rows.schema[name])
    ]
    for name in case.key:
        if rows.schema[name].is_nested() or rows.schema[name] in (pl.Binary, pl.Object):
            problems.append(
                f"key column {name!r} holds {rows.schema[name]}, expected text, numbers, "
                "dates or times"
            )
        elif problem := _rounded_key(case, rows[name]):
            problems.append(problem)
    return problems


def _rounded_key(case: UseCase, values: pl.Series) -> str | None:
    """Return why a key that is, or becomes, a double does not tell rows apart; ``None`` if it
    does."""
    becomes_double = any(
        column.name == values.name and KINDS[column.kind].dtype == pl.Float64
        for column in case.columns
    )
    if not (values.dtype.is_float() or (becomes_double and values.dtype.is_numeric())):
        return None
    if not is_rounded(values.cast(pl.Float64)):
        return None
    way = (
        "give it as integers or text (pandas turns integers with gaps into floats: astype('Int64'))"
        if values.dtype.is_float()
        else "a number that is an input is stored so; give the key in a column of its own"
    )
    return (
        f"key column {values.name!r} has floating-point numbers of 2^53 and more, where several "
        f"integers are one number: {way}"
    )


def _wrong_time(event_time: str, dtype: pl.DataType) -> list[str]:
    """A zone is refused here: next to periods without one it would fail in the middle of train."""
    if not isinstance(dtype, pl.Datetime):
        hint = (
            f". In read: rows.with_columns(pl.col({event_time!r}).str.to_datetime())"
            if dtype == pl.String
            else ""
        )
        hint = (
            f". In read: rows.with_columns(pl.col({event_time!r}).cast(pl.Datetime))"
            if dtype == pl.Date
            else hint
        )
        return [f"column {event_time!r} holds {dtype}, expected a date and time{hint}"]
    if dtype.time_zone is None:
        return []
    zone = dtype.time_zone if dtype.time_zone != "UTC" else "America/New_York"
    return [
        (
            f"column {event_time!r} holds {dtype}, expected the local date and time without a "
            "zone. In read, with its local zone: "
            f"rows.with_columns(pl.col({event_time!r}).dt.convert_time_zone({zone!r})"
            ".dt.replace_time_zone(None))"
        )
    ]


def _row_reasons(
    case: UseCase, period: str, batch: pl.DataFrame, known: pl.Series | None
) -> pl.Series:
    """Why each row is bad, ``(n_rows,)`` of text, null for the good ones. ``known`` are the reasons
    that the source has already.
    """
    import pandera.polars as pa
    from pandera.errors import SchemaErrors

    faults: dict[int, list[str]] = {
        row: [reason] for row, reason in enumerate([] if known is None else known) if reason
    }
    schema = pa.DataFrameSchema({column.name: _row_schema(column) for column in case.columns})
    try:
        schema.validate(batch.select(case.column_names), lazy=True)
    except SchemaErrors as error:
        for name, check, row in error.failure_cases.select("column", "check", "index").iter_rows():
            faults.setdefault(row, []).append(f"{name}: {check}")
    checked = {
        f"{case.event_time}: outside {period}": batch.select(
            case.period_of_rows.ne_missing(period)
        ).to_series(),
        f"{', '.join(case.key)}: missing": batch.select(
            pl.any_horizontal(pl.col(case.key).is_null())
        ).to_series(),
        f"{', '.join(case.key)}: duplicate": ~batch.select(
            pl.struct(case.key).is_first_distinct()
        ).to_series(),
    }
    for fault, is_bad in label_faults(case, batch[case.label]).items():
        checked[f"{case.label}: {fault}"] = is_bad
    for column in case.columns:
        for fault, is_bad in KINDS[column.kind].row_faults(batch[column.name]).items():
            checked[f"{column.name}: {fault}"] = is_bad
    for reason, is_bad in checked.items():
        for row in is_bad.arg_true():
            faults.setdefault(row, []).append(reason)
    reasons: list[str | None] = [None] * len(batch)
    for row, row_faults in faults.items():
        reasons[row] = "; ".join(sorted(set(row_faults)))
    return pl.Series(reasons, dtype=pl.String)


def _row_schema(column: Column):  # noqa: ANN202 - pandera's Column, imported where it is used
    import pandera.polars as pa

    checks = []
    if column.low is not None or column.high is not None:
        low, high = (
            column.low if column.low is not None else -float("inf"),
            column.high if column.high is not None else float("inf"),
        )
        checks.append(pa.Check.in_range(low, high, error=f"outside {low:g} to {high:g}"))
    if column.earliest is not None:
        checks.append(pa.Check.ge(column.earliest, error=f"before {column.earliest}"))
    if column.latest is not None:
        checks.append(pa.Check.le(column.latest, error=f"after {column.latest}"))
    if (longest := column.longest_value) is not None:
        fault = f"longer than {longest:,} characters"
        checks.append(pa.Check.str_length(max_value=longest, error=fault))
    if column.categories is not None:
        checks.append(pa.Check.isin(list(column.categories), error="unknown category"))
    return pa.Column(
        KINDS[column.kind].dtype,
        checks,
        nullable=column.nullable,
        coerce=True,
    )


def _refusal(case: UseCase, period: str, problems: list[str]) -> str:
    reasons = "; ".join(problems)
    return (
        f"{case.name} {period} is refused and nothing was written: {reasons}. Repair the source, "
        f"or change usecases/{case.name}.py."
    )
