"""Tables without a time: what each ingest takes for new, where it puts it, and what stays."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from blocks.lake import Lake
from tasks.data.arrivals import FIRST_PERIODS, Arrivals
from tasks.data.dataset import DatasetVersion, read_periods, write_period, write_version
from tasks.data.tables import Frame
from tasks.data.validation import validate
from usecases.definition import (
    RMSE,
    ROW_ID,
    Candidate,
    Column,
    FrameSource,
    Gate,
    Number,
    Promotion,
    SourceError,
    UseCase,
)

WEDNESDAY = datetime(2026, 11, 25, 10)
WEEK = timedelta(days=7)


def table(rows: int = 700, seed: int = 0) -> pl.DataFrame:
    chance = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "patient": [f"p{seed}-{number}" for number in range(rows)],
            "age": chance.integers(20, 80, rows),
            "clinic": chance.choice(["north", "south"], rows),
            "progress": chance.normal(100, 20, rows),
        }
    )


def case(function: Callable[[], pl.DataFrame], **fields: Any) -> UseCase:
    given: dict[str, Any] = {
        "name": "patients",
        "title": "Patients",
        "question": "How far?",
        "source": FrameSource(function=function),
        "columns": (
            Column(name="age", kind="number", null_tolerance=1, nullable=True),
            Column(name="clinic", kind="category"),
        ),
        "target": Number(label="progress"),
        "arrival": True,
        "key": ("patient",),
        "candidates": (Candidate(name="none", build=lambda params, layout, seed: None),),
        "gate": Gate(metric=RMSE, threshold=30.0),
    }
    return UseCase(**{**given, **fields})


class Clinic:
    """A table that grows, and its lake."""

    def __init__(self, folder: Path, **fields: Any) -> None:
        self.rows = table()
        self.case = case(lambda: self.rows, **fields)
        self.lake = Lake(url=f"file://{folder}", credentials=None)

    def ingest(self, now: datetime) -> DatasetVersion:
        source = Frame(self.case, self.case.source)  # type: ignore[arg-type]
        arrivals = Arrivals(self.case, source, self.lake)
        periods = arrivals.periods(now)
        files = [
            write_period(
                self.lake, self.case, name, validate(self.case, name, arrivals.read(name, now))
            )
            for name in periods
        ]
        return write_version(self.lake, self.case, files)[0]

    def all(self, version: DatasetVersion) -> pl.DataFrame:
        return read_periods(self.lake, version, [file.period for file in version.periods])


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


def test_first_batch_is_dealt_over_ten_weeks_before_it(clinic: Clinic) -> None:
    version = clinic.ingest(WEDNESDAY)
    names = [file.period for file in version.periods]
    assert len(names) == FIRST_PERIODS and (names[0], names[-1]) == ("2026-W38", "2026-W47")
    assert version.rows == 700 and version.quarantined == 0
    assert all(40 <= file.rows <= 100 for file in version.periods), "about as many in each"
    assert clinic.all(version)["arrived_at"].dt.date().n_unique() == 70


def test_same_table_is_the_same_version_a_week_later_and_in_another_order(clinic: Clinic) -> None:
    first = clinic.ingest(WEDNESDAY)
    clinic.rows = clinic.rows.sample(fraction=1, shuffle=True, seed=1)
    assert clinic.ingest(WEDNESDAY + 3 * WEEK).content == first.content


def test_new_rows_lie_in_the_weeks_since_and_wait_for_the_end_of_one(clinic: Clinic) -> None:
    first = clinic.ingest(WEDNESDAY)
    clinic.rows = pl.concat([clinic.rows, table(90, seed=1)])
    assert clinic.ingest(WEDNESDAY + timedelta(hours=3)).content == first.content
    later = clinic.ingest(WEDNESDAY + 2 * WEEK)
    assert [file.period for file in later.periods][-3:] == ["2026-W47", "2026-W48", "2026-W49"]
    assert later.rows == 790
    assert later.periods[:-2] == first.periods
    assert clinic.ingest(WEDNESDAY + 3 * WEEK).content == later.content


def test_label_that_comes_late_and_value_that_is_mended_stay_where_the_row_is(
    clinic: Clinic,
) -> None:
    known = clinic.rows
    clinic.rows = known.with_columns(
        progress=pl.when(pl.int_range(pl.len()) < 300).then(None).otherwise("progress")
    )
    first = clinic.all(clinic.ingest(WEDNESDAY))
    assert first["progress"].null_count() == 300
    clinic.rows = known.with_columns(age=pl.col("age") + 1)
    second = clinic.all(clinic.ingest(WEDNESDAY + WEEK))
    assert second["progress"].null_count() == 0
    both = first.join(second, on="patient", suffix="_later")
    assert len(both) == len(first) == len(second)
    assert (both["arrived_at"] == both["arrived_at_later"]).all()
    assert (both["age"] + 1 == both["age_later"]).all()


def test_row_that_is_gone_from_the_table_stays(clinic: Clinic) -> None:
    first = clinic.ingest(WEDNESDAY)
    clinic.rows = pl.concat([clinic.rows.head(100), table(50, seed=2)])
    second = clinic.ingest(WEDNESDAY + WEEK)
    assert second.rows == 750 and second.periods[:-1] == first.periods


def test_row_without_a_key_is_known_by_its_inputs(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, key=(ROW_ID,))
    clinic.rows = pl.concat([table().drop("patient")] * 2)  # each row twice
    first = clinic.ingest(WEDNESDAY)
    assert (first.rows, first.quarantined) == (1400, 0)
    assert clinic.all(first)[ROW_ID].n_unique() == 1400
    clinic.rows = pl.concat([clinic.rows, table(10, seed=3).drop("patient")])
    assert clinic.ingest(WEDNESDAY + WEEK).rows == 1410


def test_row_in_quarantine_is_no_news(clinic: Clinic) -> None:
    clinic.rows = clinic.rows.with_columns(
        clinic=pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise("clinic")
    )
    first = clinic.ingest(WEDNESDAY)
    assert (first.rows, first.quarantined) == (699, 1)
    assert clinic.ingest(WEDNESDAY + 2 * WEEK).content == first.content
    clinic.rows = clinic.rows.with_columns(pl.col("clinic").fill_null("south"))
    mended = clinic.ingest(WEDNESDAY + 3 * WEEK)
    assert (mended.rows, mended.quarantined) == (700, 0)
    assert [file.period for file in mended.periods] == [file.period for file in first.periods]


@pytest.mark.parametrize("key", [(ROW_ID,), ("patient",)])
def test_row_keeps_its_place_where_a_column_is_added(tmp_path: Path, key: tuple[str, ...]) -> None:
    clinic = Clinic(tmp_path, key=key)
    clinic.rows = pl.concat([table(), table().with_columns(patient=pl.col("patient") + "b")])
    before = clinic.all(clinic.ingest(WEDNESDAY))
    clinic.rows = clinic.rows.with_columns(weight=70 + pl.int_range(pl.len()) % 9)
    columns = (*clinic.case.columns, Column(name="weight", kind="number"))
    clinic.case = case(lambda: clinic.rows, key=key, columns=columns)
    for weeks in (2, 4):
        later = clinic.all(clinic.ingest(WEDNESDAY + weeks * WEEK))
        assert later["weight"].null_count() == 0
        both = before.join(later, on=list(key), suffix="_later")
        assert len(both) == len(before) == len(later) == 1400
        assert (both["arrived_at"] == both["arrived_at_later"]).all()


def test_other_key_is_refused_with_what_to_do(clinic: Clinic) -> None:
    clinic.ingest(WEDNESDAY)
    clinic.case = case(lambda: clinic.rows, key=(ROW_ID,))
    with pytest.raises(SourceError, match=r"have no \['row_id'\].*keep the key of 'patients'"):
        clinic.ingest(WEDNESDAY + WEEK)


def test_missing_column_is_named(clinic: Clinic) -> None:
    class Rows:
        def rows(self) -> pl.LazyFrame:
            return table().drop("age").lazy()

    with pytest.raises(SourceError, match=r"lacks \['age'\]; it has"):
        Arrivals(clinic.case, Rows(), clinic.lake).periods(WEDNESDAY)


def test_keys_are_the_same_whatever_their_type(clinic: Clinic) -> None:
    numbers = clinic.rows.with_columns(patient=pl.int_range(pl.len()))
    clinic.rows = numbers
    first = clinic.ingest(WEDNESDAY)
    clinic.rows = numbers.with_columns(pl.col("patient").cast(pl.String))
    assert clinic.ingest(WEDNESDAY + WEEK).rows == first.rows


def test_other_periods(tmp_path: Path) -> None:
    for period, held_out, count, last in (
        ("day", 14, 70, "2026-11-24"),
        ("month", 1, 10, "2026-10"),
        ("quarter", 1, 10, "2026-Q3"),
    ):
        promotion = Promotion(holdout_periods=held_out)
        clinic = Clinic(tmp_path / period, period=period, promotion=promotion)
        version = clinic.ingest(WEDNESDAY)
        assert (len(version.periods), version.periods[-1].period) == (count, last)
        assert version.quarantined == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_time": "seen_at"}, "event_time beside arrival=True"),
        ({"period": "hour"}, "a period has a day at least"),
        ({"period": "day", "promotion": Promotion(block="hour")}, "a day has no hours"),
        ({"arrival": False}, "event_time is missing: name the column .*arrival=True"),
        ({"columns": (Column(name="arrived_at", kind="number"),)}, "arrived_at"),
    ],
)
def test_impossible_definition(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        case(table, **fields)


def test_source_that_gives_periods_has_times() -> None:
    class Months:
        def periods(self) -> list[str]:
            return []

        def read(self, period: str) -> pl.DataFrame:
            return pl.DataFrame()

    with pytest.raises(ValueError, match="arrival=True needs a source that gives all rows"):
        case(table, source=Months())
