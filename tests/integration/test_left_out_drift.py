"""drift_check of a use case whose prediction log leaves a column out, on the real stack."""

import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelVersion
from flows.drift_check import drift_check
from flows.ingest import ingest
from tests.integration.planting import Loop

pytestmark = pytest.mark.nightly("a month of answers without a column")

CASE = "toy_private"


@pytest.fixture(scope="module")
def champion(loop: Loop) -> ModelVersion:
    loop.run(ingest, CASE, through="2024-03")
    version = loop.plant(CASE, "2024-03", ["2024-01", "2024-02"], watched=True)
    loop.registry.set_alias(version, CHAMPION)
    return version


def plant(loop: Loop, window: str, name: str, rows: pl.DataFrame, *absent: str) -> None:
    score = 1 / (1 + (-pl.col("first") * pl.col("second").fill_null(0)).exp())
    logged = rows.select(
        pl.int_range(pl.len()).cast(pl.String).alias("id"),
        pl.col("at").alias("event_time"),
        "first",
        "second",
        "steady",
        score=score,
    )
    loop._write(f"predictions/{CASE}/date={window}-01/{name}.parquet", logged.drop(absent))


def test_a_month_without_the_column_is_judged_by_the_others(
    loop: Loop, champion: ModelVersion
) -> None:
    plant(loop, "2024-04", "a", toy_rows("2024-04"))
    verdict = loop.run(drift_check, CASE, window="2024-04").result.verdict
    assert (verdict.outcome, set(verdict.distances)) == (
        "stable",
        {"first", "second", "steady", "score"},
    )


def test_a_column_that_a_part_of_the_month_s_champions_did_not_log_is_not_judged(
    loop: Loop, champion: ModelVersion
) -> None:
    rows = toy_rows("2024-05")
    plant(loop, "2024-05", "a", rows.head(len(rows) // 2))
    plant(loop, "2024-05", "b", rows.tail(len(rows) // 2), "steady")
    verdict = loop.run(drift_check, CASE, window="2024-05").result.verdict
    assert verdict.outcome != "broken" and set(verdict.distances) == {"first", "second", "score"}


def test_a_column_that_is_missing_from_all_of_the_month_is_broken(
    loop: Loop, champion: ModelVersion
) -> None:
    plant(loop, "2024-06", "a", toy_rows("2024-06"), "steady")
    verdict = loop.run(drift_check, CASE, window="2024-06").result.verdict
    assert (verdict.outcome, verdict.reasons) == ("broken", ["column 'steady' is missing"])
