"""The use case's columns change while a champion of the former schema serves. On the real stack, in
the order of the file.
"""

from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
import usecases.toy_schema
from usecases.toy import ToySource, toy_rows

from blocks.clients.registry import CHALLENGER
from blocks.registry import ModelVersion
from flows.compare import compare
from flows.drift_check import drift_check
from flows.ingest import ingest
from flows.promote import promote
from flows.train import train
from tests.integration.planting import Loop, Outcome
from usecases.definition import Binary, Candidate, UseCase, load

CASE = "toy_schema"
TO_MARCH = ["2024-01", "2024-02", "2024-03"]


class NarrowSource(ToySource):
    """Without ``steady``, as if it had never been there."""

    def read(self, period: str) -> pl.DataFrame:
        return toy_rows(period).drop("steady")


@pytest.fixture(scope="module")
def champion(loop: Loop) -> Iterator[ModelVersion]:
    """Made of four columns; April was ingested with them."""
    with loop.first_champion(CASE, through="2024-04") as version:
        yield version


@pytest.fixture
def narrow(champion: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> UseCase:
    """The use case lost ``steady``, and so did its source."""
    case = load(CASE)
    columns = tuple(column for column in case.columns if column.name != "steady")
    changed = case.model_copy(update={"columns": columns, "source": NarrowSource()})
    monkeypatch.setattr(usecases.toy_schema, "USE_CASE", changed)
    return changed


def contest(loop: Loop, holdout: str, **planted: Any) -> tuple[Outcome, dict[str, Any]]:
    loop.plant(CASE, holdout, TO_MARCH, **planted)
    outcome = loop.run(promote, CASE)
    assert loop.registry.at(CASE, CHALLENGER) is None, "the challenger wants the crown no more"
    return outcome, loop.decisions(CASE, "contest")[-1]


def test_champion_is_scored_with_the_column_that_an_older_file_of_the_lake_has(
    loop: Loop, champion: ModelVersion, narrow: UseCase
) -> None:
    loop.run(ingest, CASE, through="2024-04")
    outcome, entry = contest(loop, "2024-04", flipped=True)
    assert (outcome.name, entry["verdict"]) == ("Champion stays", "keep")
    assert entry["contest"]["main"]["champion"] > 0.8 > 0.5 > entry["contest"]["main"]["challenger"]


def test_champion_that_cannot_be_scored_makes_the_contest_unfair_and_the_way_is_named(
    loop: Loop, champion: ModelVersion, narrow: UseCase
) -> None:
    loop.run(ingest, CASE, through="2024-05")
    outcome, entry = contest(loop, "2024-05")
    assert (outcome.name, entry["verdict"], entry["contest"]) == ("Champion stays", "unfair", None)
    assert (
        f"champion {champion.number} cannot be scored" in entry["reasons"][0]
        and "'steady' (a number) is missing" in entry["reasons"][0]
    )
    for told in (outcome.message, outcome.told[0], loop.artifact("toy-schema-contest")):
        assert (
            "'steady'" in told
            and "docs/renaming.md" in told
            and "laurel run adopt toy_schema" in told
        )
    compared = loop.run(
        compare, CASE, window="2024-05", champion=champion.number, challenger=entry["challenger"]
    )
    assert (
        compared.name == "Failed"
        and f"version {champion.number} cannot be scored on 2024-05" in compared.message
    )


def test_a_recipe_that_the_use_case_does_not_have_any_more_does_not_stop_training(
    loop: Loop, champion: ModelVersion, narrow: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tuple(
        Candidate(name=one.name, build=one.build)
        for one in narrow.candidates
        if one.name == "logistic"
    )
    monkeypatch.setattr(
        usecases.toy_schema, "USE_CASE", narrow.model_copy(update={"candidates": kept})
    )
    trained = loop.run(train, CASE)
    assert trained.name == "Completed" and [
        one.recipe.candidate for one in trained.result.fitted
    ] == ["logistic"]


def test_champion_of_another_label_answers_another_question(
    loop: Loop, champion: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Victory(ToySource):
        def read(self, period: str) -> pl.DataFrame:
            return toy_rows(period).rename({"won": "victory"})

    monkeypatch.setattr(
        usecases.toy_schema,
        "USE_CASE",
        load(CASE).model_copy(update={"target": Binary(label="victory"), "source": Victory()}),
    )
    loop.run(ingest, CASE, through="2024-05")
    outcome, entry = contest(loop, "2024-04")
    assert (outcome.name, entry["verdict"]) == ("Champion stays", "unfair")
    assert "it predicts 'won', and the use case asks for 'victory'" in outcome.message


def test_drift_of_a_champion_of_the_former_schema_is_judged_by_its_own_columns(
    loop: Loop, champion: ModelVersion, narrow: UseCase
) -> None:
    rows = toy_rows("2024-04")
    logged = rows.select(
        pl.col("id").cast(pl.String),
        pl.col("at").alias("event_time"),
        *("first", "second", "steady", "group"),
        pl.col("won").cast(pl.Float64).alias("score"),
    )
    loop._write(f"predictions/{CASE}/date=2024-04-01/planted.parquet", logged)
    outcome = loop.run(drift_check, CASE, window="2024-04")
    verdict = outcome.result.verdict
    assert set(verdict.distances) >= {"first", "second", "steady", "group"} and verdict.outcome in (
        "stable",
        "drifted",
    )
    assert outcome.message.startswith(
        f"{CASE} 2024-04: {verdict.outcome}, on 1,680 predictions of version {champion.number}."
    )
