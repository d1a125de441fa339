"""drift_check on the real stack: nothing, real drift, a broken batch and its quarantine, too
little, and no predictions at all.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl
import pytest
from prefect.client.orchestration import get_client
from usecases.toy import toy_rows

from blocks.registry import ModelVersion
from deployments.apply.automations import tell_silence
from deployments.demo.replay import Answers, Caller, replay
from flows.drift_check import drift_check
from tasks.drift import quarantine
from tasks.drift.drivers import drifted_columns
from tasks.packages.packaging import score_rows
from tasks.packages.registered import open_package
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop
from usecases.definition import load

CASE = "toy_drift"
DEPLOYED = {CASE: ("drift_check", "retrain", "close_lost_run")}


@pytest.fixture(scope="module")
def champion(loop: Loop) -> Iterator[ModelVersion]:
    """Trained on January to March, so that its thresholds are calibrated."""
    with loop.first_champion(CASE, through="2024-03") as version:
        yield version


def plant(
    loop: Loop, champion: ModelVersion, window: str, rows: pl.DataFrame, **spoiled: Any
) -> None:
    """Rows into the prediction log of ``window``, with what the champion answers to them; then
    ``spoiled``.
    """
    with open_package(loop.registry, champion) as (package, _):
        scores = score_rows(package, rows)
    logged = rows.select(
        pl.int_range(pl.len()).cast(pl.String).alias("id"),
        event_time="at",
        first="first",
        second="second",
        steady="steady",
    )
    logged = logged.with_columns(
        rows["group"], score=pl.Series(scores, dtype=pl.Float64)
    ).with_columns(**spoiled)
    loop._write(f"predictions/{CASE}/date={window}-01/planted.parquet", logged)


def events(loop: Loop, name: str = "laurel.drift.detected") -> list[dict[str, Any]]:
    """The events of the use case, newest first, as the server keeps them."""
    wanted = {"event": {"name": [name]}, "resource": {"id": [f"laurel.use-case.{CASE}"]}}
    answer = httpx.post(f"{loop.settings.prefect_api_url}/events/filter", json={"filter": wanted})
    answer.raise_for_status()
    return answer.json()["events"]


def verdict(loop: Loop, window: str) -> dict[str, Any]:
    return json.loads(loop.lake.read(f"reports/{CASE}/{window}/verdict.json"))["verdict"]


def last_decision(loop: Loop) -> dict[str, Any]:
    return loop.decisions(CASE, "drift")[-1]


def test_without_a_champion_there_is_nothing_to_hold_against(loop: Loop) -> None:
    outcome = loop.run(drift_check, "toy_hopeless")
    assert (
        outcome.name == "Failed" and "No champion for 'toy_hopeless'. Train one:" in outcome.message
    )


def test_an_empty_log_is_told_and_recorded_as_silent(loop: Loop, champion: ModelVersion) -> None:
    outcome = loop.run(drift_check, CASE)
    assert outcome.state.is_completed() and outcome.result.verdict.outcome == "silent"
    assert len(outcome.told) == 1 and outcome.told[0].startswith(
        f"{CASE}: no predictions to check for drift"
    )
    found = last_decision(loop)
    assert (found["verdict"], found["champion"], found["run"]) == (
        "silent",
        champion.number,
        outcome.run_id,
    )
    assert found["reasons"] == [
        (
            "the prediction log of 'toy_drift' is empty: nothing was predicted, or it has "
            "not been uploaded yet"
        )
    ]
    assert loop.lake.list(f"reports/{CASE}") == [] and events(loop, "laurel.predictions.seen") == []


def test_month_that_is_like_the_reference_is_stable_and_nobody_is_told(
    loop: Loop, champion: ModelVersion
) -> None:
    """Asked of the service, with labels that follow, as callers do it."""
    answers = Answers()
    rows = toy_rows("2024-04")
    assert replay(
        load(CASE), rows, Caller(loop.settings.serving_base_url, load(CASE), answers)
    ) == len(rows)
    assert answers.failures == []
    waiting = lambda: loop.service.get(f"/v1/{CASE}").json()["log"]  # noqa: E731
    wait_until(
        lambda: waiting()["rows_uploaded"] == 2 * len(rows), "the prediction log is in the lake"
    )
    outcome = loop.run(drift_check, CASE, window="2024-04")
    checked = outcome.result
    assert (checked.verdict.outcome, checked.verdict.share, checked.verdict.rows) == (
        "stable",
        0,
        len(rows),
    )
    assert set(checked.verdict.distances) == {"first", "second", "steady", "group", "score"}
    assert checked.verdict.how == "all 1,680 predictions" and sum(
        checked.verdict.importance.values()
    ) == pytest.approx(1)
    assert checked.verdict.calibrated and checked.label_coverage == 1
    assert 0.8 < checked.scores["roc_auc"] < 1
    assert outcome.told == [] and events(loop) == []
    assert verdict(loop, "2024-04")["outcome"] == "stable"
    assert (checked.report_path, checked.report_url) == (None, None)
    assert loop.lake.list(f"reports/{CASE}/2024-04") == [f"reports/{CASE}/2024-04/verdict.json"]
    found = last_decision(loop)
    assert (found["verdict"], found["window"], found["champion"]) == (
        "stable",
        "2024-04",
        champion.number,
    )
    assert (found["facts"]["share"], found["facts"]["limit"], found["facts"]["read"]) == (
        0,
        0.3,
        "all 1,680 predictions",
    )
    wait_until(
        lambda: len(events(loop, "laurel.predictions.seen")) == 1,
        "that there are predictions is with the server",
    )


def test_report_of_a_stable_window_is_made_when_it_is_asked_for(
    loop: Loop, champion: ModelVersion
) -> None:
    """The run in MLflow has the distances all the same, and says how to ask."""
    run = loop.registry.runs(f"{CASE}-drift", {"laurel.window": "2024-04"})[0]
    before = loop.run(drift_check, CASE, window="2024-04").result
    assert run.metrics["distance.first"] == before.verdict.distances["first"]
    command = f"laurel run drift_check {CASE} --param window=2024-04 --param report=true"
    assert command in run.tags["mlflow.note.content"]
    checked = loop.run(drift_check, CASE, window="2024-04", report=True).result
    assert checked.verdict == before.verdict
    page = loop.lake.read(checked.report_path).decode()
    assert f"<h1>{CASE}: drift check of 2024-04: stable</h1>" in page
    assert checked.report_url in loop.artifact("toy-drift-drift-report")
    with_page = loop.registry.runs(f"{CASE}-drift", {"laurel.window": "2024-04"})[0]
    assert command not in with_page.tags["mlflow.note.content"]


def test_first_window_beyond_the_limit_is_no_drift_yet(loop: Loop, champion: ModelVersion) -> None:
    """The use case calls it at two of three."""
    plant(loop, champion, "2024-05", toy_rows("2024-06"))
    outcome = loop.run(drift_check, CASE, window="2024-05")
    found = outcome.result.verdict
    assert (found.outcome, found.beyond) == ("stable", True) and found.share > 0.3
    assert loop.lake.exists(outcome.result.report_path)
    assert "1 of the last 3 windows are beyond the limit; drift is declared at 2" in found.reasons
    # the planted rows do not say which version answered
    assert [finding.word for finding in found.findings if finding.check == "integrity"] == [
        "unjudged"
    ]
    assert outcome.told == [] and events(loop) == []


def test_world_that_changed_is_drift_with_a_report_and_an_event(
    loop: Loop, champion: ModelVersion
) -> None:
    plant(loop, champion, "2024-06", toy_rows("2024-06"))
    outcome = loop.run(drift_check, CASE, window="2024-06")
    checked = outcome.result
    assert (checked.verdict.outcome, checked.verdict.beyond) == ("drifted", True)
    drifted = set(drifted_columns(checked.verdict))
    assert "first" in drifted and not drifted & {"second", "steady"}
    assert checked.verdict.share == pytest.approx(
        sum(checked.verdict.importance[name] for name in drifted)
    )
    page = loop.lake.read(checked.report_path).decode()
    assert checked.report_path == f"reports/{CASE}/2024-06/champion-{champion.number}.html"
    assert "<html" in page and len(page) > 100_000
    body = page.partition("<body>")[2]
    head = body.partition("</section>")[0]
    assert f"<h1>{CASE}: drift check of 2024-06: drifted</h1>" in head
    for fact in ("2024-06", "drifted", f"{checked.verdict.share:.1%}", "30%", "first "):
        assert re.search(f"<td>[^<]*{re.escape(fact)}", head), fact
    assert f"/#{CASE}" in head and f"/versions/{champion.number}?" in head
    place = last_decision(loop)["sequence"]
    about = loop.about("toy-drift-drift-report")
    assert about.startswith(f"**{CASE}: drift check of 2024-06: drifted, Evidently's report**")
    assert f"/#{CASE}&decision={place})" in about
    link = loop.artifact("toy-drift-drift-report")
    assert checked.report_url in link
    assert {row["column"] for row in loop.artifact("toy-drift-drift") if row["drifted"]} == drifted
    wait_until(lambda: len(events(loop)) == 1, "the event is with the server")
    said = events(loop)[0]["payload"]
    assert (said["use_case"], said["window"], said["share"], said["champion"]) == (
        CASE,
        "2024-06",
        checked.verdict.share,
        champion.number,
    )
    assert (said["columns"], said["cause"], said["report"]) == (
        drifted_columns(checked.verdict),
        "data",
        checked.report_url,
    )
    assert [driver["column"] for driver in said["drivers"]] == drifted_columns(checked.verdict)
    assert all(
        driver["distance"] >= driver["threshold"] and driver["weight"] > 0
        for driver in said["drivers"]
    )
    assert (
        outcome.told[0].startswith(f"{CASE}: the data drifted in 2024-06")
        and checked.report_url in outcome.told[0]
    )
    assert any(reason.startswith("first: distance ") for reason in last_decision(loop)["reasons"])
    assert (last_decision(loop)["verdict"], last_decision(loop)["facts"]["share"]) == (
        "drifted",
        checked.verdict.share,
    )


def test_report_can_be_read_in_mlflow(loop: Loop, champion: ModelVersion) -> None:
    """The link leads to the page of a run; the page loads the artifact from this address."""
    run = loop.registry.runs(f"{CASE}-drift", {"laurel.window": "2024-06"})[0]
    assert run.id in loop.artifact("toy-drift-drift-report")
    asked = {"path": "drift_report.html", "run_uuid": run.id}
    answer = httpx.get(f"{loop.settings.mlflow_tracking_uri}/get-artifact", params=asked)
    assert answer.status_code == 200 and answer.content == loop.lake.read(
        f"reports/{CASE}/2024-06/champion-{champion.number}.html"
    )
    assert run.metrics["distance.first"] > 1
    note = run.tags["mlflow.note.content"]
    assert note.startswith(f"**{CASE}: drift check of 2024-06: drifted**") and "To do: " in note


@pytest.mark.parametrize(
    ("spoil", "column", "said"),
    [
        (
            {"second": pl.lit(None, dtype=pl.Float64)},
            "second",
            "column 'second' is 100.0% null, tolerated 5.0%",
        ),
        (
            {"steady": pl.lit("five")},
            "steady",
            "column 'steady' has type text instead of number in 1 of 1 files",
        ),
    ],
    ids=["nulls", "type"],
)
def test_broken_window_alerts_goes_into_quarantine_and_is_no_drift(
    loop: Loop, champion: ModelVersion, spoil: dict[str, Any], column: str, said: str
) -> None:
    """What else is broken: ``tests/unit/tasks/drift/test_broken.py``."""
    before = len(events(loop))
    plant(loop, champion, "2024-07", toy_rows("2024-04"), **spoil)
    outcome = loop.run(drift_check, CASE, window="2024-07")
    assert outcome.state.is_completed() and outcome.result.verdict.outcome == "broken"
    assert any(reason.startswith(said) for reason in outcome.result.verdict.reasons)
    assert outcome.result.report_path is None
    assert (
        len(outcome.told) == 1
        and "the data are broken, so nothing is retrained" in outcome.told[0]
        and said in outcome.told[0]
    )
    assert len(events(loop)) == before
    kept = quarantine.read(loop.lake, CASE, "2024-07")
    assert (
        column in kept.columns
        and kept.reasons == outcome.result.verdict.reasons
        and kept.champion == champion.number
    )
    assert (last_decision(loop)["verdict"], last_decision(loop)["window"]) == ("broken", "2024-07")


def test_a_file_that_is_no_parquet_is_broken_and_named(loop: Loop, champion: ModelVersion) -> None:
    plant(loop, champion, "2024-09", toy_rows("2024-04"))
    loop.lake.write(f"predictions/{CASE}/date=2024-09-02/torn.parquet", b"PAR1 and no more")
    outcome = loop.run(drift_check, CASE, window="2024-09")
    assert outcome.result.verdict.outcome == "broken"
    assert f"predictions/{CASE}/date=2024-09-02/torn.parquet" in outcome.result.verdict.reasons[0]


def test_window_that_is_mended_leaves_quarantine_and_counts_again(
    loop: Loop, champion: ModelVersion
) -> None:
    plant(loop, champion, "2024-07", toy_rows("2024-04"))
    outcome = loop.run(drift_check, CASE, window="2024-07")
    assert outcome.result.verdict.outcome == "stable"
    assert not quarantine.is_quarantined(loop.lake, CASE, "2024-07")
    found = quarantine.read(loop.lake, CASE, "2024-07")
    assert found is not None and found.lifted == outcome.result.time


def test_few_predictions_are_inconclusive_and_the_latest_month_is_the_default(
    loop: Loop, champion: ModelVersion
) -> None:
    before = len(events(loop))
    plant(loop, champion, "2024-10", toy_rows("2024-08").head(499))
    outcome = loop.run(drift_check, CASE)
    assert (
        outcome.result.verdict.outcome == "inconclusive"
        and outcome.result.verdict.window == "2024-10"
    )
    assert (
        "499 predictions in the window, at least 500 are needed" in outcome.result.verdict.reasons
    )
    assert len(outcome.told) == 1 and "no verdict on drift in 2024-10" in outcome.told[0]
    assert len(events(loop)) == before and last_decision(loop)["verdict"] == "inconclusive"


def test_window_without_predictions_is_silent_and_names_those_that_there_are(
    loop: Loop, champion: ModelVersion
) -> None:
    outcome = loop.run(drift_check, CASE, window="2023-01")
    assert outcome.result.verdict.outcome == "silent"
    assert (
        "has no predictions of 2023-01; it has" in outcome.told[0] and "2024-10" in outcome.told[0]
    )
    assert (last_decision(loop)["verdict"], last_decision(loop)["window"]) == ("silent", "2023-01")
    assert not loop.lake.exists(f"reports/{CASE}/2023-01/verdict.json")


def test_predictions_that_keep_coming_are_not_silent(loop: Loop, champion: ModelVersion) -> None:
    """The dead man's switch may come late: the check looks again."""
    plant(loop, champion, "2024-10", toy_rows("2024-04"))
    outcome = loop.run(drift_check, CASE, silent_for_hours=1.0)
    assert outcome.result.verdict.outcome == "stable" and outcome.told == []


