"""Rows by column, as CSV and as Arrow are the rows that the row form gives, and are refused as it
refuses them.
"""

import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.champions.champion import Champion
from serving.errors import InputError, MalformedBody, Refused
from serving.formats.arrow import messages
from serving.formats.bodies import ARROW, ARROW_FILE, CSV, JSON, read_rows
from serving.formats.rows import FLOOD_BYTES, RowReader
from serving.package import model
from serving.scoring.answers import choose_answer, write_answer
from serving.scoring.predictions import Scored
from tests.fixtures.packages import EVENT_TIME, FEATURES, write_package

READER = RowReader(FEATURES, EVENT_TIME, "float32")
TABLE = pa.table(
    {
        "wind": [None, 3.0, -1.5],
        "time_hour": pa.array([datetime(2013, 6, 1, 15), None, None], pa.timestamp("us")),
        "distance": [100.5, 2.0, 5000.0],
        "carrier": ["AA", 'né, "a"', None],
    }
)
ROWS = [
    ("AA", 100.5, None, datetime(2013, 6, 1, 15)),
    ('né, "a"', 2.0, 3.0, None),
    (None, 5000.0, -1.5, None),
]
MAX_ROWS = 1000


def ipc(table: pa.Table, write: Callable[..., Any] = pa.ipc.new_stream, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with write(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def as_file(table: pa.Table) -> bytes:
    return ipc(table, pa.ipc.new_file)


def by_column(table: pa.Table) -> bytes:
    columns = table.to_pydict()
    return json.dumps(
        {"columns": {name: [_plain(value) for value in values] for name, values in columns.items()}}
    ).encode()


def by_row(table: pa.Table) -> bytes:
    return json.dumps(
        {
            "rows": [
                {name: _plain(value) for name, value in row.items()} for row in table.to_pylist()
            ]
        }
    ).encode()


def as_csv(table: pa.Table) -> bytes:
    return table.to_pandas().to_csv(index=False, date_format="%Y-%m-%dT%H:%M:%S").encode()


def polars_stream(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pl.from_arrow(table).write_ipc_stream(sink)  # type: ignore[union-attr]  # its texts are views
    return sink.getvalue()


def polars_file(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pl.from_arrow(table).with_columns(pl.col("carrier").cast(pl.Categorical)).write_ipc(sink)  # type: ignore[union-attr]
    return sink.getvalue()


def pandas_categories(table: pa.Table) -> bytes:
    return ipc(
        pa.Table.from_pandas(
            table.to_pandas().astype({"carrier": "category", "distance": "float32"})
        )
    )


FORMS: dict[str, tuple[str, Callable[[pa.Table], bytes]]] = {
    "rows": (JSON, by_row),
    "columns": (JSON, by_column),
    "csv": (CSV, as_csv),
    "arrow stream": (ARROW, ipc),
    "arrow file": (ARROW_FILE, as_file),
}
WRITERS = {
    "polars stream": (ARROW, polars_stream),
    "polars file of categories": (ARROW_FILE, polars_file),
    "pandas categories": (ARROW, pandas_categories),
}


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def read(kind: str, body: bytes, max_rows: int = MAX_ROWS) -> list[tuple[Any, ...]]:
    return read_rows(READER, kind, body, max_rows).rows


def refusal(kind: str, body: bytes, max_rows: int = MAX_ROWS) -> InputError:
    with pytest.raises(InputError) as caught:
        read(kind, body, max_rows)
    return caught.value


@pytest.mark.parametrize("form", [*FORMS, *WRITERS])
def test_every_form_gives_the_same_rows_and_says_them_again_as_native_json(form: str) -> None:
    kind, write = (FORMS | WRITERS)[form]
    batch = read_rows(READER, kind, write(TABLE), MAX_ROWS)
    assert batch.rows == ROWS
    assert READER.read(batch.json) == ROWS


def test_plain_json_is_logged_as_it_came() -> None:
    body = by_row(TABLE)
    assert read_rows(READER, JSON, body, MAX_ROWS).json is body


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("field", "values", "place", "message"),
    [
        ("distance", [1.0, 5000.1], (1, "distance"), "expected `float` <= 5000.0, got 5000.1"),
        ("distance", [1.0, -1.0], (1, "distance"), "expected `float` >= 0.0, got -1.0"),
        ("wind", [1.0, 1e39], (1, "wind"), "expected `float` <= 3.4"),
        ("speed", [1.0, 2.0], None, "is not a known field"),
        (
            "time_hour",
            ["2013-06-01T15:00:00", "yesterday"],
            (1, "time_hour"),
            "such as '2013-06-01T15:00:00', got 'yesterday'",
        ),
        ("time_hour", ["2013-06-01T15:00:00Z"] * 2, (0, "time_hour"), "without a zone"),
    ],
)
def test_every_form_refuses_the_same_by_row_and_field(
    form: str, field: str, values: list[Any], place: tuple[int, str] | None, message: str
) -> None:
    kind, write = FORMS[form]
    error = refusal(kind, write(pa.table({"distance": [1.0, 2.0]} | {field: values})))
    assert message in str(error)
    assert error.field == field
    assert place is None or (
        (error.row, error.field) == place and f"Row {place[0]}, field {field!r}" in str(error)
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_refuses_a_missing_field_a_null_where_there_is_none_and_too_many_rows(
    form: str,
) -> None:
    kind, write = FORMS[form]
    assert refusal(kind, write(pa.table({"wind": [1.0]}))).field == "distance"
    null = refusal(kind, write(pa.table({"wind": [1.0, 2.0], "distance": [1.0, None]})))
    assert (null.row, null.field) == (1, "distance") and "expected `float`, got `null`" in str(null)
    many = pa.table({"distance": np.ones(11)})
    assert len(read(kind, write(many), 11)) == 11
    assert "at most 10 rows" in str(refusal(kind, write(many), 10))


@pytest.mark.parametrize("form", ["columns", "csv", "arrow stream", "arrow file"])
def test_no_row_is_refused(form: str) -> None:
    kind, write = FORMS[form]
    assert "no row" in str(refusal(kind, write(TABLE.slice(0, 0))))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (CSV, b"distance,wind\n1,NaN\n"),
        (ARROW, ipc(pa.table({"distance": [1.0], "wind": [float("nan")]}))),
        (
            ARROW,
            ipc(
                pa.table(
                    {"distance": pa.array([1], pa.uint64()), "wind": pa.array([None], pa.int8())}
                )
            ),
        ),
        (
            ARROW,
            ipc(
                pa.table(
                    {
                        "distance": pa.array([1], pa.int16()),
                        "wind": pa.nulls(1),
                        "carrier": pa.nulls(1),
                    }
                )
            ),
        ),
    ],
)
def test_a_number_that_is_none_is_null_where_null_may_be(kind: str, body: bytes) -> None:
    assert read(kind, body) == [(None, 1.0, None, None)]


@pytest.mark.parametrize(
    ("kind", "body"),
    [(CSV, b"distance\nNaN\n"), (ARROW, ipc(pa.table({"distance": [float("nan")]})))],
)
def test_a_number_that_is_none_is_refused_elsewhere(kind: str, body: bytes) -> None:
    error = refusal(kind, body)
    assert (error.row, error.field) == (
        0,
        "distance",
    ) and "expected a finite number, got nan" in str(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            b'{"columns": {"distance": [1, 2], "wind": [1]}}',
            "Field 'wind' has 1 values, but 'distance' has 2",
        ),
        (b'{"columns": {"distance": 5}}', "Field 'distance': expected `array`, got `int`"),
        (b'{"columns": {"distance": null}}', "Field 'distance': expected `array`, got `null`"),
        (b'{"columns": ' + b"[" * 100_000, "expected `object`, got `array`"),
        (
            b'{"columns": [1]}',
            'must be {"columns": {"<field>": [...], ...}}: expected `object`, got `array`',
        ),
        (
            b'{"columns": {"distance": ["far"]}}',
            "Row 0, field 'distance': expected `float`, got 'far'",
        ),
        (b'{"columns": {"distance": [1]}, "x": 1}', "Field 'x' is not a known field"),
        (
            b'{"columns": {"distance": ["far"]}, "columns": {}}',
            "Row 0, field 'distance': expected `float`, got `str`",
        ),
        (b'{"columns": {"a` - at `$.columns.b": [1]}}', "is not a known field"),
    ],
)
def test_columns_of_another_shape_are_refused(body: bytes, message: str) -> None:
    error = refusal(JSON, body)
    assert message in str(error) and not isinstance(error, MalformedBody)


