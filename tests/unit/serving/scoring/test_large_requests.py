"""Requests of many rows: read and scored in pieces they say what they would say whole, and nobody
waits long for them.
"""

import asyncio
import json
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from serving.champions.champion import Champion
from serving.errors import InputError, Overloaded
from serving.formats.bodies import ARROW, CSV, JSON, read_pieces, read_rows
from serving.formats.columns import columns_of
from serving.formats.event_window import MOST_DAYS
from serving.formats.rows import CheckedRows
from serving.formats.tensors import read_inference, read_tensor_pieces, read_tensors
from serving.log.prediction_log import PredictionLog
from serving.metrics.counters import Metrics
from serving.package.model import load
from serving.routes import mlflow_protocol
from serving.scoring.large_requests import WHOLE_CELLS, Cells, count_cells, giving_way
from serving.scoring.predictions import NO_MATRIX, Scored, answer_json
from serving.scoring.scorer import Scorer
from tests.fixtures.answers import Answer
from tests.fixtures.packages import expected_score, write_package

COUNT = 20_000
TEXTS = ["AA", "UA", None, "},{", 'a"],[']


def row(number: int) -> dict[str, Any]:
    time = f"2013-06-{1 + number % 28:02d}T15:00:00" if number % 3 else None
    return {
        "carrier": TEXTS[number % 5],
        "distance": float(number % 5000),
        "wind": None if number % 7 == 0 else number / 8,
        "time_hour": time,
    }


ROWS = [row(number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    folder = tmp_path_factory.mktemp("package")
    digest = write_package(folder)
    return Champion.crown("toy", "3", digest, load(folder, digest))


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({"rows": rows}).encode()


def as_columns(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(
        {"columns": {name: [row.get(name) for row in rows] for name in rows[0]}}
    ).encode()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    import csv
    import io

    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def as_plain_csv(rows: list[dict[str, Any]]) -> bytes:
    return as_csv([{**row, "carrier": "AA"} for row in rows]).replace(b"\r\n", b"\n")


def as_arrow(rows: list[dict[str, Any]]) -> bytes:
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in rows[0]})
    table = table.set_column(0, "carrier", table["carrier"].combine_chunks().dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7000)
    return sink.getvalue().to_pybytes()


FORMS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], bytes]]] = {
    "rows": (JSON, as_json),
    "columns": (JSON, as_columns),
    "quoted CSV": (CSV, as_csv),
    "CSV": (CSV, as_plain_csv),
    "Arrow": (ARROW, as_arrow),
}


@pytest.mark.parametrize("form", FORMS)
def test_pieces_are_the_rows_of_the_whole(champion: Champion, form: str) -> None:
    kind, write = FORMS[form]
    body = write(ROWS)
    pieces = list(read_pieces(champion.reader, kind, body, COUNT, 500))
    assert len(pieces) > 10 and max(len(piece.rows) for piece in pieces) < 6000
    assert [row for piece in pieces for row in piece.rows] == read_rows(
        champion.reader, kind, body, COUNT
    ).rows


@pytest.mark.parametrize("form", FORMS)
def test_what_is_wrong_in_a_late_piece_is_told_as_of_the_whole(
    champion: Champion, form: str
) -> None:
    kind, write = FORMS[form]
    body = write([*ROWS[:15_000], {**ROWS[1], "distance": 5001.0}, *ROWS[15_000:]])
    with pytest.raises(InputError) as whole:
        read_rows(champion.reader, kind, body, 100_000)
    with pytest.raises(InputError) as late:
        list(read_pieces(champion.reader, kind, body, 100_000, 500))
    assert (str(late.value), late.value.row, late.value.field) == (
        str(whole.value),
        15_000,
        "distance",
    )


@pytest.mark.parametrize("form", FORMS)
def test_too_many_rows_are_refused_in_pieces_as_well(champion: Champion, form: str) -> None:
    kind, write = FORMS[form]
    with pytest.raises(InputError, match="at most 19999 rows"):
        list(read_pieces(champion.reader, kind, write(ROWS), COUNT - 1, 500))


