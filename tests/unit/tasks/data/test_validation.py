from pathlib import Path
from typing import Any

import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.lake import Lake
from tasks.data.ingestion import ingest_period
from tasks.data.validation import REASON, BatchRefused, Validated, validate
from usecases.definition import Column, SourceError, UseCase, load

PERIOD = "2024-02"


@pytest.fixture(scope="module")
def case() -> UseCase:
    return load("toy")


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return toy_rows(PERIOD)


def changed(case: UseCase, column: str, **update: Any) -> UseCase:
    """The use case with one column described otherwise."""
    columns = tuple(
        part.model_copy(update=update) if part.name == column else part for part in case.columns
    )
    return case.model_copy(update={"columns": columns})


def first(rows: pl.DataFrame, n: int, column: str, value: object) -> pl.DataFrame:
    """``rows`` with ``value`` in ``column`` of the first ``n``."""
    return rows.with_columns(
        pl.when(pl.int_range(pl.len()) < n).then(pl.lit(value)).otherwise(column).alias(column)
    )


def ids(frame: pl.DataFrame) -> list[int]:
    return frame["id"].to_list()


def adds_up(validated: Validated, rows: pl.DataFrame) -> bool:
    """Every row is either good or in quarantine, as many times as it came."""
    return sorted(ids(validated.good) + ids(validated.quarantined)) == sorted(ids(rows))


def test_a_healthy_batch_passes_whole(case: UseCase, rows: pl.DataFrame) -> None:
    validated = validate(case, PERIOD, rows)
    assert (len(validated.good), len(validated.quarantined), validated.reasons) == (
        len(rows),
        0,
        {},
    )
    assert validated.good.columns == ["id", "at", "first", "second", "steady", "group", "won"]
    assert validated.good.schema["won"] == pl.Int8


def test_columns_that_are_not_asked_for_are_left_out(case: UseCase, rows: pl.DataFrame) -> None:
    validated = validate(
        case,
        PERIOD,
        rows.with_columns(pl.lit("x").alias("stranger")).select(
            reversed([*rows.columns, "stranger"])
        ),
    )
    assert validated.good.equals(validate(case, PERIOD, rows).good)


def refused(case: UseCase, rows: pl.DataFrame) -> str:
    with pytest.raises(BatchRefused) as raised:
        validate(case, PERIOD, rows)
    message = str(raised.value)
    assert message.startswith(f"toy {PERIOD}")
    return message


def test_an_empty_batch_is_refused(case: UseCase, rows: pl.DataFrame) -> None:
    assert "the batch is empty" in refused(case, rows[:0])


@pytest.mark.parametrize("column", ["id", "at", "first", "group", "won"])
def test_a_missing_column_is_refused_by_name(
    case: UseCase, rows: pl.DataFrame, column: str
) -> None:
    message = refused(case, rows.drop(column))
    assert f"column '{column}' is missing" in message
    assert "nothing was written" in message
    assert "usecases/toy.py" in message


def test_a_renamed_column_is_refused_with_its_new_name(case: UseCase, rows: pl.DataFrame) -> None:
    assert "column 'steady' is missing; was it renamed to 'steady_km'?" in refused(
        case, rows.rename({"steady": "steady_km"})
    )


def test_every_missing_column_is_named_at_once(case: UseCase, rows: pl.DataFrame) -> None:
    message = refused(case, rows.drop("first", "group"))
    assert "'first' is missing" in message
    assert "'group' is missing" in message


@pytest.mark.parametrize(
    ("column", "dtype", "wanted"),
    [
        ("first", pl.String, "a number"),
        ("group", pl.Int64, "a category"),
        ("at", pl.String, "a date and time"),
        ("at", pl.Date, "a date and time"),
        ("won", pl.String, "0, 1 or null"),
    ],
)
def test_a_column_of_another_type_is_refused(
    case: UseCase, rows: pl.DataFrame, column: str, dtype: Any, wanted: str
) -> None:
    values = pl.lit(None, dtype=dtype) if column == "group" else pl.col(column).cast(dtype)
    message = refused(case, rows.with_columns(values.alias(column)))
    assert f"column '{column}' holds {dtype}" in message
    assert wanted in message


def test_nulls_beyond_tolerance_are_refused_with_both_shares(
    case: UseCase, rows: pl.DataFrame
) -> None:
    few, many = round(0.049 * len(rows)), round(0.06 * len(rows))
    assert len(validate(case, PERIOD, first(rows, few, "steady", None)).quarantined) == few
    assert "column 'steady' is 6.0% null, tolerated 5.0%" in refused(
        case, first(rows, many, "steady", None)
    )


