"""Several workers behind one port, as a user starts them: they die, are killed and are stopped, and
nobody's prediction is lost.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from blocks.service import ModelService, ServiceAway, ServiceRefuses
from tests.fakes.registry import RegistryServer
from tests.fixtures.callers import Callers
from tests.fixtures.processes import (
    REPOSITORY,
    ServiceProcess,
    start_in_vain,
    start_process_in_vain,
    wait_until,
)

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0, "time_hour": "2013-06-01T15:00:00"}


@pytest.fixture
def service(mlflow: RegistryServer, tmp_path: Path) -> Iterator[ServiceProcess]:
    """Two workers that both serve version 1."""
    with ServiceProcess(tmp_path, mlflow.url, serving_workers=2) as started:
        started.wait_for_version("1", workers=2)
        yield started


def parent(service: ServiceProcess) -> psutil.Process:
    assert service._process is not None
    return psutil.Process(service._process.pid)


def workers(service: ServiceProcess) -> list[psutil.Process]:
    return parent(service).children()


@pytest.mark.nightly("two services; test_traffic.py proves the sums")
def test_the_traffic_of_all_workers_adds_up_in_the_lake_also_over_a_restart(
    service: ServiceProcess,
) -> None:
    files = "traffic/toy/*/*.json"

    def ask(requests: int) -> None:
        for _ in range(requests):  # each on a new connection, to whichever worker is free
            answer = httpx.post(
                f"{service.client.base_url}/v1/toy/predict", json={"rows": [ROW, ROW]}
            )
            assert answer.status_code == 200

    ask(20)
    service.end(signal.SIGTERM)
    first = set(service.lake.glob(files))
    assert 1 <= len(first) <= 2
    service.start()
    service.wait_for_version("1", workers=2)
    ask(5)
    service.end(signal.SIGTERM)
    months = [json.loads(path.read_text()) for path in service.lake.glob(files)]
    assert len(months) > len(first)
    hours = [hour for month in months for hour in month["hours"].values()]
    assert sum(hour["requests"] for hour in hours) == 25
    assert sum(hour["rows"] for hour in hours) == 50
    assert sum(sum(hour["latency"]) for hour in hours) == 25


def test_all_workers_answer_and_each_answers_for_all(service: ServiceProcess) -> None:
    answered: dict[str, int] = {}

    def predict() -> bool:
        with httpx.Client(
            base_url=service.client.base_url, trust_env=False
        ) as client:  # a new connection, to whichever is free
            said = (
                client.post("/v1/toy/predict", json={"rows": [ROW]})
                .json()["predictions"][0]["id"]
                .rpartition("-")[0]
            )
            answered[said] = answered.get(said, 0) + 1
        return len(answered) == 2

    def agreed() -> bool:
        found = [
            httpx.get(f"{service.client.base_url}/v1/toy", trust_env=False).json()["traffic"][
                "rows"
            ]
            for _ in range(10)
        ]
        return found == [sum(answered.values())] * 10

    wait_until(predict, "both workers have answered")
    assert [worker["id"] for worker in service.describe()["workers"]] == ["1", "2"]
    wait_until(agreed, "each knows what the other has counted")
    workers(service)[0].send_signal(signal.SIGKILL)
    wait_until(
        lambda: [worker["id"] for worker in service.describe()["workers"]] == ["2", "3"],
        "another worker is started",
    )
    assert agreed(), "what the dead one counted stays counted"


def test_the_parent_of_the_workers_is_light(service: ServiceProcess) -> None:
    assert (
        parent(service).memory_info().rss
        < 25e6
        < min(worker.memory_info().rss for worker in workers(service))
    )


@pytest.mark.nightly("waits for real seconds")
def test_a_killed_worker_breaks_its_own_connections_and_no_acknowledged_prediction_is_lost(
    service: ServiceProcess,
) -> None:
    with Callers(str(service.client.base_url), ROW, 8) as callers:
        callers.wait_for(100)
        victim = workers(service)[0]
        victim.send_signal(signal.SIGKILL)
        wait_until(
            lambda: len(workers(service)) == 2 and victim not in workers(service),
            "another worker is started",
        )
        service.wait_for_version("1", workers=2)
        callers.wait_for(100)
    assert not callers.refused and len(callers.broken) <= 8
    assert [worker["id"] for worker in service.describe()["workers"]] == ["2", "3"]
    wait_until(
        lambda: callers.ids <= {row["id"] for row in service.in_lake("predictions")},
        "the lake has all of them",
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.nightly("a further variant", only=("15",))
def test_a_stop_drains_all_workers(
    mlflow: RegistryServer, tmp_path: Path, how: signal.Signals
) -> None:
    with ServiceProcess(tmp_path, mlflow.url, serving_workers=2, log_flush_seconds=3600) as service:
        service.wait_for_version("1", workers=2)
        mine = workers(service)
        with Callers(str(service.client.base_url), ROW, 4) as callers:
            callers.wait_for(100)
            if (
                how == signal.SIGINT
                # as Ctrl-C reaches the whole group of processes, some of them after the parent has
                # acted on it
            ):
                for worker in mine:
                    worker.send_signal(signal.SIGTERM)
                time.sleep(0.05)
                for worker in mine:
                    worker.send_signal(signal.SIGINT)
            assert service.end(how) == 0
        assert not callers.refused and not any(worker.is_running() for worker in mine)
        assert callers.ids <= {row["id"] for row in service.in_lake("predictions")}
        said = service.output.read_text()
        assert "Traceback" not in said and "worker killed" not in said


def test_workers_end_when_their_parent_is_killed(service: ServiceProcess) -> None:
    mine = workers(service)
    service.end(signal.SIGKILL)
    assert not psutil.wait_procs(mine, timeout=60)[1]
    service.start()
    service.wait_for_version("1", workers=2)
    assert [worker["id"] for worker in service.describe()["workers"]] == ["1", "2"]


@pytest.mark.nightly("waits for real seconds")
def test_a_worker_that_cannot_start_is_tried_later_and_later_while_the_other_answers(
    service: ServiceProcess, tmp_path: Path
) -> None:
    (turn,) = (tmp_path / "state" / "serving" / "workers").glob("*/turn")
    turn.unlink()
    turn.mkdir()
    workers(service)[0].send_signal(signal.SIGKILL)
    wait_until(
        lambda: service.output.read_text().count("worker died") >= 4, "some more starts have failed"
    )
    assert service.predict(ROW)["model_version"] == "1"
    pauses = [
        float(found)
        for found in re.findall(
            r"worker died .* next_in_seconds=([\d.]+)", service.output.read_text()
        )
    ]
    assert pauses == sorted(set(pauses))
    turn.rmdir()
    service.wait_for_version("1", workers=2)


def test_bad_settings_are_told_once_and_nothing_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for settings, told in [
            ({"serving_workers": 0}, "LAUREL_SERVING_WORKERS|serving_workers"),
            (
                {"serving_workers": 3, "serving_use_cases": "no/name"},
                "LAUREL_SERVING_USE_CASES is 'no/name'",
            ),
            ({"serving_workers": 3, "host": "0.0.0.0"}, "requires keys on 0.0.0.0"),
            (
                {"serving_workers": 3, "serving_port": port},
                f"cannot listen on 127.0.0.1 port {port}",
            ),
            (
                {"serving_workers": 1, "serving_port": port},
                f"cannot listen on 127.0.0.1 port {port}",
            ),
        ]:
            code, said = start_in_vain(tmp_path, **settings)
            assert code == 1 and len(re.findall(told, said)) == 1, said
            assert "Traceback" not in said


def test_what_hinders_the_first_worker_ends_the_service_before_others_start(tmp_path: Path) -> None:
    (tmp_path / "state" / "serving").mkdir(parents=True)
    (tmp_path / "state" / "serving" / "log").write_text("a file where the prediction log should be")
    code, said = start_process_in_vain(tmp_path, serving_workers=3)
    assert code != 0 and said.count("Started server process") == 1


@pytest.mark.nightly("waits for real seconds")
def test_whoever_promotes_waits_for_every_worker(
    service: ServiceProcess, mlflow: RegistryServer
) -> None:
    asked = ModelService(url=str(service.client.base_url))
    slow = workers(service)[0]
    slow.suspend()
    try:
        mlflow.crown("toy", 2)
        with pytest.raises(ServiceAway, match=r"it says: version 1, 2"):
            asked.wait_until_serves("toy", "2", timeout_seconds=3)
    finally:
        slow.resume()
    asked.wait_until_serves("toy", "2", timeout_seconds=60)
    assert [worker["version"] for worker in service.describe()["workers"]] == ["2", "2"]


def test_a_use_case_that_is_not_served_is_not_waited_for(service: ServiceProcess) -> None:
    with pytest.raises(
        ServiceRefuses, match=r"Served here: toy.*Add the use case to LAUREL_SERVING_USE_CASES"
    ):
        ModelService(url=str(service.client.base_url)).wait_until_serves(
            "nowhere", "1", timeout_seconds=3600
        )
    with pytest.raises(
        ServiceRefuses, match=r"Served here: toy.*Add the use case to LAUREL_SERVING_USE_CASES"
    ):
        ModelService(url=str(service.client.base_url)).check_serves("nowhere")


def test_where_keys_are_asked_for_promote_shows_one(mlflow: RegistryServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    environment = os.environ | {"LAUREL_SERVING_KEYS_FILE": str(keys)}
    command = [sys.executable, "-m", "serving.keys", "add", "promote", "--scope", "predict"]
    key = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    with ServiceProcess(
        tmp_path, mlflow.url, serving_workers=2, serving_require_keys=True, serving_keys_file=keys
    ) as service:
        address = str(service.client.base_url)
        with pytest.raises(ServiceRefuses, match="LAUREL_SERVING_KEY"):
            ModelService(url=address).wait_until_serves("toy", "1", timeout_seconds=3600)
        allowed = ModelService(url=address, key=SecretStr(key))
        allowed.wait_until_serves("toy", "1", timeout_seconds=60)
        assert allowed.predict("toy", [ROW])["model_version"] == "1"
