"""A challenger answers some callers of a real service: who meets it, what callers notice when it is
sick, and how every worker and each restart forgets it."""

import json
import math
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.balanced import BalancedCallers
from tests.fixtures.callers import Callers
from tests.fixtures.packages import (
    FEATURES,
    OUTPUTS,
    SMOKE_ROWS,
    Feature,
    PackageKind,
    expected_score,
    model,
    write_leaking_package,
    write_package,
    write_slow_package,
)
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.rollout_ledger import CANARY, began, write_rollout

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
SICK_ROW = {**ROW, "wind": -1000.0}  # the root of a negative number is none
ALIAS = ("toy", "rollout")


def rooted(folder: Path) -> str:
    """Version 3 passes its smoke rows, and fails windy ones."""
    margins = [-math.log(1 / expected_score(row) - 1) for row in SMOKE_ROWS]
    scores = [math.sqrt(margin) for margin in margins]
    return write_package(folder, kind=PackageKind(OUTPUTS, model(0.0, last="Sqrt"), scores, 0.5))


def broken(folder: Path) -> str:
    """Version 6 is whole, and no model."""
    return write_package(folder, kind=PackageKind(OUTPUTS, b"no model", [0.5, 0.5], 0.5))


def with_a_column_more(folder: Path) -> str:
    """Version 4 asks for a column that today's callers do not send."""
    more = [Feature("gate", "number", nullable=False), *FEATURES[1:]]
    rows = [{"gate": 1.0, "distance": row["distance"], "wind": row["wind"]} for row in SMOKE_ROWS]
    margins = [0.5 + 0.001 * row["distance"] + 0.05 * (row["wind"] or 0.0) for row in rows]
    scores = [1 / (1 + math.exp(-margin)) for margin in margins]
    kind = PackageKind(OUTPUTS, model(0.0), scores, 0.5)
    return write_package(folder, features=more, smoke_rows=rows, kind=kind)


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in (1, 2):
            server.register(
                "toy", version, lambda folder, bias=version: write_package(folder, bias=float(bias))
            )
        server.register("toy", 3, rooted)
        server.register("toy", 4, with_a_column_more)
        server.register("toy", 5, write_slow_package)
        server.register("toy", 6, broken)
        server.register("toy", 7, write_leaking_package)  # needs more memory than there is
        server.crown("toy", 1)
        yield server


def roll_out(mlflow: RegistryServer, version: int, share: float, **terms: str) -> None:
    tag = {"id": "first", "kind": "canary", "share": share, **terms}
    mlflow.versions["toy", version]["laurel.rollout"] = json.dumps(tag)
    mlflow.aliases[ALIAS] = version


