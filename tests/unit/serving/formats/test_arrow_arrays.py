"""Rows of Arrow that are read as arrays are those that their JSON gives, to the last bit, and are
refused in the same words."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.champions.champion import Champion
from serving.errors import InputError
from serving.formats.arrow.buffers import number_array, text_array, truth_array
from serving.formats.bodies import ARROW, ARROW_FILE, JSON, read_pieces, read_rows
from serving.formats.event_window import EventWindow
from serving.formats.rows import CheckedRows
from serving.package.manifest import Feature, Smoke
from serving.package.model import Package, load
from serving.package.row_columns import RowColumns
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, predict
from tests.fixtures.packages import graph_of, write_package

FEATURES = [
    Feature("carrier", "category", nullable=True, categories=["AA", "UA"], description=""),
    Feature(
        "size",
        "category",
        nullable=False,
        categories=["S", "M"],
        closed=True,
        longest=9,
        description="",
    ),
    Feature("fragile", "boolean", nullable=True, description=""),
    Feature("sold", "boolean", nullable=False, description=""),
    Feature("distance", "number", nullable=False, low=0.0, high=5000.0, description=""),
    Feature("wind", "number", nullable=True, description=""),
]
TIME = "time_hour"
TEXTS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    *(pa.dictionary(index, pa.string()) for index in (pa.int8(), pa.uint32(), pa.int64())),
    pa.dictionary(pa.int32(), pa.large_string()),
]
NUMBERS = [pa.float64(), pa.float64(), pa.float32(), pa.float16(), pa.int64(), pa.uint8()]
UNITS = [pa.timestamp(unit) for unit in ("us", "s", "ms", "ns")]


DTYPES = ["float32", "float64"]


@lru_cache(maxsize=2)
def champion(dtype: str) -> Champion:
    weights = np.array([[0.5], [0.25], [0.125], [1.0], [0.001], [0.05]])
    with TemporaryDirectory() as folder:
        digest = write_package(Path(folder))
        manifest = load(Path(folder), digest).manifest
    manifest = msgspec.structs.replace(manifest, features=FEATURES, dtype=dtype)
    model = graph_of(weights, np.zeros(1), dtype, last="Sigmoid")
    return Champion.crown("toy", "1", "", Package(manifest, model, Smoke([], [])))


def ipc(batches: list[pa.RecordBatch], write: Any = pa.ipc.new_stream) -> bytes:
    sink = pa.BufferOutputStream()
    with write(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def arrays(draw: st.DrawFn, rows: int) -> dict[str, pa.Array]:
    def column(values: st.SearchStrategy[Any], types: list[pa.DataType]) -> pa.Array:
        drawn = draw(st.lists(values, min_size=rows, max_size=rows))
        kind = draw(st.sampled_from(types))
        if pa.types.is_dictionary(kind):
            plain = pa.array(drawn, kind.value_type).dictionary_encode()
            indices = plain.indices.cast(kind.index_type)
            return pa.DictionaryArray.from_arrays(indices, plain.dictionary)
        return (
            pa.array(drawn, pa.float64()).cast(kind) if kind in NUMBERS else pa.array(drawn, kind)
        )

    texts = st.sampled_from(["AA", "UA", "aa", "new", "", 'né, "a"'])
    whole = st.integers(0, 200).map(float)
    times = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(
        lambda time: time.replace(microsecond=0)
    )
    few = st.none() if draw(st.booleans()) else st.nothing()
    columns = {
        "carrier": column(few | texts, TEXTS),
        "size": column(st.sampled_from(["S", "M", "s", "unknown"]), TEXTS),
        "fragile": column(few | st.booleans(), [pa.bool_()]),
        "sold": column(st.booleans(), [pa.bool_()]),
        "distance": column(whole, NUMBERS),
        "wind": column(few | whole, NUMBERS),
        TIME: column(few | times, UNITS),
    }
    if draw(st.booleans()):
        columns[draw(st.sampled_from(["carrier", "fragile", "wind", TIME]))] = pa.nulls(rows)
    if draw(st.integers(0, 9)) == 0:  # what is refused
        columns["size"] = column(st.sampled_from(["S", None, "a long text"]), TEXTS)
        columns["sold"] = column(st.sampled_from([True, None]), [pa.bool_()])
        columns["distance"] = column(st.sampled_from([0.0, -1.0, 5001.0, None]), [pa.float64()])
        columns["wind"] = column(st.sampled_from([1.0, 1e39, float("inf")]), [pa.float64()])
    for name in draw(st.sets(st.sampled_from(["carrier", "fragile", "wind", TIME]), max_size=2)):
        del columns[name]
    return {name: columns[name] for name in draw(st.permutations(list(columns)))}


@st.composite
def written(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """The same rows in one or two batches of Arrow, and as JSON."""
    first = pa.record_batch(arrays(draw, draw(st.integers(1, 5))))
    cut = draw(st.integers(0, len(first)))
    batches = [first] if not cut else [first.slice(0, cut), first.slice(cut)]
    body = ipc(batches, draw(st.sampled_from([pa.ipc.new_stream, pa.ipc.new_file])))
    rows = [
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in first.to_pylist()
    ]
    return body, json.dumps({"rows": rows}).replace("Infinity", "1e999").encode()


def read(kind: str, body: bytes, dtype: str) -> CheckedRows | str:
    """The rows, or the refusal."""
    try:
        return read_rows(champion(dtype).reader, kind, body, 100)
    except InputError as error:
        return str(error)


@pytest.mark.slow("searches for seconds")
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_arrow_are_those_of_their_json_to_the_last_bit(dtype: str) -> None:
    seen = {"as arrays": 0, "refused": 0}

    @settings(suppress_health_check=list(HealthCheck))
    @given(written())
    def search(bodies: tuple[bytes, bytes]) -> None:
        of_arrow, of_json = read(ARROW, bodies[0], dtype), read(JSON, bodies[1], dtype)
        if isinstance(of_json, str) or isinstance(of_arrow, str):
            assert isinstance(of_arrow, str) and isinstance(of_json, str)
            seen["refused"] += 1
            return
        assert of_arrow.rows == of_json.rows
        assert champion(dtype).reader.read(of_arrow.json) == of_json.rows
        seen["as arrays"] += isinstance(of_arrow.rows, RowColumns)
        one, other = (predicted(request, dtype) for request in (of_arrow, of_json))
        assert one == other

    search()
    assert all(seen.values())


def predicted(request: CheckedRows, dtype: str) -> Any:
    """All that is made of a request: the matrix, the answers, the remarks, and the line of the
    log."""
    scored = predict(champion(dtype), request.rows, PredictionIds(), Package.score)
    line = msgspec.json.decode(column_line(scored, request.rows))
    line |= {"time": 0, "predictions": line["predictions"] | {"id": []}}
    return scored.matrix.tobytes(), scored.values, scored.unknown, line


GOOD = {
    "carrier": pa.array(["AA", None, "aa"]),
    "size": pa.array(["S", "M", "S"]),
    "fragile": pa.array([True, None, False]),
    "sold": pa.array([True, False, True]),
    "distance": pa.array([1.5, 5000.0, 0.0]),
    "wind": pa.array([None, float("nan"), -3.5]),
    TIME: pa.array([datetime(2013, 6, 1, 15), None, None], pa.timestamp("us")),
}


def body_of(**changed: pa.Array) -> bytes:
    return ipc([pa.record_batch(GOOD | changed)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"distance": pa.array([1.0, 5000.1, 1.0])},
            "Row 1, field 'distance': expected `float` <=",
        ),
        ({"distance": pa.array([1.0, 1.0, None])}, "Row 2, field 'distance'"),
        ({"distance": pa.array([float("nan"), 1.0, 1.0])}, "Row 0, field 'distance'"),
        ({"distance": pa.nulls(3)}, "Row 0, field 'distance'"),
        ({"wind": pa.array([float("inf"), 0.0, 0.0])}, "Row 0, field 'wind'"),
        ({"sold": pa.array([None, True, True])}, "Row 0, field 'sold': expected true or false"),
        ({"size": pa.array(["S", None, "M"])}, "Row 1, field 'size'"),
        ({"size": pa.array(["S", "M", "long enough"])}, "Row 2, field 'size'"),
        (
            {"distance": pa.array([Decimal("1.5")] * 3, pa.decimal128(10, 2))},
            "Field 'distance' must be numbers, such as float64; it is decimal128(10, 2)",
        ),
        ({TIME: pa.array([0] * 3, pa.timestamp("us", "UTC"))}, "without a zone"),
        ({TIME: pa.array([-(2**63)] * 3, pa.timestamp("us"))}, "cannot be read as Arrow"),
        ({TIME: pa.array([2**61, None, 0], pa.timestamp("us"))}, "cannot be read as Arrow"),
        ({TIME: pa.array([2**60, 0, 0], pa.timestamp("s"))}, "cannot be read as Arrow"),
    ],
)
def test_what_is_wrong_is_told_by_row_and_field(
    dtype: str, changed: dict[str, pa.Array], message: str
) -> None:
    assert message in str(read(ARROW, body_of(**changed), dtype))


def test_a_refused_row_of_a_later_batch_is_counted_from_the_first_one() -> None:
    wrong = pa.record_batch(GOOD | {"distance": pa.array([1.0, -2.0, 1.0])})
    refusal = str(read(ARROW, ipc([pa.record_batch(GOOD), wrong]), "float64"))
    assert refusal == "Row 4, field 'distance': expected `float` >= 0.0, got -2.0."


def indices(values: list[int | None], kind: pa.DataType) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(values, kind), pa.array(["AA", "UA", "AA"]))


@pytest.mark.parametrize(
    ("carrier", "expected"),
    [
        (indices([0, None, 1], pa.uint8()), ["AA", None, "UA"]),
        (indices([2, 1, 0], pa.int64()), ["AA", "UA", "AA"]),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), ["AA", None]), ["AA", None, "AA"]),
        (
            pa.DictionaryArray.from_arrays(pa.array([0] * 3), [f"c{n}" for n in range(9)]),
            ["c0"] * 3,
        ),
        (pa.array(["AA", "a text that no view has in itself", None], pa.string_view()), None),
    ],
)
def test_dictionaries_and_views_of_every_kind_are_the_same_texts(
    carrier: pa.Array, expected: list[str | None] | None
) -> None:
    request = read(ARROW, body_of(carrier=carrier), "float64")
    assert isinstance(request, CheckedRows)
    assert [row[0] for row in request.rows] == (expected or carrier.to_pylist())


def polars_stream(**options: Any) -> bytes:
    sink = io.BytesIO()
    frame = pl.from_arrow(pa.table(GOOD))
    frame.with_columns(pl.col("size").cast(pl.Categorical)).write_ipc_stream(sink, **options)  # type: ignore[union-attr]
    return sink.getvalue()


def pandas_stream() -> bytes:
    frame = pa.table(GOOD).to_pandas().astype({"carrier": "category"})
    return ipc(pa.Table.from_pandas(frame.astype({"fragile": "boolean"})).to_batches())


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (body_of, ARROW),
        (lambda: ipc([pa.record_batch(GOOD)], pa.ipc.new_file), ARROW_FILE),
        (polars_stream, ARROW),
        (lambda: polars_stream(compat_level=pl.CompatLevel.oldest()), ARROW),
        (pandas_stream, ARROW),
    ],
)
def test_what_clients_write_is_read_as_arrays(write: Callable[[], bytes], kind: str) -> None:
    request = read_rows(champion("float64").reader, kind, write(), 100)
    assert isinstance(request.rows, RowColumns)
    assert request.rows[0] == ("AA", "S", True, True, 1.5, None, datetime(2013, 6, 1, 15))
    assert request.rows[-1] == ("aa", "S", False, True, 0.0, -3.5, None)


def test_clients_that_write_different_types_are_read_in_turn() -> None:
    for _ in range(2):
        for kind in [*NUMBERS, pa.uint16(), pa.int8(), pa.int16(), pa.uint32()]:
            request = read(ARROW, body_of(wind=pa.array([1, 2, 3]).cast(kind)), "float64")
            assert isinstance(request, CheckedRows) and isinstance(request.rows, RowColumns)
            assert request.rows.column(5) == [1.0, 2.0, 3.0]


def test_pieces_of_a_batch_are_its_rows_in_order() -> None:
    body = body_of()
    pieces = list(read_pieces(champion("float64").reader, ARROW, body, 100, 2))
    assert [len(piece.rows) for piece in pieces] == [2, 1]
    whole = read_rows(champion("float64").reader, ARROW, body, 100)
    assert [row for piece in pieces for row in piece.rows] == whole.rows


def test_event_times_are_bounded_as_those_of_other_forms() -> None:
    request = read(ARROW, body_of(), "float64")
    assert isinstance(request, CheckedRows)
    EventWindow(TIME).check_rows(request.rows)
    with pytest.raises(InputError, match="Row 0, field 'time_hour': expected a time from"):
        EventWindow(TIME, past_days=30).check_rows(request.rows)
    times = np.arange("2013-06-01", "2014-07-07", dtype="M8[D]").astype("M8[us]")
    many = {name: pa.array([column[0].as_py()] * 401, column.type) for name, column in GOOD.items()}
    body = ipc([pa.record_batch(many | {TIME: pa.array(times)})])
    rows = read_rows(champion("float64").reader, ARROW, body, 500).rows
    with pytest.raises(InputError, match="on 401 days, from 2013-06-01 to 2014-07-06"):
        EventWindow(TIME).check_rows(rows)
    days: set[date] = set()
    EventWindow(TIME).check_rows(rows[:200], days)
    assert len(days) == 200
    with pytest.raises(InputError, match="on 401 days"):
        EventWindow(TIME).check_rows(rows[200:], days)


def test_columns_of_an_answer_are_those_that_pyarrow_makes() -> None:
    numbers, texts = [0.1, -0.0, 5e-324], ["a", "", "né 😀"]
    assert number_array(numbers).equals(pa.array(numbers))
    assert text_array(texts).equals(pa.array(texts))
    for truths in ([True, False, True] * 5, []):
        assert truth_array(truths).equals(pa.array(truths, pa.bool_()))


def test_neither_reading_nor_answering_imports_pandas(tmp_path: Path) -> None:
    """45 MB of a process that has it installed."""
    (tmp_path / "body").write_bytes(
        ipc([pa.record_batch({name: GOOD[name] for name in ("carrier", "distance", "wind", TIME)})])
    )
    digest = write_package(tmp_path / "package")
    code = """
import sys
from pathlib import Path
from serving.champions.champion import Champion
from serving.formats.bodies import ARROW, read_rows
from serving.package.model import Package, load
from serving.scoring.answers import write_answer
from serving.scoring.predictions import PredictionIds, predict
folder, digest = Path(sys.argv[1]), sys.argv[2]
toy = Champion.crown("toy", "1", digest, load(folder / "package", digest))
request = read_rows(toy.reader, ARROW, (folder / "body").read_bytes(), 10)
scored = predict(toy, request.rows, PredictionIds(), Package.score)
print(type(request.rows).__name__, bool(write_answer(scored, ARROW)), "pandas" in sys.modules)
"""
    command = [sys.executable, "-c", code, str(tmp_path), digest]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["RowColumns", "True", "False"]
