"""All sides know every kind of column. A new kind, registered once on each side, works all the way
from its definition to its drift.
"""

import io
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types
import pytest
from pydantic import ValidationError
from usecases.toy import toy_rows

from serving.champions.champion import Champion
from serving.edge.openapi import row_schema
from serving.errors import PackageError
from serving.formats.bodies import ARROW, CSV, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.tensors import read_inference, read_tensors
from serving.log.segments import Column as LoggedColumn
from serving.log.segments import Unreadable, line_of, read_header
from serving.package import kinds as serving_kinds
from serving.package.manifest import MANIFEST, Feature, read_manifest
from serving.package.model import Package, load
from serving.routes.inference_protocol import describe_model
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import PredictionIds, answer_json, predict
from serving.upload.parquet import convert
from tasks.contest.leaks import strongest_column
from tasks.data import kinds as task_kinds
from tasks.data.validation import BatchRefused, validate
from tasks.drift.checks.broken import find_broken
from tasks.drift.checks.distances import distance
from tasks.drift.evidently_report import run_evidently
from tasks.log.columns import Intake
from tasks.log.facts import Tally
from tasks.models.modelling import encoder, fit, inputs
from tasks.packages.packaging import Origin, make_package
from tests.fixtures.packages import write_package
from usecases.definition import Column, UseCase
from usecases.definition import kinds as defined_kinds
from usecases.definition import load as load_use_case

TABLES = (defined_kinds.KINDS, task_kinds.KINDS, serving_kinds.KINDS)
MEMBER = [True, False, None]


def test_each_table_has_each_kind_in_the_order_of_the_matrix() -> None:
    assert [list(table) for table in TABLES] == [list(defined_kinds.KINDS)] * 3
    assert list(defined_kinds.KINDS)[:2] == ["category", "number"]


def test_a_column_of_an_unknown_kind_is_refused_when_it_is_defined() -> None:
    with pytest.raises(ValidationError, match="Input should be 'category' or 'number'"):
        Column(name="photo", kind="image")


def test_a_package_with_an_unknown_kind_is_refused_by_feature(tmp_path: Path) -> None:
    write_package(tmp_path)
    manifest = (tmp_path / MANIFEST).read_bytes()
    spoiled = manifest.replace(b'"kind": "number"', b'"kind": "image"', 1)
    with pytest.raises(
        PackageError,
        match=r"package.json cannot be read: 'distance' is of kind 'image', but this code knows "
        r"only category and number",
    ):
        read_manifest(spoiled)
    with pytest.raises(ValueError, match="'photo' is of kind 'image'"):
        Feature("photo", "image", nullable=True)


def test_a_log_with_an_unknown_kind_is_unreadable_and_no_text(tmp_path: Path) -> None:
    header = {"kind": "predictions", "use_case": "toy", "columns": [{"name": "a", "kind": "image"}]}
    (tmp_path / "a.jsonl").write_bytes(msgspec.json.encode(header) + b"\n")
    with pytest.raises(Unreadable, match="'a' is of kind 'image'"):
        read_header(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="'a' is of kind 'image'"):
        LoggedColumn("a", "image")