@pytest.mark.parametrize(
    "body",
    [
        b'{"columns": {"distance": [1',
        b'{"columns": {"distance": [NaN]}}',
        b'{"columns": {"distance": [1]}} x',
    ],
)
def test_columns_that_are_no_json_are_malformed(body: bytes) -> None:
    assert isinstance(refusal(JSON, body), MalformedBody)


def test_nan_in_columns_is_told_as_such() -> None:
    assert "NaN or Infinity, which JSON does not allow" in str(
        refusal(JSON, b'{"columns": {"distance": [NaN]}}')
    )


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (
            b"\xef\xbb\xbfdistance\r\n1\r\n\r\n2\r\n",
            [(None, 1.0, None, None), (None, 2.0, None, None)],
        ),
        (b'"distance","carrier"\n"1","a, ""b""\nc"\n', [('a, "b"\nc', 1.0, None, None)]),
        (b'distance,carrier\n1,\n2,""\n', [(None, 1.0, None, None), (None, 2.0, None, None)]),
        (
            b"distance,carrier\n+1, x \n.5,null\n1e2,NaN",
            [(" x ", 1.0, None, None), ("null", 0.5, None, None), ("NaN", 100.0, None, None)],
        ),
        ("distance,carrier\n1,a\u2028b\n".encode(), [("a\u2028b", 1.0, None, None)]),
    ],
)
def test_csv_is_read_as_spreadsheets_and_pandas_write_it(
    body: bytes, rows: list[tuple[Any, ...]]
) -> None:
    assert read(CSV, body) == rows


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "no row"),
        (b"distance\n", "no row"),
        (b"distance,wind\n1,2\n1\n", "Row 1 has fewer values than the header has names (2)"),
        (b"distance\n1\n1,2,3\n", "Row 1 has more values than the header has names (1)"),
        (b"distance,distance\n1,2\n", "Field 'distance' appears twice in the header"),
        (b"distance\nfar\n", "Row 0, field 'distance': expected `float`, got 'far'"),
        (b"distance\ninf\n", "got inf"),
        (b"distance\n1_0\n", "got '1_0'"),
        (b'distance,carrier\n1,"x', "not CSV"),
        (b"distance\n\xff\n", "not UTF-8: invalid start byte at byte 9"),
        (
            b"carrier,distance\n" + (b"a" * 200 + b",1\n") * 900 + b"\xff\n",
            "not UTF-8: invalid start byte at byte 182717",
        ),
        (
            b'"carrier",distance\n' + (b"a" * 200 + b",1\n") * 900 + b"\xff\n",
            "not UTF-8: invalid start byte at byte 182719",
        ),
        (b"," * 20_000 + b"\n1", "too many names"),
    ],
)
def test_csv_that_is_wrong_is_refused(body: bytes, message: str) -> None:
    assert message in str(refusal(CSV, body))


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("write", [pa.ipc.new_stream, pa.ipc.new_file])
@pytest.mark.parametrize("encoded", [False, True])
def test_a_compressed_arrow_body_is_refused_before_anything_is_decompressed(
    compression: str, write: Callable[..., Any], encoded: bool
) -> None:
    bomb = pa.array(["x" * 100_000_000])
    carrier = pa.DictionaryArray.from_arrays(pa.array([0]), bomb) if encoded else bomb
    body = ipc(pa.table({"distance": [1.0], "carrier": carrier}), write, compression=compression)
    del bomb, carrier
    assert len(body) < 1_000_000
    pool = pa.default_memory_pool()
    pool.release_unused()
    before = pool.total_bytes_allocated()
    assert "write them without compression" in str(refusal(ARROW, body))
    assert pool.total_bytes_allocated() - before < 1_000_000


