"""The same rows read from every form of body are the same values, of every kind of column."""

import csv
import io
import json
import tracemalloc
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.champions.champion import Champion
from serving.errors import InputError
from serving.formats.bodies import ARROW, CSV, FORM, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.rows import CheckedRows
from serving.formats.tensors import read_inference, read_tensors
from serving.package.encoders.images import array_of
from serving.package.model import load
from serving.routes import mlflow_protocol
from tests.fixtures.odd_schemas import FILES, SIX
from tests.fixtures.six_kinds import write_six_kinds

pytestmark = pytest.mark.slow("searches for ten seconds")

Rows = list[dict[str, Any]]
# What no form leaves open: CSV and forms have no empty text, and CSV of pandas no text "null".
CLEAN = st.text(
    st.characters(exclude_categories=["C"], exclude_characters="\r\n"), min_size=1, max_size=9
).map(lambda text: f"x{text}")
TIME = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "carrier": st.none() | st.sampled_from(["AA", "UA"]) | CLEAN,
    "distance": st.floats(0, 5000),
    "fragile": st.none() | st.booleans(),
    "sent": st.none() | TIME.map(datetime.isoformat),
    "note": st.none() | CLEAN,
    "picture": st.none() | st.sampled_from([b64encode(file).decode() for file in FILES]),
    "time_hour": st.none() | TIME.map(datetime.isoformat),
}
ROWS = st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=4)


@lru_cache(maxsize=1)
def champion() -> Champion:
    with TemporaryDirectory() as folder:
        digest = write_six_kinds(Path(folder))
        return Champion.crown("toy", "1", digest, load(Path(folder), digest))


def columns(rows: Rows) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in VALUES}


def to_csv(rows: Rows) -> bytes:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(VALUES))
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def to_form(rows: Rows) -> bytes:
    parts = []
    for row in rows:
        for name, value in row.items():
            is_file = name == "picture" and value is not None
            content = b64decode(value) if is_file else b"" if value is None else str(value).encode()
            file = '; filename="a.png"' if is_file else ""
            head = f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n'
            parts.append(b"--xyz\r\n" + head.encode() + content + b"\r\n")
    return b"".join(parts) + b"--xyz--\r\n"


