"""A decoder refuses any bytes in words or reads them, and the rows that it read can be scored and
logged as they were sent.

A longer search than the suite's, with new examples each time: ``--hypothesis-profile=nightly``."""

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from serving.champions.champion import Champion
from serving.edge.refusals import error_answer
from serving.errors import InputError, Refused
from serving.formats.bodies import ARROW, CSV, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.feedback import read_feedback
from serving.formats.mlflow import rows as mlflow_rows
from serving.formats.rows import CheckedRows
from serving.formats.tensors import read_inference, read_tensors
from serving.log.segments import Header, feedback_header, line_of
from serving.package.model import Package, load
from serving.routes import mlflow_protocol
from serving.scoring.predictions import PredictionIds, answer_json, predict
from serving.upload.row_tables import FeedbackTables, PredictionTables
from tests.fixtures.odd_bodies import (
    LIKELY,
    LIKELY_FEEDBACK,
    VALID,
    VALID_COLUMNS,
    VALID_CSV,
    VALID_FEEDBACK,
    VALID_INFERENCE,
    VALID_MLFLOW,
    arrow_written,
    bodies,
    columns_written,
    csv_written,
    damaged,
    damaged_words,
    split_written,
    tensors_written,
)
from tests.fixtures.packages import write_package

pytestmark = pytest.mark.slow("searches for ten seconds")

SEARCH = settings(suppress_health_check=list(HealthCheck))
MAX_ROWS = 500
LONGEST_REFUSAL_BYTES = 3000


def refused_or(read: Callable[[], Any]) -> Any:
    """What ``read`` gives, or ``None`` where it refuses in words that can be sent. Nothing else may
    happen.
    """
    try:
        return read()
    except (InputError, Refused) as error:
        status, answer, _ = error_answer(error, "/v1/toy/predict", b"1")
        assert status in (400, 413, 415, 422)
        assert len(answer) < LONGEST_REFUSAL_BYTES
        document = json.loads(answer)["error"]
        assert document["message"] and 0 <= document.get("row", 0) < 10_000
        return None


@lru_cache(maxsize=1)
def champion() -> Champion:
    with TemporaryDirectory() as folder:
        digest = write_package(Path(folder))
        return Champion.crown("toy", "1", digest, load(Path(folder), digest))


def refused_or_scored(read: Callable[[], CheckedRows]) -> bool:
    """Whether the request was scored."""
    request = refused_or(read)
    if request is not None:
        check_scored_and_logged(request.rows, request.json)
    return request is not None


def check_scored_and_logged(rows: list[tuple[Any, ...]], request: bytes) -> None:
    """What was read has the types of its schema, gets a score, and is read from the log as the same
    rows.
    """
    assert all(type(carrier) in (str, type(None)) for carrier, *_ in rows)
    assert all(
        isinstance(number, float) and math.isfinite(number)
        for row in rows
        for number in row[1:3]
        if number is not None
    )
    scored = predict(
        champion(), rows, PredictionIds(), lambda package, matrix: Package.score(package, matrix)
    )
    assert all(0 <= score <= 1 for score in scored.values[0])
    tables = PredictionTables(msgspec.json.decode(champion().log_header, type=Header))
    table, torn = tables.read(line_of(request, answer_json(scored), len(rows)))
    assert torn == 0
    assert [
        tuple(row[name] for name in ("carrier", "distance", "wind", "time_hour"))
        for row in logged(table)
    ] == rows
    assert [(row["id"], row["score"]) for row in logged(table)] == list(
        zip(scored.ids, scored.values[0], strict=True)
    )


def logged(table: Any) -> Iterator[dict[str, Any]]:
    return ({**row, "time_hour": row["event_time"]} for row in table.to_pylist())


@SEARCH
@example(b'{"rows": [{"\\ud800": NaN}]}')
@example(b'{"rows": [{"k - at `$.rows[99999].x": 1}]}')
@example(b'{"columns": {"distance": ["x"]')
@example(b'{"columns": {"distance": [1, "x"], "distance": null}}')
@given(bodies("rows", LIKELY, VALID) | damaged(VALID_COLUMNS) | columns_written("columns"))
def test_json_is_refused_in_words_or_scored_and_logged_as_it_was_sent(body: bytes) -> None:
    refused_or_scored(lambda: read_rows(champion().reader, JSON, body, MAX_ROWS))


@SEARCH
@given(damaged(VALID_CSV) | csv_written() | csv_written().flatmap(damaged))
def test_csv_is_refused_in_words_or_scored_and_logged(body: bytes) -> None:
    refused_or_scored(lambda: read_rows(champion().reader, CSV, body, MAX_ROWS))
    refused_or_scored(lambda: mlflow_protocol.read_rows(champion().reader, CSV, body, MAX_ROWS))


@SEARCH
@given(
    st.one_of(
        *map(damaged, VALID_MLFLOW),
        *(columns_written(shape) for shape in ("inputs", "instances")),
        *(bodies(shape, LIKELY, VALID) for shape in ("dataframe_records", "instances")),
        split_written(),
    )
)
def test_mlflow_s_shapes_are_refused_in_words_or_scored_and_logged(body: bytes) -> None:
    refused_or_scored(lambda: mlflow_rows.read_json(champion().reader, body, MAX_ROWS))


@SEARCH
@given(tensors_written(), st.none() | st.integers(), damaged(VALID_INFERENCE) | st.none())
def test_tensors_are_refused_in_words_or_scored_and_logged(
    parts: tuple[bytes, bytes], cut: int | None, other: bytes | None
) -> None:
    head, tail = parts if other is None else (other, b"")
    length = len(head) if cut is None else cut % (len(head) + len(tail) + 1)
    body = head + tail
    refused_or_scored(
        lambda: read_tensors(
            columns_of(champion().reader),
            read_inference(body[:length], champion().form.tensors),
            memoryview(body)[length:],
            MAX_ROWS,
        )
    )


@SEARCH
@given(arrow_written() | arrow_written().flatmap(damaged_words))
def test_arrow_is_refused_in_words_or_scored_and_logged(body: bytes) -> None:
    refused_or_scored(lambda: read_rows(champion().reader, ARROW, body, MAX_ROWS))


@SEARCH
@given(bodies("feedback", LIKELY_FEEDBACK, VALID_FEEDBACK))
def test_feedback_is_refused_in_words_or_logged_as_it_was_sent(body: bytes) -> None:
    labels = refused_or(lambda: read_feedback(body))
    if labels is None:
        return
    assert all(label.known_at(datetime(2026, 11, 21, tzinfo=UTC)).tzinfo is UTC for label in labels)
    table, torn = FeedbackTables(msgspec.json.decode(feedback_header("toy"), type=Header)).read(
        line_of(body, b"", len(labels))
    )
    assert torn == 0
    assert [(row["id"], row["label"]) for row in table.to_pylist()] == [
        (label.id, bool(label.label)) for label in labels
    ]


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (JSON, bodies("rows", LIKELY, VALID)),
        (JSON, columns_written("columns")),
        (CSV, csv_written()),
        (ARROW, arrow_written()),
    ],
)
def test_the_search_finds_bodies_that_are_read_and_bodies_that_are_refused(
    kind: str, found: st.SearchStrategy[bytes]
) -> None:
    read: list[bool] = []

    @SEARCH
    @given(found)
    def search(body: bytes) -> None:
        read.append(
            refused_or(lambda: read_rows(champion().reader, kind, body, MAX_ROWS)) is not None
        )

    search()
    assert 10 < sum(read) < len(read) - 10