def test_binary_tensors_in_pieces_are_the_rows_of_the_whole(champion: Champion) -> None:
    distance, wind = np.arange(5000, dtype="<f4"), np.where(np.arange(5000) % 3, 1.5, np.nan)
    inputs = [
        {
            "name": name,
            "shape": [5000],
            "datatype": kind,
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, kind, array in (("distance", "FP32", distance), ("wind", "FP64", wind))
    ]
    inference = read_inference(
        json.dumps({"id": None, "parameters": None, "outputs": None, "inputs": inputs}).encode(),
        champion.form.tensors,
    )
    tail = memoryview(distance.tobytes() + wind.tobytes())
    columns = columns_of(champion.reader)
    pieces = list(read_tensor_pieces(columns, inference, tail, 5000, 300))
    assert [row for piece in pieces for row in piece.rows] == read_tensors(
        columns, inference, tail, 5000
    ).rows and len(pieces) == 17


SHAPES: dict[str, Callable[[list[dict[str, Any]]], Any]] = {
    "dataframe_split": lambda rows: {
        "columns": [*rows[0]],
        "data": [[*row.values()] for row in rows],
    },
    "dataframe_records": lambda rows: rows,
    "instances": lambda rows: rows,
    "inputs": lambda rows: {name: [row.get(name) for row in rows] for name in rows[0]},
}


def invocation(shape: str, rows: list[dict[str, Any]]) -> bytes:
    return json.dumps({shape: SHAPES[shape](rows)}).encode()


def read_invocation(
    champion: Champion, body: bytes, size: int | None, max_rows: int = 100_000
) -> list[CheckedRows]:
    return list(mlflow_protocol.read_pieces(champion.reader, JSON, body, max_rows, size))


@pytest.mark.parametrize("shape", SHAPES)
def test_pieces_of_an_invocation_are_the_rows_of_the_whole(champion: Champion, shape: str) -> None:
    rows = [
        {**row, "distance": str(row["distance"]), "wind": math.nan, "wnid": [["], ["], {}]}
        for row in ROWS
    ]
    body = invocation(shape, rows)
    pieces, (whole,) = read_invocation(champion, body, 500), read_invocation(champion, body, None)
    assert len(pieces) > 10 and max(len(piece.rows) for piece in pieces) < 2000
    assert [row for piece in pieces for row in piece.rows] == whole.rows
    assert all(list(piece.ignored) == ["wnid"] for piece in [*pieces, whole])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "bad", [{"distance": 5001.0}, {"distance": None}, {"time_hour": "2013-06-01T15:00:00Z"}]
)
def test_what_is_wrong_in_a_late_piece_of_an_invocation_is_told_as_of_the_whole(
    champion: Champion, shape: str, bad: dict[str, Any]
) -> None:
    body = invocation(shape, [*ROWS[:15_000], {**ROWS[1], **bad}, *ROWS[15_000:]])
    messages = []
    for size in (None, 500):
        with pytest.raises(InputError) as refusal:
            read_invocation(champion, body, size)
        messages.append((str(refusal.value), refusal.value.row, refusal.value.field))
    assert messages[0] == messages[1] and messages[0][1:] == (15_000, next(iter(bad)))
    with pytest.raises(InputError, match="at most 19999 rows"):
        read_invocation(champion, invocation(shape, ROWS), 500, COUNT - 1)


@pytest.mark.parametrize(
    "content",
    [
        {
            "dataframe_split": {
                "columns": ["distance", "wind"],
                "data": [[1.0]] * 2000 + [[1.0, 2.0]],
            }
        },
        {"dataframe_split": {"columns": ["distance", "wind"], "data": [[1.0]] * 2000}},
        {
            "dataframe_split": {
                "columns": ["distance", "wind"],
                "data": [[1.0, 2.0]] * 2000 + [[1.0, 2.0, 3.0]],
            }
        },
        {"dataframe_split": {"columns": ["distance"], "data": [[1.0]] * 2000, "index": [1]}},
        {"dataframe_split": {"columns": ["distance", "distance"], "data": [[1.0, 2.0]] * 2000}},
        {"dataframe_split": {"columns": ["distance"], "data": {"1": 2}}},
        {"dataframe_split": {"columns": ["distance"], "data": []}},
        {"dataframe_records": [{"distance": 1.0}] * 2000 + [5]},
        {"dataframe_records": []},
        {"inputs": {"distance": [1.0] * 2000, "wind": 3.0}},
        {"inputs": {"distance": [1.0] * 2000, "wind": [3.0]}},
        {"inputs": {"distance": 1.0}},
        {"instances": [1.0] * 2000},
        {"inputs": 5},
    ],
)
def test_an_unusual_invocation_is_taken_or_refused_in_pieces_as_whole(
    champion: Champion, content: dict[str, Any]
) -> None:
    def outcome(size: int | None) -> Any:
        try:
            return [
                row
                for piece in read_invocation(champion, json.dumps(content).encode(), size)
                for row in piece.rows
            ]
        except InputError as error:
            return type(error)

    assert outcome(100) == outcome(None)


