"""Small files become large ones: whatever is killed, late, slow or done twice, each row is read
once at every moment.
"""

import io
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks.lake import Lake
from tasks.log.compacted import day_of, folder_of, last_arrival
from tasks.log.compaction import GRACE, Compacted, compact
from tasks.log.files import LogDamaged, read_batches, read_files
from tasks.log.labels import read_labels
from tasks.log.windows import read_window
from tests.fixtures.s3 import empty_bucket, lake_settings
from tests.fixtures.watched_lake import Happens, Killed, SlowLake, WatchedLake
from usecases.definition import UseCase

DAY = "2024-06-01"
LATER = timedelta(hours=8)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake")


@pytest.fixture
def now() -> datetime:
    """A time at which what the test has written is old enough."""
    return datetime.now(UTC) + timedelta(hours=2)


def frame(first: int, rows: int, **more: object) -> pl.DataFrame:
    numbers = list(range(first, first + rows))
    known = {
        "id": [f"id-{number}" for number in numbers],
        "time": [datetime(2024, 6, 1, tzinfo=UTC)] * rows,
        "first": [float(number) for number in numbers],
        "group": ["abc"[number % 3] for number in numbers],
        "score": [number % 100 / 100 for number in numbers],
        "model_version": ["3"] * rows,
        "sample_rate": [1.0] * rows,
    }
    return pl.DataFrame(known | more)


def plant(lake: Lake, number: int, rows: pl.DataFrame, day: str = DAY) -> str:
    data = io.BytesIO()
    rows.write_parquet(data)
    path = f"predictions/toy/date={day}/20240601T000000-ab12cd34-{number:06d}.parquet"
    lake.write(path, data.getvalue())
    return path


def plant_day(lake: Lake, files: int = 4, start: int = 0, day: str = DAY) -> int:
    """Five rows each, in two kinds of columns. The ids go on from ``start``."""
    for number in range(files):
        rows = frame(start + 5 * number, 5)
        plant(lake, start + number, rows.drop("group") if number % 3 == 2 else rows, day)
    return start + 5 * files


def ids(lake: Lake) -> list[int]:
    """Of each row that counts, in order."""

    def read(files: list) -> list[str]:  # type: ignore[type-arg]
        return [
            name
            for file in files
            for batch in read_batches(lake, file.path, lambda _: ["id"])
            for name in batch.column("id").to_pylist()
        ]

    found = read_files(lake, "predictions", "toy", (date.min, None), read)
    return sorted(int(name.removeprefix("id-")) for name in found)


def tidy(lake: Lake, now: datetime) -> Compacted:
    return compact(lake, "predictions", "toy", now)


def segments(lake: Lake) -> list[str]:
    return lake.list("predictions/toy")


def test_a_closed_day_becomes_one_file_for_each_kind_of_columns(
    lake: Lake, case: UseCase, now: datetime
) -> None:
    plant_day(lake, 40)
    before = read_window(lake, case, "2024-06", 60, 7)
    done = tidy(lake, now)
    assert (done.days, done.segments, done.rows, done.deleted) == (1, 40, 200, 0)
    assert len(segments(lake)) == 40  # a reader may have listed them
    assert tidy(lake, now + LATER).deleted == 40
    assert segments(lake) == [] and len(lake.list("compacted")) == 3
    after = read_window(lake, case, "2024-06", 60, 7)
    assert after.rows.equals(before.rows) and after.facts == before.facts
    assert (before.files, after.files, after.how) == (40, 2, before.how)
    assert (after.partly, before.counted, after.counted) == (before.partly, 200, 200)


def test_rows_keep_their_types_and_their_order(lake: Lake, now: datetime) -> None:
    odd = {
        "nothing": [None] * 3,
        "texts": [["a", "b"], [], None],
        "bytes": [b"\x00", None, b"\xff"],
        "event_time": [datetime(2024, 6, 1), None, datetime(1, 1, 1)],
        "small": pl.Series([1.5, float("nan"), None], dtype=pl.Float32),
        '_segment"': ["x"] * 3,
    }
    frames = [frame(3 * number, 3, **odd) for number in range(3)]
    for number, rows in enumerate(frames):
        plant(lake, number, rows)
    tidy(lake, now)
    (path,) = [one for one in lake.list("compacted") if one.endswith("parquet")]
    compacted = pl.read_parquet(io.BytesIO(lake.read(path)))
    assert compacted.equals(pl.concat(frames)) and compacted.schema == frames[0].schema


