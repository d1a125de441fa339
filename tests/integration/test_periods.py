"""A use case by days and one by ISO weeks through the whole loop: trained, crowned, served, logged,
judged by the week, and retrained when its world has changed. On the real stack, in the order of the
file."""

import io
from dataclasses import dataclass

import polars as pl
import pytest
from usecases._toy_spans import SpanSource, span_rows

from blocks.registry import ModelVersion
from flows.drift_check import drift_check
from flows.ingest import ingest
from flows.retrain import retrain
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.definition import load, period_named

pytestmark = pytest.mark.nightly(
    "two use cases through the loop; test_every_period.py proves the decisions"
)
AT_ONCE = 280


@dataclass(frozen=True)
class Told:
    """A use case, what its first champion learns and is judged on, and two windows."""

    use_case: str
    through: str
    learned: tuple[str, str, int]
    holdout: str
    quiet: str
    changed: str
    enough: str


DAILY = Told(
    "toy_daily",
    "2024-03-17",
    ("2024-02-17", "2024-03-17", 30),
    "2024-03-08..2024-03-17",
    *("2024-W13", "2024-W14"),
    "2024-04-21",
)
WEEKLY = Told(
    "toy_weekly",
    "2021-W06",
    ("2020-W49", "2021-W06", 11),
    "2021-W05 + 2021-W06",
    *("2021-W08", "2021-W09"),
    "2021-W11",
)


@pytest.fixture(scope="module", params=[DAILY, WEEKLY], ids=["daily", "weekly"])
def told(request: pytest.FixtureRequest) -> Told:
    return request.param


@pytest.fixture(scope="module")
def champion(loop: Loop, told: Told) -> ModelVersion:
    with loop.no_retrain_on_drift(told.use_case):
        outcome = loop.run(retrain, told.use_case, through=told.through)
    assert outcome.name == "Completed", outcome.message
    version: ModelVersion = outcome.result
    wait_until(
        lambda: loop.served(told.use_case) == version.number, "the service serves the champion"
    )
    return version


def log(loop: Loop, told: Told, window: str) -> int:
    """Have the window's rows answered, and wait for them in the lake. Returns how many."""
    case, span, before = load(told.use_case), period_named(window), in_lake(loop, told)
    assert isinstance(case.source, SpanSource)
    rows = span_rows(span.start, span.end, case.source.rows_an_hour, case.source.change)
    inputs = rows.select(*case.column_names, pl.col("at").dt.to_string("iso:strict"))
    for part in inputs.iter_slices(AT_ONCE):
        answer = loop.service.post(f"/v1/{told.use_case}/predict", json={"rows": part.to_dicts()})
        assert answer.status_code == 200, answer.text
    wait_until(lambda: in_lake(loop, told) == before + len(rows), "the rows are in the lake")
    return len(rows)


def in_lake(loop: Loop, told: Told) -> int:
    return sum(
        len(pl.read_parquet(io.BytesIO(loop.lake.read(path)), columns=["id"]))
        for path in loop.lake.list(f"predictions/{told.use_case}")
    )


def test_the_champion_learned_the_periods_that_it_should_and_says_so(
    loop: Loop, told: Told, champion: ModelVersion
) -> None:
    first, last, count = told.learned
    manifest = read_manifest(loop.registry, champion)
    trained = sorted(manifest.trained_on, key=period_named)
    assert (trained[0], trained[-1], len(trained)) == (first, last, count)
    assert (manifest.trained_through, manifest.holdout) == (told.through, told.holdout)
    assert manifest.drift_calibrated
    (decision,) = loop.decisions(told.use_case, "contest")
    assert (decision["verdict"], decision["holdout"]) == ("promote", told.holdout)
    files = [
        path.rpartition("/")[2] for path in loop.lake.list(f"datasets/{told.use_case}/periods")
    ]
    assert any(file.startswith(f"{told.through}-") for file in files)


def test_ingesting_once_more_writes_nothing(loop: Loop, told: Told, champion: ModelVersion) -> None:
    before = loop.lake.list(f"datasets/{told.use_case}")
    loop.run(ingest, told.use_case, through=told.through)
    assert loop.lake.list(f"datasets/{told.use_case}") == before


def test_a_quiet_week_is_stable_and_found_without_being_named(
    loop: Loop, told: Told, champion: ModelVersion
) -> None:
    rows = log(loop, told, told.quiet)
    checked = loop.run(drift_check, told.use_case).result
    assert (checked.verdict.window, checked.verdict.rows) == (told.quiet, rows)
    assert checked.verdict.outcome == "stable", checked.verdict.reasons


def test_a_changed_week_drifts_and_the_retrain_goes_through_it(
    loop: Loop, told: Told, champion: ModelVersion
) -> None:
    log(loop, told, told.changed)
    with loop.no_retrain_on_drift(told.use_case):
        outcome = loop.run(drift_check, told.use_case, window=told.changed)
    assert outcome.result.verdict.outcome == "drifted", outcome.result.verdict.reasons
    assert any(told.changed in text for text in outcome.told)
    # As the automation does: through the window, whatever the source has of it.
    again = loop.run(retrain, told.use_case, through=told.changed, by_hand=False, reason="drift")
    assert again.name in ("Nothing to do", "Below the gate", "Skipped"), again.message
    later = loop.run(retrain, told.use_case, through=told.enough)
    assert later.name == "Completed", later.message
    assert loop.crowned(told.use_case) == later.result.number