def test_nan_counts_as_null(case: UseCase, rows: pl.DataFrame) -> None:
    """Pandas says NaN for null: a column full of them must not pass for one full of numbers."""
    assert "column 'steady' is 50.0% null" in refused(
        case, first(rows, len(rows) // 2, "steady", float("nan"))
    )
    validated = validate(
        changed(case, "second", low=None, high=None), PERIOD, first(rows, 5, "second", float("nan"))
    )
    assert validated.good["second"].is_nan().sum() == 0
    assert validated.good["second"].null_count() >= 5


def test_a_column_that_is_null_throughout_is_refused_and_not_a_crash(
    case: UseCase, rows: pl.DataFrame
) -> None:
    assert "column 'first' is 100.0% null" in refused(
        case, rows.with_columns(pl.lit(None).alias("first"))
    )


def test_a_changed_unit_is_refused_by_the_median(case: UseCase, rows: pl.DataFrame) -> None:
    message = refused(case, rows.with_columns(pl.col("steady") * 1.609))
    assert "column 'steady' has median 8.0" in message
    assert "healthy batches 4 to 6: did its unit change?" in message


def test_many_bad_rows_are_refused_with_the_reason_that_is_most_frequent(
    case: UseCase, rows: pl.DataFrame
) -> None:
    fifth = len(rows) // 5
    assert len(validate(case, PERIOD, first(rows, fifth, "first", 99.0)).quarantined) == fifth
    message = refused(case, first(rows, fifth + 1, "first", 99.0))
    assert (
        "20% of the rows are bad (tolerated 20%), most often: first: outside -10 to 20" in message
    )


def test_several_problems_are_told_together(case: UseCase, rows: pl.DataFrame) -> None:
    message = refused(case, first(rows.with_columns(pl.col("steady") * 10), 500, "second", None))
    assert "did its unit change?" in message
    assert "'second' is" in message


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("first", -10.001, "first: outside -10 to 20"),
        ("first", 21.0, "first: outside -10 to 20"),
        ("steady", None, "steady: not_nullable"),
        ("steady", float("nan"), "steady: not_nullable"),
        ("id", None, "id: missing"),
    ],
)
def test_a_bad_row_goes_to_quarantine_with_its_reason(
    case: UseCase, rows: pl.DataFrame, column: str, value: object, reason: str
) -> None:
    bad = first(rows, 1, column, value)
    validated = validate(case, PERIOD, bad)
    assert validated.reasons == {reason: 1}
    assert validated.quarantined[REASON].to_list() == [reason]
    assert validated.good.equals(validate(case, PERIOD, rows[1:]).good)


def test_the_quarantine_keeps_the_bad_value_as_it_came(case: UseCase, rows: pl.DataFrame) -> None:
    assert validate(case, PERIOD, first(rows, 1, "first", 21.0)).quarantined["first"].to_list() == [
        21.0
    ]


def test_limits_themselves_are_inside(case: UseCase, rows: pl.DataFrame) -> None:
    assert (
        validate(case, PERIOD, first(first(rows, 1, "first", 20.0), 1, "second", -10.0)).reasons
        == {}
    )


def test_infinity_is_bad_where_nothing_bounds_the_column(case: UseCase, rows: pl.DataFrame) -> None:
    open_ended = changed(case, "first", low=None, high=None)
    validated = validate(
        open_ended, PERIOD, first(first(rows, 3, "first", float("inf")), 1, "first", float("-inf"))
    )
    assert validated.reasons == {"first: infinite": 3}


def test_one_open_limit_still_holds_the_other(case: UseCase, rows: pl.DataFrame) -> None:
    validated = validate(
        changed(case, "first", high=None),
        PERIOD,
        first(first(rows, 2, "first", 1e9), 1, "first", -11.0),
    )
    assert list(validated.reasons) == ["first: outside -10 to inf"]
    assert len(validated.quarantined) == 1


def test_an_unknown_category_is_bad_only_where_the_set_is_closed(
    case: UseCase, rows: pl.DataFrame
) -> None:
    strange = first(rows, 4, "group", "z")
    assert validate(case, PERIOD, strange).reasons == {}
    assert validate(
        changed(case, "group", categories=("a", "b", "c")), PERIOD, strange
    ).reasons == {"group: unknown category": 4}


