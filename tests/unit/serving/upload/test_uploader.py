import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blocks.settings import Settings
from serving.errors import LakeAway
from serving.log.prediction_log import PredictionLog
from serving.log.segments import Header, feedback_header, header_of, line_of
from serving.outside.lake import BucketLake, FolderLake, Lake, open_lake
from serving.package.model import load
from serving.upload.carrier import Receipt, carry
from serving.upload.parquet import convert
from serving.upload.uploader import Uploader
from tests.fixtures.packages import write_package
from tests.fixtures.s3 import empty_bucket, lake_settings

ROWS: list[dict[str, Any]] = [
    {"carrier": "AA", "distance": 100, "wind": None, "time_hour": "2013-06-01T23:30:00"},
    {"carrier": "new", "distance": 200.5, "wind": -3.5, "time_hour": "2013-06-02T00:00:00"},
    {"carrier": None, "distance": 300, "wind": 1},
]


def header(folder: Path, version: str, **other: Any) -> bytes:
    """The header of a real package's manifest; ``other`` changes fields of it."""
    digest = write_package(folder)
    return header_of(msgspec.structs.replace(load(folder, digest).manifest, **other), version)


@pytest.fixture
def champion(tmp_path: Path) -> bytes:
    """The header of a champion's lines."""
    return header(tmp_path / "package", "3")


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    log = PredictionLog(
        tmp_path / "log", flush_seconds=3600.0, flush_rows=1000, backlog_bytes=10**6
    )
    log.start()
    return log


