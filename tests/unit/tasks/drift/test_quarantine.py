"""Windows in quarantine, and the verdicts of earlier windows, on a lake in a folder."""

from datetime import date, timedelta
from pathlib import Path

import pytest

from blocks.lake import Lake
from serving.records.drift import Checked, DriftVerdict, Outcome
from serving.records.record import encode
from tasks.drift import quarantine
from tasks.drift.history import beyond_before, held_before
from tasks.drift.quarantine import Quarantine
from tasks.ledger.entries import now
from tests.fixtures.watched_lake import WatchedLake


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}")


def broken(window: str, since: str = "2024-06-01T06:00:00+00:00") -> Quarantine:
    return Quarantine(
        use_case="toy",
        window=window,
        columns=["first"],
        reasons=["column 'first' is missing"],
        champion="3",
        since=since,
        by="a",
    )


def checked(
    lake: Lake, window: str, beyond: bool | None, champion: str = "3", outcome: Outcome = "stable"
) -> None:
    verdict = DriftVerdict(
        outcome=outcome, window=window, rows=900, share=None, limit=0.3, beyond=beyond, reasons=[]
    )
    record = Checked(use_case="toy", champion=champion, time=now(), verdict=verdict)
    lake.write(f"reports/toy/{window}/verdict.json", encode(record))


def test_a_window_in_quarantine_stays_there_until_it_is_lifted(lake: Lake) -> None:
    quarantine.put(lake, broken("2024-05"))
    quarantine.put(lake, broken("2024-06"))
    quarantine.put(lake, broken("2024-06", since="2024-06-02T06:00:00+00:00"))
    assert quarantine.is_quarantined(lake, "toy", "2024-05")
    assert quarantine.is_quarantined(lake, "toy", "2024-06")
    assert quarantine.read(lake, "toy", "2024-06").since == "2024-06-01T06:00:00+00:00"
    assert quarantine.lift(lake, "toy", "2024-06", "2024-06-03T06:00:00+00:00")
    assert not quarantine.lift(lake, "toy", "2024-06", "2024-06-04T06:00:00+00:00")
    assert not quarantine.lift(lake, "toy", "2024-07", "2024-06-04T06:00:00+00:00")
    left_out = [
        window
        for window in ("2024-04", "2024-05", "2024-06", "2024-07")
        if quarantine.is_quarantined(lake, "toy", window)
    ]
    assert left_out == ["2024-05"]
    record = quarantine.read(lake, "toy", "2024-06")
    assert record is not None and record.lifted == "2024-06-03T06:00:00+00:00"


def test_a_window_that_breaks_again_is_in_quarantine_again(lake: Lake) -> None:
    quarantine.put(lake, broken("2024-06"))
    quarantine.lift(lake, "toy", "2024-06", "2024-06-03T06:00:00+00:00")
    quarantine.put(lake, broken("2024-06", since="2024-06-05T06:00:00+00:00"))
    assert quarantine.is_quarantined(lake, "toy", "2024-06")
    assert quarantine.read(lake, "toy", "2024-06").since == "2024-06-05T06:00:00+00:00"


def test_the_last_windows_before_this_one_count_oldest_first(lake: Lake) -> None:
    for window, beyond in {
        "2024-03": True,
        "2024-04": False,
        "2024-05": True,
        "2024-06": True,
        "2024-07": True,
    }.items():
        checked(lake, window, beyond)
    assert beyond_before(lake, "toy", "3", "2024-06", 2) == [False, True]
    assert beyond_before(lake, "toy", "3", "2024-06", 9) == [True, False, True]
    assert beyond_before(lake, "toy", "3", "2024-03", 2) == []
    assert beyond_before(lake, "toy", "3", "2024-06", 0) == []


def test_windows_of_another_champion_in_quarantine_or_without_a_share_are_left_out(
    lake: Lake,
) -> None:
    checked(lake, "2024-02", True)
    checked(lake, "2024-03", True, champion="2")
    checked(lake, "2024-04", None, outcome="inconclusive")
    checked(lake, "2024-05", True)
    quarantine.put(lake, broken("2024-05"))
    assert beyond_before(lake, "toy", "3", "2024-06", 3) == [True]
    quarantine.lift(lake, "toy", "2024-05", "2024-06-03T06:00:00+00:00")
    assert beyond_before(lake, "toy", "3", "2024-06", 3) == [True, True]


def test_a_year_of_windows_of_which_none_counts_is_not_read_whole(tmp_path: Path) -> None:
    """As after each new champion, and for answers without intervals: all of a year was read."""
    lake = WatchedLake(url=f"file://{tmp_path}")
    for day in range(365):
        window = f"{date(2024, 1, 1) + timedelta(days=day)}"
        checked(lake, window, True, champion="2")
        quarantine.put(lake, broken(window))
    read: list[str] = []
    lake.watch(lambda operation, path: read.append(path) if operation == "read" else None)
    assert beyond_before(lake, "toy", "3", "2024-12-31", 2) == []
    assert held_before(lake, "toy", "2024-12-31", 1) == []
    assert len(read) == 120 and min(read).split("/")[2] == "2024-11-01"


def test_days_are_compared_with_days(lake: Lake) -> None:
    checked(lake, "2024-05", True)
    checked(lake, "2024-06-01", False)
    assert beyond_before(lake, "toy", "3", "2024-06-02", 3) == [False]


def test_a_verdict_that_cannot_be_read_is_named(lake: Lake) -> None:
    lake.write("reports/toy/2024-05/verdict.json", b"{}")
    with pytest.raises(
        ValueError,
        match="reports/toy/2024-05/verdict.json cannot be read as the verdict of a drift check",
    ):
        beyond_before(lake, "toy", "3", "2024-06", 1)
