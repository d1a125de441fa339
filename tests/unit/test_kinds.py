"""All sides know every kind of column. Booleans and dates work all the way from their definition to
their drift.
"""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from usecases.toy import toy_rows

from serving.champions.champion import Champion
from serving.edge.openapi import row_schema
from serving.errors import InputError, PackageError
from serving.formats.bodies import ARROW, CSV, JSON, read_rows
from serving.formats.columns import columns_of
from serving.formats.mlflow.rows import read_json as read_of_mlflow
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
from tasks.data.traits import by_traits
from tasks.data.validation import BatchRefused, validate
from tasks.drift.checks.broken import find_broken
from tasks.drift.checks.distances import distance
from tasks.drift.evidently_report import run_evidently
from tasks.drift.thresholds import draw_reference
from tasks.log.columns import Intake
from tasks.log.facts import Tally
from tasks.models.modelling import encoder, fit, inputs
from tasks.packages.packaging import Origin, make_package
from tasks.packages.rehearsal import rehearse
from tests.fixtures.packages import write_package
from usecases.definition import Column, UseCase
from usecases.definition import kinds as defined_kinds
from usecases.definition import load as load_use_case

TABLES = (defined_kinds.KINDS, task_kinds.KINDS, serving_kinds.KINDS)
MEMBER = [True, False, None]
JOINED = [datetime(2024, 3, 31, 2, 30), datetime(2024, 1, 31), None]


def test_each_table_has_each_kind_in_the_order_of_the_matrix() -> None:
    assert [list(table) for table in TABLES] == [list(defined_kinds.KINDS)] * 3
    assert list(defined_kinds.KINDS)[:2] == ["category", "number"]


def test_a_column_of_an_unknown_kind_is_refused_when_it_is_defined() -> None:
    kinds = " or ".join(map(repr, defined_kinds.KINDS))
    with pytest.raises(ValidationError, match=f"Input should be {kinds}"):
        Column(name="sound", kind="sound")


def test_a_package_with_an_unknown_kind_is_refused_by_feature(tmp_path: Path) -> None:
    write_package(tmp_path)
    manifest = (tmp_path / MANIFEST).read_bytes()
    spoiled = manifest.replace(b'"kind": "number"', b'"kind": "sound"', 1)
    with pytest.raises(
        PackageError,
        match=r"package.json cannot be read: 'distance' is of kind 'sound', but this code knows "
        rf"only {', '.join(defined_kinds.KINDS)}",
    ):
        read_manifest(spoiled)
    with pytest.raises(ValueError, match="'song' is of kind 'sound'"):
        Feature("song", "sound", nullable=True)


def test_a_log_with_an_unknown_kind_is_unreadable_and_no_text(tmp_path: Path) -> None:
    header = {"kind": "predictions", "use_case": "toy", "columns": [{"name": "a", "kind": "sound"}]}
    (tmp_path / "a.jsonl").write_bytes(msgspec.json.encode(header) + b"\n")
    with pytest.raises(Unreadable, match="'a' is of kind 'sound'"):
        read_header(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="'a' is of kind 'sound'"):
        LoggedColumn("a", "sound")


@pytest.fixture(scope="module")
def case() -> UseCase:
    toy = load_use_case("toy")
    member = Column(name="member", kind="boolean", nullable=True, null_tolerance=0.5)
    joined = Column(
        name="joined",
        kind="datetime",
        parts=("weekday", "hour", "year_cycle"),
        nullable=True,
        null_tolerance=0.5,
        earliest=datetime(1900, 1, 1),
    )
    return toy.model_copy(update={"columns": (joined, member, *toy.columns)})


