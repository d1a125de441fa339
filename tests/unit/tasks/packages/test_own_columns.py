"""A champion of a former schema is scored with its own columns, or the missing ones are named."""

import io
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from usecases.toy import ToySource, toy_rows

from blocks.lake import Lake
from serving.package.manifest import Feature, Manifest
from tasks.packages.own_columns import OtherColumns, as_champion, own_rows
from tests.fixtures.packages import write_package
from usecases.definition import Column, SourceError, UseCase

MONTH = "2024-03"
FEATURES = [
    Feature("group", "category", nullable=False, categories=["a", "b", "c"]),
    Feature("first", "number", nullable=False),
    Feature("second", "number", nullable=True),
    Feature("steady", "number", nullable=False),
]


class Gone(ToySource):
    """A source that no longer has its former column."""

    def read(self, period: str) -> pl.DataFrame:
        raise SourceError(f"{period} was deleted.")


class Renamed(ToySource):
    def read(self, period: str) -> pl.DataFrame:
        return toy_rows(period).rename({"steady": "steadiness"}).reverse()


class Both(ToySource):
    """The old column beside the new one, in another order of rows and with another type of key."""

    def read(self, period: str) -> pl.DataFrame:
        return (
            toy_rows(period)
            .reverse()
            .with_columns(pl.col("id").cast(pl.Int32), steadiness="steady")
        )


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    write_package(tmp_path / "package", features=None)
    read = msgspec.json.decode((tmp_path / "package" / "package.json").read_bytes(), type=Manifest)
    return msgspec.structs.replace(read, features=FEATURES)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path / 'lake'}")


def keep(lake: Lake, rows: pl.DataFrame, name: str = "older") -> None:
    """Write a file of the month as an earlier schema left it."""
    data = io.BytesIO()
    rows.write_parquet(data)
    lake.write(f"datasets/toy/periods/{MONTH}-{name}.parquet", data.getvalue())


def without_steady(case: UseCase, source: Any = None) -> UseCase:
    columns = tuple(column for column in case.columns if column.name != "steady")
    return case.model_copy(update={"columns": columns, "source": source or Renamed()})


def test_rows_that_have_the_columns_are_left_alone(
    case: UseCase, lake: Lake, manifest: Manifest
) -> None:
    rows = toy_rows(MONTH)
    assert own_rows(lake, case, manifest, rows, MONTH) is rows


@pytest.mark.parametrize("source", [ToySource(), Both()])
def test_dropped_column_comes_from_a_source_that_still_gives_it(
    case: UseCase, lake: Lake, manifest: Manifest, source: Any
) -> None:
    rows = toy_rows(MONTH).sample(fraction=0.5, seed=1, shuffle=True)
    completed = own_rows(lake, without_steady(case, source), manifest, rows.drop("steady"), MONTH)
    assert (
        completed["id"].to_list() == rows["id"].to_list()
        and completed["steady"].to_list() == rows["steady"].to_list()
    )


@pytest.mark.parametrize("source", [Renamed(), Gone()])
def test_dropped_column_comes_from_an_older_file_of_the_lake(
    case: UseCase, lake: Lake, manifest: Manifest, source: Any
) -> None:
    rows = toy_rows(MONTH)
    keep(lake, rows.drop("steady"), "newest")
    keep(lake, rows.head(100), "half")
    keep(lake, rows.reverse())
    completed = own_rows(lake, without_steady(case, source), manifest, rows.drop("steady"), MONTH)
    assert completed["steady"].to_list() == rows["steady"].to_list()


