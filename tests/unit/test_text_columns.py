"""A text goes all the way: from a batch through the package to every form of request, the log and
the lake."""

import io
import json
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.champions.champion import Champion
from serving.edge.openapi import row_schema
from serving.errors import InputError, PackageError
from serving.formats.bodies import ARROW, CSV, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.mlflow.rows import read_json as read_invocation
from serving.formats.tensors import read_inference, read_tensors
from serving.log.segments import line_of
from serving.package.manifest import VOCABULARIES, served_files
from serving.package.model import Package, load
from serving.routes.explain import explain
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, answer_json, predict
from serving.upload.parquet import convert
from tasks.data.validation import BatchRefused, validate
from tasks.models.modelling import fit
from tasks.models.modelling import predict as predict_rows
from tasks.packages import proof
from tasks.packages.packaging import Origin, SavedPackage, make_package, score_rows
from tasks.packages.rehearsal import rehearse
from tests.fixtures.texts import CANDIDATES, components, reviews, text_case
from usecases.definition import Candidate, UseCase

TEXTS = [
    "좋아요, 최고! \U0001f642",
    'a "bad"\nphone\r\ncase; <b>',
    "délicieux",
    "unheard-of",
    "",
    None,
]
STARS = [1.5, -2.0, 0.0, 0.25, 0.5, 1.0]


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    return validate(text_case(), "2024-01", reviews()).good


def packed(
    folder: Path, rows: pl.DataFrame, case: UseCase | None = None, name: str = "logistic"
) -> SavedPackage:
    case = case or text_case()
    candidate = case.candidate(name)
    origin = Origin(name, {}, "2024-01-abc", {"2024-01": "a1"}, {"roc_auc": 0.9})
    fitted = fit(case, candidate, dict(candidate.params), rows, 7)
    return make_package(folder, case, fitted, origin, rows, rows, 7, watched=False)


