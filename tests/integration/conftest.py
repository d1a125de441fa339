"""What integration tests share: the deployments on the stack, the stack's environment in this
process, and a small registry.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from blocks.settings import Settings
from tests import lanes
from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.toy_services import toy_registry, two_toys

if TYPE_CHECKING:
    from tests.integration.planting import Loop


@pytest.fixture(scope="session")
def applied(stack: Settings) -> Settings:
    """The stack with its pool, its blocks and one deployment; a module that needs others says so:
    each takes the server half a second.
    """
    from tests.fixtures.deployed import deploy

    deploy(stack, "toy", flows=("ingest",))
    return stack


@pytest.fixture(scope="session")
def long_run(applied: Settings) -> UUID:
    """The run of ``toy_long`` on the worker: it takes minutes, in which it sleeps."""
    from prefect.client.orchestration import SyncPrefectClient

    from tests.fixtures.deployed import deploy

    deploy(applied, "toy_long", flows=("retrain", "close_lost_run"))
    with SyncPrefectClient(applied.prefect_api_url) as prefect:
        deployment = prefect.read_deployment_by_name("retrain/toy_long")
        return prefect.create_flow_run_from_deployment(
            deployment.id, parameters={"reason": "a test"}
        ).id


def begins_long_run(request: pytest.FixtureRequest) -> bool:
    """Whether ``long_run`` should sleep beside this module's tests, for ``test_watchdog.py`` at the
    lane's end. ``test_apply.py`` applies everything again and again: it comes first, and goes
    without.
    """
    if lanes.module_of(request.node.nodeid).endswith("test_apply.py"):
        return False
    lane = getattr(request.config, "workerinput", {}).get("workerid", lanes.FIRST)
    collected = {lanes.module_of(item.nodeid) for item in request.session.items}
    return lane == lanes.FIRST and not collected.isdisjoint(lanes.FIRST_LANES)


@pytest.fixture(scope="module")
def loop(applied: Settings, slack: SlackServer, request: pytest.FixtureRequest) -> Iterator["Loop"]:
    """The stack as a flow run sees it: flows that are called here run in this process, against the
    stack's servers.

    A module whose runs are started by others (the worker, an automation, a person) names their use
    cases and flows in ``DEPLOYED``."""
    from tests.fixtures.deployed import deploy
    from tests.integration.planting import Loop

    if begins_long_run(request):
        request.getfixturevalue("long_run")
    for use_case, flows in getattr(request.module, "DEPLOYED", {}).items():
        deploy(applied, use_case, flows=flows)
    with Loop.on(applied, slack) as loop:
        yield loop


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A registry with one version of ``toy``, which is champion."""
    with toy_registry(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    """A registry with two versions of ``toy``, which score otherwise; the first is champion."""
    with two_toys(tmp_path / "artifacts", champion=1) as server:
        yield server