def test_keys_that_an_older_file_has_rounded_join_nothing(
    case: UseCase, lake: Lake, manifest: Manifest
) -> None:
    """The columns of another row would be taken for its own."""
    rows = toy_rows(MONTH).with_columns(id=pl.col("id") + 11_111_111_111_111_111)
    keep(lake, rows.with_columns(pl.col("id").cast(pl.Float64)), "rounded")
    with pytest.raises(OtherColumns, match="'steady'"):
        own_rows(lake, without_steady(case, Gone()), manifest, rows.drop("steady"), MONTH)
    keep(lake, rows.reverse())
    completed = own_rows(lake, without_steady(case, Gone()), manifest, rows.drop("steady"), MONTH)
    assert completed["steady"].to_list() == rows["steady"].to_list()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"steady": None}, "'steady' (a number) is missing"),
        ({"steady": pl.lit("high")}, "'steady' is a category now and was a number"),
        ({"group": pl.lit(3.0)}, "'group' is a number now and was a category"),
        (
            {"group": pl.col("group").str.to_uppercase()},
            "'group' has none of the values that the model knows, such as 'a'",
        ),
        (
            {"first": pl.when(pl.col("id") % 2 == 0).then("first")},
            "'first' is null in 840 rows, and was never null",
        ),
    ],
    ids=["gone", "number to category", "category to number", "categories written anew", "nulls"],
)
def test_what_is_not_its_own_column_is_named(
    case: UseCase, lake: Lake, manifest: Manifest, change: dict[str, pl.Expr | None], reason: str
) -> None:
    changed = {name: value for name, value in change.items() if value is not None}
    rows = (
        toy_rows(MONTH)
        .with_columns(**changed)
        .drop([name for name, value in change.items() if value is None])
    )
    with pytest.raises(OtherColumns, match="do not have its columns") as caught:
        own_rows(lake, case.model_copy(update={"source": Gone()}), manifest, rows, MONTH)
    assert reason in str(caught.value)


def test_a_new_category_and_a_column_that_was_added_are_no_other_schema(
    case: UseCase, lake: Lake, manifest: Manifest
) -> None:
    """The champion scores them as it would serve them."""
    new = pl.when(pl.col("id") % 3 == 0).then(pl.lit("d")).otherwise("group").alias("group")
    rows = toy_rows(MONTH).with_columns(new, added=pl.lit(1.0))
    assert own_rows(lake, case.model_copy(update={"source": Gone()}), manifest, rows, MONTH) is rows


def test_rows_that_another_file_has_only_in_part_are_not_enough(
    case: UseCase, lake: Lake, manifest: Manifest
) -> None:
    keep(lake, toy_rows(MONTH).head(1000))
    with pytest.raises(OtherColumns, match="'steady'"):
        own_rows(lake, without_steady(case), manifest, toy_rows(MONTH).drop("steady"), MONTH)


def test_the_champion_s_log_is_judged_by_the_champion_s_columns(
    case: UseCase, manifest: Manifest
) -> None:
    columns = tuple(column for column in case.columns if column.name != "steady")
    changed = case.model_copy(update={"columns": (*columns, Column(name="added", kind="number"))})
    champion_case = as_champion(changed, manifest)
    assert champion_case.column_names == ["group", "first", "second", "steady"]
    assert champion_case.columns[1] == case.columns[0] and (
        champion_case.columns[3].typical,
        champion_case.columns[3].null_tolerance,
    ) == (None, 1.0)


def test_each_month_of_a_hold_out_is_completed_by_itself(
    case: UseCase, lake: Lake, manifest: Manifest
) -> None:
    """March lies in the lake as an earlier schema left it, April has the column."""
    keep(lake, toy_rows(MONTH))
    march, april = toy_rows(MONTH), toy_rows("2024-04")
    hidden = pl.concat([march.with_columns(steady=pl.lit(None, pl.Float64)), april])
    completed = own_rows(lake, without_steady(case, Gone()), manifest, hidden, f"{MONTH} + 2024-04")
    assert completed["id"].to_list() == hidden["id"].to_list()
    assert completed["steady"].to_list() == [*march["steady"], *april["steady"]]
    with pytest.raises(OtherColumns, match="the rows of 2024-04, the source and the older files"):
        own_rows(
            lake,
            without_steady(case, Gone()),
            manifest,
            hidden.drop("steady"),
            f"{MONTH} + 2024-04",
        )
