"""Labels that come late, on the real stack: told in parts, late, twice, for nobody, and by clocks
that are wrong.
"""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.registry import ModelVersion
from flows.drift_check import drift_check
from serving.records.drift import Checked
from tasks.packages.registered import read_manifest
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop, Outcome
from usecases.definition import load

CASE, WINDOW = "toy_late", "2024-04"
ROWS = toy_rows(WINDOW)
AT_ONCE = 280


@pytest.fixture(scope="module")
def champion(loop: Loop) -> Iterator[ModelVersion]:
    with loop.first_champion(CASE, through="2024-03") as version:
        yield version


@pytest.fixture(scope="module")
def ids(loop: Loop, champion: ModelVersion) -> list[str]:
    """Of one month's rows, in their order, predicted by the champion and in the lake."""
    columns = [*load(CASE).column_names, "at"]
    wait_until(lambda: loop.served(CASE) == champion.number, "the service serves the champion")
    answered: list[str] = []
    for part in ROWS.select(
        pl.col(columns).exclude("at"), pl.col("at").dt.to_string("iso:strict")
    ).iter_slices(AT_ONCE):
        answer = loop.service.post(f"/v1/{CASE}/predict", json={"rows": part.to_dicts()})
        assert answer.status_code == 200, answer.text
        answered += [one["id"] for one in answer.json()["predictions"]]
    wait_until(lambda: in_lake(loop, "predictions") == len(ROWS), "the predictions are in the lake")
    return answered


def in_lake(loop: Loop, kind: str) -> int:
    """Rows of the use case's log, under whatever day."""
    return sum(
        len(pl.read_parquet(io.BytesIO(loop.lake.read(path))))
        for path in loop.lake.list(f"{kind}/{CASE}")
    )


def tell(loop: Loop, labels: list[dict[str, Any]]) -> None:
    """Send feedback, and wait until it is in the lake beside all that was there."""
    before = in_lake(loop, "feedback")
    for start in range(0, len(labels), AT_ONCE):
        part = labels[start : start + AT_ONCE]
        answer = loop.service.post(f"/v1/{CASE}/feedback", json={"feedback": part})
        assert answer.status_code == 200 and answer.json() == {"accepted": len(part)}, answer.text
    wait_until(
        lambda: in_lake(loop, "feedback") == before + len(labels), "the feedback is in the lake"
    )


def check(loop: Loop) -> tuple[Checked, Outcome]:
    outcome = loop.run(drift_check, CASE, window=WINDOW)
    return outcome.result, outcome


def events(loop: Loop) -> list[dict[str, Any]]:
    wanted = {
        "event": {"name": ["laurel.drift.detected"]},
        "resource": {"id": [f"laurel.use-case.{CASE}"]},
    }
    answer = httpx.post(f"{loop.settings.prefect_api_url}/events/filter", json={"filter": wanted})
    answer.raise_for_status()
    return answer.json()["events"]


def shown(loop: Loop) -> dict[str, Any]:
    """The window's latest check as the service tells it."""
    (one,) = loop.service.get(f"/v1/{CASE}/drift").json()["drift"]
    return one


def test_champion_carries_the_interval_and_the_calibration_of_the_holdout_it_won_on(
    loop: Loop, champion: ModelVersion
) -> None:
    manifest = read_manifest(loop.registry, champion)
    assert (manifest.holdout, manifest.trained_through) == ("2024-03", "2024-03")
    low, high = manifest.holdout_intervals["roc_auc"]
    assert low < manifest.metrics["roc_auc"] < high and set(manifest.holdout_intervals) == set(
        manifest.metrics
    )
    assert len(manifest.calibration) >= 2


def test_before_labels_come_the_performance_is_unknown_and_estimated(
    loop: Loop, ids: list[str]
) -> None:
    checked, outcome = check(loop)
    found = checked.performance
    assert found is not None and (found.verdict, found.rows, found.labels, found.coverage) == (
        "unknown",
        len(ROWS),
        0,
        0,
    )
    guess = found.estimates["roc_auc"]
    assert guess.value is not None and 0.75 < guess.value < 1 and guess.error is None
    assert (checked.verdict.outcome, checked.scores, outcome.told, events(loop)) == (
        "stable",
        {},
        [],
        [],
    )
    (row, _) = loop.artifact("toy-late-performance")
    assert (row["metric"], row["realised"], row["estimated"]) == (
        "roc_auc",
        "not known",
        round(guess.value, 4),
    )