@pytest.fixture(scope="module")
def boolean() -> Iterator[None]:
    """Register a third kind, true or false, in each of the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            defined_kinds.KINDS,
            "boolean",
            defined_kinds.Kind(
                plural="booleans",
                declares=frozenset(),
                layout="numbers",
                distances=("jensenshannon", "psi"),
                addable=False,
                holds=lambda value: isinstance(value, bool),
                refuses=lambda column, value: None,
            ),
        )
        patch.setitem(
            task_kinds.KINDS,
            "boolean",
            task_kinds.Kind(
                dtype=pl.Boolean,
                holds=lambda dtype: dtype == pl.Boolean,
                normalize=pl.col,
                row_faults=lambda values: {},
                pandas_dtype=float,
                encoder=lambda columns: "passthrough",
                known_values=lambda encoder, column: None,
                unknown_values=(),
                stand_in=lambda values: False,
                log_type="truth value",
                counted=True,
                groups=lambda values: task_kinds.group_values(values.cast(pl.Int8)),
                evidently="categorical",
                shares=task_kinds.count_values,
                find_oddities=lambda policy, column, before, now, rows: [],
            ),
        )
        patch.setitem(
            serving_kinds.KINDS,
            "boolean",
            serving_kinds.Kind(
                value_type=lambda low, high, dtype: bool,
                json_type="boolean",
                coded=False,
                packed=False,
                parse=lambda text: {"true": True, "false": False}.get(text, text),
                datatype="BOOL",
                datatypes={"BOOL": np.dtype("?")},
                arrow="booleans",
                fits_arrow=pyarrow.types.is_boolean,
                log_type=bool,
                lake_type="bool",
            ),
        )
        yield


@pytest.fixture(scope="module")
def case(boolean: None) -> UseCase:
    toy = load_use_case("toy")
    member = Column(name="member", kind="boolean", nullable=True, null_tolerance=0.5)
    return toy.model_copy(update={"columns": (member, *toy.columns)})


def rows_of(period: str) -> pl.DataFrame:
    """Winners are more often members."""
    rows = toy_rows(period, rows_a_day=10)
    at = pl.int_range(pl.len())
    return rows.with_columns(
        member=pl.when(at % 5 == 0).then(None).otherwise((pl.col("won") == 1) | (at % 3 == 0))
    )


@pytest.fixture(scope="module")
def training(case: UseCase) -> pl.DataFrame:
    return validate(case, "2024-01", rows_of("2024-01")).good


@pytest.fixture(scope="module")
def champion(
    case: UseCase, training: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> Champion:
    """Its package is proven: it encodes and scores as the pipeline does."""
    folder = tmp_path_factory.mktemp("package")
    origin = Origin("logistic", {}, "2024-01-abc", {"2024-01": "a1"}, {"roc_auc": 0.87})
    fitted = fit(case, case.candidate("logistic"), {}, training, 7)
    package = make_package(folder, case, fitted, origin, training, training, 7, watched=False)
    return Champion.crown("toy", "3", package.sha256, load(folder, package.sha256))


def test_a_third_kind_is_defined_with_the_words_of_its_own(case: UseCase) -> None:
    assert case.columns[0].refuses(True) is None
    assert case.columns[0].refuses("yes") == "'member' is a boolean, but 'yes' is not"
    with pytest.raises(ValueError, match="'member' is a boolean, but low are for numbers"):
        Column(name="member", kind="boolean", low=0)
    policy = case.drift.model_copy(update={"methods": {"boolean": "wasserstein"}})
    assert policy.problems(case.columns) == [
        "drift.methods gives 'member' wasserstein, which needs numbers, but it is a boolean"
    ]


def test_the_order_of_the_matrix_is_the_table_s_and_not_the_alphabet_s(
    case: UseCase, training: pl.DataFrame
) -> None:
    names = [column.name for column in case.matrix_columns]
    assert names == ["group", "first", "second", "steady", "member"]
    assert (case.layout.categories, case.layout.numbers) == ((0,), (1, 2, 3, 4))
    matrix = encoder(case).fit_transform(inputs(case, training))
    expected = training["member"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    np.testing.assert_array_equal(np.asarray(matrix, dtype=float)[:, 4], expected)


def test_a_batch_is_validated_by_the_kind(case: UseCase, training: pl.DataFrame) -> None:
    assert training.schema["member"] == pl.Boolean
    with pytest.raises(BatchRefused, match="column 'member' holds Int32, expected a boolean"):
        validate(case, "2024-01", rows_of("2024-01").with_columns(member=pl.lit(1)))


def bodies() -> dict[str, bytes]:
    columns: dict[str, list[Any]] = {
        "group": ["a", "b", "c"],
        "first": [1.5, 2.5, 3.5],
        "second": [0.5, None, 1.0],
        "steady": [5.0, 5.0, 5.0],
        "member": MEMBER,
    }
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    table = pa.table(columns)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    text = "group,first,second,steady,member\na,{},0.5,5,true\nb,2.5,,5,false\nc,3.5,1,5,\n"
    return {
        f"{JSON} rows": msgspec.json.encode({"rows": rows}),
        f"{JSON} columns": msgspec.json.encode({"columns": columns}),
        CSV: text.format("1.5").encode(),
        f"{CSV} as Python writes numbers": text.format("+1.5").encode(),
        ARROW: stream.getvalue(),
    }


WANTED = [
    ("a", 1.5, 0.5, 5.0, True, None),
    ("b", 2.5, None, 5.0, False, None),
    ("c", 3.5, 1.0, 5.0, None, None),
]


@pytest.mark.parametrize("form", bodies())
def test_each_form_of_a_body_is_read(champion: Champion, form: str) -> None:
    assert read_rows(champion.reader, form.split()[0], bodies()[form], 10).rows == WANTED


@pytest.mark.parametrize("binary", [False, True])
def test_tensors_are_read_and_described(champion: Champion, binary: bool) -> None:
    values: dict[str, tuple[str, list[Any]]] = {
        "group": ("BYTES", ["a", "b"]),
        "first": ("FP64", [1.5, 2.5]),
        "steady": ("FP64", [5.0, 5.0]),
        "member": ("BOOL", [True, False]),
    }
    tensors = [
        {"name": name, "shape": [2], "datatype": datatype, "data": data}
        for name, (datatype, data) in values.items()
    ]
    tail = b""
    if binary:
        tail = np.array([True, False]).tobytes()
        del tensors[-1]["data"]
        tensors[-1]["parameters"] = {"binary_data_size": len(tail)}
    head = msgspec.json.encode({"inputs": tensors})
    request = read_tensors(
        columns_of(champion.reader),
        read_inference(head, champion.form.tensors),
        memoryview(tail),
        10,
    )
    assert [row[4] for row in request.rows] == [True, False]
    (member,) = [
        column for column in describe_model(champion, "toy")["inputs"] if column["name"] == "member"
    ]
    assert member["datatype"] == "BOOL"


def test_openapi_names_the_type(champion: Champion) -> None:
    assert row_schema(champion)["properties"]["member"] == {"type": ["boolean", "null"]}


@pytest.mark.parametrize("by_column", [False, True])
def test_values_come_to_the_lake_and_out_of_it(
    case: UseCase, champion: Champion, tmp_path: Path, by_column: bool
) -> None:
    rows = [(*row[:-1], datetime(2024, 6, 1, 12)) for row in WANTED]
    scored = predict(champion, rows, PredictionIds(), Package.score)
    header = champion.column_header if by_column else champion.log_header
    names = [*champion.package.names, "at"]
    request = msgspec.json.encode({"rows": [dict(zip(names, row, strict=True)) for row in rows]})
    line = (
        column_line(scored, rows) if by_column else line_of(request, answer_json(scored), len(rows))
    )
    path = tmp_path / "a-000001.jsonl"
    path.write_bytes(header + b"\n" + line)
    (file,) = convert(path).files.values()
    table = pq.read_table(pa.BufferReader(file))
    assert table["member"].type == pa.bool_()
    intake, tally = Intake(case, None), Tally(case, None)
    for batch in table.to_batches():
        conformed, rates = intake.conform(batch)
        tally.add(conformed, rates)
    intake.choose("a", table.schema)
    assert intake.problems(1) == []
    facts = tally.facts()["member"]
    assert (facts.values, facts.nulls, facts.counts) == (2, 1, {True: 1, False: 1})


@pytest.mark.slow("calibrates drift")
def test_drift_and_leaks_are_measured(case: UseCase, training: pl.DataFrame) -> None:
    member, window = case.columns[0], training.with_columns(member=pl.col("member").not_())
    far = distance(member, training["member"], window["member"])
    assert far > 0.1 and distance(member, training["member"], training["member"]) == 0
    distances, _, _ = run_evidently([member], training, window, {"member": 0.1}, {})
    assert distances == {"member": pytest.approx(far)}
    assert find_broken(case, training, training) == []
    assert find_broken(case, training, training.with_columns(member=pl.lit("yes"))) == [
        "column 'member' arrives as String, but it is a boolean"
    ]
    assert strongest_column(case, training).column == "member"