def answer(log: PredictionLog, champion: bytes, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Log an answer to ``rows``, as the service does."""
    version = msgspec.json.decode(champion, type=Header).version
    predictions = [
        {"id": secrets.token_hex(8), "score": 0.1 + number, "decision": number > 0}
        for number in range(len(rows))
    ]
    answer_document = {"predictions": predictions, "model_version": version, "use_case": "toy"}
    log.append(
        champion,
        "toy",
        line_of(
            json.dumps({"rows": rows}).encode(), json.dumps(answer_document).encode(), len(rows)
        ),
        len(rows),
    )
    return answer_document


def read(files: dict[str, bytes]) -> dict[str, pa.Table]:
    return {key: pq.read_table(pa.BufferReader(data)) for key, data in files.items()}


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_predictions_become_one_file_for_each_day_of_their_events(
    log: PredictionLog, champion: bytes
) -> None:
    predictions = answer(log, champion, ROWS)["predictions"]
    log.close_old(everything=True)
    segment = log.closed[0].path
    tables = read(convert(segment).files)
    today = datetime.now(UTC).date()
    assert list(tables) == [
        f"predictions/toy/date={day}/{segment.stem}.parquet"
        for day in (date(2013, 6, 1), date(2013, 6, 2), today)
    ]
    assert tables.popitem()[1].to_pylist()[0]["event_time"] is None
    (first,), (second,) = (table.to_pylist() for table in tables.values())
    assert first["event_time"] == datetime(2013, 6, 1, 23, 30)
    assert (first["carrier"], first["distance"], first["wind"]) == ("AA", 100.0, None)
    assert (second["carrier"], second["distance"], second["wind"]) == ("new", 200.5, -3.5)
    assert second["model_version"] == "3"
    assert [(row["id"], row["score"], row["decision"]) for row in (first, second)] == [
        tuple(prediction.values()) for prediction in predictions[:2]
    ]


def test_the_columns_of_both_logs_have_the_types_that_readers_expect(
    log: PredictionLog, champion: bytes
) -> None:
    answer(log, champion, ROWS[2:])
    log.append(
        feedback_header("toy"),
        "toy",
        line_of(b'{"feedback": [{"id": "a", "label": 1}]}', b"", 1),
        1,
    )
    log.close_old(everything=True)
    predictions, feedback = (
        next(iter(read(convert(segment.path).files).values())).schema for segment in log.closed
    )
    assert [(field.name, str(field.type)) for field in predictions] == [
        ("id", "string"),
        ("time", "timestamp[us, tz=UTC]"),
        ("event_time", "timestamp[us]"),
        ("carrier", "string"),
        ("distance", "double"),
        ("wind", "double"),
        ("score", "double"),
        ("decision", "bool"),
        ("model_version", "string"),
        ("sample_rate", "double"),
        ("role", "string"),
        ("caller_hash", "uint32"),
    ]
    assert [(field.name, str(field.type)) for field in feedback] == [
        ("id", "string"),
        ("label", "bool"),
        ("time", "timestamp[us, tz=UTC]"),
        ("received", "timestamp[us, tz=UTC]"),
        ("reward", "double"),
    ]


def test_feedback_goes_to_the_day_of_its_event_and_else_to_the_day_it_came(
    log: PredictionLog,
) -> None:
    """Not to the day of its own time: a wrong clock could hide it in another folder."""
    entries = [
        {
            "id": "a",
            "label": 1,
            "event_time": "2013-06-01T15:00:00",
            "time": "2013-07-01T00:00:00Z",
        },
        {"id": "b", "label": False, "time": "2013-07-01T00:00:00Z"},
    ]
    log.append(
        feedback_header("toy"),
        "toy",
        line_of(json.dumps({"feedback": entries}).encode(), b"", 2),
        2,
    )
    log.close_old(everything=True)
    segment = log.closed[0].path
    tables = read(convert(segment).files)
    rows = {
        table.to_pylist()[0]["id"]: (key.split("/")[2], table.to_pylist()[0])
        for key, table in tables.items()
    }
    assert rows["a"][0] == "date=2013-06-01"
    assert (
        rows["b"][0]
        == f"date={rows['b'][1]['received']:%Y-%m-%d}"
        != f"date={rows['b'][1]['time']:%Y-%m-%d}"
    )
    assert convert(segment).files == convert(segment).files


def test_two_champions_never_share_a_segment(
    log: PredictionLog, champion: bytes, tmp_path: Path
) -> None:
    for segment_header in (champion, header(tmp_path / "next", "4"), champion):
        answer(log, segment_header, ROWS)
    log.close_old(everything=True)
    assert [segment.rows for segment in log.closed] == [6, 3]


class InThisProcess:
    """Uploads without a separate process."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def carry(self, path: Path, patience_seconds: float | None = None) -> Receipt:
        return carry(path, self.lake, durable=False)

    def rest(self, *, now: bool = False) -> None: ...


class Stubborn:
    """A lake that refuses until it is switched on."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.away = True
        self.tries = 0

    def put(self, key: str, data: bytes, patience_seconds: float | None = None) -> None:
        self.tries += 1
        if self.away:
            raise LakeAway("nobody is there")
        self.lake.put(key, data)


def test_while_the_lake_is_away_rows_wait_and_then_all_arrive_once(
    log: PredictionLog, champion: bytes, tmp_path: Path
) -> None:
    lake = Stubborn(FolderLake(tmp_path / "lake"))
    uploader = Uploader(log, InThisProcess(lake), tick_seconds=0.01)
    uploader.start()
    answer(log, champion, ROWS)
    log.close_old(everything=True)
    wait_for(lambda: lake.tries > 0)
    answer(log, champion, ROWS)
    assert log.state("toy").rows_waiting == 6
    wait_for(lambda: uploader.last_error is not None)
    assert "nobody is there" in str(uploader.last_error)
    lake.away = False
    wait_for(lambda: not log.closed)
    uploader.stop(timeout_seconds=30)
    assert uploader.last_error is None
    assert log.state("toy").rows_uploaded == 6
    rows = [
        row
        for path in (tmp_path / "lake").rglob("*.parquet")
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert len(rows) == len({row["id"] for row in rows}) == 6


class Patient(InThisProcess):
    """Keeps how long each segment would have given way."""

    def __init__(self, lake: Lake) -> None:
        super().__init__(lake)
        self.patience: list[float | None] = []

    def carry(self, path: Path, patience_seconds: float | None = None) -> Receipt:
        self.patience.append(patience_seconds)
        return super().carry(path)


@pytest.mark.parametrize(
    ("late_seconds", "age_seconds", "least", "most"),
    [
        (600.0, 0, 500.0, 600.0),
        (600.0, 700, 0.0, 0.0),
        (600.0, -86_400, 600.0, 600.0),  # the clock was put back
        (None, 700, None, None),
    ],
)
def test_a_segment_gives_way_until_it_is_late_and_at_the_end_none_does(
    log: PredictionLog,
    champion: bytes,
    tmp_path: Path,
    late_seconds: float | None,
    age_seconds: float,
    least: float | None,
    most: float | None,
) -> None:
    carrier = Patient(FolderLake(tmp_path / "lake"))
    uploader = Uploader(log, carrier, tick_seconds=0.01, late_seconds=late_seconds)
    answer(log, champion, ROWS)
    log.close_old(everything=True)
    log.closed[0].since -= age_seconds
    uploader.start()
    wait_for(lambda: not log.closed)
    answer(log, champion, ROWS)
    uploader.stop(timeout_seconds=30)
    first, last = carrier.patience
    assert first == least or (first and least and most and least < first <= most)
    assert last == (None if late_seconds is None else 0.0)


def test_stopping_tries_once_and_leaves_what_the_lake_did_not_take(
    log: PredictionLog, champion: bytes, tmp_path: Path
) -> None:
    uploader = Uploader(
        log, InThisProcess(Stubborn(FolderLake(tmp_path / "lake"))), tick_seconds=0.01
    )
    uploader.start()
    answer(log, champion, ROWS)
    uploader.stop(timeout_seconds=30)
    log.stop()
    assert not uploader.alive
    again = PredictionLog(tmp_path / "log", 3600.0, 1000, 10**6)
    again.start()
    assert again.state("toy").rows_waiting == 3


def test_a_segment_that_nobody_can_read_does_not_hold_up_the_others(
    log: PredictionLog, champion: bytes, tmp_path: Path
) -> None:
    answer(log, champion, ROWS)
    log.close_old(everything=True)
    log.closed[0].path.write_bytes(b"rubbish\n")
    log.append(
        feedback_header("toy"),
        "toy",
        line_of(b'{"feedback": [{"id": "a", "label": 1}]}', b"", 1),
        1,
    )
    uploader = Uploader(log, InThisProcess(FolderLake(tmp_path / "lake")), tick_seconds=0.01)
    uploader.start()
    uploader.stop(timeout_seconds=30)
    assert len(list((tmp_path / "lake").rglob("*.parquet"))) == 1
    assert list((tmp_path / "log").rglob("*.unreadable"))
    state = log.state("toy")
    assert (state.rows_waiting, state.rows_uploaded, state.lines_torn) == (0, 1, 1)


def test_a_folder_that_cannot_be_written_is_a_lake_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(LakeAway):
        FolderLake(tmp_path / "file").put("a/b.parquet", b"x")


def test_a_lake_of_an_unknown_kind_is_refused_with_what_it_must_be() -> None:
    with pytest.raises(ValueError, match="s3://bucket"):
        open_lake(Settings(lake="hdfs://somewhere"))


def test_objects_reach_a_bucket_below_the_prefix(s3: str) -> None:
    client = empty_bucket(s3, "there")
    lake = open_lake(lake_settings(s3, "s3://there/some/prefix"))
    assert isinstance(lake, BucketLake)
    for content in (b"first", b"second"):
        lake.put("predictions/toy/date=2013-06-01/a.parquet", content)
    assert (
        client.get_object(
            Bucket="there", Key="some/prefix/predictions/toy/date=2013-06-01/a.parquet"
        )["Body"].read()
        == b"second"
    )


def test_a_missing_bucket_is_told_by_name(s3: str) -> None:
    with pytest.raises(LakeAway, match="Create the bucket 'missing' first"):
        open_lake(lake_settings(s3, "s3://missing")).put("a", b"x")