def test_a_duplicate_key_keeps_the_first_row(case: UseCase, rows: pl.DataFrame) -> None:
    twice = pl.concat([rows, rows[:3].with_columns(pl.col("first") + 1)])
    validated = validate(case, PERIOD, twice)
    assert validated.reasons == {"id: duplicate": 3}
    assert validated.good.equals(validate(case, PERIOD, rows).good)
    assert adds_up(validated, twice)


def test_rows_of_a_key_of_two_columns_are_duplicates_only_together(
    case: UseCase, rows: pl.DataFrame
) -> None:
    two_keys = case.model_copy(update={"key": ("id", "group")})
    other = pl.when(pl.col("group") == "a").then(pl.lit("b")).otherwise(pl.lit("a")).alias("group")
    validated = validate(
        two_keys, PERIOD, pl.concat([rows, rows[:2], rows[2:5].with_columns(other)])
    )
    assert validated.reasons == {"id, group: duplicate": 2}


@pytest.mark.parametrize(
    "at", ["2024-01-31T23:59:59", "2024-03-01T00:00:00", "2023-02-01T12:00:00", None]
)
def test_a_row_of_another_period_is_bad(case: UseCase, rows: pl.DataFrame, at: str | None) -> None:
    when = pl.lit(at, dtype=pl.String).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us")
    wrong = rows.with_columns(
        pl.when(pl.int_range(pl.len()) < 2).then(when).otherwise("at").alias("at")
    )
    assert validate(case, PERIOD, wrong).reasons == {f"at: outside {PERIOD}": 2}


def test_keys_that_a_float_has_rounded_are_refused(case: UseCase, rows: pl.DataFrame) -> None:
    """All but a few would be duplicates, and a contest would take rows for others."""
    long = pl.col("id") + 11_111_111_111_111_111
    assert len(validate(case, PERIOD, rows.with_columns(id=long)).good) == len(rows)
    for key in (long.cast(pl.Float64), -long.cast(pl.Float32)):
        with pytest.raises(
            BatchRefused, match=r"'id' has floating-point numbers of 2\^53 and more"
        ):
            validate(case, PERIOD, rows.with_columns(id=key))


def test_a_long_key_cannot_be_an_input_as_well(case: UseCase, rows: pl.DataFrame) -> None:
    """A number that is an input becomes a float."""
    both = case.model_copy(update={"columns": (*case.columns, Column(name="id", kind="number"))})
    assert len(validate(both, PERIOD, rows).good) == len(rows)
    with pytest.raises(BatchRefused, match="give the key in a column of its own"):
        validate(both, PERIOD, rows.with_columns(id=pl.col("id") + 11_111_111_111_111_111))


def test_unknown_labels_are_good_rows(case: UseCase, rows: pl.DataFrame) -> None:
    for unknown in (None, float("nan")):
        validated = validate(case, PERIOD, first(rows, 300, "won", unknown))
        assert (validated.reasons, validated.good["won"].null_count()) == ({}, 300)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            [0, 1, 2, 3],
            "holds 0, 1, 2, 3: 840 of 1,680 labels are neither 0 nor 1. To predict a number "
            "write Number(label='won'), for classes Classes(label='won', "
            "classes=('0', '1', '2', '3')); for a yes or no",
        ),
        ([0, 1, 2, 3], "where yes begins, as rows.with_columns(pl.col('won') >= 2)"),
        ([-1, 1], "Say which one means yes, as Binary(label='won', positive=1)"),
        ([1, 2], "Say which one means yes, as Binary(label='won', positive=2)"),
        ([0.0, 0.5, 1.0], "holds 0, 0.5, 1: 560 of 1,680 labels are neither 0 nor 1"),
        ([7], "holds 7: 1,680 of 1,680 labels"),
        ([0.0, float("inf")], "holds 0, inf"),
        (list(range(40)), "holds 0, 1, 2, 3, 4, ...: "),
        (
            ["0", "1"],
            "holds String, expected 0, 1 or null. Its values are '0', '1': say which one means "
            "yes, as Binary(label='won', positive='1')",
        ),
        (["no", "Yes", None], "Binary(label='won', positive='Yes')"),
        (["false", "true"], "Binary(label='won', positive='true')"),
        (["lost", "won"], "Its values are 'lost', 'won': say which one means yes"),
        (["a", "b", "c"], "write Classes(label='won', classes=('a', 'b', 'c'))"),
    ],
)
def test_label_that_is_not_0_or_1_refuses_the_batch_and_says_what_to_write(
    case: UseCase, rows: pl.DataFrame, labels: list[Any], message: str
) -> None:
    won = pl.Series("won", (labels * len(rows))[: len(rows)])
    assert message in refused(case, rows.with_columns(won))


