"""A decoder refuses any bytes in words or reads them, and the rows that it read can be scored and
logged as they were sent.

A longer search than the suite's, with new examples each time: ``--hypothesis-profile=nightly``."""

import json
import math
from collections.abc import Callable
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
from serving.package.outputs import Label
from serving.routes import mlflow_protocol
from serving.scoring.pixels import check_pixels
from serving.scoring.predictions import PredictionIds, Scored, answer_json, predict
from serving.upload.row_tables import FeedbackTables, PredictionTables
from tests.fixtures.odd_bodies import (
    VALID_FEEDBACK,
    arrow_written,
    bodies,
    columns_written,
    csv_written,
    damaged,
    damaged_words,
    split_written,
    tensors_written,
)
from tests.fixtures.odd_schemas import LIKELY_FEEDBACK, LIKELY_LABELS, SIX, TOY, Schema
from tests.fixtures.packages import write_package
from tests.fixtures.six_kinds import write_six_kinds

pytestmark = pytest.mark.slow("searches for half a minute")

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


@lru_cache(maxsize=2)
def crowned(write: Callable[[Path], str]) -> Champion:
    with TemporaryDirectory() as folder:
        digest = write(Path(folder))
        return Champion.crown("toy", "1", digest, load(Path(folder), digest))


def champion_of(schema: Schema) -> Champion:
    return crowned(write_package if schema is TOY else write_six_kinds)


def refused_or_scored(schema: Schema, read: Callable[[Champion], CheckedRows]) -> bool:
    """Whether the request was scored."""
    champion = champion_of(schema)
    request = refused_or(lambda: read(champion))
    if request is None:
        return False
    check_types(champion, request.rows)
    scored = refused_or(lambda: score(champion, request.rows))
    if scored is not None:
        check_logged(champion, request, scored)
    return scored is not None


def score(champion: Champion, rows: list[tuple[Any, ...]]) -> Scored:
    check_pixels(champion.package, rows)
    return predict(
        champion, rows, PredictionIds(), lambda package, matrix: Package.score(package, matrix)
    )


TYPES = {
    "category": (str,),
    "number": (float,),
    "boolean": (bool,),
    "datetime": (datetime,),
    "text": (str,),
    "image": (str, list),
}


def check_types(champion: Champion, rows: list[tuple[Any, ...]]) -> None:
    """What was read has the types of its schema."""
    features = champion.package.manifest.features
    for row in rows:
        for value, feature in zip(row, features, strict=False):
            if value is None:
                assert feature.nullable
            else:
                assert type(value) in TYPES[feature.kind]
                assert not isinstance(value, float) or math.isfinite(value)
                assert not isinstance(value, datetime) or value.tzinfo is None
                assert feature.longest is None or len(value) <= feature.longest


def check_logged(champion: Champion, request: CheckedRows, scored: Scored) -> None:
    """The rows have scores, and are read from the log as the same rows."""
    assert all(0 <= score <= 1 for score in scored.values[0])
    tables = PredictionTables(msgspec.json.decode(champion.log_header, type=Header))
    line = champion.log_request(request.json)
    assert line is not None
    table, torn = tables.read(line_of(line, answer_json(scored), len(request.rows)))
    assert torn == 0
    logged = table.to_pylist()
    names = [*champion.package.names, "event_time"]
    assert [tuple(row[name] for name in names) for row in logged] == [
        tuple(map(as_logged, row)) for row in request.rows
    ]
    assert [(row["id"], row["score"]) for row in logged] == list(
        zip(scored.ids, scored.values[0], strict=True)
    )


def as_logged(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, list) else value


EACH_SCHEMA = pytest.mark.parametrize(
    "schema", [pytest.param(TOY, id="toy"), pytest.param(SIX, id="six kinds")]
)


@EACH_SCHEMA
def test_json_is_refused_in_words_or_scored_and_logged_as_it_was_sent(schema: Schema) -> None:
    @SEARCH
    @example(b'{"rows": [{"\\ud800": NaN}]}')
    @example(b'{"rows": [{"k - at `$.rows[99999].x": 1}]}')
    @example(b'{"columns": {"distance": ["x"]')
    @example(b'{"columns": {"distance": [1, "x"], "distance": null}}')
    @given(
        bodies("rows", schema.likely, schema.rows)
        | damaged(schema.columns)
        | columns_written(schema, "columns")
    )
    def search(body: bytes) -> None:
        refused_or_scored(schema, lambda champion: read_rows(champion.reader, JSON, body, MAX_ROWS))

    search()