@pytest.fixture(scope="module")
def package(rows: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> SavedPackage:
    return packed(tmp_path_factory.mktemp("package"), rows)


@pytest.fixture(scope="module")
def champion(package: SavedPackage) -> Champion:
    return Champion.crown("texts", "3", package.sha256, load(package.folder, package.sha256))


SVD = Candidate(name="components", build=components)


@pytest.mark.parametrize("candidate", [*CANDIDATES, SVD], ids=lambda candidate: candidate.name)
def test_each_kind_of_model_is_proven_and_answers_as_its_pipeline(
    candidate: Candidate, rows: pl.DataFrame, tmp_path: Path
) -> None:
    case = text_case(candidate)
    saved = packed(tmp_path, rows, case, candidate.name)
    assert saved.manifest.parity.rows > len(rows)
    assert served_files(saved.manifest) == ("model.onnx", "smoke.json", VOCABULARIES)
    fitted = fit(case, candidate, dict(candidate.params), rows, 7)
    answers = score_rows(load(tmp_path, saved.sha256), rows)
    np.testing.assert_allclose(answers, predict_rows(fitted, case, rows), atol=1e-5)


def test_a_rehearsal_knows_the_width(rows: pl.DataFrame) -> None:
    case = text_case()
    assert rehearse(case, case.candidate("boosting"), {}, rows, 7)


def test_pieces_answer_as_the_whole(
    package: SavedPackage, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, whole = text_case(), load(package.folder, package.sha256)
    fitted = fit(case, case.candidate("logistic"), {"review__min_df": 2}, rows, 7)
    small = load(package.folder, package.sha256)
    small.rows_at_once = 7
    np.testing.assert_allclose(score_rows(small, rows), score_rows(whole, rows), atol=1e-7)
    assert proof.prove(case, fitted, small, rows, 7).rows == len(rows) + 500
    champion = Champion.crown("texts", "3", package.sha256, small)
    requests = [
        (text, stars, shop, None)
        for text, stars, shop in rows.select("review", "stars", "shop").head(30).iter_rows()
    ]
    requests = [(shop, stars, text, at) for text, stars, shop, at in requests]
    scored = predict(champion, requests, PredictionIds(), Package.score)
    np.testing.assert_allclose(scored.values[0], score_rows(whole, rows.head(30)), atol=1e-7)
    assert scored.matrix.shape == (30, 2)  # the log needs the narrow places
    monkeypatch.setattr(proof, "_MOST_CELLS", 50 * whole.width)
    assert proof.prove(case, fitted, small, rows, 7).rows == 50 + 500


def table() -> dict[str, list[Any]]:
    return {"review": TEXTS, "stars": STARS, "shop": ["north"] * len(TEXTS)}


def arrow(kind: pa.DataType) -> bytes:
    columns = table()
    arrays = {
        "review": pa.array(columns["review"]).cast(kind),
        **{name: pa.array(columns[name]) for name in ("stars", "shop")},
    }
    stream, made = io.BytesIO(), pa.table(arrays)
    with pa.ipc.new_stream(stream, made.schema) as writer:
        writer.write_table(made)
    return stream.getvalue()


def as_csv() -> bytes:
    return pl.DataFrame(table()).write_csv(quote_style="non_numeric").encode()


def as_rows() -> list[dict[str, Any]]:
    return pl.DataFrame(table()).to_dicts()


BODIES: dict[str, Callable[[], tuple[str, bytes]]] = {
    "rows": lambda: (JSON, json.dumps({"rows": as_rows()}).encode()),
    "columns": lambda: (JSON, json.dumps({"columns": table()}, ensure_ascii=False).encode()),
    "csv": lambda: (CSV, as_csv()),
    "arrow": lambda: (ARROW, arrow(pa.string())),
    "large arrow": lambda: (ARROW, arrow(pa.large_string())),
    "dictionary": lambda: (ARROW, arrow(pa.dictionary(pa.int8(), pa.string()))),
}


@pytest.mark.parametrize("form", BODIES)
def test_each_form_of_a_body_is_read_letter_by_letter(champion: Champion, form: str) -> None:
    kind, body = BODIES[form]()
    read = [row[2] for row in read_rows(champion.reader, kind, body, 10).rows]
    # CSV has no word for null: an empty cell of a nullable field is one.
    assert [text or None for text in read] == [text or None for text in TEXTS]


def test_mlflow_s_protocol_and_tensors_are_read(champion: Champion) -> None:
    body = json.dumps({"dataframe_records": as_rows()}).encode()
    assert [row[2] for row in read_invocation(champion.reader, body, 10).rows] == TEXTS
    texts = TEXTS[:5]
    raw = [text.encode() for text in texts if text is not None]
    tail = b"".join(len(text).to_bytes(4, "little") + text for text in raw)
    inputs = [
        {"name": "shop", "shape": [5], "datatype": "BYTES", "data": ["north"] * 5},
        {"name": "stars", "shape": [5], "datatype": "FP64", "data": STARS[:5]},
        {
            "name": "review",
            "shape": [5],
            "datatype": "BYTES",
            "parameters": {"binary_data_size": len(tail)},
        },
    ]
    head = read_inference(json.dumps({"inputs": inputs}).encode(), champion.form.tensors)
    read = read_tensors(columns_of(champion.reader), head, memoryview(tail), 10)
    # A tensor has no word for null: an empty text of a nullable field is one.
    assert [row[2] for row in read.rows] == [text or None for text in texts]


@pytest.mark.parametrize("form", ["rows", "columns", "csv", "arrow", "mlflow"])
def test_a_text_of_ten_megabytes_is_refused_by_row_and_field(champion: Champion, form: str) -> None:
    columns = {"review": ["ok", "좋" * 3_500_000], "stars": [1.0, 2.0], "shop": ["a", "b"]}
    frame = pl.DataFrame(columns)
    bodies = {
        "rows": lambda: (JSON, json.dumps({"rows": frame.to_dicts()}, ensure_ascii=False).encode()),
        "columns": lambda: (JSON, json.dumps({"columns": columns}).encode()),
        "csv": lambda: (CSV, frame.write_csv().encode()),
        "arrow": lambda: (ARROW, arrow_of(frame)),
        "mlflow": lambda: ("", json.dumps({"dataframe_records": frame.to_dicts()}).encode()),
    }
    kind, body = bodies[form]()
    with pytest.raises(InputError, match="of length <= 100000") as refusal:
        if kind:
            read_rows(champion.reader, kind, body, 10)
        else:
            read_invocation(champion.reader, body, 10)
    assert (refusal.value.row, refusal.value.field) == (1, "review")
    assert len(str(refusal.value)) < 300


def arrow_of(frame: pl.DataFrame) -> bytes:
    stream, made = io.BytesIO(), frame.to_arrow()
    with pa.ipc.new_stream(stream, made.schema) as writer:
        writer.write_table(made)
    return stream.getvalue()


def test_a_text_of_the_length_that_is_allowed_is_answered(champion: Champion) -> None:
    request = ("north", 1.0, "좋아요 " * 25_000, None)
    scored = predict(champion, [request], PredictionIds(), Package.score)
    assert 0 < scored.values[0][0] < 1


def test_batches_are_validated() -> None:
    case = text_case(longest=20)
    long = (
        pl.when(pl.col("id") == 3).then(pl.lit("좋" * 21)).otherwise(pl.col("review").str.head(20))
    )
    checked = validate(case, "2024-01", reviews().with_columns(long.alias("review")))
    assert checked.quarantined["id"].to_list() == [3]
    assert checked.quarantined["quarantine_reason"].to_list() == [
        "review: longer than 20 characters"
    ]
    with pytest.raises(BatchRefused, match="'review' holds Int64, expected a text"):
        validate(case, "2024-01", reviews().with_columns(review=pl.lit(3, dtype=pl.Int64)))
    assert case.columns[0].refuses("x" * 21) == (
        "'review' may have 20 characters, and this text has 21"
    )


def test_openapi_and_explanations_speak_of_texts(champion: Champion) -> None:
    schema = row_schema(champion)["properties"]["review"]
    assert schema == {"type": ["string", "null"], "maxLength": 100_000}
    good = explain(champion, ("north", 0.0, "love wonderful 좋아요 최고", None))
    parts = {item.field: item.contribution for item in good.contributions}
    assert parts["review"] > 0.2 > abs(parts["stars"])


@pytest.mark.parametrize("by_column", [False, True])
@pytest.mark.parametrize("left_out", [False, True])
def test_texts_come_to_the_lake_unless_they_are_left_out(
    rows: pl.DataFrame, package: SavedPackage, tmp_path: Path, by_column: bool, left_out: bool
) -> None:
    if left_out:
        package = packed(tmp_path / "package", rows, text_case(leave_out=("review",)))
        assert not {"great", "좋아요"} & set(str(package.manifest).split())
        assert "좋아요" not in (package.folder / "smoke.json").read_text()
    champion = Champion.crown("texts", "3", package.sha256, load(package.folder, package.sha256))
    values = [
        ("north", stars, text, datetime(2024, 6, 1))
        for text, stars in zip(TEXTS, STARS, strict=True)
    ]
    scored = predict(champion, values, PredictionIds(), Package.score)
    names = [*champion.package.names, "at"]
    request = champion.log_request(
        msgspec.json.encode({"rows": [dict(zip(names, row, strict=True)) for row in values]})
    )
    assert request is not None
    line = (
        column_line(scored, values)
        if by_column
        else line_of(request, answer_json(scored), len(values))
    )
    path = tmp_path / "a-000001.jsonl"
    header = champion.column_header if by_column else champion.log_header
    path.write_bytes(header + b"\n" + line)
    (file,) = convert(path).files.values()
    kept = pq.read_table(pa.BufferReader(file))
    assert ("review" in kept.column_names) != left_out
    if not left_out:
        assert kept["review"].type == pa.string() and kept["review"].to_pylist() == TEXTS


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda path: path.unlink(), "incomplete.*vocabularies.json"),
        (lambda path: path.write_bytes(path.read_bytes() + b" "), "vocabularies.json was changed"),
    ],
)
def test_a_package_without_its_vocabularies_is_refused(
    package: SavedPackage, tmp_path: Path, change: Callable[[Path], object], problem: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(package.folder, folder)
    change(folder / VOCABULARIES)
    with pytest.raises(PackageError, match=problem):
        load(folder, package.sha256)