def test_one_label_among_many_that_is_no_label_refuses_the_batch(
    case: UseCase, rows: pl.DataFrame
) -> None:
    assert "1 of 1,680 labels are neither 0 nor 1" in refused(case, first(rows, 1, "won", 2))


@pytest.mark.parametrize(
    "labels", [[0, 1], [0.0, 1.0, None], [True, False], [1], [0], [None], [float("nan"), 1.0]]
)
def test_label_of_0_and_1_in_any_type_is_kept_as_it_is(
    case: UseCase, rows: pl.DataFrame, labels: list[Any]
) -> None:
    won = pl.Series("won", (labels * len(rows))[: len(rows)])
    validated = validate(case, PERIOD, rows.with_columns(won))
    assert validated.reasons == {}
    assert set(validated.good["won"]) == {
        None if value is None or value != value else int(value) for value in labels
    }


def test_label_that_the_remedy_made_passes(case: UseCase, rows: pl.DataFrame) -> None:
    rated = rows.with_columns(pl.Series("won", ([0, 1, 2, None] * len(rows))[: len(rows)]))
    validated = validate(case, PERIOD, rated.with_columns(pl.col("won") >= 1))
    assert (validated.good["won"].sum(), validated.good["won"].null_count()) == (840, 420)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_event_time_with_a_zone_is_refused_with_the_line_that_takes_it_away(
    case: UseCase, rows: pl.DataFrame, zone: str
) -> None:
    message = refused(case, rows.with_columns(pl.col("at").dt.replace_time_zone(zone)))
    assert "expected the local date and time without a zone" in message
    assert (
        "pl.col('at').dt.convert_time_zone('" in message
        and ".dt.replace_time_zone(None))" in message
    )


@pytest.mark.parametrize("unit", ["ns", "ms"])
def test_event_time_of_another_unit_makes_the_same_rows(
    case: UseCase, rows: pl.DataFrame, unit: Any
) -> None:
    assert validate(
        case, PERIOD, rows.with_columns(pl.col("at").dt.cast_time_unit(unit))
    ).good.equals(validate(case, PERIOD, rows).good)


def test_a_row_with_two_faults_counts_once_with_both_reasons(
    case: UseCase, rows: pl.DataFrame
) -> None:
    validated = validate(case, PERIOD, first(first(rows, 1, "steady", None), 2, "first", 99.0))
    assert validated.reasons == {
        "first: outside -10 to 20": 1,
        "first: outside -10 to 20; steady: not_nullable": 1,
    }


def test_good_and_quarantined_are_all_the_rows(case: UseCase, rows: pl.DataFrame) -> None:
    bad = first(first(first(rows, 60, "first", -50.0), 30, "second", 50.0), 10, "steady", None)
    bad = pl.concat([bad, rows[-5:], toy_rows("2024-03")[:4]])
    validated = validate(case, PERIOD, bad)
    assert adds_up(validated, bad)
    assert len(validated.quarantined) == 69
    assert validated.quarantined.columns == [*validated.good.columns, REASON]
    assert validated.quarantined[REASON].null_count() == 0


class Given:
    """A source with one batch."""

    def __init__(self, rows: pl.DataFrame) -> None:
        self.rows = rows

    def periods(self) -> list[str]:
        return [PERIOD]

    def read(self, period: str) -> pl.DataFrame:
        if period != PERIOD:
            raise SourceError(f"no {period}")
        return self.rows


def test_nothing_of_a_refused_batch_is_written(
    case: UseCase, rows: pl.DataFrame, tmp_path: Path
) -> None:
    lake = Lake(url=f"file://{tmp_path}")
    broken = first(rows.with_columns(pl.col("steady") * 10), 5, "first", 99.0)
    with pytest.raises(BatchRefused, match="did its unit change"):
        ingest_period(lake, case.model_copy(update={"source": Given(broken)}), PERIOD)
    assert list(tmp_path.rglob("*")) == []
    ingest_period(
        lake, case.model_copy(update={"source": Given(first(rows, 5, "first", 99.0))}), PERIOD
    )
    assert sorted(path.parent.name for path in tmp_path.rglob("*.parquet")) == [
        "periods",
        "quarantine",
    ]