@pytest.mark.parametrize("at_once", [True, False])
def test_today_young_segments_lone_ones_and_large_ones_stay(
    lake: Lake, now: datetime, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_day(lake, 3, day=now.date().isoformat())
    plant(lake, 90, frame(90, 1), "2024-05-01")
    plant(lake, 91, frame(91, 1), "no-day")
    if at_once:
        plant_day(lake, 3, 100)
        now = datetime.now(UTC)
    else:
        monkeypatch.setattr("tasks.log.compaction._SMALL_BYTES", 10)
        plant_day(lake, 3, 100)
    assert tidy(lake, now) == Compacted()


def test_what_comes_late_is_the_next_file_and_many_of_them_are_one_again(
    lake: Lake, now: datetime
) -> None:
    end = plant_day(lake)
    counts = []
    for round_ in range(1, 13):
        tidy(lake, now + round_ * LATER)
        assert ids(lake) == list(range(end))
        counts.append(sum(path.endswith(".parquet") for path in lake.list("compacted")))
        end = plant_day(lake, 2, end)
        assert ids(lake) == list(range(end))
    assert max(counts) <= 20 and len(segments(lake)) <= 4


def test_of_a_year_of_compacted_days_only_those_that_may_change_are_read(
    lake: Lake, now: datetime
) -> None:
    """A manifest has the names of a day's segments, up to 17,280: all of them were read daily."""
    days = [f"{date(2023, 6, 1) + timedelta(days=number)}" for number in range(300)]
    for number, day in enumerate(days):
        plant_day(lake, 2, 10 * number, day)
    tidy(lake, now)
    tidy(lake, now + LATER)
    a_month_later, end = now + timedelta(days=30), 10 * len(days)
    plant(lake, 9000, frame(end, 5), days[7])
    plant(lake, 9001, frame(end + 5, 5), days[7])
    read = set[str]()

    def note(operation: str, path: str) -> None:
        if operation in ("read", "open"):
            read.add(day_of(path))

    done = tidy(watched(lake, note), a_month_later)
    assert (done.days, done.segments, done.problems) == (1, 2, ())
    assert read == {days[7]}
    assert len(ids(lake)) == end + 10


def test_what_a_slower_call_has_left_goes_though_nothing_else_is_to_be_done(
    lake: Lake, now: datetime
) -> None:
    """Of two calls one stops at the other's manifest, with its own files written."""
    plant_day(lake)

    def overtake(operation: str, path: str) -> None:
        if operation == "create":
            tidy(lake, now)

    assert tidy(watched(lake, overtake), now).lost == 1
    left = len(lake.list("compacted"))
    tidy(lake, now + LATER)
    assert segments(lake) == []
    tidy(lake, now + 2 * LATER)
    assert len(lake.list("compacted")) == left - 2


def test_a_segment_that_is_uploaded_again_counts_once(lake: Lake, now: datetime) -> None:
    """The service repeats an upload whose end it did not see, maybe days later."""
    end = plant_day(lake)
    again = {path: lake.read(path) for path in segments(lake)}
    tidy(lake, now)
    tidy(lake, now + LATER)
    for path, data in again.items():
        lake.write(path, data)
        assert ids(lake) == list(range(end))
    assert tidy(lake, now + 2 * LATER).days == 0
    assert segments(lake) == [] and ids(lake) == list(range(end))


class At:
    """From the operation number ``place`` on, one of the steps before each operation."""

    def __init__(self, place: int, *steps: Callable[[], object]) -> None:
        self.place, self.steps, self.count = place, steps, 0

    def __call__(self, operation: str, path: str) -> None:
        at = self.count - self.place
        self.count += 1
        if 0 <= at < len(self.steps):
            self.steps[at]()

    @property
    def came(self) -> bool:
        return self.count > self.place


def watched(lake: Lake, happens: Happens) -> WatchedLake:
    return WatchedLake(url=lake.url, credentials=lake.credentials).watch(happens)


def die() -> None:
    raise Killed


def settle(lake: Lake, now: datetime) -> None:
    """Two calls that go through leave nothing but what counts."""
    tidy(lake, now)
    tidy(lake, now + LATER)
    tidy(lake, now + 2 * LATER)
    assert segments(lake) == []
    names = lake.list("compacted")
    assert len([name for name in names if name.endswith(".json")]) == 1
    counting = read_files(lake, "predictions", "toy", (date.min, None), list)
    assert len(names) == len(counting) + 1


def killed_somewhere(lake: Lake, now: datetime, place: int) -> bool:
    try:
        tidy(watched(lake, At(place, die)), now)
    except Killed:
        return True
    return False


def test_a_kill_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, now: datetime) -> None:
    for hours in (0, 8):
        for place in range(1000):
            lake = Lake(url=f"file://{tmp_path}/{hours}-{place}")
            end = plant_day(lake)
            if hours:
                tidy(lake, now)
            was_killed = killed_somewhere(lake, now + timedelta(hours=hours), place)
            assert ids(lake) == list(range(end)), f"killed at {place} after {hours} h"
            end = plant_day(lake, 2, end)
            settle(lake, now + timedelta(hours=hours + 8))
            assert ids(lake) == list(range(end)), f"killed at {place} after {hours} h"
            if not was_killed:
                break
        assert place > 5