def rows_of(period: str) -> pl.DataFrame:
    """Winners are more often members, and joined in the evening."""
    rows = toy_rows(period, rows_a_day=10)
    at = pl.int_range(pl.len())
    return rows.with_columns(
        member=pl.when(at % 5 == 0).then(None).otherwise((pl.col("won") == 1) | (at % 3 == 0)),
        joined=pl.when(at % 7 == 0)
        .then(None)
        .otherwise(pl.datetime(2023, 1, 1, 9) + pl.duration(hours=at * 24 + 9 * pl.col("won"))),
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


def test_columns_are_defined_with_the_words_of_their_kind(case: UseCase) -> None:
    joined, member = case.columns[:2]
    assert member.refuses(True) is None and joined.refuses(datetime(2024, 1, 31)) is None
    assert member.refuses("yes") == "'member' is a boolean, but 'yes' is not"
    assert member.refuses(1.0) == "'member' is a boolean, but 1.0 is not"
    assert joined.refuses("2024") == "'joined' is a datetime, but '2024' is not"
    assert "must be 1900-01-01" in str(joined.refuses(datetime(1899, 12, 31)))
    assert "has a zone" in str(joined.refuses(datetime(2024, 1, 1, tzinfo=UTC)))
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
    assert names == ["group", "first", "second", "steady", "member", "joined"]
    assert (case.layout.categories, case.layout.numbers) == ((0,), tuple(range(1, 9)))
    matrix = np.asarray(encoder(case).fit_transform(inputs(case, training)), dtype=float)
    joined = training["joined"].dt
    hour = joined.hour() + joined.minute() / 60
    for place, values in ((4, training["member"]), (5, joined.weekday() - 1), (6, hour)):
        expected = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
        np.testing.assert_array_equal(matrix[:, place], expected)
    circle = matrix[:, 7] ** 2 + matrix[:, 8] ** 2
    np.testing.assert_allclose(circle[joined.year().is_not_null().to_numpy()], 1)


def test_candidates_are_rehearsed_on_all_places_of_the_matrix(
    case: UseCase, training: pl.DataFrame
) -> None:
    assert rehearse(case, case.candidate("logistic"), {}, training, 7)


def test_a_batch_is_validated_by_the_kind(case: UseCase, training: pl.DataFrame) -> None:
    assert training.schema["member"] == pl.Boolean
    assert training.schema["joined"] == pl.Datetime("us")
    rows = rows_of("2024-01")
    as_mariadb = rows.with_columns(pl.col("member").cast(pl.Int8), pl.col("joined").cast(pl.String))
    assert validate(case, "2024-01", as_mariadb).good.equals(training)
    as_pandas = rows.with_columns(
        pl.col("member").cast(pl.Float64).fill_null(np.nan),
        pl.col("joined").dt.cast_time_unit("ns"),
    )
    assert validate(case, "2024-01", as_pandas).good.equals(training)
    early = rows.with_columns(
        joined=pl.when(pl.int_range(pl.len()) == 3).then(datetime(1899, 1, 1)).otherwise("joined")
    )
    assert validate(case, "2024-01", early).reasons == {"joined: before 1900-01-01 00:00:00": 1}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (pl.lit(2).alias("member"), "'member' has numbers other than 1 and 0, such as 2"),
        (pl.lit("yes").alias("member"), "'member' holds String, expected a boolean"),
        (pl.lit(20240131).alias("joined"), "'joined' holds Int32, expected a datetime"),
        (pl.lit("31.01.2024").alias("joined"), "'joined' has texts that are no dates, such as '31"),
        (pl.lit("2024-02-30").alias("joined"), "'joined' has texts that are no dates"),
        (pl.lit("2024-01-31T10:00+01:00").alias("joined"), "'joined' has times with a zone"),
        (
            pl.col("joined").dt.replace_time_zone("UTC"),
            "'joined' holds .*UTC.*convert_time_zone.*replace_time_zone",
        ),
    ],
)
def test_a_batch_of_other_values_is_refused(case: UseCase, broken: pl.Expr, message: str) -> None:
    with pytest.raises(BatchRefused, match=message):
        validate(case, "2024-01", rows_of("2024-01").with_columns(broken))


WANTED = [
    ("a", 1.5, 0.5, 5.0, True, JOINED[0], None),
    ("b", 2.5, None, 5.0, False, JOINED[1], None),
    ("c", 3.5, 1.0, 5.0, None, None, None),
]
# pandas writes milliseconds, and 1.0 for a true beside nulls.
WANTED_OF_MLFLOW = [
    ("a", 1.5, 0.5, 5.0, 1.0, 1711852200000),
    ("b", 2.5, None, 5.0, 0, "2024-01-31T00:00:00.000"),
    ("c", 3.5, 1.0, 5.0, None, None),
]


def bodies() -> dict[str, bytes]:
    columns: dict[str, list[Any]] = {
        "group": ["a", "b", "c"],
        "first": [1.5, 2.5, 3.5],
        "second": [0.5, None, 1.0],
        "steady": [5.0, 5.0, 5.0],
        "member": MEMBER,
        "joined": JOINED,
    }
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    table = pa.table(columns)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    as_pandas = {**columns, "joined": [1711852200000, 1706659200000, None]}
    text = (
        "group,first,second,steady,member,joined\n"
        "a,{},0.5,5,{},2024-03-31 02:30\nb,2.5,,5,{},2024-01-31\nc,3.5,1,5,,\n"
    )
    return {
        f"{JSON} rows": msgspec.json.encode({"rows": rows}),
        f"{JSON} columns": msgspec.json.encode({"columns": columns}),
        CSV: text.format("1.5", "true", "false").encode(),
        f"{CSV} as Python writes them": text.format("+1.5", "True", "False").encode(),
        f"{CSV} as PostgreSQL writes them": text.format("1.5", "t", "f").encode(),
        f"{CSV} as MariaDB writes them": text.format("1.5", "1", "0").encode(),
        f"{CSV} as R writes them": text.format("1.5", "TRUE", "FALSE").encode(),
        ARROW: stream.getvalue(),
        "mlflow": msgspec.json.encode({"inputs": as_pandas}),
        "mlflow records": msgspec.json.encode(
            {
                "dataframe_records": [
                    dict(zip(as_pandas, row, strict=True)) for row in WANTED_OF_MLFLOW
                ]
            }
        ),
    }


