"""What a flow sees of a rollout in the log that a real service wrote: its callers' rows, answers of
both models, and the labels that they send later, in whatever order."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from serving.records.rollout import Rollout, Stage
from tasks.rollouts.course import Sight, next_move
from tasks.rollouts.evidence import look_at
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import expected_score, write_package
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.integration.test_canary import roll_out
from tests.integration.test_shadow import shadow, wait_for_shadow
from usecases.definition import LOG_LOSS

FIRST_DAY = date.today() - timedelta(days=30)
DAYS, ROWS_A_DAY = 9, 120  # labels are in a day later: eight days are judged
VERSIONS = ("1", "2")
JUDGED = {"metric": "log_loss", "days": 8, "label_days": 0}


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    """Version 2 has seen a world in which more is late than in that of its callers."""
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in (1, 2):
            server.register(
                "toy", version, lambda folder, bias=version: write_package(folder, bias=float(bias))
            )
        server.crown("toy", 1)
        yield server


def rows_of(day: int) -> list[dict[str, Any]]:
    time = f"{FIRST_DAY + timedelta(days=day)}T12:00:00"
    winds = np.random.default_rng(day).normal(-20, 10, ROWS_A_DAY)
    return [
        {"carrier": "AA", "distance": 100.0, "wind": float(wind), "time_hour": time}
        for wind in winds
    ]


def labels_of(ids: list[str], day: int) -> list[dict[str, Any]]:
    """As version 1 says of the world."""
    chance = np.random.default_rng([7, day])
    time = f"{FIRST_DAY + timedelta(days=day)}T12:00:00"
    return [
        {"id": name, "label": bool(chance.random() < expected_score(row, 1.0)), "event_time": time}
        for name, row in zip(ids, rows_of(day), strict=True)
    ]


def send(service: ServiceProcess, labels: list[dict[str, Any]]) -> None:
    before = len(service.in_lake("feedback"))
    answer = service.client.post("/v1/toy/feedback", json={"feedback": labels})
    assert answer.status_code == 200, answer.text
    wait_until(lambda: len(service.in_lake("feedback")) == before + len(labels), "labels are there")


def look(service: ServiceProcess, rollout: Rollout) -> Sight:
    lake = Lake(url=f"file://{service.lake}", credentials=None)
    return look_at(lake, TOY, rollout, VERSIONS, datetime.now(UTC))


def sides_of(service: ServiceProcess) -> set[str]:
    """The versions that callers meet, without a trace in the log."""
    row = rows_of(0)[0]
    return {
        service.client.post(
            "/v1/toy/predict?log=false", json={"rows": [row]}, headers={"X-Caller": str(caller)}
        ).json()["model_version"]
        for caller in range(8)
    }


def began(stage: Stage) -> Rollout:
    return Rollout(id="first", stages=[stage], since=datetime.now(UTC).isoformat())


def test_a_challenger_that_is_worse_for_its_callers_loses_by_their_labels_last_word(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    shadow(mlflow, 2)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        rollout = began(Stage(kind="shadow", **JUDGED))
        labels: list[dict[str, Any]] = []
        for day in range(DAYS):
            answer = service.predict(*rows_of(day))
            assert answer["model_version"] == "1"
            labels += labels_of([each["id"] for each in answer["predictions"]], day)
        wait_until(
            lambda: len(service.in_lake("predictions")) == 2 * len(labels), "both sides are there"
        )
        send(service, [{**label, "label": not label["label"]} for label in labels])
        send(service, labels)  # they contradict: the last word counts
        seen = look(service, rollout)
        assert seen.rows is not None and len(seen.rows.truth) == (DAYS - 1) * ROWS_A_DAY
        judged = [label["label"] for label in labels[: len(seen.rows.truth)]]
        assert seen.rows.truth.sum() == sum(judged)
        move = next_move(rollout, seen, LOG_LOSS)
        assert move.verdict == "lost", move.reasons


def test_labels_of_one_side_only_decide_nothing_until_the_other_s_come(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 2, 0.5, kind="ab", header="x-caller")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_until(lambda: sides_of(service) == {"1", "2"}, "both sides answer")
        rollout = began(Stage(kind="ab", share=0.5, header="x-caller", **JUDGED))
        sides: dict[str, list[dict[str, Any]]] = {"1": [], "2": []}
        for day in range(DAYS):
            for caller in range(4):
                answer = service.client.post(
                    "/v1/toy/predict",
                    json={"rows": rows_of(day)},
                    headers={"X-Caller": str(caller)},
                ).json()
                ids = [each["id"] for each in answer["predictions"]]
                sides[answer["model_version"]] += labels_of(ids, day)
        assert min(map(len, sides.values())) >= DAYS * ROWS_A_DAY, "each side has its callers"
        service.wait_until_uploaded()
        send(service, sides["1"])
        move = next_move(rollout, look(service, rollout), LOG_LOSS)
        assert (move.verdict, move.rollout.blocks) == ("", []), move.reasons
        later = replace(look(service, rollout), now=datetime.now(UTC) + timedelta(days=20))
        assert next_move(move.rollout, later, LOG_LOSS).verdict == "not enough traffic"
        send(service, sides["2"])
        move = next_move(move.rollout, look(service, rollout), LOG_LOSS)
        assert move.verdict == "lost", move.reasons
