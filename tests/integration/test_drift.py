"""drift_check on the real stack: nothing, real drift, a broken batch, too little, and no predictions at all."""

import json
from typing import Any

import httpx
import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.registry import ModelVersion
from deployments.replay import Answers, Caller, replay
from flows.drift_check import drift_check
from flows.ingest import ingest
from flows.promote import promote
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.definition import load

CASE = "toy_drift"


@pytest.fixture(scope="module")
def champion(loop: Loop) -> ModelVersion:
    """Trained on January to March, so that its thresholds are calibrated."""
    loop.run(ingest, CASE, through="2024-03")
    loop.plant(CASE, "2024-03", ["2024-01", "2024-02"])
    return loop.run(promote, CASE).result


def events(loop: Loop) -> list[dict[str, Any]]:
    """The drift events of the use case, newest first, as the server keeps them."""
    wanted = {"event": {"name": ["laurel.drift.detected"]}, "resource": {"id": [f"laurel.use-case.{CASE}"]}}
    answer = httpx.post(f"{loop.settings.prefect_api_url}/events/filter", json={"filter": wanted})
    answer.raise_for_status()
    return answer.json()["events"]


def verdict(loop: Loop, window: str) -> dict[str, Any]:
    return json.loads(loop.lake.read(f"reports/{CASE}/{window}/verdict.json"))["verdict"]


def test_without_a_champion_there_is_nothing_to_hold_against(loop: Loop) -> None:
    outcome = loop.run(drift_check, "toy_hopeless")
    assert outcome.name == "Failed" and "No champion for 'toy_hopeless'. Train one:" in outcome.message


def test_without_predictions_it_says_so(loop: Loop, champion: ModelVersion) -> None:
    outcome = loop.run(drift_check, CASE)
    assert outcome.name == "Failed" and "The prediction log of 'toy_drift' is empty" in outcome.message
    assert len(outcome.told) == 1 and "flow drift_check failed" in outcome.told[0]


def test_month_that_is_like_the_reference_is_stable_and_nobody_is_told(loop: Loop, champion: ModelVersion) -> None:
    """Asked of the service, with labels that follow, as callers do it."""
    answers = Answers()
    rows = toy_rows("2024-04")
    assert replay(load(CASE), rows, Caller(loop.settings.serving_base_url, load(CASE), answers)) == len(rows)
    assert answers.failures == []
    waiting = lambda: loop.service.get(f"/v1/{CASE}").json()["log"]  # noqa: E731
    wait_until(lambda: waiting()["rows_uploaded"] == 2 * len(rows), "the prediction log is in the lake")
    outcome = loop.run(drift_check, CASE, window="2024-04")
    checked = outcome.result
    assert (checked.verdict.outcome, checked.verdict.share, checked.verdict.rows) == ("stable", 0, len(rows))
    assert checked.verdict.calibrated and checked.label_coverage == 1
    assert 0.8 < checked.scores["roc_auc"] < 1
    assert outcome.told == [] and events(loop) == []
    assert verdict(loop, "2024-04")["outcome"] == "stable"


def test_world_that_changed_is_drift_with_a_report_and_an_event(loop: Loop, champion: ModelVersion) -> None:
    loop.plant_predictions(CASE, "2024-06", toy_rows("2024-06"), labelled=True)
    outcome = loop.run(drift_check, CASE, window="2024-06")
    checked = outcome.result
    assert (checked.verdict.outcome, checked.verdict.share) == ("drifted", 0.5)
    assert set(checked.verdict.drifted_columns) == {"first", "group"}
    page = loop.lake.read(checked.report_path).decode()
    assert checked.report_path == f"reports/{CASE}/2024-06/champion-{champion.number}.html"
    assert "<html" in page and len(page) > 100_000
    link = loop.artifact("toy-drift-drift-report")
    assert checked.report_url in link
    assert {row["column"]: row["drifted"] for row in loop.artifact("toy-drift-drift")} == {
        "first": True,
        "group": True,
        "second": False,
        "steady": False,
    }
    wait_until(lambda: len(events(loop)) == 1, "the event is with the server")
    assert events(loop)[0]["payload"] == {
        "use_case": CASE,
        "window": "2024-06",
        "share": 0.5,
        "columns": checked.verdict.drifted_columns,
        "champion": champion.number,
        "report": checked.report_url,
    }
    assert outcome.told[0].startswith(f"{CASE}: the data drifted in 2024-06, 50 % of the columns") and checked.report_url in outcome.told[0]


def test_report_can_be_read_in_mlflow(loop: Loop, champion: ModelVersion) -> None:
    """The link leads to the page of a run; the page loads the artifact from this address."""
    run = loop.registry.runs(f"{CASE}-drift", {"laurel.window": "2024-06"})[0]
    assert run.id in loop.artifact("toy-drift-drift-report")
    asked = {"path": "drift_report.html", "run_uuid": run.id}
    answer = httpx.get(f"{loop.settings.mlflow_tracking_uri}/get-artifact", params=asked)
    assert answer.status_code == 200 and answer.content == loop.lake.read(f"reports/{CASE}/2024-06/champion-{champion.number}.html")
    assert run.metrics["distance.first"] > 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ({"second": None}, "column 'second' is 100.0% null, tolerated 5.0%"),
        ({"group": pl.lit("a")}, "column 'group' is constant ('a')"),
        ({"steady": pl.col("steady") * 10}, "column 'steady' has median "),
        ({"group": pl.col("group") + "!"}, "column 'group' has 100.0% categories that the reference has not"),
    ],
    ids=["nulls", "constant", "unit", "categories"],
)
def test_broken_batch_alerts_and_is_no_drift(loop: Loop, champion: ModelVersion, spoil: dict[str, Any], said: str) -> None:
    before = len(events(loop))
    loop.plant_predictions(CASE, "2024-07", toy_rows("2024-06").with_columns(**spoil))
    outcome = loop.run(drift_check, CASE, window="2024-07")
    assert outcome.state.is_completed() and outcome.result.verdict.outcome == "broken"
    assert any(reason.startswith(said) for reason in outcome.result.verdict.reasons)
    assert outcome.result.report_path is None and loop.lake.list(f"reports/{CASE}/2024-07") == [f"reports/{CASE}/2024-07/verdict.json"]
    assert len(outcome.told) == 1 and "the data are broken, so nothing is retrained" in outcome.told[0] and said in outcome.told[0]
    assert len(events(loop)) == before


def test_few_predictions_are_inconclusive_and_the_latest_month_is_the_default(loop: Loop, champion: ModelVersion) -> None:
    before = len(events(loop))
    loop.plant_predictions(CASE, "2024-08", toy_rows("2024-08").head(499))
    outcome = loop.run(drift_check, CASE)
    assert outcome.result.verdict.outcome == "inconclusive" and outcome.result.verdict.window == "2024-08"
    assert "499 predictions in the window, at least 500 are needed" in outcome.result.verdict.reasons
    assert len(outcome.told) == 1 and "no verdict on drift in 2024-08" in outcome.told[0]
    assert len(events(loop)) == before


def test_window_without_predictions_names_those_that_there_are(loop: Loop, champion: ModelVersion) -> None:
    loop.plant_predictions(CASE, "2024-08", toy_rows("2024-08"))
    outcome = loop.run(drift_check, CASE, window="2023-01")
    assert outcome.name == "Failed" and "has no predictions of 2023-01; it has" in outcome.message and "2024-08" in outcome.message