def dictionary_of_one(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "int32")), pa.array([text]))


def views_of_one(text: str, rows: int) -> pa.Array:
    """All views point to the same text."""
    _, views, buffer = pa.array([text], pa.string_view()).buffers()
    return pa.Array.from_buffers(
        pa.string_view(), rows, [None, pa.py_buffer(views.to_pybytes()[:16] * rows), buffer]
    )


@pytest.mark.parametrize("make", [dictionary_of_one, views_of_one])
@pytest.mark.parametrize("form", ["arrow stream", "arrow file"])
def test_a_text_that_many_rows_share_is_bounded_in_all(
    make: Callable[[str, int], pa.Array], form: str
) -> None:
    kind, write = FORMS[form]
    body = write(pa.table({"distance": np.ones(1000), "carrier": make("x" * 100_000, 1000)}))
    assert len(body) < 300_000
    assert "more than 16777216 characters in total" in str(refusal(kind, body))
    assert (
        read(
            kind,
            write(pa.table({"distance": np.ones(10), "carrier": make("a carrier's name", 10)})),
        )[9][0]
        == "a carrier's name"
    )


@pytest.mark.parametrize("form", ["arrow stream", "arrow file"])
def test_rows_that_take_no_space_are_counted_before_they_are_made(form: str) -> None:
    kind, write = FORMS[form]
    body = write(pa.table({"wind": pa.nulls(10**9)}))
    assert len(body) < 1000
    assert "at most 1000 rows" in str(refusal(kind, body))