@pytest.mark.parametrize("form", bodies())
def test_each_form_of_a_body_is_read(champion: Champion, form: str) -> None:
    kind, body = form.split()[0], bodies()[form]
    if kind == "mlflow":
        assert read_of_mlflow(champion.reader, body, 10).rows == WANTED
    else:
        assert read_rows(champion.reader, kind, body, 10).rows == WANTED


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("member", 1, "Row 0, field 'member': expected true or false, got 1."),
        ("member", "true", "Row 0, field 'member': expected true or false, got 'true'."),
        ("joined", "2024-01-31T10:00:00Z", "without a zone or an offset"),
        ("joined", "2024-01-31T10:00:00+09:00", "without a zone or an offset"),
        ("joined", [2024, 1, 31, 10, 0], "expected a local date or date and time"),
        ("joined", 1711852200000, "expected a local date or date and time"),
        ("joined", "2016-12-31T23:59:60", "second must be in 0..59"),
        ("joined", "2024-02-30", "day is out of range for month, got '2024-02-30'"),
        ("joined", "2024-W05-3", "expected a local date or date and time"),
        ("joined", "20240131", "expected a local date or date and time"),
        ("joined", "1899-12-31", "expected 1900-01-01T00:00:00 or later, got '1899-12-31'"),
        ("joined", "2024-01-31\n", "expected a local date or date and time"),
        ("joined", "٢٠٢٤-٠١-٣١", "expected a local date or date and time"),
    ],
)
@pytest.mark.parametrize("by_column", [False, True])
def test_a_wrong_value_is_refused_by_row_and_field(
    champion: Champion, field: str, value: object, message: str, by_column: bool
) -> None:
    row = {"group": "a", "first": 1.5, "steady": 5.0, field: value}
    body = (
        {"columns": {name: [cell] for name, cell in row.items()}} if by_column else {"rows": [row]}
    )
    with pytest.raises(InputError) as refused:
        read_rows(champion.reader, JSON, msgspec.json.encode(body), 10)
    assert (refused.value.row, refused.value.field) == (0, field)
    assert str(refused.value).startswith(f"Row 0, field {field!r}: ") and message in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31", datetime(2024, 1, 31)),
        ("2024-01-31T15:00", datetime(2024, 1, 31, 15)),  # Java's LocalDateTime, and the page's
        ("2024-01-31T15:00:00.1234567", datetime(2024, 1, 31, 15, 0, 0, 123456)),  # .NET's DateTime
        ("9999-12-31T23:59:59", datetime(9999, 12, 31, 23, 59, 59)),
        ("1900-01-01", datetime(1900, 1, 1)),
    ],
)
def test_forms_of_a_date_in_json(champion: Champion, text: str, moment: datetime) -> None:
    body = {"rows": [{"group": "a", "first": 1.5, "steady": 5.0, "joined": text}]}
    assert read_rows(champion.reader, JSON, msgspec.json.encode(body), 10).rows[0][5] == moment


