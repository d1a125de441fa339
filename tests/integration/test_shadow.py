"""A shadow beside a real service: pairs in the lake by id, answers as without it, and no answer
lost when it is sick."""

import json
import math
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.callers import Callers
from tests.fixtures.packages import (
    OUTPUTS,
    SMOKE_ROWS,
    PackageKind,
    expected_score,
    model,
    write_leaking_package,
    write_package,
    write_slow_package,
)
from tests.fixtures.processes import ServiceProcess, wait_until

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
SICK_ROW = {**ROW, "wind": -1000.0}  # the root of a negative number is none
ALIAS = ("toy", "rollout")


def rooted(folder: Path) -> str:
    """Version 3 passes its smoke rows, and fails windy ones."""
    margins = [-math.log(1 / expected_score(row) - 1) for row in SMOKE_ROWS]
    scores = [math.sqrt(margin) for margin in margins]
    return write_package(folder, kind=PackageKind(OUTPUTS, model(0.0, last="Sqrt"), scores, 0.5))


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in (1, 2):
            server.register(
                "toy", version, lambda folder, bias=version: write_package(folder, bias=float(bias))
            )
        server.register("toy", 3, rooted)
        server.register("toy", 5, write_slow_package)
        server.register("toy", 6, write_leaking_package)
        server.crown("toy", 1)
        yield server


def shadow(mlflow: RegistryServer, version: int, **terms: Any) -> None:
    tag = {"id": "first", "kind": "shadow", **terms}
    mlflow.versions["toy", version]["laurel.rollout"] = json.dumps(tag)
    mlflow.aliases[ALIAS] = version