def scorer(
    folder: Path, queue_cells: int = 10**7, backlog: int = 10**9
) -> tuple[Scorer, PredictionLog]:
    log = PredictionLog(folder / "log", flush_seconds=3600, flush_rows=10**6, backlog_bytes=backlog)
    log.start()
    return Scorer(
        log, Metrics(), threads=2, queue_limit=4, max_rows=100_000, queue_cells=queue_cells
    ), log


async def predict(works: Scorer, champion: Champion, kind: str, body: bytes) -> Scored:
    return await works.score(
        champion,
        body,
        kind,
        lambda served, size: read_pieces(served.reader, kind, body, 100_000, size),
        logged=True,
    )


def test_a_large_request_is_answered_and_logged_whole_in_a_segment_of_its_own(
    champion: Champion, tmp_path: Path
) -> None:
    works, log = scorer(tmp_path)
    scored = asyncio.run(predict(works, champion, CSV, as_csv(ROWS)))
    assert scored.values[0] == pytest.approx([expected_score(row) for row in ROWS], abs=1e-5)
    (segment,) = log.closed
    assert (segment.rows, log.state("toy").rows_waiting) == (COUNT, COUNT)
    lines = [msgspec.json.decode(line) for line in segment.path.read_bytes().splitlines()[1:]]
    assert (
        len(lines) > 5
        and [id_ for line in lines for id_ in line["predictions"]["id"]] == scored.ids
    )
    answer = msgspec.json.decode(answer_json(scored), type=Answer)
    assert [(prediction.id, prediction.score) for prediction in answer.predictions] == list(
        zip(scored.ids, scored.values[0], strict=True)
    )


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"distance": -1.0}, "Row 20000, field 'distance'"),
        ({"time_hour": "2013-06-01T15:00:00Z"}, "Row 20000, field 'time_hour'"),
    ],
)
def test_a_late_bad_row_leaves_nothing_of_its_request(
    champion: Champion, tmp_path: Path, bad: dict[str, Any], told: str
) -> None:
    works, log = scorer(tmp_path)
    with pytest.raises(InputError, match=told):
        asyncio.run(predict(works, champion, CSV, as_csv([*ROWS, {**ROWS[1], **bad}])))
    assert (
        not log.closed
        and log.state("toy").rows_waiting == 0
        and works.cells.held == 0
        and works.large == 0
    )
    assert not [
        path for path in (tmp_path / "log").rglob("*") if path.suffix in (".jsonl", ".draft")
    ]


def test_the_days_of_all_pieces_count_together(champion: Champion, tmp_path: Path) -> None:
    works, _ = scorer(tmp_path)
    days = np.datetime64("2013-01-01T00:00:00") + np.arange(MOST_DAYS + 1).astype("timedelta64[D]")
    rows = [{**row, "time_hour": str(days[number % len(days)])} for number, row in enumerate(ROWS)]
    with pytest.raises(InputError, match=f"the rows fall on {MOST_DAYS + 1} days"):
        asyncio.run(predict(works, champion, CSV, as_csv(rows)))


def test_a_full_backlog_drops_a_large_request_whole_and_answers_it(
    champion: Champion, tmp_path: Path
) -> None:
    works, log = scorer(tmp_path, backlog=10_000)
    assert len(asyncio.run(predict(works, champion, CSV, as_csv(ROWS))).ids) == COUNT
    assert log.state("toy").rows_dropped == COUNT and not log.closed
    assert not list((tmp_path / "log").rglob("*.draft"))


