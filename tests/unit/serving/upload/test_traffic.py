"""What a process answers, by hour, as it goes to the lake."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec

from serving.history.checks import History
from serving.metrics.counters import LATENCY_BOUNDS
from serving.metrics.traffic import Flow
from serving.outside.lake import FolderLake
from serving.records.record import decode
from serving.records.traffic import TrafficMonth
from serving.upload.traffic import KeptTraffic


class Counts(dict[str, Flow]):
    """The counts of a process, as its clock goes on."""

    def grow(self, at: str, requests: int, errors: int = 0, use_case: str = "toy") -> None:
        before = self.get(use_case) or Flow(0.0, 0, 0, 0, [0] * (len(LATENCY_BOUNDS) + 1))
        latency = [before.latency[0] + requests, *before.latency[1:]]
        moment = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()
        self[use_case] = Flow(
            moment, before.requests + requests, before.errors + errors,
            before.rows + 2 * requests, latency,
        )  # fmt: skip


def written(kept: KeptTraffic) -> dict[str, TrafficMonth]:
    months = {}
    for key, data in kept.files().items():
        months["/".join(key.split("/")[:3])] = decode(TrafficMonth, data)
        kept.written(key)
    return months


def test_requests_are_counted_in_their_hour_and_an_idle_process_writes_nothing() -> None:
    counts = Counts()
    kept = KeptTraffic(lambda: counts)
    assert written(kept) == {}
    counts.grow("2026-11-30T19:10", 5, errors=1)
    counts.grow("2026-11-30T19:10", 1, use_case="other")
    assert set(written(kept)) == {"traffic/toy/2026-11", "traffic/other/2026-11"}
    assert written(kept) == {}
    counts.grow("2026-11-30T19:59", 5)
    counts.grow("2026-11-30T19:59", 0, use_case="other")
    (month,) = written(kept).values()
    hour = month.hours["2026-11-30T19"]
    assert (hour.requests, hour.errors, hour.rows, hour.latency[0]) == (10, 1, 20, 10)
    assert month.bounds == list(LATENCY_BOUNDS)
    counts.grow("2026-11-30T20:00", 3)
    (month,) = written(kept).values()
    assert {name: hour.requests for name, hour in month.hours.items()} == {
        "2026-11-30T19": 10,
        "2026-11-30T20": 3,
    }


def test_what_the_lake_did_not_take_is_written_later_also_after_the_month() -> None:
    counts = Counts()
    kept = KeptTraffic(lambda: counts)
    counts.grow("2026-11-30T23:59", 5)
    assert len(kept.files()) == 1  # and the lake is away
    counts.grow("2026-12-01T00:01", 2)
    both = written(kept)
    assert {
        name: sum(hour.requests for hour in month.hours.values()) for name, month in both.items()
    } == {
        "traffic/toy/2026-11": 5,
        "traffic/toy/2026-12": 2,
    }
    counts.grow("2026-12-01T00:02", 1)
    assert set(written(kept)) == {"traffic/toy/2026-12"}


def test_two_processes_write_two_files_and_the_page_reads_their_sum(tmp_path: Path) -> None:
    lake, counts = FolderLake(tmp_path), Counts()
    counts.grow("2026-11-30T19:10", 5)
    for kept in (KeptTraffic(lambda: counts), KeptTraffic(lambda: counts)):
        for key, data in kept.files().items():
            lake.put(key, data)
            lake.put(key, data)  # again: the same object
    hours = History(lake).traffic("toy")
    total = hours.within(datetime(2026, 11, 1), datetime(2026, 12, 1))
    assert total is not None and total.requests == 10
    assert msgspec.json.decode(next(tmp_path.rglob("*.json")).read_bytes())["hours"]