def shadow_pids(version: str) -> list[int]:
    """The processes that score copies with a version."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"serving.shadow" in command and f'"version":"{version}"'.encode() in command[-2]:
                pids.append(int(folder.name))
    return pids


def scores_of(service: ServiceProcess, role: str) -> dict[str, float]:
    rows = service.in_lake("predictions")
    return {row["id"]: row["score"] for row in rows if row["role"] == role}


def figure(metrics: str, series: str) -> float:
    (line,) = [line for line in metrics.splitlines() if line.startswith(series)]
    return float(line.rpartition(" ")[2])


def wait_for_shadow(service: ServiceProcess, workers: int = 1) -> None:
    """Wait until as many shadows score: each in a process that has begun to take copies."""
    wait_until(
        lambda: service.output.read_text().count("shadow scores ") >= workers,
        f"{workers} shadows score",
    )


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.nightly("a further variant", only=("1",))
def test_a_shadow_answers_nobody_and_its_scores_are_in_the_lake_under_the_same_ids(
    mlflow: RegistryServer, tmp_path: Path, workers: int
) -> None:
    shadow(mlflow, 2)
    with ServiceProcess(tmp_path, mlflow.url, serving_workers=workers) as service:
        service.wait_for_version("1", workers=workers)
        wait_for_shadow(service, workers)
        with Callers(str(service.client.base_url), ROW, 4) as callers:
            callers.wait_for(200)
        if hasattr(os, "SCHED_IDLE"):
            policies = {os.sched_getscheduler(pid) for pid in shadow_pids("2")}
            assert policies == {os.SCHED_IDLE}, "it works when nobody else wants a core"
        many = service.predict(*[{**ROW, "wind": float(wind)} for wind in range(40)])
        csv = service.client.post(
            "/v1/toy/predict",
            content="carrier,distance,wind\nUA,100,\n",
            headers={"Content-Type": "text/csv", "Accept": "text/csv"},
        )
        assert csv.text.splitlines()[1].endswith(",1")
        asked = callers.ids | {each["id"] for each in many["predictions"]}
        for role in ("champion", "rollout"):
            wait_until(lambda role=role: asked <= scores_of(service, role).keys(), f"all of {role}")
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        champion, challenger = scores_of(service, "champion"), scores_of(service, "rollout")
        for scores, bias in ((champion, 1.0), (challenger, 2.0)):
            expected = pytest.approx(expected_score(ROW, bias), rel=1e-5)
            assert all(scores[name] == expected for name in callers.ids)
    assert not shadow_pids("2"), "it ends with the service"


def test_a_shadow_ends_with_the_rollout_and_starts_anew_with_another_version(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    shadow(mlflow, 2)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        first = service.predict(ROW)["predictions"][0]["id"]
        shadow(mlflow, 3, id="second")
        wait_until(lambda: bool(shadow_pids("3")) and not shadow_pids("2"), "the other one scores")
        assert first in scores_of(service, "rollout"), "what it had is in the lake"
        del mlflow.aliases[ALIAS]
        wait_until(lambda: not shadow_pids("3"), "it ends with the rollout")
        assert service.predict(ROW)["model_version"] == "1"


def test_a_shadow_that_becomes_a_canary_answers_its_callers(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    shadow(mlflow, 2)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        shadow(mlflow, 2, kind="canary", share=1.0)
        wait_until(lambda: service.predict(ROW)["model_version"] == "2", "the canary answers")
        wait_until(lambda: not shadow_pids("2"), "the shadow has ended")


def test_what_a_sick_shadow_cannot_score_costs_no_answer(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    shadow(mlflow, 3)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        answers = [service.predict(row) for row in [ROW, SICK_ROW, ROW]]
        ids = [answer["predictions"][0]["id"] for answer in answers]
        assert {answer["model_version"] for answer in answers} == {"1"}
        wait_until(
            lambda: {ids[0], ids[2]} <= scores_of(service, "rollout").keys(), "the others scored"
        )
        assert ids[1] not in scores_of(service, "rollout")
        failures = 'laurel_shadow_failures_total{use_case="toy",version="3"}'
        wait_until(
            lambda: figure(service.client.get("/metrics").text, failures) == 1, "it is counted"
        )
        uploaded = failures.replace("failures", "uploaded")
        wait_until(
            lambda: figure(service.client.get("/metrics").text, uploaded) == 2, "and what arrived"
        )


def test_callers_do_not_wait_for_a_slow_shadow(mlflow: RegistryServer, tmp_path: Path) -> None:
    shadow(mlflow, 5)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        with Callers(str(service.client.base_url), ROW, 4) as callers:
            callers.wait_for(500)
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        metrics = service.client.get("/metrics").text
        labels = '{use_case="toy",version="5"}'
        assert figure(metrics, f"laurel_shadow_restarts_total{labels}") == 0
        wait_until(lambda: bool(scores_of(service, "rollout")), "it scores what it can")


@pytest.mark.nightly("waits for real seconds")
def test_a_shadow_that_is_killed_or_stopped_costs_no_answer_and_is_told_once(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    slack = SlackServer()
    shadow(mlflow, 2)
    with (
        slack,
        ServiceProcess(
            tmp_path, mlflow.url, slack_token=slack.token, slack_api_url=slack.url
        ) as service,
    ):
        service.wait_for_version("1")
        wait_for_shadow(service)
        with Callers(str(service.client.base_url), ROW, 4) as callers:
            callers.wait_for(50)
            (pid,) = shadow_pids("2")
            os.kill(pid, signal.SIGSTOP)
            callers.wait_for(300)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: bool(slack.messages), "people hear of it")
            wait_for_shadow(service, 2)
            (again,) = shadow_pids("2")
            os.kill(again, signal.SIGKILL)
            wait_for_shadow(service, 3)
            callers.wait_for(50)
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        assert [message["text"] for message in slack.messages] == [slack.messages[0]["text"]]
        assert "shadow, version 2" in slack.messages[0]["text"]
        metrics = service.client.get("/metrics").text
        labels = '{use_case="toy",version="2"}'
        assert figure(metrics, f"laurel_shadow_restarts_total{labels}") == 2
        assert figure(metrics, f"laurel_shadow_dropped_total{labels}") > 0
        latest = service.predict(ROW)["predictions"][0]["id"]
        wait_until(lambda: latest in scores_of(service, "rollout"), "it scores again")


def test_a_service_that_is_killed_takes_its_shadow_along(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    shadow(mlflow, 2)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_shadow(service)
        service.predict(ROW)
        service.end(signal.SIGKILL)
        wait_until(lambda: not shadow_pids("2"), "nothing is left")


def test_a_shadow_that_leaks_is_started_again_and_costs_no_answer(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    slack = SlackServer()
    shadow(mlflow, 6)
    with (
        slack,
        ServiceProcess(
            tmp_path, mlflow.url, slack_token=slack.token, slack_api_url=slack.url
        ) as service,
    ):
        service.wait_for_version("1")
        wait_for_shadow(service)
        with Callers(str(service.client.base_url), ROW, 2) as callers:
            callers.wait_for(20)
            service.predict({**ROW, "wind": 700.0})
            wait_until(lambda: bool(slack.messages), "people hear of it")
            wait_for_shadow(service, 2)
            callers.wait_for(20)
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        assert "grew to" in slack.messages[0]["text"] and len(slack.messages) == 1
        latest = service.predict(ROW)["predictions"][0]["id"]
        wait_until(lambda: latest in scores_of(service, "rollout"), "it scores again")