def read_throughout(lake: Lake, now: datetime) -> None:
    """Three compactions with a reader before each of their operations."""
    end, seen = plant_day(lake), list[bool]()
    for moment in (now, now + LATER, now + 2 * LATER):
        expected = list(range(end))

        def look(operation: str, path: str, expected: list[int] = expected) -> None:
            seen.append(ids(lake) == expected)

        tidy(watched(lake, look), moment)
        end = plant_day(lake, 2, end)
    assert len(seen) > 20 and all(seen)
    settle(lake, now + 3 * LATER)
    assert ids(lake) == list(range(end))


def test_a_reader_at_any_moment_of_a_compaction_reads_each_row_once(
    lake: Lake, now: datetime
) -> None:
    read_throughout(lake, now)


def test_in_a_bucket_too(s3: str, now: datetime) -> None:
    empty_bucket(s3, "log")
    read_throughout(Lake.of(lake_settings(s3, "s3://log/below")), now)


def compaction(lake: Lake, now: datetime) -> list[Callable[[], object]]:
    """What happens to a day in some days: compacted, its segments deleted, late ones compacted."""
    return [
        lambda: tidy(lake, now),
        lambda: tidy(lake, now + LATER),
        lambda: tidy(lake, now + 2 * LATER),
    ]


@pytest.mark.parametrize("together", [1, 2, 3])
def test_a_compaction_at_any_moment_of_a_reader_loses_and_doubles_nothing(
    tmp_path: Path, now: datetime, together: int
) -> None:
    """``together``: how many steps come at once, before one of the reader's operations."""
    for place in range(1000):
        lake = Lake(url=f"file://{tmp_path}/{place}")
        end = plant_day(lake)
        first, *others = compaction(lake, now)
        steps = [first, *others][together - 1 :]
        for step in [first, *others][: together - 1]:
            step()
        end = plant_day(lake, 2, end)
        reader = At(place, *steps)
        assert ids(watched(lake, reader)) == list(range(end)), place
        if not reader.came:
            break
    assert place >= 4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_lake_that_lists_slowly_hides_no_row(tmp_path: Path, now: datetime, count: int) -> None:
    """A listing has pages: what is deleted after the first is missing in the second."""
    for middle in range(5):
        for place in range(2):
            lake = Lake(url=f"file://{tmp_path}/{middle}-{place}")
            end = plant_day(lake)
            steps = compaction(lake, now)[:count]
            slow = SlowLake(url=lake.url).slowly(middle)
            slow.watch(At(place, lambda steps=steps: [step() for step in steps]))  # type: ignore[misc]
            assert ids(slow) == list(range(end))


def test_of_two_at_once_one_compacts_the_day(tmp_path: Path, now: datetime) -> None:
    for place in range(1000):
        lake = Lake(url=f"file://{tmp_path}/{place}")
        end, other = plant_day(lake), list[Compacted]()
        at = At(place, lambda lake=lake, other=other: other.append(tidy(lake, now)))  # type: ignore[misc]
        one = tidy(watched(lake, at), now)
        assert ids(lake) == list(range(end))
        assert sum([one, *other], Compacted()).days == 1
        settle(lake, now + LATER)
        assert ids(lake) == list(range(end))
        if not at.came:
            break
    assert place > 5