def with_block(offset: int) -> bytes:
    """A file whose footer says that its only batch lies elsewhere."""
    body = as_file(pa.table({"distance": [1.0]}))
    end = len(body) - 10
    footer = messages._Table.root(body[end - int.from_bytes(body[end : end + 4], "little") :])
    ((true, _),) = footer.blocks(3)
    at = body.rindex(true.to_bytes(8, "little"), 0, end)
    return body[:at] + offset.to_bytes(8, "little", signed=True) + body[at + 8 :]


@pytest.mark.parametrize("offset", [-8, 8 - 2**63, 2**62, 100_000])
def test_a_file_whose_parts_lie_outside_of_it_is_refused(offset: int) -> None:
    assert "a part lies outside the body" in str(refusal(ARROW_FILE, with_block(offset)))


def test_a_file_whose_part_is_the_end_of_a_stream_is_refused() -> None:
    body = as_file(pa.table({"distance": [1.0]}))
    end_of_stream = body.index(b"\xff\xff\xff\xff\0\0\0\0")
    assert "cannot be read as Arrow: End of Arrow stream" in str(
        refusal(ARROW_FILE, with_block(end_of_stream))
    )


def test_a_body_of_many_batches_is_read_up_to_a_bound() -> None:
    chunks = [TABLE.slice(n % 3, 1) for n in range(150)]
    assert len(read(ARROW, ipc(pa.concat_tables(chunks[:90])))) == 90
    assert "fewer batches" in str(refusal(ARROW, ipc(pa.concat_tables(chunks))))


def deltas() -> bytes:
    sink = pa.BufferOutputStream()
    batches = [
        pa.record_batch({"carrier": pa.array(categories).dictionary_encode()})
        for categories in (["AA"], ["AA", "UA"])
    ]
    with pa.ipc.new_stream(
        sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    ) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def tensor() -> bytes:
    sink = pa.BufferOutputStream()
    pa.ipc.write_tensor(pa.Tensor.from_numpy(np.ones(3)), sink)
    return sink.getvalue().to_pybytes()


def big_endian() -> bytes:
    """The byte order is left out of what is written here: the schema's table of fields is made to
    find one elsewhere.
    """
    body = ipc(pa.table({"distance": [1.0]}))
    schema = messages._Table.root(body[8:]).table(2)
    entry = 8 + schema._fields + 4
    for offset in range(4, 64, 2):
        changed = body[:entry] + offset.to_bytes(2, "little") + body[entry + 2 :]
        if messages._Table.root(changed[8:]).table(2).number(0, "<h") == 1:
            return changed
    raise AssertionError("no place holds a 1")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            ipc(pa.table({"distance": ["1"]})),
            "Field 'distance' must be numbers, such as float64; it is string",
        ),
        (ipc(pa.table({"distance": [True]})), "it is bool"),
        (ipc(pa.table({"distance": [[1.0]]})), "it is list<item: double>"),
        (
            ipc(pa.table({"distance": [1.0], "carrier": [1]})),
            "Field 'carrier' must be texts, or a dictionary of texts; it is int64",
        ),
        (
            ipc(pa.table({"distance": [1.0], "carrier": pa.array([1]).dictionary_encode()})),
            "Field 'carrier' must be texts",
        ),
        (
            ipc(
                pa.table({"distance": [1.0], "time_hour": pa.array([1], pa.timestamp("us", "UTC"))})
            ),
            "without a zone",
        ),
        (
            ipc(pa.table({"distance": [1.0], "time_hour": pa.array([2**62], pa.timestamp("s"))})),
            "out of bounds",
        ),
        (
            ipc(pa.table({"distance": [1.0], "time_hour": pa.array([2**62], pa.timestamp("us"))})),
            "out of range",
        ),
        (
            ipc(pa.table([pa.array([1.0]), pa.array([1.0])], ["distance", "distance"])),
            "appears twice",
        ),
        (deltas(), "(deltas)"),
        (tensor(), "another kind of Arrow message"),
        (big_endian(), "big-endian"),
        (b"", "no row"),
        (b"ARROW1", "cannot be read as Arrow"),
        (b"distance\n1", "cannot be read as Arrow"),
        (ipc(TABLE)[:-100], "cannot be read as Arrow"),
        (as_file(TABLE)[:-3], "cannot be read as Arrow"),
    ],
)
def test_arrow_that_is_not_taken_is_refused(body: bytes, message: str) -> None:
    assert message in str(refusal(ARROW, body))


