"""CSV, Arrow and columns sent to the real service, with the answers that ``Accept`` asks for."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import polars as pl
import psutil
import pyarrow as pa
import pytest

from tests.fixtures.packages import expected_score
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.toy_services import toy_service

ARROW = "application/vnd.apache.arrow.stream"
ROWS: list[dict[str, Any]] = [
    {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"},
    {"carrier": "unheard of", "distance": 100.5, "wind": None, "time_hour": None},
    {"carrier": None, "distance": 5000.0, "wind": -2.5, "time_hour": None},
]
SCORES = [expected_score(row, bias=1.0) for row in ROWS]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    with toy_service(tmp_path_factory.mktemp("formats")) as service:
        yield service


def arrow(rows: list[dict[str, Any]], **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def polars_file(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(rows).write_ipc(sink)
    return sink.getvalue()


def text(rows: list[dict[str, Any]]) -> bytes:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue().encode()


def columns(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"columns": {name: [row[name] for row in rows] for name in rows[0]}}).encode()


def ask(service: ServiceProcess, body: bytes, kind: str, accept: str = "*/*", **query: str) -> Any:
    return service.client.post(
        "/v1/toy/predict",
        content=body,
        headers={"content-type": kind, "accept": accept},
        params=query,
    )


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (columns, "application/json"),
        (text, "text/csv"),
        (text, "text/csv; charset=utf-8"),
        (arrow, ARROW),
        (polars_file, "application/vnd.apache.arrow.file"),
    ],
)
def test_rows_of_every_form_are_scored_and_logged(
    service: ServiceProcess, write: Any, kind: str
) -> None:
    answer = ask(service, write(ROWS), kind)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    predictions = answer.json()["predictions"]
    assert [said["score"] for said in predictions] == pytest.approx(SCORES, rel=1e-5)
    service.wait_until_uploaded()
    logged = {row["id"]: row for row in service.in_lake("predictions")}
    for row, said in zip(ROWS, predictions, strict=True):
        kept = logged[said["id"]]
        assert {name: kept[name] for name in ("carrier", "distance", "wind")} == {
            name: row[name] for name in ("carrier", "distance", "wind")
        }
        assert (kept["event_time"].isoformat() if kept["event_time"] else None) == row["time_hour"]


@pytest.mark.parametrize(
    ("write", "kind"), [(columns, "application/json"), (text, "text/csv"), (arrow, ARROW)]
)
@pytest.mark.parametrize("count", [3, 3000])
def test_the_answer_comes_as_the_caller_asks(
    service: ServiceProcess, write: Any, kind: str, count: int
) -> None:
    body = write([ROWS[number % 3] for number in range(count)])
    as_json = ask(service, body, kind, "application/json").json()["predictions"]
    as_csv = ask(service, body, kind, "text/csv")
    as_arrow = ask(service, body, kind, ARROW)
    assert (
        as_csv.headers["content-type"].startswith("text/csv")
        and as_arrow.headers["content-type"] == ARROW
    )
    lines = list(csv.DictReader(io.StringIO(as_csv.text)))
    table = pa.ipc.open_stream(as_arrow.content).read_all().to_pylist()
    assert len(lines) == len(table) == len(as_json) == count
    for said, line, row in zip(as_json, lines, table, strict=True):
        assert float(line["score"]) == row["score"] == said["score"]
        assert (line["decision"] == "true") is row["decision"] is said["decision"]
        assert line["model_version"] == row["model_version"] == "1"


@pytest.mark.parametrize(
    ("write", "kind"), [(columns, "application/json"), (text, "text/csv"), (arrow, ARROW)]
)
def test_every_form_is_refused_in_one_shape(service: ServiceProcess, write: Any, kind: str) -> None:
    answer = ask(service, write([ROWS[0], ROWS[1] | {"distance": 9999.0}]), kind, accept=ARROW)
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "code": "invalid_input",
        "message": "Row 1, field 'distance': expected `float` <= 5000.0, got 9999.0.",
        "row": 1,
        "field": "distance",
    }


def test_an_unknown_content_type_is_told_those_that_work(service: ServiceProcess) -> None:
    answer = ask(service, b"<rows/>", "application/xml")
    assert answer.status_code == 415
    assert "send application/json, text/csv, " in (told := answer.json()["error"]["message"])
    assert ARROW in told


def test_rows_are_not_logged_where_the_caller_says_so(service: ServiceProcess) -> None:
    said = ask(service, text(ROWS), "text/csv", log="false").json()["predictions"][0]
    after = ask(service, text(ROWS), "text/csv").json()["predictions"][0]
    service.wait_until_uploaded()
    logged = {row["id"] for row in service.in_lake("predictions")}
    assert after["id"] in logged and said["id"] not in logged


def test_bodies_that_grow_when_they_are_read_are_refused_and_take_no_memory(
    service: ServiceProcess,
) -> None:
    nulls = pa.BufferOutputStream()
    with pa.ipc.new_stream(nulls, pa.schema([("wind", pa.null())])) as writer:
        writer.write_batch(pa.record_batch({"wind": pa.nulls(10**9)}))
    ask(service, arrow(ROWS), ARROW)
    process = psutil.Process(service._process.pid if service._process else 0)
    before = process.memory_info().rss
    for body, told in (
        (
            arrow([{"distance": 1.0, "carrier": "x" * 500_000_000}], compression="zstd"),
            "write them without compression",
        ),
        (nulls.getvalue().to_pybytes(), "at most 100000 rows"),
    ):
        assert len(body) < 1_000_000
        answer = ask(service, body, ARROW)
        assert answer.status_code == 422 and told in answer.json()["error"]["message"]
    assert process.memory_info().rss - before < 50_000_000
