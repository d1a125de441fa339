"""What of the lake is older than it is kept: what goes, what stays, and what a kill leaves."""

import io
import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from blocks.lake import Lake
from serving.records.drift import Checked, DriftVerdict
from serving.records.record import encode
from tasks.log.compaction import compact
from tasks.log.files import read_batches, read_files
from tasks.retention.announced import Announced, read_announced, write_announced
from tasks.retention.lake_objects import old_pages, old_predictions, old_results
from tests.fixtures.watched_lake import Killed, WatchedLake

NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}")


def put(lake: Lake, path: str, days_ago: float, data: bytes = b"12345") -> str:
    lake.write(path, data)
    then = (NOW - timedelta(days=days_ago)).timestamp()
    os.utime(Path(lake.url.removeprefix("file://")) / path, (then, then))
    return path


def checked(outcome: str, window: str) -> bytes:
    verdict = DriftVerdict(
        outcome=outcome, window=window, rows=9, share=0.5, limit=0.3, reasons=["for a test"]
    )
    return encode(Checked(use_case="toy", champion="3", time=NOW.isoformat(), verdict=verdict))


def test_results_go_after_a_week_and_nothing_beside_them(lake: Lake) -> None:
    put(lake, "results/old", 7.1)
    young, others = put(lake, "results/young", 6.9), put(lake, "results-of-mine/old", 900)
    found = old_results(lake, 7, NOW)
    assert (found.count, found.size) == (1, 5) and len(lake.list("")) == 3
    found.remove()
    found.remove()
    assert lake.list("") == sorted([young, others])


def test_pages_go_and_verdicts_distances_and_pages_that_were_acted_on_stay(lake: Lake) -> None:
    gone, stay = [], []
    for window, outcome in [("2024-01", "stable"), ("2024-02", "drifted"), ("2024-03", "broken")]:
        folder = f"reports/toy/{window}"
        stay.append(put(lake, f"{folder}/verdict.json", 100, checked(outcome, window)))
        stay.append(put(lake, f"{folder}/champion-3.json", 100))
        page = put(lake, f"{folder}/champion-3.html", 100)
        (gone if outcome == "stable" else stay).append(page)
    stay.append(put(lake, "reports/toy/2024-04/champion-3.html", 100))  # no verdict: unknown
    stay.append(put(lake, "reports/toy/2024-05/champion-3.html", 10))
    stay.append(put(lake, "reports/toy/notes/mine.html", 100))
    stay.append(put(lake, "reports/other/2024-01/champion-3.html", 100))
    found = old_pages(lake, "toy", 90, NOW)
    assert found.count == len(gone) == 1
    found.remove()
    assert lake.list("") == sorted(stay)


def plant(lake: Lake, day: str, number: int, days_ago: float) -> str:
    data = io.BytesIO()
    pl.DataFrame({"id": [f"{day} {number}"]}).write_parquet(data)
    path = f"predictions/toy/date={day}/20240101T000000-ab12cd34-{number:06d}.parquet"
    return put(lake, path, days_ago, data.getvalue())


def days_read(lake: Lake) -> list[str]:
    def read(files: list) -> list[str]:  # type: ignore[type-arg]
        return sorted(
            row[:10]
            for file in files
            for batch in read_batches(lake, file.path, lambda _: ["id"])
            for row in batch.column("id").to_pylist()
        )

    return read_files(lake, "predictions", "toy", (date.min, None), read)


@pytest.mark.parametrize("compacted", [False, True])
def test_days_go_once_they_and_what_came_for_them_are_older(lake: Lake, compacted: bool) -> None:
    """A replay of an old day, and events of the future, are as young as their answers."""
    for number in (1, 2):
        plant(lake, "2024-05-01", number, 60)
        plant(lake, "2013-01-01", number, 5)  # a replay
        plant(lake, "2024-05-02", number, 58 if number == 1 else 3)  # one came late
        plant(lake, "2024-06-20", number, 60)  # a forecast
        plant(lake, "9999-12-31", number, 60)  # a clock that was wrong
    put(lake, "predictions/toy/other-days/a.parquet", 60)
    before = days_read(lake)
    if compacted:
        for hours in (0, 8):
            compact(lake, "predictions", "toy", NOW + timedelta(hours=hours))
    for path in lake.list("compacted"):
        put(lake, path, -1, lake.read(path))  # written now
    found = old_predictions(lake, "toy", 30, NOW)
    assert found.count == 3
    found.remove()
    stay = ["2013-01-01", "2024-05-02", "2024-06-20"]
    assert before != days_read(lake) == sorted(2 * stay)
    assert old_predictions(lake, "toy", 30, NOW).count == 0
    assert "other-days" not in " ".join(lake.list("predictions"))


def test_a_deletion_that_is_killed_leaves_a_log_that_can_be_read(tmp_path: Path) -> None:
    for place in range(100):
        lake = Lake(url=f"file://{tmp_path}/{place}")
        watched = WatchedLake(url=lake.url)
        for number in range(4):
            plant(lake, "2024-05-01", number, 60)
            plant(lake, "2024-06-29", number, 1)
        compact(lake, "predictions", "toy", NOW)
        found, left = old_predictions(watched, "toy", 30, NOW), [place]

        def happens(operation: str, path: str, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] == -1:
                raise Killed

        watched.watch(happens)
        try:
            found.remove()
        except Killed:
            assert set(days_read(lake)) <= {"2024-05-01", "2024-06-29"}
            assert days_read(lake).count("2024-06-29") == 4
        old_predictions(lake, "toy", 30, NOW).remove()
        compact(lake, "predictions", "toy", NOW + timedelta(days=1))
        assert days_read(lake) == ["2024-06-29"] * 4
        if left[0] >= 0:
            break
    assert place > 4


def test_what_was_not_announced_with_these_days_does_not_go(lake: Lake) -> None:
    day = timedelta(days=1)
    first = read_announced(lake, "toy")
    assert not first.allows("runs", 90, NOW)
    write_announced(lake, "toy", first.with_kinds({"runs": 90}, NOW))
    known = read_announced(lake, "toy")
    assert not known.allows("runs", 90, NOW + timedelta(hours=1))
    assert known.allows("runs", 90, NOW + day) and not known.allows("results", 7, NOW + day)
    assert not known.allows("runs", 9, NOW + day)  # a zero was forgotten
    again = known.with_kinds({"runs": 9}, NOW + day)
    assert not again.allows("runs", 9, NOW + day) and again.allows("runs", 9, NOW + 2 * day)
    longer = again.with_kinds({"runs": 30, "results": 7}, NOW + 2 * day)
    assert longer.allows("runs", 30, NOW + 2 * day)
    assert longer.with_kinds({}, NOW + 3 * day).allows("results", 7, NOW + 3 * day)


def test_an_announcement_that_cannot_be_read_is_made_again(lake: Lake) -> None:
    lake.write("tidy/toy.json", b"{")
    assert read_announced(lake, "toy") == Announced()