def test_no_word_of_predictions_fires_the_dead_man_s_switch(
    loop: Loop, champion: ModelVersion
) -> None:
    """On the real server, with a short time: the automation starts drift_check on the worker, which
    tells and records it.
    """
    hours = 10 / 3600  # Prefect takes no less
    check = loop.prefect.read_deployment_by_name(f"drift_check/{CASE}")
    wanted = tell_silence(CASE, check.id, hours).model_copy(
        update={"name": "tell soon when toy_drift gets no predictions"}
    )
    before, told = datetime.now(UTC), len(loop.slack.messages)

    async def create() -> Any:
        async with get_client() as client:
            return await client.create_automation(wanted)

    async def delete(automation: Any) -> None:
        async with get_client() as client:
            await client.delete_automation(automation)

    automation = asyncio.run(create())
    try:
        plant(loop, champion, "2024-10", toy_rows("2024-04"))

        def silences() -> list[dict[str, Any]]:
            found = loop.decisions(CASE, "drift")
            return [
                one
                for one in found
                if one["verdict"] == "silent"
                and one["time"] > before.isoformat(timespec="milliseconds")
            ]

        # The server reads its automations a moment after one was made: said once, the word might
        # have come too early.
        seen = len(events(loop, "laurel.predictions.seen"))
        loop.run(drift_check, CASE)
        wait_until(
            lambda: len(events(loop, "laurel.predictions.seen")) == seen + 1,
            "the word is with the server",
        )
        wait_until(
            lambda: len(silences()) == 1,
            "the switch fired, and the check on the worker has recorded it",
            seconds=120,
        )
    finally:
        asyncio.run(delete(automation))
    assert "no prediction of 'toy_drift' has reached the lake for" in silences()[0]["reasons"][0]
    wait_until(  # the check records first, and tells then
        lambda: any("no predictions to check for drift" in text for text in loop.told(CASE, told)),
        "people are told",
    )
