"""A use case of images works from its definition to its drift, by every protocol."""

import io
import json
from base64 import b64encode
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from pydantic import ValidationError

from blocks.saved_models import saved_types
from serving.champions.champion import Champion
from serving.edge.openapi import row_schema
from serving.errors import InputError
from serving.formats.bodies import ARROW, CSV, FORM, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.mlflow import rows as mlflow_rows
from serving.formats.tensors import read_inference, read_tensors
from serving.log.segments import line_of
from serving.package.encoders.images import MOST_LOGGED
from serving.package.model import Package, load
from serving.routes.explain import explain
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, answer_json, predict
from serving.upload.parquet import convert
from tasks.contest.leaks import strongest_column
from tasks.contest.near_rows import find_near_rows
from tasks.data.columns.image_block import MOST_PLACES
from tasks.data.traits import by_traits
from tasks.data.validation import BatchRefused, validate
from tasks.drift.thresholds import calibrate, measure
from tasks.models.modelling import fit
from tasks.packages.packaging import Origin, make_package
from usecases.definition import Column, UseCase
from usecases.digits import USE_CASE, Scanner

MONTHS = Scanner().periods()


def month(number: int) -> pl.DataFrame:
    return validate(USE_CASE, MONTHS[number - 1], Scanner().read(MONTHS[number - 1])).good


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([month(number) for number in range(1, 6)])


@pytest.fixture(scope="module")
def fitted(training: pl.DataFrame) -> Any:
    return fit(USE_CASE, USE_CASE.candidate("logistic"), {"C": 2.0}, training, 7)