@pytest.mark.parametrize("binary", [False, True])
def test_tensors_are_read_and_described(champion: Champion, binary: bool) -> None:
    values: dict[str, tuple[str, list[Any]]] = {
        "group": ("BYTES", ["a", "b"]),
        "first": ("FP64", [1.5, 2.5]),
        "steady": ("FP64", [5.0, 5.0]),
        "joined": ("BYTES", ["2024-01-31", "2024-03-31T02:30:00"]),
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
    assert [row[4:6] for row in request.rows] == [(True, JOINED[1]), (False, JOINED[0])]
    datatypes = {
        column["name"]: column["datatype"] for column in describe_model(champion, "toy")["inputs"]
    }
    assert (datatypes["member"], datatypes["joined"]) == ("BOOL", "BYTES")


def test_openapi_names_the_type(champion: Champion) -> None:
    properties = row_schema(champion)["properties"]
    assert properties["member"] == {"type": ["boolean", "null"]}
    joined = properties["joined"]
    assert joined["type"] == ["string", "null"] and re.match(joined["pattern"], "2024-01-31")
    assert "without a zone" in joined["description"] and "from 1900-01-01" in joined["description"]


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
    assert table["member"].type == pa.bool_() and table["joined"].to_pylist() == JOINED
    intake, tally = Intake(case, None), Tally(case, None)
    for batch in table.select(intake.choose("a", table.schema)).to_batches():
        conformed, rates, _ = intake.conform(batch)
        tally.add(conformed, rates)
    assert intake.problems(1) == []
    facts = tally.facts()["member"]
    assert (facts.values, facts.nulls, facts.counts) == (2, 1, {True: 1, False: 1})
    joined = tally.facts()["joined"]
    assert (joined.minimum, joined.maximum) == (JOINED[1], JOINED[0])


def test_each_form_of_a_date_is_one_timestamp_in_the_lake(
    champion: Champion, tmp_path: Path
) -> None:
    """A request's row is logged as it came: pyarrow knows no seven digits, and msgspec no dates."""
    texts = ["2024-01-31", "2024-03-31T02:30", "2024-01-31T00:00:00.1234567", None]
    rows = [{"group": "a", "first": 1.5, "steady": 5.0, "joined": text} for text in texts]
    request = msgspec.json.encode({"rows": rows})
    read = read_rows(champion.reader, JSON, request, 10).rows
    scored = predict(champion, read, PredictionIds(), Package.score)
    path = tmp_path / "a-000001.jsonl"
    line = line_of(request, answer_json(scored), len(rows))
    path.write_bytes(champion.log_header + b"\n" + line)
    converted = convert(path)
    (file,) = converted.files.values()
    logged = pq.read_table(pa.BufferReader(file))["joined"].to_pylist()
    assert logged == [JOINED[1], JOINED[0], datetime(2024, 1, 31, 0, 0, 0, 123456), None]


@pytest.mark.parametrize(
    ("arrow_type", "refused"),
    [
        (pa.date32(), ""),
        (pa.date64(), ""),
        (pa.timestamp("s"), ""),
        (pa.timestamp("ns"), ""),
        (pa.string(), ""),
        (pa.timestamp("us", tz="UTC"), "must be timestamps without a zone, dates or texts"),
        (pa.int64(), "must be timestamps without a zone, dates or texts"),
    ],
)
def test_arrow_types_of_dates(champion: Champion, arrow_type: pa.DataType, refused: str) -> None:
    days = pa.array([datetime(2024, 1, 31).date(), None])
    if pa.types.is_int64(arrow_type):
        days = days.cast(pa.int32())
    elif pa.types.is_timestamp(arrow_type) and arrow_type.tz:
        days = days.cast(pa.timestamp("us"))
    joined = days.cast(arrow_type)
    table = pa.table(
        {"group": ["a"] * 2, "first": [1.5] * 2, "steady": [5.0] * 2, "joined": joined}
    )
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    if refused:
        with pytest.raises(InputError, match=refused):
            read_rows(champion.reader, ARROW, stream.getvalue(), 10)
        return
    rows = read_rows(champion.reader, ARROW, stream.getvalue(), 10).rows
    assert [row[5] for row in rows] == [JOINED[1], None]


def test_dates_are_watched_by_their_weekday_and_their_hour(
    case: UseCase, training: pl.DataFrame
) -> None:
    """A date always moves forward: its level says nothing of drift."""

    def far(change: pl.Expr) -> dict[str, float]:
        watched, before = by_traits(case, training)
        _, now = by_traits(case, training.with_columns(change))
        columns = {column.name: column for column in watched.columns}
        return {
            name: distance(
                columns[f"joined.{name}"], before[f"joined.{name}"], now[f"joined.{name}"]
            )
            for name in ("weekday", "hour")
        }

    joined = pl.col("joined")
    assert far(joined + pl.duration(weeks=300)) == {"weekday": 0, "hour": 0}
    later = far(joined.dt.truncate("1d") + pl.duration(hours=3))
    assert later["weekday"] == 0 and later["hour"] > 0.5
    assert far(joined.dt.truncate("1w") + pl.duration(hours=joined.dt.hour()))["weekday"] > 0.5
    assert "joined" not in draw_reference(case, training, 7).columns


@pytest.mark.slow("calibrates drift")
def test_drift_and_leaks_are_measured(case: UseCase, training: pl.DataFrame) -> None:
    member, window = case.columns[1], training.with_columns(member=pl.col("member").not_())
    far = distance(member, training["member"], window["member"])
    assert far > 0.1 and distance(member, training["member"], training["member"]) == 0
    distances, _, _ = run_evidently([member], training, window, {"member": 0.1}, {})
    assert distances == {"member": pytest.approx(far)}
    assert find_broken(case, training, training) == []
    assert find_broken(case, training, training.with_columns(member=pl.lit("yes"))) == [
        "column 'member' arrives as String, but it is of kind boolean"
    ]
    assert strongest_column(case, training).column == "member"