def test_a_deletion_while_another_call_reads_what_goes_is_no_failure(
    tmp_path: Path, now: datetime
) -> None:
    for place in range(1000):
        lake = Lake(url=f"file://{tmp_path}/{place}")
        end = plant_day(lake)
        tidy(lake, now)
        end = plant_day(lake, 3, end)
        steps = [lambda lake=lake, day=day: tidy(lake, now + day * LATER) for day in (1, 2, 3)]  # type: ignore[misc]
        at = At(place, lambda steps=steps: [step() for step in steps])  # type: ignore[misc]
        assert tidy(watched(lake, at), now + LATER).problems == ()
        assert ids(lake) == list(range(end))
        if not at.came:
            break
    assert place > 5


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["come", "again", "tidy", "late tidy", "kill", "read"]), max_size=9)
)
def test_whatever_happens_in_whatever_order_each_row_counts_once(
    tmp_path_factory: pytest.TempPathFactory, events: list[str]
) -> None:
    lake = Lake(url=f"file://{tmp_path_factory.mktemp('lake')}")
    now, end, data = datetime.now(UTC) + timedelta(hours=2), 0, dict[str, bytes]()
    for place, event in enumerate(events):
        if event == "come":
            end = plant_day(lake, 3, end)
            data |= {path: lake.read(path) for path in segments(lake)}
        elif event == "again" and data:
            path = sorted(data)[place % len(data)]
            lake.write(path, data[path])
        elif event == "kill":
            killed_somewhere(lake, now, 3 * place % 17)
        elif event != "again":
            now += LATER if event == "late tidy" else timedelta()
            tidy(lake, now)
        assert ids(lake) == list(range(end)), events[: place + 1]


