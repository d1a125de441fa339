"""A batch of rows, scored into a Parquet file."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from blocks.registry import RegistryError
from serving.errors import PackageError
from serving.formats.outputs import AnswerForm
from serving.formats.rows import RowReader
from serving.package.model import load
from serving.scoring.predictions import PredictionIds, predict
from tasks.scores import inputs
from tasks.scores.batch import find_version
from tasks.scores.parquet_output import ParquetOutput
from tasks.scores.request import Request, ScoreError
from tests.fixtures.packages import (
    OUTPUTS,
    PackageKind,
    classes_kind,
    model,
    value_kind,
    write_package,
)
from tests.fixtures.six_kinds import FEATURES as SIX
from tests.fixtures.six_kinds import NAMES, png, write_six_kinds
from tests.unit.tasks.scores.conftest import World, parcels
from usecases.definition import SourceError

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
ROWS = 137


def parcel_rows(count: int = ROWS) -> pl.DataFrame:
    """Rows with nulls and categories that the package does not know."""
    return pl.DataFrame(
        {
            "parcel": [f"p{row:05d}" for row in range(count)],
            "time_hour": [datetime(2026, 6, 1 + row % 28, row % 24) for row in range(count)],
            "carrier": [["AA", "UA", None, "??"][row % 4] for row in range(count)],
            "distance": [row * 31.7 % 5000 for row in range(count)],
            "wind": [None if row % 5 == 0 else row % 40 / 3 for row in range(count)],
        },
        schema_overrides={"carrier": pl.String, "wind": pl.Float64},
    )


def answers_of_service(package: Any, rows: pl.DataFrame, names: Sequence[str]) -> list[list[Any]]:
    """What the service answers to the same rows, sent as JSON."""
    reader = RowReader(package.manifest.features, "time_hour", package.manifest.dtype)
    texts = rows.select(names).to_dicts()
    body = json.dumps({"rows": texts}, default=lambda value: value.isoformat()).encode()
    champion: Any = SimpleNamespace(
        package=package, version="3", form=AnswerForm(package.manifest.outputs)
    )
    return list(
        predict(champion, reader.read(body), PredictionIds(), lambda own, at: own.score(at)).values
    )


def written(path: Any) -> pl.DataFrame:
    return pl.read_parquet(str(path).removeprefix("lake://"))


@pytest.mark.parametrize(
    "kind", [None, value_kind(), classes_kind()], ids=["yes", "value", "class"]
)
def test_answers_are_the_services_own_to_the_bit(
    world: World, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "CHUNK_ROWS", 50)
    write_package(world.registry.package, kind=kind)
    rows = parcel_rows()
    rows.write_parquet(world.folder / "june.parquet")
    outcome = world.score(world.folder / "june.parquet", to=str(world.folder / "out.parquet"))
    got = written(world.folder / "out.parquet")
    package = load(world.registry.package)
    names = [output.name for output in package.manifest.outputs]
    assert got.columns == ["row", "parcel", "time_hour", *names, "model_version", "scored_at"]
    assert [got[name].to_list() for name in names] == answers_of_service(
        package, rows, ["carrier", "distance", "wind"]
    )
    assert got["parcel"].to_list() == rows["parcel"].to_list()
    assert got["row"].to_list() == list(range(ROWS))
    assert (outcome.record.scored, outcome.record.refused) == (ROWS, 0)
    assert outcome.record.unknown == {"carrier": {"??": ROWS // 4}}


@pytest.mark.parametrize("outputs", ["binary", "classes", "interval", "quantiles"])
def test_wide_inputs_intervals_and_sets_are_answered_as_by_the_service(
    world: World, outputs: str
) -> None:
    write_six_kinds(world.registry.package, outputs)
    world.use(parcels(SIX, event_time="arrived", key=("parcel",)))
    rows = pl.DataFrame(
        {
            "parcel": list(range(60)),
            "carrier": ["AA", None, "new"] * 20,
            "distance": [float(row) for row in range(60)],
            "fragile": [True, False, None] * 20,
            "sent": [datetime(2013, 6, 1 + row % 28, 15) for row in range(60)],
            "note": ["A fragile gift", None, "깨짐"] * 20,
            "picture": [png(4, 4), png(9, 7), None] * 20,
        }
    )
    rows.write_parquet(world.folder / "six.parquet")
    world.score(world.folder / "six.parquet", to=str(world.folder / "out.parquet"))
    got = written(world.folder / "out.parquet")
    package = load(world.registry.package)
    sent = rows.with_columns(pl.col("picture").bin.encode("base64"))
    names = [output.name for output in package.manifest.outputs]
    assert [got[name].to_list() for name in names] == answers_of_service(package, sent, NAMES)


def test_rows_that_the_service_refuses_are_set_aside_in_its_words(world: World) -> None:
    write_package(world.registry.package)
    values = [100.0, None, -1.0, 5000.1, float("inf"), 5000.0, float("nan")]
    rows = parcel_rows(len(values)).with_columns(distance=pl.Series(values))
    rows.write_parquet(world.folder / "june.parquet")
    outcome = world.score(world.folder / "june.parquet", to=f"{world.folder}/out/")
    assert (outcome.record.scored, outcome.record.refused) == (2, 5)
    assert written(outcome.record.output)["row"].to_list() == [0, 5]
    refused = written(outcome.record.refused_output)
    assert refused["row"].to_list() == [1, 2, 3, 4, 6]
    assert refused["parcel"].to_list() == [f"p{row:05d}" for row in (1, 2, 3, 4, 6)]
    package = load(world.registry.package)
    reader = RowReader(package.manifest.features, "time_hour", package.manifest.dtype)
    for value, reason in zip([None, -1.0, 5000.1], refused["reason"], strict=False):
        body = json.dumps({"rows": [{"carrier": "AA", "distance": value, "wind": 1.0}]})
        with pytest.raises(Exception, match="distance") as told:
            reader.read(body.encode())
        assert str(told.value) == f"Row 0, f{reason[1:]}"
    assert sum(outcome.record.reasons.values()) == 5


def test_strict_ends_at_the_first_refused_row_and_writes_nothing(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows(3).with_columns(distance=pl.Series([1.0, -1.0, 2.0])).write_parquet(
        world.folder / "june.parquet"
    )
    with pytest.raises(ScoreError, match=r"row 1: Field 'distance': expected `float` >= 0.0"):
        world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet", strict=True)
    assert not list(world.folder.glob("out*"))
    world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet")
    with pytest.raises(ScoreError, match="1 of these rows were refused before: .*refused/out"):
        world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet", strict=True)


def test_pictures_that_cannot_be_read_are_refused_and_their_neighbours_scored(
    world: World,
) -> None:
    write_six_kinds(world.registry.package)
    world.use(parcels(SIX, event_time="arrived", key=("parcel",)))
    pictures = [png(), b"no picture", png(), b""]
    rows = pl.DataFrame(
        {
            "parcel": list(range(4)),
            "carrier": ["AA"] * 4,
            "distance": [1.0] * 4,
            "fragile": [True] * 4,
            "sent": [datetime(2013, 6, 1), datetime(2013, 6, 1), datetime(1999, 1, 1), None],
            "note": ["a", "b", "c", "x" * 1001],
            "picture": pictures,
        }
    )
    rows.write_parquet(world.folder / "six.parquet")
    outcome = world.score(world.folder / "six.parquet", to=f"{world.folder}/out.parquet")
    reasons = written(outcome.record.refused_output)["reason"].to_list()
    assert written(outcome.record.output)["parcel"].to_list() == [0]
    assert [reason.split(":")[0] for reason in reasons] == [
        "Field 'picture'",
        "Field 'sent'",
        "Field 'note'",
    ]


def test_texts_of_a_csv_are_read_as_those_of_training_and_bad_ones_refused(world: World) -> None:
    write_package(world.registry.package)
    (world.folder / "june.csv").write_text(
        "parcel;carrier;distance;wind;late\na;AA;1.234,5;3,5;ja\nb;UA;far;1,0;\nc;;7;;\n"
    )
    outcome = world.score(world.folder / "june.csv", to=f"{world.folder}/out.parquet")
    assert written(outcome.record.output)["parcel"].to_list() == ["a", "c"]
    assert written(outcome.record.refused_output)["reason"].to_list() == [
        "distance: no number, such as 'far'"
    ]
    assert outcome.record.extra == []


def test_a_rerun_writes_nothing_and_another_version_is_another_file(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows().write_parquet(world.folder / "june.parquet")
    first = world.score(world.folder / "june.parquet", at=AT)
    content = world.lake.read(first.record.output.removeprefix("lake://"))
    second = world.score(world.folder / "june.parquet")
    assert second.again and not first.again
    assert second.record == first.record
    assert world.lake.read(first.record.output.removeprefix("lake://")) == content
    write_package(world.registry.package, bias=1.0)
    other = world.score(world.folder / "june.parquet", at=AT)
    assert other.record.output != first.record.output
    assert len(world.lake.list("scores/parcels")) == 2


def test_the_same_rows_and_time_give_the_same_bytes(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows().write_parquet(world.folder / "june.parquet")
    contents = []
    for name in ("a", "b"):
        world.score(world.folder / "june.parquet", to=f"{world.folder}/{name}.parquet", at=AT)
        contents.append((world.folder / f"{name}.parquet").read_bytes())
    assert contents[0] == contents[1]


def test_a_file_that_is_there_stays_unless_it_is_to_be_overwritten(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows().write_parquet(world.folder / "june.parquet")
    target = world.folder / "out.parquet"
    target.write_text("mine")
    with pytest.raises(ScoreError, match="is no output of Laurel"):
        world.score(world.folder / "june.parquet", to=str(target))
    assert target.read_text() == "mine"
    world.score(world.folder / "june.parquet", to=str(target), overwrite=True)
    parcel_rows(5).write_parquet(world.folder / "july.parquet")
    with pytest.raises(ScoreError, match="holds version 3's scores of .*june.parquet"):
        world.score(world.folder / "july.parquet", to=str(target))
    assert len(written(target)) == ROWS


def test_refused_rows_of_an_overwritten_output_do_not_stay(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows(3).with_columns(distance=pl.lit(-1.0)).write_parquet(world.folder / "a.parquet")
    parcel_rows(3).write_parquet(world.folder / "b.parquet")
    target = f"{world.folder}/out.parquet"
    world.score(world.folder / "a.parquet", to=target)
    assert len(written(world.folder / "refused" / "out.parquet")) == 3
    world.score(world.folder / "b.parquet", to=target, overwrite=True)
    assert len(written(world.folder / "refused" / "out.parquet")) == 0


def test_no_rows_give_an_output_without_rows(world: World) -> None:
    write_package(world.registry.package)
    parcel_rows(0).write_parquet(world.folder / "none.parquet")
    (world.folder / "none.csv").write_text("parcel,carrier,distance,wind\n")
    for name in ("none.parquet", "none.csv"):
        outcome = world.score(world.folder / name, to=f"{world.folder}/of-{name}.parquet")
        assert (outcome.record.scored, outcome.record.refused) == (0, 0)
        assert {"parcel", "score", "decision", "scored_at"} <= {
            *written(outcome.record.output).columns
        }


def test_ten_rows_of_nulls_are_ten_refused_rows(world: World) -> None:
    write_package(world.registry.package)
    rows = parcel_rows(10).with_columns(
        pl.lit(None).cast(pl.Float64).alias("distance"),
        pl.lit(None).cast(pl.String).alias("carrier"),
    )
    rows.write_parquet(world.folder / "nulls.parquet")
    outcome = world.score(world.folder / "nulls.parquet")
    assert (outcome.record.scored, outcome.record.refused) == (0, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"distance": "distanze"}, r"lacks \['distance'\]; was 'distance' renamed to 'distanze'"),
        ({"parcel": "number"}, r"lacks \['parcel'\]"),
    ],
)
def test_a_missing_column_is_told_before_anything_is_written(
    world: World, change: dict[str, str], message: str
) -> None:
    write_package(world.registry.package)
    parcel_rows().rename(change).write_parquet(world.folder / "june.parquet")
    with pytest.raises(SourceError, match=message):
        world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet")
    assert not list(world.folder.glob("out*"))


def test_a_column_of_another_type_is_told(world: World) -> None:
    write_package(world.registry.package)
    rows = parcel_rows().with_columns(distance=pl.col("time_hour"))
    rows.write_parquet(world.folder / "june.parquet")
    with pytest.raises(SourceError, match="column 'distance' holds Datetime.*, expected a number"):
        world.score(world.folder / "june.parquet")


def test_other_columns_are_told_and_refused_if_strict(world: World) -> None:
    write_package(world.registry.package)
    rows = parcel_rows().with_columns(colour=pl.lit("red"), late=pl.lit(True))
    rows.write_parquet(world.folder / "june.parquet")
    assert world.score(world.folder / "june.parquet").record.extra == ["colour"]
    with pytest.raises(ScoreError, match="neither inputs nor kept: colour"):
        world.score(world.folder / "june.parquet", strict=True)


def test_columns_to_keep_stand_in_place_of_the_key(world: World) -> None:
    write_package(world.registry.package)
    rows = parcel_rows().drop("parcel").with_columns(city=pl.lit("Köln"), score=pl.lit(1))
    rows.write_parquet(world.folder / "june.parquet")
    target = f"{world.folder}/out.parquet"
    world.score(world.folder / "june.parquet", to=target, keep=("city",))
    assert written(target).columns[:2] == ["row", "city"]
    with pytest.raises(ScoreError, match=r"columns named \['score'\] themselves"):
        world.score(world.folder / "june.parquet", to=target, keep=("score",))


def test_files_of_a_folder_are_scored_in_their_order(world: World) -> None:
    write_package(world.registry.package)
    rows = parcel_rows()
    (world.folder / "days").mkdir()
    for at in range(0, ROWS, 40):
        rows[at : at + 40].write_parquet(world.folder / "days" / f"{at:03d}.parquet")
    outcome = world.score(world.folder / "days", to=f"{world.folder}/out.parquet")
    assert written(outcome.record.output)["parcel"].to_list() == rows["parcel"].to_list()
    assert world.score(world.folder / "days" / "*.parquet", to=f"{world.folder}/out.parquet").again


def test_a_model_without_a_finite_number_ends_the_run(world: World) -> None:
    kind = PackageKind(OUTPUTS, model(0.0, last="Log"), [-0.6931472, 0.4054651], 0.5)
    write_package(
        world.registry.package,
        kind=kind,
        smoke_rows=[
            {"carrier": "UA", "distance": 0.0, "wind": None},
            {"carrier": "UA", "distance": 1000.0, "wind": None},
        ],
    )
    parcel_rows(3).write_parquet(world.folder / "june.parquet")
    with pytest.raises(PackageError, match="gives no finite number for row 0"):
        world.score(world.folder / "june.parquet", to=f"{world.folder}/out.parquet")
    assert not list(world.folder.glob("out*"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "No rows are named"),
        ({"rows": "a.csv", "period": "2026-06"}, "leave one out"),
        ({"rows": "a.csv", "query": "SELECT 1"}, "not the URL of one"),
        ({"rows": "sqlite:///x"}, "without rows"),
        ({"rows": "a.csv", "to": "sqlite:///x"}, "name their table"),
        ({"rows": "a.csv", "to_table": "scores"}, "without its database"),
        ({"table": "a; drop table b"}, "no name of a table"),
    ],
)
def test_a_request_that_contradicts_itself_is_told(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ScoreError, match=message):
        Request(use_case="parcels", **fields).check()


@pytest.mark.parametrize("to", ["out.csv", "a*.parquet"])
def test_a_place_that_is_no_parquet_file_is_told(to: str) -> None:
    with pytest.raises(ScoreError, match="ends with .parquet"):
        ParquetOutput(to, "name.parquet")


def test_an_unknown_version_is_told_with_the_known_ones(world: World) -> None:
    write_package(world.registry.package)
    world.registry.versions = lambda use_case: [world.registry.version(n) for n in ("10", "9")]
    with pytest.raises(RegistryError, match="has no version 11; it has 9, 10"):
        find_version(world.lake, world.registry, "parcels", "11")
    assert find_version(world.lake, world.registry, "parcels", "9").number == "9"
