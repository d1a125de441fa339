"""What integration tests share: the deployments on the stack, the stack's environment in this
process, and a small registry.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blocks.settings import Settings
from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.toy_services import toy_registry, two_toys

if TYPE_CHECKING:
    from tests.integration.planting import Loop


@pytest.fixture(scope="session")
def applied(stack: Settings, request: pytest.FixtureRequest) -> Settings:
    """The stack with the deployments of flights and of ``toy``.

    The run of ``test_watchdog.py`` takes minutes, in which it sleeps: it begins here, beside the
    other tests."""
    from prefect.client.orchestration import SyncPrefectClient

    from tests.fixtures.deployed import deploy

    watched = any("test_watchdog" in item.nodeid for item in request.session.items)
    deploy(stack, "flights", "toy", *(["toy_long"] if watched else []))
    if watched:
        with SyncPrefectClient(stack.prefect_api_url) as prefect:
            prefect.create_flow_run_from_deployment(
                prefect.read_deployment_by_name("retrain/toy_long").id,
                parameters={"reason": "a test"},
            )
    return stack


@pytest.fixture(scope="module")
def loop(applied: Settings, slack: SlackServer, request: pytest.FixtureRequest) -> Iterator["Loop"]:
    """The stack as a flow run sees it: flows that are called here run in this process, against the
    stack's servers.

    A module whose runs are started by others (the worker, an automation, a person) names their use
    cases in ``DEPLOYED``."""
    from tests.fixtures.deployed import deploy
    from tests.integration.planting import Loop

    if use_cases := getattr(request.module, "DEPLOYED", ()):
        deploy(applied, *use_cases)
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