def test_more_values_than_may_wait_are_refused_and_one_request_alone_never_is(
    champion: Champion, tmp_path: Path
) -> None:
    async def run() -> list[Any]:
        works, _ = scorer(tmp_path, queue_cells=60_000)
        body = as_csv(ROWS)
        return await asyncio.gather(
            *(predict(works, champion, CSV, body) for _ in range(3)), return_exceptions=True
        )

    answers = asyncio.run(run())
    assert [isinstance(answer, Overloaded) for answer in answers] == [False, True, True]
    assert "Try again later, or send fewer rows" in str(answers[1])


def test_a_durable_draft_is_kept_once_the_disk_knows_its_new_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[list[str]] = []
    monkeypatch.setattr(
        "serving.log.prediction_log.sync_folder",
        lambda folder: synced.append([path.suffix for path in folder.iterdir()]),
    )
    log = PredictionLog(tmp_path / "log", 3600, 10**6, 10**9, "fsync")
    log.start()
    draft = log.draft(b"{}", "toy")
    draft.add(b"{}\n", 1)
    assert draft.keep(1) and len(log.closed) == 1
    assert ".jsonl" in synced[-1] and ".draft" not in synced[-1]


def test_a_draft_whose_name_the_disk_refuses_is_dropped_and_takes_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise OSError("no")

    log = PredictionLog(tmp_path / "log", 3600, 10**6, 10**9, "fsync")
    log.start()
    draft = log.draft(b"{}", "toy")
    monkeypatch.setattr("serving.log.prediction_log.sync_folder", refuse)
    assert not draft.keep(5)
    assert (log.state("toy").rows_dropped, log.state("toy").rows_waiting, len(log.closed)) == (
        5,
        0,
        0,
    )
    assert not [
        path for path in (tmp_path / "log").rglob("*") if path.suffix in (".jsonl", ".draft")
    ]


def test_a_draft_that_a_crash_left_is_no_segment(champion: Champion, tmp_path: Path) -> None:
    _, log = scorer(tmp_path)
    log.draft(champion.column_header, "toy").add(b"half\n", 1)
    log.stop()
    again = PredictionLog(tmp_path / "log", 3600, 10**6, 10**9)
    again.start()
    assert not again.closed and not list((tmp_path / "log").rglob("*.draft"))


@pytest.mark.parametrize(
    ("body", "kind", "cells"),
    [
        (b'{"rows": [' + b"{}," * 999 + b"{}]}", JSON, 1001 * 30),
        (b"a,b\n" + b"1,2\n" * 1000, CSV, 1001 * 30),
        (b'{"columns": {"a": [' + b"1," * 999_999 + b"1]}}", JSON, 999_999),
        (b"\0" * 8000, ARROW, 1000),
    ],
)
def test_values_are_counted_whatever_the_bytes(body: bytes, kind: str, cells: int) -> None:
    assert count_cells(body, kind, 30, 100_000) == pytest.approx(cells, rel=0.02)


def test_cells_that_were_given_back_can_be_taken_again() -> None:
    cells = Cells(100)
    cells.take(1000)
    with pytest.raises(Overloaded):
        cells.take(1)
    cells.give(1000)
    cells.take(100)
    assert cells.held == 100


def test_an_answer_of_some_rows_is_written_while_a_large_request_is_at_work_and_a_large_one_waits(
    champion: Champion, tmp_path: Path
) -> None:
    works, _ = scorer(tmp_path / "log")
    busy, over = threading.Event(), threading.Event()

    def scored_rows(rows: int) -> Scored:
        return Scored(champion, ["a"] * rows, [[0.5] * rows, [True] * rows], NO_MATRIX)

    async def write() -> tuple[str, bool, str]:
        blocking = asyncio.create_task(
            works.run(lambda: (busy.set(), over.wait(30)), WHOLE_CELLS + 1)
        )
        await asyncio.to_thread(busy.wait, 30)
        some = await works.write(scored_rows(2000), lambda: "some")
        many = asyncio.create_task(works.write(scored_rows(WHOLE_CELLS), lambda: "many"))
        await asyncio.sleep(0.05)
        waits = not many.done()
        over.set()
        await blocking
        return some, waits, await many

    assert asyncio.run(write()) == ("some", True, "many")


def test_the_switch_interval_is_shorter_meanwhile_and_is_put_back_whatever_happens() -> None:
    before = sys.getswitchinterval()
    with pytest.raises(InputError), giving_way():
        assert sys.getswitchinterval() < before
        raise InputError("a row is wrong")
    assert sys.getswitchinterval() == before
