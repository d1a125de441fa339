"""Dask's scheduler and workers on ECS: none by default; what is planned is run here."""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.fixtures.processes import free_port, wait_until
from tests.infra.containers import Container, parameters, task_containers
from tests.infra.terraform import Plan, Stack, TerraformError

SERVICES = ("search-scheduler", "search-worker")


@pytest.fixture(scope="module")
def searching(known_cluster: Stack) -> Plan:
    return known_cluster.plan(search_workers={"count": 3, "memory": 2048})


def services(plan: Plan) -> dict[str, dict[str, Any]]:
    planned = plan.planned("aws_ecs_service").values()
    return {service["name"]: service for service in planned}


def test_without_workers_there_is_no_scheduler_either(cluster_plan: Plan) -> None:
    assert not set(SERVICES) & set(services(cluster_plan))
    assert "LAUREL_DASK_ADDRESS" not in parameters(cluster_plan)
    assert not [name for name in cluster_plan.changes if "search" in name]


def test_workers_come_as_many_as_asked_on_the_instances_of_flow_runs(searching: Plan) -> None:
    planned = services(searching)
    assert [planned[name]["desired_count"] for name in SERVICES] == [1, 3]
    flows = {
        provider["name"]
        for provider in searching.planned("aws_ecs_capacity_provider").values()
        if provider["name"].endswith("flows")
    }
    for name in SERVICES:
        strategies = planned[name]["capacity_provider_strategy"]
        assert {strategy["capacity_provider"] for strategy in strategies} == flows
    assert parameters(searching)["LAUREL_DASK_ADDRESS"] == (
        "tcp://search-scheduler.laurel.internal:8786"
    )


def test_only_flow_runs_and_workers_reach_the_scheduler(searching: Plan) -> None:
    rules = {
        rule["description"]: (rule["from_port"], rule["to_port"])
        for address, rule in searching.planned("aws_vpc_security_group_ingress_rule").items()
        if ".search[" in address
    }
    assert rules == {
        "flow-runs to scheduler": (8786, 8786),
        "workers to scheduler": (8786, 8786),
        "scheduler to workers": (9000, 9001),
        "workers to workers": (9000, 9001),
    }


@pytest.mark.parametrize("wrong", [{"count": -1, "memory": 2048}, {"count": 1, "memory": 100}])
def test_what_cannot_work_is_refused_by_plan(known_cluster: Stack, wrong: dict[str, int]) -> None:
    with pytest.raises(TerraformError, match="search_workers"):
        known_cluster.plan(search_workers=wrong)


@pytest.fixture(scope="module")
def containers(searching: Plan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Container]:
    """With this machine's ports for those of their own addresses."""
    folder = tmp_path_factory.mktemp("search")
    ports = {port: str(free_port()) for port in ("8786", "9000", "9001")}
    found = {}
    for service in SERVICES:
        container = task_containers(searching, f"laurel-{service}", {}, folder)[service]
        text = json.dumps([container.line, container.health])
        for port, own in ports.items():
            text = text.replace(port, own)
        text = text.replace("search-scheduler.laurel.internal", "127.0.0.1")
        line, health = json.loads(text)
        environment = {**container.environment, "TMPDIR": str(folder)}
        found[service] = Container(service, line, environment, health, container.folder)
    return found


@pytest.fixture(scope="module")
def address(containers: dict[str, Container]) -> Iterator[str]:
    scheduler = containers["search-scheduler"]
    assert not scheduler.is_healthy()
    with ExitStack() as running:
        wait_until(running.enter_context(scheduler.running()).is_well, "Dask's scheduler is well")
        running.enter_context(containers["search-worker"].running())
        yield containers["search-worker"].line[3]


def test_a_worker_of_the_plan_finds_its_scheduler_and_has_laurel(address: str) -> None:
    from distributed import Client

    with Client(address, timeout=120, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=120)
        client.run(exec, "import tasks.models.dask_workers")
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["nthreads"] == 1
        assert worker["memory_limit"] == int(2048 * 0.85) * 2**20
        assert len(client.run(os.getpid)) == 1
