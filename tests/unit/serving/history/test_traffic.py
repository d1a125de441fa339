"""Requests of all processes, by the windows in which they were answered."""

import json
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from serving.history.checks import History
from serving.history.traffic import Hours, Served
from serving.metrics.counters import LATENCY_BOUNDS
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import write_traffic

MAY, JUNE, JULY = (datetime(2013, month, 1) for month in (5, 6, 7))


def hours(lake: Path) -> Hours:
    return History(FolderLake(lake), listing_seconds=0).traffic("toy")


def test_workers_and_replicas_add_up(tmp_path: Path) -> None:
    write_traffic(tmp_path, {"2013-05-31T23": 7, "2013-06-01T00": 100, "2013-06-30T23": 100})
    write_traffic(tmp_path, {"2013-06-01T00": 200, "2013-07-01T00": 5}, process="two", slow=0)
    write_traffic(tmp_path, {"2013-06-01T00": 4000}, use_case="other")
    june = hours(tmp_path).within(JUNE, JULY)
    assert june is not None and (june.requests, june.errors) == (400, 3)
    # 20 of 400 took 2 to 5 ms.
    assert june.p50 == pytest.approx(0.0002 + 0.0003 * 200 / 380)
    assert june.p99 == pytest.approx(0.002 + 0.003 * 16 / 20)
    ten = datetime(2013, 6, 1, 10)
    assert hours(tmp_path).within(ten, ten.replace(hour=11)) == Served(0, 0, None, None)


def test_before_the_first_hour_nothing_is_known(tmp_path: Path) -> None:
    assert hours(tmp_path).since is None and hours(tmp_path).within(MAY, JUNE) is None
    write_traffic(tmp_path, {"2013-06-10T12": 3})
    counted = hours(tmp_path)
    assert counted.since == "2013-06-10T12" and counted.within(MAY, JUNE) is None
    assert counted.within(JUNE, JULY) == Served(
        3, 1, pytest.approx(0.00035), pytest.approx(0.000497)
    )


def test_a_sum_without_an_unreadable_file_would_be_too_small(tmp_path: Path) -> None:
    write_traffic(tmp_path, {"2013-05-02T12": 3, "2013-06-10T12": 3})
    (tmp_path / "traffic/toy/2013-06/two.json").write_text("{")
    counted = hours(tmp_path)
    assert counted.within(JUNE, JULY) is None
    may = counted.within(MAY, datetime(2013, 5, 3))
    assert may is not None and may.requests == 3


def test_latencies_by_other_bounds_are_unknown_and_their_requests_count(tmp_path: Path) -> None:
    write_traffic(tmp_path, {"2013-06-10T12": 3}, bounds=[0.1 * n for n in range(1, 9)])
    write_traffic(tmp_path, {"2013-06-10T12": 3}, process="two")
    assert hours(tmp_path).within(JUNE, JULY) == Served(6, 2, None, None)
    short = tmp_path / "traffic/toy/2013-06/one.json"
    content = json.loads(short.read_text())
    content["bounds"] = list(LATENCY_BOUNDS)  # of which its counts have another number
    short.write_text(json.dumps(content))
    assert hours(tmp_path).within(JUNE, JULY) == Served(6, 2, None, None)


def test_other_objects_below_it_are_no_traffic(tmp_path: Path) -> None:
    write_traffic(tmp_path, {"2013-06-10T12": 3})
    for name in ("notes.txt", "one.json.partial", "deeper/one.json"):
        path = tmp_path / "traffic/toy/2013-06" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{")
    assert hours(tmp_path).within(JUNE, JULY) is not None


def cpu_of_windows(history: History, days: int) -> float:
    """CPU seconds in which the traffic of each day is looked up, of three tries the least."""
    begin = datetime(2025, 12, 1)
    windows = [begin + timedelta(days=day) for day in range(days)]
    tries = []
    for _ in range(3):
        start = time.process_time()
        hours = history.traffic("toy")
        for window in windows:
            served = hours.within(window, window + timedelta(days=1))
            assert served is not None and served.requests == 24 * 10
        tries.append(time.process_time() - start)
    return min(tries)


def test_a_day_s_traffic_takes_as_long_after_a_year_as_after_a_month(tmp_path: Path) -> None:
    """Each window was added up from all hours there are: a quarter of a second of the service's
    core for each look at the page.
    """
    spent = []
    for days in (31, 365):
        lake, begin = tmp_path / f"{days}", datetime(2025, 12, 1)
        hours = (begin + timedelta(hours=hour) for hour in range(24 * days))
        write_traffic(lake, {f"{hour:%Y-%m-%dT%H}": 10 for hour in hours})
        history = History(FolderLake(lake))
        history.traffic("toy")
        spent.append(cpu_of_windows(history, days) / days)
    assert spent[1] < 4 * spent[0]


def test_only_the_month_that_has_changed_is_added_up_again(tmp_path: Path) -> None:
    write_traffic(tmp_path, {"2026-01-01T10": 5, "2026-02-01T10": 7})
    history = History(FolderLake(tmp_path), listing_seconds=0)
    before = history.traffic("toy").months
    write_traffic(tmp_path, {"2026-02-01T10": 7, "2026-02-01T11": 1000})
    after = history.traffic("toy")
    assert after.months["2026-01"] is before["2026-01"]
    served = after.within(datetime(2026, 1, 1), datetime(2026, 3, 1))
    assert served is not None and served.requests == 1012