def version_for(service: ServiceProcess, row: dict[str, Any] = ROW, **headers: str) -> str:
    answer = service.client.post("/v1/toy/predict", json={"rows": [row]}, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model_version"])


def versions(service: ServiceProcess, callers: int = 60) -> list[str]:
    return [version_for(service, **{"X-Caller": str(caller)}) for caller in range(callers)]


def fallbacks(service: ServiceProcess) -> int:
    """What the challenger failed and the champion answered, as the route of the rollout tells."""
    sides = service.client.get("/v1/toy/rollout").json()["service"]["variants"]
    return sum(side["fallbacks"] for side in sides if side["role"] == "rollout")


def wait_for_share(service: ServiceProcess, version: str, least: int, most: int = 60) -> None:
    wait_until(
        lambda: least <= versions(service).count(version) <= most,
        f"{least} to {most} of 60 callers meet version {version}",
    )


def figure(metrics: str, series: str) -> float:
    (line,) = [line for line in metrics.splitlines() if line.startswith(series)]
    return float(line.rpartition(" ")[2])


def test_a_caller_stays_on_one_side_while_the_share_grows_and_through_restarts(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 2, 0.25, header="x-caller")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_share(service, "2", 5, 25)
        first = versions(service)
        assert first == versions(service)
        roll_out(mlflow, 2, 0.75, header="x-caller")
        wait_for_share(service, "2", 30, 55)
        later = versions(service)
    assert all(after == "2" for before, after in zip(first, later, strict=True) if before == "2")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        wait_for_share(service, "2", 30, 55)
        assert versions(service) == later
        del mlflow.aliases[ALIAS]
        wait_for_share(service, "2", 0, 0)


def test_a_field_of_the_row_keeps_a_caller_on_one_side_in_every_form(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 2, 0.5, field="distance")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        rows = [{**ROW, "distance": float(distance)} for distance in range(40)]

        def sides() -> list[str]:
            return [version_for(service, row) for row in rows]

        wait_until(lambda: 5 <= sides().count("2") <= 35, "some callers meet version 2")
        first = sides()
        assert sides() == first
        for row, version in zip(rows, first, strict=True):
            csv = service.client.post(
                "/v1/toy/predict",
                content=f"carrier,distance,wind\nAA,{int(row['distance'])},3\n",
                headers={"Content-Type": "text/csv", "Accept": "text/csv"},
            )
            assert csv.text.splitlines()[1].endswith(f",{version}")


def test_without_the_key_each_request_is_routed_on_its_own(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 2, 0.5, header="x-user", field="wind")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_until(
            lambda: {version_for(service, {**ROW, "wind": None}) for _ in range(20)} == {"1", "2"},
            "both sides answer",
        )
        assert len({version_for(service, **{"X-User": "ann"}) for _ in range(20)}) == 1
        calm = {**ROW, "wind": None}
        empty = {version_for(service, calm, **{"X-User": ""}) for _ in range(20)}
        assert empty == {"1", "2"}, "an empty key is none"


@pytest.mark.parametrize("tag", [None, "{"])
@pytest.mark.nightly("a further variant", only=("None",))
def test_terms_that_become_unreadable_end_the_rollout_until_they_are_readable_again(
    mlflow: RegistryServer, tmp_path: Path, tag: str | None
) -> None:
    slack = SlackServer()
    with (
        slack,
        ServiceProcess(
            tmp_path, mlflow.url, slack_token=slack.token, slack_api_url=slack.url
        ) as service,
    ):
        service.wait_for_version("1")
        roll_out(mlflow, 2, 1.0)
        wait_for_share(service, "2", 60)
        del mlflow.versions["toy", 2]["laurel.rollout"]
        if tag is not None:
            mlflow.versions["toy", 2]["laurel.rollout"] = tag
        wait_for_share(service, "2", 0, 0)
        wait_until(lambda: bool(slack.messages), "people hear of it")
        assert "version 2 cannot be served" in slack.messages[0]["text"]
        roll_out(mlflow, 2, 1.0)
        wait_for_share(service, "2", 60)
        assert len(slack.messages) == 1


def test_every_form_of_request_is_routed(mlflow: RegistryServer, tmp_path: Path) -> None:
    roll_out(mlflow, 2, 1.0)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_share(service, "2", 60)
        csv = service.client.post(
            "/v1/toy/predict",
            content="carrier,distance,wind\nAA,800,3\n",
            headers={"Content-Type": "text/csv", "Accept": "text/csv"},
        )
        assert csv.text.splitlines()[1].endswith(",2")
        tensors = {
            "inputs": [
                {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["AA"]},
                {"name": "distance", "datatype": "FP64", "shape": [1], "data": [800.0]},
                {"name": "wind", "datatype": "FP64", "shape": [1], "data": [3.0]},
            ]
        }
        answer = service.client.post("/v2/models/toy/infer", json=tensors)
        assert answer.json()["model_version"] == "2", answer.text
        chosen = service.client.post("/v2/models/toy/versions/1/infer", json=tensors)
        assert chosen.json()["model_version"] == "1", "the caller named the champion"
        many = service.client.post("/v1/toy/predict", json={"rows": [ROW] * 5})
        sent = {"feedback": [{"id": many.json()["predictions"][0]["id"], "reward": 12.5}]}
        assert service.client.post("/v1/toy/feedback", json=sent).status_code == 200
        service.wait_until_uploaded()
        logged = service.in_lake("predictions")
        places = {row["id"]: row["caller_hash"] for row in logged}
        assert {row["model_version"] for row in logged} == {"1", "2"}
        unknown = [row for row in logged if row["caller_hash"] is None]
        assert all(row["model_version"] == "1" for row in unknown), "the split sent nobody there"
        assert len({places[one["id"]] for one in many.json()["predictions"]}) == 1, "one caller"
        (rewarded,) = service.in_lake("feedback")
        assert (rewarded["reward"], rewarded["label"]) == (12.5, None)


@pytest.mark.parametrize(("sick", "row"), [(3, SICK_ROW), (4, ROW), (7, {**ROW, "wind": 1e9})])
@pytest.mark.nightly("further variants", only=("4-row1", "7-row2"))
def test_a_sick_challenger_is_reverted_and_no_request_fails(
    mlflow: RegistryServer, tmp_path: Path, sick: int, row: dict[str, Any]
) -> None:
    slack = SlackServer()
    begun = replace(began(CANARY), id="first")
    write_rollout(tmp_path / "lake", 50, "began", begun, version=str(sick))
    with (
        slack,
        ServiceProcess(
            tmp_path,
            mlflow.url,
            serving_workers=2,
            slack_token=slack.token,
            slack_api_url=slack.url,
        ) as service,
    ):
        service.wait_for_version("1", workers=2)
        with Callers(str(service.client.base_url), row, 8) as callers:
            callers.wait_for(50)
            roll_out(mlflow, sick, 0.5)
            wait_until(lambda: bool(slack.messages), "people hear of the revert")
            callers.wait_for(200)
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        assert "was reverted" in slack.messages[0]["text"]
        assert len(slack.messages) == 1
        # The route tells it before the flow records it, with the counts of both workers.
        wait_until(lambda: fallbacks(service) >= 2, "the workers have published")
        shown = service.client.get("/v1/toy/rollout").json()
        assert shown["rollout"]["is_running"] and shown["service"]["reverted"].startswith("failed ")
    # The registry still names it, and a restart does not try it again.
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        assert set(versions(service, 20)) == {"1"}
        roll_out(mlflow, 2, 1.0, id="second")
        wait_for_share(service, "2", 60)


def test_a_challenger_that_cannot_be_loaded_meets_nobody_and_is_told_once(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    slack = SlackServer()
    with (
        slack,
        ServiceProcess(
            tmp_path,
            mlflow.url,
            serving_workers=2,
            slack_token=slack.token,
            slack_api_url=slack.url,
        ) as service,
    ):
        service.wait_for_version("1", workers=2)
        with Callers(str(service.client.base_url), ROW, 4) as callers:
            roll_out(mlflow, 6, 1.0)
            wait_until(lambda: bool(slack.messages), "people hear of it")
            callers.wait_for(100)
        assert not callers.refused and not callers.broken
        assert {prediction.version for prediction in callers.predictions} == {"1"}
        assert "version 6 cannot be served" in slack.messages[0]["text"]
        assert "The champion answers all." in slack.messages[0]["text"]
        roll_out(mlflow, 2, 1.0, id="second")  # the next one is not held up by it
        wait_for_share(service, "2", 60)
        assert len(slack.messages) == 1


def test_a_version_that_is_or_becomes_champion_answers_as_champion(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 1, 1.0)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        known = 'state="running",use_case="toy",version="1"'
        wait_until(lambda: known in service.client.get("/metrics").text, "it is looked at")
        assert set(versions(service, 20)) == {"1"}
        roll_out(mlflow, 2, 0.5, header="x-caller")
        wait_for_share(service, "2", 15, 45)
        mlflow.crown("toy", 2)
        service.wait_for_version("2")
        latest = service.predict(ROW)["predictions"][0]["id"]
        service.wait_until_uploaded()
        roles = {row["id"]: row["role"] for row in service.in_lake("predictions")}
        assert roles[latest] == "champion"
        assert set(versions(service)) == {"2"}
        metrics = service.client.get("/metrics").text
        answered_by = 'laurel_rollout_requests_total{role="rollout",use_case="toy",version='
        assert f'{answered_by}"1"' not in metrics
        assert figure(metrics, f'{answered_by}"2"') > 0


def test_a_slow_challenger_is_reverted_and_the_variants_are_counted(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        roll_out(mlflow, 2, 0.5)
        wait_for_share(service, "2", 15, 45)
        for _ in range(5):
            versions(service)
        assert "2" in versions(service), "one that is as fast stays"
        metrics = service.client.get("/metrics").text
        for role, version in (("champion", "1"), ("rollout", "2")):
            labels = f'{{role="{role}",use_case="toy",version="{version}"}}'
            assert figure(metrics, f"laurel_rollout_requests_total{labels}") > 50
            assert figure(metrics, f"laurel_rollout_failures_total{labels}") == 0
            assert figure(metrics, f"laurel_rollout_scoring_seconds_count{labels}") > 50
        assert 'kind="canary",rollout="first",state="running",use_case="toy",version="2"' in metrics
        roll_out(mlflow, 5, 0.5, id="second")
        wait_for_share(service, "5", 1)
        wait_for_share(service, "5", 0, 0)
        metrics = service.client.get("/metrics").text
        reverts = 'laurel_rollout_reverts_total{use_case="toy",version="5"}'
        assert figure(metrics, reverts) == 1
        assert "times the champion's median time" in service.output.read_text()


@pytest.mark.parametrize("rows", [1, 100, 40_000])
@pytest.mark.nightly("further variants", only=("1", "40000"))
def test_the_champion_stands_in_for_requests_of_every_size(
    mlflow: RegistryServer, tmp_path: Path, rows: int
) -> None:
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        roll_out(mlflow, 3, 1.0)
        wait_for_share(service, "3", 60)
        answer = service.client.post(
            "/v1/toy/predict", json={"rows": [ROW] * (rows - 1) + [SICK_ROW]}, timeout=60
        )
        assert answer.status_code == 200, answer.text[:300]
        assert answer.json()["model_version"] == "1"
        assert len({each["id"] for each in answer.json()["predictions"]}) == rows


def test_requests_that_both_refuse_revert_nobody(mlflow: RegistryServer, tmp_path: Path) -> None:
    roll_out(mlflow, 2, 1.0)
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_share(service, "2", 60)
        for _ in range(50):
            bad = service.client.post("/v1/toy/predict", json={"rows": [{"carrier": 5}]})
            assert bad.status_code == 422
        assert version_for(service) == "2"


@pytest.mark.parametrize("tag", [None, "{", '{"id": "", "kind": "canary", "share": 0.5}'])
def test_a_version_without_terms_meets_nobody(
    mlflow: RegistryServer, tmp_path: Path, tag: str | None
) -> None:
    if tag is not None:
        mlflow.versions["toy", 2]["laurel.rollout"] = tag
    mlflow.aliases[ALIAS] = 2
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        before = len(mlflow.requests)
        wait_until(lambda: len(mlflow.requests) > before + 6, "the registry was asked again")
        assert set(versions(service, 20)) == {"1"}


def test_a_registry_that_goes_away_leaves_the_rollout_as_it_is(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    roll_out(mlflow, 2, 0.5, header="x-caller")
    with ServiceProcess(tmp_path, mlflow.url) as service:
        service.wait_for_version("1")
        wait_for_share(service, "2", 15, 45)
        before = versions(service)
        mlflow.broken = True
        asked = len(mlflow.requests)
        wait_until(lambda: len(mlflow.requests) > asked + 4, "the registry was asked in vain")
        assert versions(service) == before


def test_a_revert_on_one_replica_ends_the_rollout_on_the_others(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    lake = f"file://{tmp_path / 'lake'}"
    roll_out(mlflow, 3, 1.0)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        ServiceProcess(tmp_path / "one", mlflow.url, lake=lake) as one,
        ServiceProcess(tmp_path / "two", mlflow.url, lake=lake) as two,
    ):
        for service in (one, two):
            service.wait_for_version("1")
            wait_for_share(service, "3", 60)
        mlflow.broken = True  # the registry cannot tell them
        for _ in range(100):  # it fails later than at once
            assert version_for(one) == "3"
        for _ in range(20):
            assert version_for(one, SICK_ROW) == "1"
        wait_for_share(one, "3", 0, 0)
        wait_for_share(two, "3", 0, 0)
        mlflow.broken = False
        before = len(mlflow.requests)
        wait_until(lambda: len(mlflow.requests) > before + 8, "the registry was asked again")
        assert set(versions(two, 20)) == {"1"}
        assert "was reverted elsewhere" in two.output.read_text()
    revert = json.loads((tmp_path / "lake/rollouts/toy/first/reverted.json").read_text())
    assert revert["version"] == "3" and revert["reason"].startswith("failed ")


@pytest.mark.nightly("seven processes of the service; that each waits is in tests/unit")
def test_callers_stay_on_their_side_while_replicas_are_replaced_one_by_one(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    """One comes back with its disk, the other as a new container does, without one."""
    roll_out(mlflow, 2, 0.5, header="x-caller")
    settings = {"lake": f"file://{tmp_path / 'lake'}", "serving_leave_seconds": 1}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with (
        ServiceProcess(tmp_path / "one", mlflow.url, **settings) as one,
        ServiceProcess(tmp_path / "two", mlflow.url, serving_workers=2, **settings) as two,
    ):
        for service, workers in ((one, 1), (two, 2)):
            service.wait_for_version("1", workers)
            wait_for_share(service, "2", 15, 45)
        assert versions(one) == versions(two)
        addresses = [str(service.client.base_url).rstrip("/") for service in (one, two)]
        with BalancedCallers(addresses, ROW, threads=4, callers=10) as callers:
            callers.wait_for(200)
            for service in (one, two):
                service.end(signal.SIGTERM)
                if service is two:
                    shutil.rmtree(tmp_path / "two" / "state")
                callers.wait_for(100)
                service.start()
                callers.wait_until_ready(2)
                callers.wait_for(200)
        assert not callers.failed
        assert {len(met) for met in callers.met.values()} == {1}, "a caller met both"
        assert set.union(*callers.met.values()) == {"1", "2"}