@pytest.fixture(scope="module")
def folder(
    training: pl.DataFrame, fitted: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A package, proven: it encodes and scores as the pipeline does."""
    folder = tmp_path_factory.mktemp("package")
    origin = Origin("logistic", {}, "2024-01-abc", {"2024-05": "a1"}, {"log_loss": 0.2})
    package = make_package(folder, USE_CASE, fitted, origin, training, training, 7, watched=False)
    return folder, package.sha256


@pytest.fixture(scope="module")
def champion(folder: tuple[Path, str]) -> Champion:
    path, sha256 = folder
    return Champion.crown("digits", "3", sha256, load(path, sha256))


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """Two PNGs, and a JPEG as a client in Java makes it of a larger picture."""
    scans = Scanner().read(MONTHS[5])["picture"].to_list()[:2]
    file = io.BytesIO()
    Image.open(io.BytesIO(scans[0])).convert("RGB").resize((640, 480)).save(file, "JPEG")
    return [*scans, file.getvalue()]


def texts(files: list[bytes]) -> list[str]:
    return [b64encode(data).decode() for data in files]


def form_of(files: list[bytes], name: str = "picture") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="a.png"'
    parts = [
        b"--xYz\r\n%b\r\nContent-Type: image/png\r\n\r\n%b\r\n" % (head.encode(), data)
        for data in files
    ]
    return b"".join(parts) + b"--xYz--\r\n"


def stream_of(column: pa.Array) -> bytes:
    table, stream = pa.table({"picture": column}), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


@pytest.mark.parametrize(
    "form", ["rows", "columns", CSV, FORM, "binary", "large binary", "text", "split", "instances"]
)
def test_files_come_by_every_form_of_a_body(
    champion: Champion, files: list[bytes], form: str
) -> None:
    values = texts(files)
    records = [{"picture": value} for value in values]
    split = {"columns": ["picture"], "data": [[value] for value in values]}
    bodies = {
        "rows": (JSON, json.dumps({"rows": records}).encode()),
        "columns": (JSON, json.dumps({"columns": {"picture": values}}).encode()),
        CSV: (CSV, "\n".join(["picture", *values]).encode()),
        FORM: (FORM, form_of(files)),
        "binary": (ARROW, stream_of(pa.array(files, pa.binary()))),
        "large binary": (ARROW, stream_of(pa.array(files, pa.large_binary()))),
        "text": (ARROW, stream_of(pa.array(values))),
    }
    mlflow_bodies = {"split": {"dataframe_split": split}, "instances": {"instances": records}}
    if form in bodies:
        rows = read_rows(champion.reader, *bodies[form], 10).rows
    else:
        body = json.dumps(mlflow_bodies[form]).encode()
        rows = mlflow_rows.read_json(champion.reader, body, 10).rows
    assert [row[0] for row in rows] == values


def tensor(champion: Champion, datatype: str, shape: list[int], data: Any) -> np.ndarray:
    """The matrix of a request with one tensor; ``data`` is JSON's, or binary."""
    tail = data if isinstance(data, bytes) else b""
    inputs = {"name": "picture", "shape": shape, "datatype": datatype}
    inputs |= {"parameters": {"binary_data_size": len(tail)}} if tail else {"data": data}
    inference = read_inference(json.dumps({"inputs": [inputs]}).encode(), champion.form.tensors)
    request = read_tensors(columns_of(champion.reader), inference, memoryview(tail), 10)
    return champion.package.encode_rows(request.rows)


def test_tensors_are_files_texts_or_pixels(champion: Champion, files: list[bytes]) -> None:
    expected = champion.package.encode_rows([(value, None) for value in texts(files)])
    elements = b"".join(len(data).to_bytes(4, "little") + data for data in files)
    np.testing.assert_array_equal(tensor(champion, "BYTES", [3], texts(files)), expected)
    np.testing.assert_array_equal(tensor(champion, "BYTES", [3, 1], elements), expected)
    pixels = np.rint(expected[:2] * 255).astype(np.uint8)
    for shape in ([2, 8, 8], [2, 8, 8, 1]):
        nested = pixels.reshape(shape)
        for datatype, data in (
            ("UINT8", pixels.tobytes()),
            ("FP32", pixels.astype("<f4").tobytes()),
            ("INT64", pixels.ravel().tolist()),
            ("FP64", nested.tolist()),
        ):
            np.testing.assert_array_equal(tensor(champion, datatype, shape, data), expected[:2])


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "message"),
    [
        ("UINT8", [2, 64], [0] * 128, r"expected shape \[n, height, width\]"),
        ("UINT8", [1, -8, -8], [0] * 64, r"expected shape \[n, height, width\]"),
        ("UINT8", [2, 8, 8], bytes(64), "128 values of UINT8 have 128 bytes, got 64"),
        ("UINT8", [1, 10**9, 10**9], [0], "declares 1000000000000000000 values"),
        ("FP32", [1, 2, 2], [[[0, 1], [2]]], "has a different number|must be a list of values"),
        ("FP32", [1, 1, 2], [0, 256], "Row 0, field 'picture': the image is an array with numbers"),
        ("BYTES", [1], ["a.png"], "Row 0, field 'picture': the image is the name or the address"),
    ],
)
def test_a_tensor_that_is_no_image_is_refused(
    champion: Champion, datatype: str, shape: list[int], data: Any, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        tensor(champion, datatype, shape, data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "it must begin with its boundary"),
        (b"--xYz\r\n", "is not multipart/form-data"),
        (form_of([b"1"])[:-9], "is not multipart/form-data"),
        (form_of([b"1"], "photo"), "'photo' is not a known field"),
        (b"--xYz--\r\n", "is not multipart/form-data"),
        (form_of([b"x"] * 11), "at most 10 rows"),
        (b"--x\r\nA: b\r\n\r\n1\r\n--x--\r\n", "is not multipart/form-data"),
    ],
)
def test_a_form_that_is_none_is_refused(champion: Champion, body: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_rows(champion.reader, FORM, body, 10)


def test_rows_that_are_no_images_are_refused_by_row_and_field(champion: Champion) -> None:
    good = champion.package.smoke.rows[0]["picture"]
    with pytest.raises(InputError, match="Row 1, field 'picture': the file is no image") as caught:
        champion.package.encode_rows([(good, None), (b64encode(b"hello").decode(), None)])
    assert (caught.value.row, caught.value.field) == (1, "picture")
    for body, problem in (('{"picture": 3}', "got `int`"), ("{}", "is missing")):
        with pytest.raises(InputError, match=f"Row 0, field 'picture'.*{problem}"):
            read_rows(champion.reader, JSON, b'{"rows": [%b]}' % body.encode(), 10)


def test_openapi_says_what_an_image_is(champion: Champion) -> None:
    schema = row_schema(champion)["properties"]["picture"]
    assert schema["type"] == ["string", "array"]
    assert "a PNG or JPEG in base64" in schema["description"]


@pytest.mark.parametrize("by_column", [False, True])
def test_the_log_has_a_large_image_as_the_model_sees_it(
    champion: Champion, files: list[bytes], tmp_path: Path, by_column: bool
) -> None:
    noisy = np.random.default_rng(1).integers(0, 256, (300, 300), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, "PNG")
    array = (np.arange(64).reshape(8, 8) * 3).tolist()
    large = b64encode(file.getvalue()).decode()
    assert len(large) > MOST_LOGGED
    rows = [(value, datetime(2024, 6, 1)) for value in (large, array, texts(files)[0])]
    scored = predict(champion, rows, PredictionIds(), Package.score)
    if by_column:
        header, line = champion.column_header, column_line(scored, rows)
    else:
        names = ["picture", "scanned_at"]
        body = {"rows": [dict(zip(names, row, strict=True)) for row in rows]}
        logged = champion.log_request(msgspec.json.encode(body))
        assert logged is not None
        header, line = champion.log_header, line_of(logged, answer_json(scored), len(rows))
    assert len(line) < 5000
    path = tmp_path / "a-000001.jsonl"
    path.write_bytes(header + b"\n" + line)
    (converted,) = convert(path).files.values()
    column = pq.read_table(pa.BufferReader(converted))["picture"]
    assert column.type == pa.string() and column[2].as_py() == rows[2][0]
    again = [(value, None) for value in column.to_pylist()]
    encoded = champion.package.encode_rows(again)
    np.testing.assert_array_equal(encoded, champion.package.encode_rows(rows))


def test_an_explanation_gives_the_image_all_the_credit(champion: Champion) -> None:
    row = (champion.package.smoke.rows[0]["picture"], None)
    (contribution,) = explain(champion, row).contributions
    assert contribution.field == "picture" and abs(contribution.contribution) > 0.1


def test_smoke_rows_are_small_and_the_model_may_be_saved(
    champion: Champion, folder: tuple[Path, str], fitted: Any
) -> None:
    assert len(json.dumps(champion.package.smoke.rows[0])) < 500
    assert "picture" not in pl.read_parquet(folder[0] / "reference.parquet").columns
    types, strangers = saved_types(fitted)
    assert "tasks.data.columns.image_block.ImageBlock" in types and strangers == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "is an image: it needs size and channels"),
        ({"size": (8, 8)}, "is an image: it needs channels"),
        ({"size": (0, 8), "channels": 1}, "greater than or equal to 1"),
        ({"size": (8, 8), "channels": 2}, "Input should be 1 or 3"),
        ({"size": (8, 8), "channels": 1, "low": 0}, "is an image, but low are for numbers"),
        ({"size": (8, 8000), "channels": 1}, "less than or equal to 512"),
    ],
)
def test_a_column_says_the_size_and_the_channels(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Column(name="picture", kind="image", **fields)


def with_pictures(values: list[Any], dtype: Any = None) -> pl.DataFrame:
    """January, beginning with other pictures."""
    rows = Scanner().read("2024-01")
    if dtype is not None:
        return rows.head(len(values)).with_columns(pl.Series("picture", values, dtype=dtype))
    return rows.with_columns(pl.Series("picture", [*values, *rows["picture"][len(values) :]]))


@pytest.mark.parametrize(
    "dtype", [pl.List(pl.List(pl.UInt8)), pl.Array(pl.Float64, (2, 2)), pl.List(pl.List(pl.Int64))]
)
def test_a_batch_may_have_arrays(dtype: pl.DataType) -> None:
    good = validate(USE_CASE, "2024-01", with_pictures([[[0, 255], [255, 0]]] * 3, dtype)).good
    assert good["picture"].str.starts_with("iVBOR").all()


def test_a_row_without_an_image_goes_to_quarantine_with_its_reason() -> None:
    small = Scanner().read("2024-01")["picture"][0]
    checked = validate(USE_CASE, "2024-01", with_pictures([b"id,name", b"", small[:-40], None]))
    reasons = checked.quarantined["quarantine_reason"].to_list()
    assert len(checked.good) == 146 and "picture: the file is no image" in reasons[0]
    assert "the image is empty" in reasons[1] and "damaged or cut off" in reasons[2]
    assert "not_nullable" in reasons[3]
    with pytest.raises(BatchRefused, match="'picture' holds Float64, expected an image"):
        validate(USE_CASE, "2024-01", with_pictures([1.0], pl.Float64))


def test_more_images_than_fit_into_memory_are_refused_with_both_sizes(
    training: pl.DataFrame,
) -> None:
    column = USE_CASE.columns[0].model_copy(update={"size": (512, 512), "channels": 3})
    case: UseCase = USE_CASE.model_copy(update={"columns": (column,)})
    some = training.head(MOST_PLACES // (512 * 512 * 3) + 1)
    with pytest.raises(Exception, match=r"318 images of 512 x 512 x 3 .* make the column's size"):
        fit(case, case.candidate("logistic"), {"C": 2.0}, some, 7)


def test_light_and_noise_are_found_and_other_months_are_not(training: pl.DataFrame) -> None:
    reference, limits, calibrated = calibrate(USE_CASE, training.head(600), 1)
    assert calibrated and "picture.noise" in limits
    drifted = {}
    for number in (5, 6, 7):
        case, rows = by_traits(USE_CASE, month(number))
        far = measure(case, reference, rows, limits, {})
        drifted[number] = {name.split(".")[1] for name in far if far[name] > limits[name]}
    assert drifted[5] == set()
    assert {"brightness", "contrast"} <= drifted[6]
    assert {"noise", "sharpness"} <= drifted[7]


def test_leaks_and_copies_are_looked_for_in_what_describes_an_image(
    training: pl.DataFrame,
) -> None:
    holdout = month(5)
    learned = training.filter(pl.col("scanned_at").dt.month() < 5)
    assert find_near_rows(USE_CASE, holdout, learned).doubts == []
    copies = pl.concat([holdout.head(100), learned.head(50)])
    assert find_near_rows(USE_CASE, copies, learned).doubts
    assert strongest_column(USE_CASE, holdout).column.startswith("picture.")