def test_the_frame_that_pandas_gives_is_taken_as_it_is() -> None:
    frame = pd.DataFrame(
        {
            "distance": [1, 2],
            "carrier": ["AA", None],
            "time_hour": pd.to_datetime(["2013-06-01T15:00:00"] * 2),
        }
    )
    assert read(ARROW, ipc(pa.Table.from_pandas(frame)))[1] == (
        None,
        2.0,
        None,
        datetime(2013, 6, 1, 15),
    )


ENCODED = TABLE.set_column(3, "carrier", TABLE["carrier"].combine_chunks().dictionary_encode())
SEEDS = [
    ipc(TABLE),
    as_file(TABLE),
    ipc(ENCODED),
    as_file(ENCODED),
    polars_stream(TABLE),
    polars_file(TABLE),
    ipc(ENCODED, compression="zstd"),
]
CHANGES = st.lists(
    st.tuples(st.integers(0, 10**6), st.sampled_from([0, 1, 2, 8, 16, 127, 128, 255])),
    min_size=1,
    max_size=8,
)


@pytest.mark.slow("searches for seconds")
@given(st.sampled_from(SEEDS), CHANGES, st.integers(0, 3000))
def test_damaged_arrow_is_read_or_refused_and_nothing_else(
    seed: bytes, changes: list[tuple[int, int]], cut: int
) -> None:
    body = bytearray(seed)
    for at, value in changes:
        body[at % len(body)] = value
    if cut < len(body):
        del body[cut:]
    try:
        read(ARROW, bytes(body))
    except InputError as error:
        assert len(str(error)) < 600


@given(
    st.sampled_from([CSV, JSON]),
    st.one_of(
        st.binary(max_size=200),
        st.text('",\n\r{}[]:columnsdistance01.eNa', max_size=200).map(str.encode),
    ),
)
def test_any_bytes_as_csv_or_json_are_read_or_refused(kind: str, body: bytes) -> None:
    for start in (body, b"distance,wind\n" + body, b'{"columns": {"distance": [' + body):
        try:
            read(kind, start)
        except InputError:
            continue


@pytest.mark.parametrize(
    "body",
    [
        b'{"rows":[' + b"{}," * (FLOOD_BYTES // 3 + 1) + b"{}]}",
        b'{"columns":{"distance":[' + b"1," * (FLOOD_BYTES // 2 + 1) + b"1]}}",
    ],
)
def test_a_flood_of_rows_is_refused_without_being_decoded(body: bytes) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        assert "at most 100000 rows" in str(refusal(JSON, body, 100_000))
        assert tracemalloc.get_traced_memory()[1] < 3 * len(
            body
        )  # decoded it is ten times as large, and more
    finally:
        tracemalloc.stop()


def test_braces_in_a_large_body_s_texts_are_no_rows() -> None:
    body = json.dumps({"rows": [{"distance": 1, "carrier": "{[" * FLOOD_BYTES + '\\"'}]}).encode()
    assert len(read(JSON, body)) == 1


def test_an_unknown_content_type_is_told_those_that_work() -> None:
    with pytest.raises(
        Refused,
        match=(
            r"'application/xml'; send application/json, text/csv, multipart/form-data, "
            r"application/vnd\.apache\.arrow\.stream"
        ),
    ) as caught:
        read("application/xml", b"")
    assert caught.value.status == 415


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
        ("text/csv", CSV),
        (f"application/json;q=0.5, {ARROW}", ARROW),
        ("text/csv;q=0.2, application/json", JSON),
        ("text/csv;q=0", JSON),
        ("text/csv;q=x, text/csv;q=1.0.0", JSON),
        ("image/png", JSON),
    ],
)
def test_the_answer_is_what_the_caller_prefers_and_json_otherwise(accept: str, kind: str) -> None:
    assert choose_answer(accept) == kind


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Scored:
    folder = tmp_path_factory.mktemp("package")
    write_package(folder)
    return Scored(
        Champion.crown("toy", "7", "", model.load(folder)),
        ["a-0", "a-1"],
        [[0.1, 0.75], [False, True]],
        np.zeros((2, 3)),
    )


def test_the_answer_is_the_same_in_every_form(scored: Scored) -> None:
    table = pa.ipc.open_stream(write_answer(scored, ARROW)).read_all()
    content = json.loads(write_answer(scored, JSON))
    assert content["model_version"] == "7"
    assert table.to_pylist() == [row | {"model_version": "7"} for row in content["predictions"]]
    assert (
        write_answer(scored, CSV).decode()
        == "id,score,decision,model_version\na-0,0.1,false,7\na-1,0.75,true,7\n"
    )
