import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.log.policy import keep_all, log_request_of
from serving.log.prediction_log import PredictionLog
from serving.log.segments import Header, header_of, line_of
from serving.package.manifest import Manifest
from serving.package.model import load
from serving.upload.parquet import convert
from tests.fixtures.packages import write_package

SECRET = "7f3a Erika Mustermann"
ROW = {"carrier": SECRET, "distance": 800.50, "wind": None, "time_hour": "2013-06-01T15:00:00"}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return load(tmp_path / "package", write_package(tmp_path / "package")).manifest


def leaving_out(manifest: Manifest, *names: str, rate: float = 1.0) -> Manifest:
    return msgspec.structs.replace(manifest, log_leave_out=list(names), log_sample_rate=rate)


def test_where_everything_is_kept_nothing_is_done(manifest: Manifest) -> None:
    assert log_request_of(manifest) is keep_all
    body = json.dumps({"rows": [ROW]}).encode()
    assert keep_all(body) is body


def test_columns_that_are_left_out_are_not_in_what_is_logged_and_the_others_as_they_came(
    manifest: Manifest,
) -> None:
    body = (
        b'{"rows": [{"wind" : 1.50e1,\n "carrier":"%b", "distance":1, '
        b'"time_hour":"2013-06-01T15:00:00"},{"distance":0.1}]}'
    ) % SECRET.encode()
    logged = log_request_of(leaving_out(manifest, "carrier"))(body)
    assert logged == (
        b'{"rows":[{"distance":1,"wind":1.50e1,"time_hour":"2013-06-01T15:00:00"},'
        b'{"distance":0.1,"wind":null,"time_hour":null}]}'
    )


def test_a_key_that_is_named_twice_is_left_out_twice(manifest: Manifest) -> None:
    body = b'{"rows":[{"carrier":"%b","distance":1,"distance":2,"carrier":"%b"}]}' % (
        SECRET.encode(),
        SECRET.encode(),
    )
    logged = log_request_of(leaving_out(manifest, "carrier"))(body)
    assert logged is not None and json.loads(logged) == {
        "rows": [{"distance": 2, "wind": None, "time_hour": None}]
    }


def test_the_header_names_the_columns_that_are_kept_and_the_rate(manifest: Manifest) -> None:
    header = msgspec.json.decode(
        header_of(leaving_out(manifest, "carrier", rate=0.5), "3"), type=Header
    )
    assert [column.name for column in header.columns] == ["distance", "wind"]
    assert header.sample_rate == 0.5


def test_what_is_left_out_reaches_neither_this_disk_nor_the_lake(
    manifest: Manifest, tmp_path: Path
) -> None:
    spare = leaving_out(manifest, "carrier")
    log = PredictionLog(tmp_path / "log", 3600.0, 1000, 10**6)
    log.start()
    fields: dict[str, Any] = {
        "predictions": [{"id": "a", "score": 0.5, "decision": True}],
        "model_version": "3",
        "use_case": "toy",
    }
    logged = log_request_of(spare)(json.dumps({"rows": [ROW]}).encode())
    assert logged is not None
    log.append(header_of(spare, "3"), "toy", line_of(logged, json.dumps(fields).encode(), 1), 1)
    log.close_old(everything=True)
    (data,) = convert(log.closed[0].path).files.values()
    (row,) = pq.read_table(pa.BufferReader(data)).to_pylist()
    assert "carrier" not in row and (row["distance"], row["sample_rate"]) == (800.5, 1.0)
    assert not any(
        SECRET.encode() in path.read_bytes()
        for path in (tmp_path / "log").rglob("*")
        if path.is_file()
    )
    assert SECRET.encode() not in data


def test_a_share_of_the_requests_is_logged_each_by_chance(manifest: Manifest) -> None:
    """Of 20,000 requests at a rate of a tenth 2000 are expected, with a standard deviation of
    42.
    """
    log_request = log_request_of(leaving_out(manifest, rate=0.1))
    body = json.dumps({"rows": [ROW]}).encode()
    requests = [log_request(body) for _ in range(20_000)]
    assert 1700 < sum(request is body for request in requests) < 2300
    assert (
        sum(request is None for request in requests) + sum(request is body for request in requests)
        == 20_000
    )
    gaps = [number for number, request in enumerate(requests) if request is not None]
    assert len({later - earlier for earlier, later in zip(gaps, gaps[1:], strict=False)}) > 10


def test_sampling_and_leaving_out_go_together(manifest: Manifest) -> None:
    log_request = log_request_of(leaving_out(manifest, "carrier", rate=0.5))
    requests = [log_request(json.dumps({"rows": [ROW]}).encode()) for _ in range(200)]
    assert 50 < sum(request is None for request in requests) < 150
    assert all(SECRET.encode() not in request for request in requests if request is not None)