def test_label_of_a_wrong_type_is_refused_by_row_and_field_and_nothing_is_kept(
    loop: Loop, ids: list[str]
) -> None:
    before = loop.service.get(f"/v1/{CASE}").json()["log"]
    sent = [{"id": ids[0], "label": True}, {"id": ids[1], "label": "late"}]
    answer = loop.service.post(f"/v1/{CASE}/feedback", json={"feedback": sent})
    assert answer.status_code == 422
    assert "Row 1, field 'label': expected 0, 1, true or false" in answer.text
    after = loop.service.get(f"/v1/{CASE}").json()["log"]
    assert (after["rows_waiting"], after["rows_uploaded"]) == (
        before["rows_waiting"],
        before["rows_uploaded"],
    )


def test_terrible_labels_of_half_the_window_are_provisional_and_no_drift(
    loop: Loop, ids: list[str]
) -> None:
    """The opposite of the truth, with the event's time; three of them are for ids that nobody
    predicted.
    """
    half = zip(ids[::2], ROWS[::2].rows(named=True), strict=True)
    tell(
        loop,
        [
            {"id": one, "label": 1 - row["won"], "event_time": row["at"].isoformat()}
            for one, row in half
        ],
    )
    tell(
        loop,
        [{"id": f"nobody-{n}", "label": 1, "event_time": "2024-04-02T00:00:00"} for n in range(3)],
    )
    checked, outcome = check(loop)
    found = checked.performance
    assert found is not None and (
        found.verdict,
        found.provisional,
        found.coverage,
        found.unknown_ids,
    ) == ("provisional", True, 0.5, 3)
    assert checked.label_coverage == 0.5 and checked.scores["roc_auc"] < 0.4
    assert (checked.verdict.outcome, checked.cause, outcome.told, events(loop)) == (
        "stable",
        None,
        [],
        [],
    )


def test_rest_that_comes_late_and_without_an_event_time_makes_it_performance_drift(
    loop: Loop, ids: list[str]
) -> None:
    """It lies under the day on which it came, years after the window. The first ones come twice."""
    rest = zip(ids[1::2], ROWS["won"][1::2], strict=True)
    labels = [{"id": one, "label": 1 - won} for one, won in rest]
    tell(loop, labels)
    tell(loop, labels[:100])
    checked, outcome = check(loop)
    found = checked.performance
    assert found is not None and (found.verdict, found.labels, found.coverage) == (
        "worse",
        len(ROWS),
        1,
    )
    assert (found.repeated, found.unknown_ids) == (100, 3)
    assert (checked.verdict.outcome, checked.verdict.beyond, checked.cause) == (
        "drifted",
        False,
        "performance",
    )
    assert found.reasons[0] in checked.verdict.reasons
    wait_until(lambda: len(events(loop)) == 1, "the event that starts a retrain is with the server")
    payload = events(loop)[0]["payload"]
    assert (payload["cause"], payload["window"], payload["columns"]) == ("performance", WINDOW, [])
    assert (
        len(outcome.told) == 1
        and f"{CASE}: the champion performs worse in {WINDOW} than on its hold-out: ROC AUC"
        in outcome.told[0]
    )
    decision = loop.decisions(CASE)[-1]
    assert (decision["kind"], decision["verdict"], decision["facts"]["performance"]) == (
        "drift",
        "drifted",
        "worse",
    )
    wait_until(lambda: shown(loop)["performance"]["verdict"] == "worse", "the service shows it")
    assert shown(loop)["label_coverage"] == 1 and found.reasons[0] in shown(loop)["reasons"]


@pytest.mark.nightly("log/test_labels.py proves it")
def test_correction_wins_and_what_it_corrects_stays_in_the_lake(loop: Loop, ids: list[str]) -> None:
    """The truth at last. A tenth of the wrong labels had come from a clock that is years ahead, and
    still lose.
    """
    before = in_lake(loop, "feedback")
    tell(
        loop,
        [
            {"id": one, "label": 1 - won, "time": "2099-01-01T00:00:00Z"}
            for one, won in zip(ids[::10], ROWS["won"][::10], strict=True)
        ],
    )
    tell(loop, [{"id": one, "label": won} for one, won in zip(ids, ROWS["won"], strict=True)])
    checked, outcome = check(loop)
    found = checked.performance
    assert found is not None and (found.verdict, found.coverage, found.repeated) == (
        "level",
        1,
        len(ROWS),
    )
    assert 0.8 < checked.scores["roc_auc"] < 1 and found.estimates[
        "roc_auc"
    ].error == pytest.approx(0, abs=0.1)
    assert (checked.verdict.outcome, checked.cause, outcome.told) == ("stable", None, [])
    assert in_lake(loop, "feedback") == before + len(ids[::10]) + len(ids)
