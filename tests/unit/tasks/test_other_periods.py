"""The loop by ISO weeks, of which "2024-w9" is before "2024-w10" and greater as text."""

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pytest

from blocks.lake import Lake
from serving.records.drift import Checked as CheckedWindow
from serving.records.drift import DriftVerdict
from serving.records.record import encode
from tasks.backtest.fits import History
from tasks.backtest.replay import run
from tasks.contest.fairness import why_unfair
from tasks.data.dataset import (
    read_periods,
    read_version,
    write_version,
)
from tasks.data.ingestion import ingest_period
from tasks.data.row_digests import HoldoutOverlap, rows_in
from tasks.data.sources import Checked
from tasks.data.tables import Query
from tasks.data.validation import validate
from tasks.drift.history import beyond_before
from tasks.drift.thresholds import calibrate
from tasks.ledger.entries import now
from tasks.log.files import logged_windows
from tasks.models.tuning import inner_split
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.packaging import Origin
from tests.fixtures.weeks import WEEKS, WeeklySource, weekly
from usecases.definition import ROC_AUC, Gate, UseCase

__all__ = ["weekly"]
EIGHT_TO_TEN = ["2024-w8", "2024-w9", "2024-w10"]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}")


def of_weeks(case: UseCase, *weeks: str) -> pl.DataFrame:
    return pl.concat([case.source.read(week) for week in weeks])  # type: ignore[union-attr]


def test_a_source_of_weeks_is_put_in_the_order_of_time(weekly: UseCase) -> None:
    weeks = Checked("toy", WEEKS, WeeklySource()).periods()
    assert weeks[:2] == ["2024-w1", "2024-w2"] and weeks[8:10] == ["2024-w9", "2024-w10"]
    with pytest.raises(UseCaseFailed, match=r"complete weeks, .* as \['2024-w1', '2024-w2'\]"):
        Checked("toy", WEEKS, Named("2024-01")).periods()


def test_the_dataset_with_the_latest_week_is_read_and_its_rows_lie_in_their_weeks(
    weekly: UseCase, lake: Lake
) -> None:
    files = [ingest_period(lake, weekly, week) for week in EIGHT_TO_TEN]
    nine, _ = write_version(lake, weekly, files[:2])
    ten, _ = write_version(lake, weekly, files)
    assert nine.version > ten.version
    assert read_version(lake, weekly.name).version == ten.version
    assert len(read_periods(lake, ten, ["2024-w10"])) == files[-1].rows > 0
    mixed = pl.concat([of_weeks(weekly, "2024-w9"), of_weeks(weekly, "2024-w10").head(10)])
    assert validate(weekly, "2024-w9", mixed).reasons == {"at: outside 2024-w9": 10}


def test_a_model_of_week_ten_knows_the_future_of_week_nine(weekly: UseCase, lake: Lake) -> None:
    files = [ingest_period(lake, weekly, week) for week in EIGHT_TO_TEN]
    dataset, _ = write_version(lake, weekly, files)
    rows = of_weeks(weekly, "2024-w9")
    digests = HoldoutOverlap(weekly, rows, rows_in(lake, weekly))
    later = dataset.digests(["2024-w8", "2024-w10"])
    (reason,) = why_unfair("champion 1", later, {"2024-w9": files[1].sha256}, digests)
    assert "was trained through 2024-w10, later than 2024-w9" in reason
    assert Origin("boosting", {}, dataset.version, later, {}).trained_through == "2024-w10"
    ten = HoldoutOverlap(weekly, of_weeks(weekly, "2024-w10"), rows_in(lake, weekly))
    earlier = dataset.digests(EIGHT_TO_TEN[:2])
    assert why_unfair("champion 1", earlier, {"2024-w10": files[2].sha256}, ten) == []
    judged_on = {"2024-w9": files[1].sha256, "2024-w10": files[2].sha256}
    (reason,) = why_unfair("champion 1", earlier, judged_on, ten)
    assert reason == "champion 1 was trained on 2024-w9, so it cannot be judged on it"


def test_tuning_checks_on_the_last_week_and_drift_is_calibrated_by_weeks(weekly: UseCase) -> None:
    rows = of_weeks(weekly, *EIGHT_TO_TEN)
    learned, checked = inner_split(weekly, EIGHT_TO_TEN, rows)
    assert checked["at"].min() == datetime(2024, 3, 4, 12) > learned["at"].max()
    assert calibrate(weekly, rows, 0)[2]
    assert not calibrate(weekly, of_weeks(weekly, *EIGHT_TO_TEN[1:]), 0)[2]


def test_the_prediction_log_and_its_checks_go_by_weeks(weekly: UseCase, lake: Lake) -> None:
    for day in ("2024-02-28", "2024-03-03", "2024-03-04"):
        lake.write(f"predictions/toy/date={day}/a.parquet", b"")
    assert [period.name for period in logged_windows(lake, weekly)] == ["2024-w9", "2024-w10"]
    for window, beyond in {"2024-w8": False, "2024-w9": True, "2024-02": False}.items():
        verdict = DriftVerdict(
            outcome="stable", window=window, rows=9, share=0, limit=1, beyond=beyond, reasons=[]
        )
        checked = CheckedWindow(use_case="toy", champion="1", time=now(), verdict=verdict)
        lake.write(f"reports/toy/{window}/verdict.json", encode(checked))
    assert beyond_before(lake, "toy", "1", "2024-w10", 5) == [False, True]


def test_a_query_has_the_weeks_that_are_over(weekly: UseCase) -> None:
    warehouse = Days([date(2024, 2, 28), date(2024, 3, 3), date(2024, 3, 4)])
    query = Query(warehouse, "SELECT 1", "at", WEEKS)  # type: ignore[arg-type]
    assert query.periods(datetime(2024, 3, 12)) == ["2024-w9", "2024-w10"]
    assert query.periods(datetime(2024, 3, 11, 12)) == ["2024-w9"]
    assert len(query.read("2024-w9")) == 1
    assert warehouse.asked == (datetime(2024, 2, 26), datetime(2024, 3, 4))


@pytest.mark.slow("replays months of contests")
def test_a_backtest_by_weeks_learns_from_the_weeks_before(
    weekly: UseCase, one_thread: None
) -> None:
    boosting = weekly.candidate("boosting").model_copy(update={"baseline": True, "search": None})
    case = weekly.model_copy(
        update={"candidates": (boosting,), "gate": Gate(metric=ROC_AUC, threshold=0.6)}
    )
    weeks = ["2024-w7", "2024-w8", "2024-w9", "2024-w10", "2024-w11"]
    result = run(
        case,
        History(case, {week: of_weeks(case, week) for week in weeks}, seed=0),
        "2024-w8",
        "",
        {},
    )
    assert result.first_champion == "boosting through 2024-w8"
    assert [lived.period for lived in result.replays["weekly"].periods] == weeks[2:]


@dataclass
class Named:
    """A source that names one period."""

    period: str

    def periods(self) -> list[str]:
        return [self.period]

    def read(self, period: str) -> pl.DataFrame:
        raise NotImplementedError


class Days:
    """A warehouse with rows on these days; it notes the span that it was asked for."""

    def __init__(self, days: list[date]) -> None:
        self._days = days
        self.asked: tuple[datetime, datetime] | None = None

    def days(self, query: str, event_time: str) -> list[date]:
        return self._days

    def read(self, query: str, event_time: str, start: datetime, end: datetime) -> pl.DataFrame:
        self.asked = start, end
        return pl.DataFrame({event_time: [start]})
