"""Where a rollout is, and what an operator asks of it. Prefect is a small server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from blocks.settings import Settings
from serving.rollouts.guards import Guards
from serving.server.app import create_app
from tests.fakes.prefect import PrefectServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.rollout_ledger import CANARY, began, write_rollout, write_shadow

PATH = "/v1/toy/rollout"


def client_of(folder: Path, prefect_url: str = "http://127.0.0.1:1/api", **more: Any) -> TestClient:
    settings = {
        "state": folder / "state",
        "lake": f"file://{folder}/lake",
        "serving_use_cases": "toy",
        "prefect_url": prefect_url,
        "mlflow_url": "http://127.0.0.1:1",
    }
    app = create_app(Settings.model_validate(settings | more))
    app.state.service.keys.load("loopback")
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with PrefectServer() as server:
        server.deploy("rollout/toy")
        yield server


def test_without_a_rollout_there_is_none(tmp_path: Path) -> None:
    answer = client_of(tmp_path).get(PATH)
    assert answer.json() == {"use_case": "toy", "rollout": None, "service": None}


def test_the_ledger_s_rollout_and_this_service_s_figures_are_told_together(tmp_path: Path) -> None:
    write_shadow(tmp_path / "lake")
    client = client_of(tmp_path)
    cases = client.app.state.service.use_cases  # type: ignore[attr-defined]
    for role, version, requests in (
        ("champion", "1", 95),
        ("rollout", "2", 5),
        ("rollout", "7", 3),
    ):
        stats = cases.variants.answering["toy", role, version]
        stats.requests = requests
        stats.scoring.observe(0.003)
    cases.variants.answering["toy", "rollout", "2"].fallbacks = 1
    cases.variants.shadows["toy", "2"].dropped = 4
    cases.variants.shadows["toy", "9"].dropped = 8  # of an earlier rollout
    guards = Guards()
    guards.failures.add(1, 5)
    cases.variants.guards["toy"] = ("2", guards.rates)
    cases.challengers["toy"].revert("3-abc", "failed 2 of 2 requests")

    answer = client.get(PATH, headers={"Accept-Language": "ko"}).json()
    assert answer["rollout"]["reasons"][0].startswith("2일 블록 6개를 판정")
    assert (answer["rollout"]["days_left"], len(answer["rollout"]["looks"])) == (23, 3)
    service = answer["service"]
    assert service["reverted"] == "failed 2 of 2 requests"
    sides = [(side["role"], side["version"], side["requests"]) for side in service["variants"]]
    assert sides == [("champion", "1", 95), ("rollout", "2", 5)]  # version 7's was another rollout
    challenger = service["variants"][1]
    assert challenger["fallbacks"] == 1 and 0.002 < challenger["seconds_p99"] < 0.005
    assert service["shadow"]["dropped"] == 4
    by_name = {guard["guard"]: guard for guard in service["guards"]}
    assert (by_name["failures"]["bad"], by_name["failures"]["trials"]) == (1, 5)
    assert 0 < by_name["failures"]["evidence"] < 1 and by_name["latency"]["evidence"] == 0


@pytest.mark.parametrize("do", ["advance", "hold", "resume", "revert"])
def test_what_an_operator_asks_is_a_run_of_the_flow(
    tmp_path: Path, prefect: PrefectServer, do: str
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    asked = {"do": do, "why": "a\nfreeze", "by": "Kim", "rollout": "3-abc"}
    answer = client_of(tmp_path, prefect.url).post(PATH, json=asked)
    assert answer.status_code == 202 and answer.json()["page"].endswith(answer.json()["run"])
    assert prefect.started == [{"use_case": "toy", "do": do, "by": "Kim", "why": "a freeze"}]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"do": "advance"}, 422),
        ({"do": "advance", "why": " "}, 422),
        ({"do": "look", "why": "x"}, 422),
        ({"do": "revert", "why": "x", "who": "y"}, 422),
        ({"do": "revert", "why": "x", "rollout": "2-of-before"}, 409),
        ({"do": "advance", "why": "x", "rollout": "3-abc", "stage": 0, "step": 1}, 409),
    ],
)
def test_what_cannot_be_asked_is_refused(
    tmp_path: Path, prefect: PrefectServer, asked: dict[str, str], status: int
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    answer = client_of(tmp_path, prefect.url).post(PATH, json=asked)
    assert answer.status_code == status and prefect.started == []


def test_an_ended_rollout_is_not_steered(tmp_path: Path, prefect: PrefectServer) -> None:
    write_rollout(tmp_path / "lake", 50, "reverted", began(CANARY), "it failed")
    answer = client_of(tmp_path, prefect.url).post(PATH, json={"do": "hold", "why": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "moved_on")
    assert prefect.started == []


def test_without_its_deployment_or_prefect_nothing_is_promised(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    prefect.deployments.clear()
    for url, code in ((prefect.url, "no_deployment"), ("http://127.0.0.1:1/api", "prefect_away")):
        answer = client_of(tmp_path, url).post(PATH, json={"do": "hold", "why": "x"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, code)


def test_a_reader_s_key_sees_the_rollout_and_cannot_steer_it(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    write_rollout(tmp_path / "lake", 50, "began", began(CANARY))
    keys = tmp_path / "state" / "serving" / "keys.json"
    keys.parent.mkdir(parents=True)
    bearers = {
        name: {"Authorization": f"Bearer {put_key(keys, name=name, scopes=[name])}"}
        for name in ("predict", "operate", "decide")
    }
    client = client_of(tmp_path, prefect.url, serving_require_keys=True)
    seen = {name: client.get(PATH, headers=key).status_code for name, key in bearers.items()}
    assert (seen["predict"], seen["operate"]) == (403, 200)
    asked = {"do": "revert", "why": "calls from customers"}
    steered = {
        name: client.post(PATH, json=asked, headers=key).status_code
        for name, key in bearers.items()
    }
    assert steered == {"predict": 403, "operate": 403, "decide": 202}
    assert [run["by"] for run in prefect.started] == ["decide"]