@EACH_SCHEMA
def test_csv_is_refused_in_words_or_scored_and_logged(schema: Schema) -> None:
    @SEARCH
    @given(damaged(schema.csv) | csv_written(schema) | csv_written(schema).flatmap(damaged))
    def search(body: bytes) -> None:
        for read in (read_rows, mlflow_protocol.read_rows):
            refused_or_scored(
                schema,
                lambda champion, read=read: read(champion.reader, CSV, body, MAX_ROWS),
            )

    search()


@EACH_SCHEMA
def test_mlflow_s_shapes_are_refused_in_words_or_scored_and_logged(schema: Schema) -> None:
    @SEARCH
    @given(
        st.one_of(
            *map(damaged, schema.mlflow),
            *(columns_written(schema, shape) for shape in ("inputs", "instances")),
            *(
                bodies(shape, schema.likely, schema.rows)
                for shape in ("dataframe_records", "instances")
            ),
            split_written(schema),
        )
    )
    def search(body: bytes) -> None:
        refused_or_scored(
            schema, lambda champion: mlflow_rows.read_json(champion.reader, body, MAX_ROWS)
        )

    search()


@EACH_SCHEMA
def test_tensors_are_refused_in_words_or_scored_and_logged(schema: Schema) -> None:
    @SEARCH
    @given(
        tensors_written(schema), st.none() | st.integers(), damaged(schema.inference) | st.none()
    )
    def search(parts: tuple[bytes, bytes], cut: int | None, other: bytes | None) -> None:
        head, tail = parts if other is None else (other, b"")
        length = len(head) if cut is None else cut % (len(head) + len(tail) + 1)
        body = head + tail
        refused_or_scored(
            schema,
            lambda champion: read_tensors(
                columns_of(champion.reader),
                read_inference(body[:length], champion.form.tensors),
                memoryview(body)[length:],
                MAX_ROWS,
            ),
        )

    search()


@EACH_SCHEMA
def test_arrow_is_refused_in_words_or_scored_and_logged(schema: Schema) -> None:
    @SEARCH
    @given(arrow_written(schema) | arrow_written(schema).flatmap(damaged_words))
    def search(body: bytes) -> None:
        refused_or_scored(
            schema, lambda champion: read_rows(champion.reader, ARROW, body, MAX_ROWS)
        )

    search()


LABELS = {
    "decision": Label("decision"),
    "number": Label("number"),
    "category": Label("category", frozenset({"red", "green, dark", "3"})),
}


@pytest.mark.parametrize("kind", LABELS)
def test_feedback_is_refused_in_words_or_logged_as_it_was_sent(kind: str) -> None:
    @SEARCH
    @given(bodies("feedback", LIKELY_FEEDBACK | {"label": LIKELY_LABELS[kind]}, VALID_FEEDBACK))
    def search(body: bytes) -> None:
        labels = refused_or(lambda: read_feedback(body, LABELS[kind]))
        if labels is None:
            return
        now = datetime(2026, 11, 21, tzinfo=UTC)
        assert all(label.known_at(now).tzinfo is UTC for label in labels)
        header = msgspec.json.decode(feedback_header("toy", kind), type=Header)
        table, torn = FeedbackTables(header).read(line_of(body, b"", len(labels)))
        assert torn == 0
        logged = [(row["id"], row["label"]) for row in table.to_pylist()]
        assert logged == [(label.id, label.label) for label in labels]
        right_type = {"decision": bool, "number": float, "category": str}[kind]
        assert all(type(label) is right_type for _, label in logged)

    search()


@EACH_SCHEMA
@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (JSON, lambda schema: bodies("rows", schema.likely, schema.rows)),
        (JSON, lambda schema: columns_written(schema, "columns")),
        (CSV, csv_written),
        (ARROW, arrow_written),
    ],
)
def test_the_search_finds_bodies_that_are_read_and_bodies_that_are_refused(
    schema: Schema, kind: str, written: Callable[[Schema], st.SearchStrategy[bytes]]
) -> None:
    scored: list[bool] = []

    @SEARCH
    @given(written(schema))
    def search(body: bytes) -> None:
        scored.append(
            refused_or_scored(
                schema, lambda champion: read_rows(champion.reader, kind, body, MAX_ROWS)
            )
        )

    search()
    assert any(scored) and not all(scored)