@contextmanager
def no_room(limit: int) -> Iterator[None]:
    """No file of this process may become longer, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_a_full_disk_changes_nothing(lake: Lake, now: datetime, limit: int, tmp_path: Path) -> None:
    end = plant_day(lake)
    before = {path: lake.read(path) for path in lake.list("")}
    with no_room(limit), pytest.raises(OSError, match="The day stays as it is. Free some space"):
        tidy(lake, now)
    kept = {path: data for path in lake.list("") if (data := lake.read(path)) and path in before}
    assert kept == before and ids(lake) == list(range(end))
    settle(lake, now + LATER)
    assert ids(lake) == list(range(end))


def test_room_is_made_on_every_day_before_any_is_taken(lake: Lake, now: datetime) -> None:
    """On a full disk a compaction fails: what it could delete must not wait for it."""
    plant_day(lake, day="2024-06-02")
    tidy(lake, now)
    end = plant_day(lake, start=100)
    with no_room(0), pytest.raises(OSError, match="Free some space"):
        tidy(lake, now + LATER)
    assert lake.list("predictions/toy/date=2024-06-02") == []
    assert ids(lake) == [*range(20), *range(100, end)]


def test_an_old_log_is_compacted_in_some_calls_the_newest_days_first(
    lake: Lake, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.log.compaction.MOST_SEGMENTS", 5)
    for number in range(4):
        end = plant_day(lake, 3, 15 * number, f"2024-06-0{number + 1}")
    assert [tidy(lake, now).days for _ in range(3)] == [2, 2, 0]
    assert ids(lake) == list(range(end))
    monkeypatch.undo()
    plant_day(lake, 3, 200, "2024-06-02")
    monkeypatch.setattr("tasks.log.compaction.MOST_SEGMENTS", 1)
    plant_day(lake, 3, 300, "2024-06-03")
    tidy(lake, now)
    assert len(lake.list(f"{folder_of('predictions', 'toy')}/date=2024-06-03")) > 3


def test_a_damaged_segment_leaves_its_day_as_it_is_and_is_named(lake: Lake, now: datetime) -> None:
    plant_day(lake)
    plant_day(lake, start=100, day="2024-06-02")
    torn = plant(lake, 50, frame(50, 3))
    lake.write(torn, lake.read(torn)[:200])
    done = tidy(lake, now)
    assert done.days == 1 and torn in done.problems[0]
    assert len(lake.list(f"predictions/toy/date={DAY}")) == 5


def test_while_a_file_that_counts_is_missing_no_segment_of_its_day_goes(
    lake: Lake, now: datetime
) -> None:
    plant_day(lake, 2)
    tidy(lake, now)
    (file,) = [path for path in lake.list("compacted") if path.endswith(".parquet")]
    whole = lake.read(file)
    lake.remove([file])
    done = tidy(lake, now + LATER)
    assert file in done.problems[0] and len(segments(lake)) == 2
    with pytest.raises(LogDamaged, match="cannot be found"):
        ids(lake)
    lake.write(file, whole)
    assert tidy(lake, now + LATER).deleted == 2 and ids(lake) == list(range(10))


def test_without_its_manifest_a_day_is_its_segments_again(lake: Lake, now: datetime) -> None:
    """The way out of docs/operations.md, while the segments are there."""
    plant_day(lake, 2)
    tidy(lake, now)
    lake.remove(lake.list("compacted"))
    assert ids(lake) == list(range(10)) and tidy(lake, now + LATER).days == 1
    assert ids(lake) == list(range(10))


def test_a_manifest_that_is_none_is_named(lake: Lake, now: datetime) -> None:
    plant_day(lake)
    tidy(lake, now)
    path = f"{folder_of('predictions', 'toy', DAY)}/m-000001.json"
    lake.write(path, b"{}{")
    with pytest.raises(LogDamaged, match=path):
        ids(lake)
    assert path in tidy(lake, now + LATER).problems[0] and len(segments(lake)) == 4


def test_the_last_arrival_is_known_after_all_segments_are_gone(lake: Lake, now: datetime) -> None:
    assert last_arrival(lake, "predictions", "toy") is None
    plant_day(lake)
    last = lake.newest("predictions/toy")
    tidy(lake, now)
    assert last_arrival(lake, "predictions", "toy") == last
    tidy(lake, now + LATER)
    assert segments(lake) == [] and last_arrival(lake, "predictions", "toy") == last
    plant_day(lake, 1, 100, day="2024-06-02")
    assert last_arrival(lake, "predictions", "toy") == lake.newest("predictions/toy")


def test_the_label_that_came_last_still_counts(lake: Lake, case: UseCase, now: datetime) -> None:
    """Of one time and unknown arrival, the later segment and line counts, in whatever file."""
    for number, labels in enumerate([[True, False], [False, True], [True]]):
        data = io.BytesIO()
        time = [datetime(2024, 7, 1, tzinfo=UTC)] * len(labels)
        frame = pl.DataFrame({"id": ["a"] * len(labels), "label": labels, "time": time})
        frame.write_parquet(data)
        day = (2, 1, 1)[number]
        lake.write(f"feedback/toy/date=2024-06-0{day}/s-{number}.parquet", data.getvalue())
    wanted = pl.Series(["a"])
    before = read_labels(lake, case, "2024-06", wanted)
    assert before["label"].to_list() == [True] and before["given"].to_list() == [5]
    assert compact(lake, "feedback", "toy", now).segments == 2
    assert read_labels(lake, case, "2024-06", wanted).equals(before)
    lake.write("feedback/toy/date=2024-06-02/s-3.parquet", data.getvalue())
    compact(lake, "feedback", "toy", now + LATER)
    later = read_labels(lake, case, "2024-06", wanted)
    assert later["given"].to_list() == [6] and lake.list("feedback/toy/date=2024-06-01") == []


def test_very_many_segments_beside_compacted_days_are_sampled_evenly(
    lake: Lake, case: UseCase, now: datetime
) -> None:
    """A third of the rows is in files of which only a part is read."""
    plant_day(lake, 200)
    tidy(lake, now)
    tidy(lake, now + LATER)
    plant_day(lake, 100, 1000, day="2024-06-02")
    window = read_window(lake, case, "2024-06", 100_000, 7, limit_files=22)
    assert (window.counted, window.files, window.sampled) == (1500, 102, True)
    late = (window.rows["first"] >= 1000).mean()
    assert late == pytest.approx(1 / 3, abs=0.08)
    assert window.facts["score"].values == pytest.approx(1500)


def test_a_daily_call_deletes_what_the_last_one_replaced() -> None:
    assert timedelta(hours=1) < GRACE < timedelta(hours=23)


def test_counts_add_up() -> None:
    one = Compacted(days=1, freed=5, problems=("a",))
    assert one + replace(one, problems=("b",)) == Compacted(days=2, freed=10, problems=("a", "b"))