def to_arrow(rows: Rows) -> bytes:
    def array(name: str, values: list[Any]) -> pa.Array:
        if pa.types.is_timestamp(SIX.arrow[name][0]):
            return pa.array(
                [value and datetime.fromisoformat(value) for value in values], pa.timestamp("us")
            )
        if name == "picture":
            return pa.array([value and b64decode(value) for value in values], pa.binary())
        return pa.array(values, SIX.arrow[name][0])

    table = pa.table({name: array(name, values) for name, values in columns(rows).items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def of_kind(kind: str, write: Callable[[Rows], bytes]) -> Callable[[Rows], CheckedRows]:
    return lambda rows: read_rows(champion().reader, kind, write(rows), 100)


def of_mlflow(write: Callable[[Any], Any], kind: str = JSON) -> Callable[[Any], CheckedRows]:
    def read(rows: Any) -> CheckedRows:
        body = write(rows)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return mlflow_protocol.read_rows(champion().reader, kind, data, 100)

    return read


def of_tensors(rows: Rows, *, binary: bool) -> CheckedRows:
    inputs, tail = [], b""
    for name, values in columns(rows).items():
        datatype = SIX.datatypes[name]
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [len(values)]}
        if binary and datatype != "BOOL":  # which has no null in binary
            data = in_binary(datatype, values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            tensor["data"] = values
        inputs.append(tensor)
    head = json.dumps({"inputs": inputs}).encode()
    inference = read_inference(head, champion().form.tensors)
    return read_tensors(columns_of(champion().reader), inference, memoryview(tail), 100)


def in_binary(datatype: str, values: list[Any]) -> bytes:
    if datatype == "FP64":
        return np.array(values, "<f8").tobytes()
    texts = [(value or "").encode() for value in values]
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def to_json(content: Any) -> bytes:
    return json.dumps(content).encode()


FORMS: dict[str, Callable[[Rows], CheckedRows]] = {
    "columns": of_kind(JSON, lambda rows: to_json({"columns": columns(rows)})),
    "csv": of_kind(CSV, to_csv),
    "form": of_kind(FORM, to_form),
    "arrow": of_kind(ARROW, to_arrow),
    "tensors": lambda rows: of_tensors(rows, binary=False),
    "binary tensors": lambda rows: of_tensors(rows, binary=True),
    "records": of_mlflow(lambda rows: {"dataframe_records": rows}),
    "split": of_mlflow(
        lambda rows: {
            "dataframe_split": {
                "columns": list(VALUES),
                "data": [[row[name] for name in VALUES] for row in rows],
            }
        }
    ),
    "inputs": of_mlflow(lambda rows: {"inputs": columns(rows)}),
    "csv of mlflow": of_mlflow(to_csv, CSV),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_of_every_kind_of_column_are_the_same_in_every_form(form: str) -> None:
    @given(ROWS)
    def search(rows: Rows) -> None:
        expected = read_rows(champion().reader, JSON, to_json({"rows": rows}), 100)
        got = FORMS[form](rows)
        assert got.rows == expected.rows
        # the prediction log keeps them as JSON, which the same reader reads
        assert champion().reader.read(got.json) == expected.rows
        assert msgspec.json.decode(got.json).keys() == {"rows"}

    search()


LONG = "x" * 1_000_000
read_inputs = of_mlflow(lambda inputs: {"inputs": inputs})


def test_one_text_for_all_rows_is_bounded_in_all() -> None:
    """A megabyte that is sent once would be scored and logged ten thousand times."""
    inputs = {"distance": [1.0] * 100, "carrier": LONG}
    for write in (inputs, inputs | {"note": "short"}):
        with pytest.raises(InputError, match=r"of carrier.* in 100 rows, .* at most 16,777,216"):
            read_inputs(write)
    assert len(read_inputs(inputs | {"carrier": "AA"}).rows) == 100
    other = {"distance": [1.0] * 16, "other": LONG * 20}
    assert read_inputs(other).ignored == ["other"]


def test_one_text_for_all_rows_is_bounded_in_a_request_that_is_read_in_pieces() -> None:
    body = to_json({"inputs": {"distance": [1.0] * 100, "carrier": LONG}})
    pieces = mlflow_protocol.read_pieces(champion().reader, JSON, body, 100, 10)
    with pytest.raises(InputError, match=r"in 100 rows, .* at most 16,777,216"):
        list(pieces)


@pytest.mark.parametrize("open_writer", [pa.ipc.new_stream, pa.ipc.new_file])
def test_texts_that_batches_share_are_bounded_in_all_batches(open_writer: Any) -> None:
    dictionary = pa.array(["x" * 100_000])
    carrier = pa.DictionaryArray.from_arrays(pa.array([0] * 20, pa.int32()), dictionary)
    batch = pa.record_batch({"distance": pa.array([1.0] * 20), "carrier": carrier})
    sink = pa.BufferOutputStream()
    with open_writer(sink, batch.schema) as writer:
        for _ in range(9):
            writer.write_batch(batch)
    body = sink.getvalue().to_pybytes()
    assert len(body) < 200_000
    with pytest.raises(InputError, match="more than 16777216 characters in total"):
        read_rows(champion().reader, ARROW, body, 1000)


@pytest.mark.parametrize("nested", [False, True])
def test_a_text_among_the_numbers_of_an_image_takes_no_room_for_each_of_them(nested: bool) -> None:
    """NumPy makes texts of all, each as long as the longest: 4 GB of a megabyte."""
    pixels: list[Any] = [LONG, *[1] * 999]
    data = [[pixels]] if nested else pixels
    picture = {"name": "picture", "datatype": "FP64", "shape": [1, 1, 1000], "data": data}
    distance = {"name": "distance", "datatype": "FP64", "shape": [1], "data": [1]}
    inference = read_inference(
        json.dumps({"inputs": [distance, picture]}).encode(), champion().form.tensors
    )
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="'picture': data must be a list of values"):
            read_tensors(columns_of(champion().reader), inference, memoryview(b""), 10)
        with pytest.raises(InputError, match="something else than numbers"):
            array_of([pixels])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(LONG)
