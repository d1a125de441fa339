"""The stack of this folder, and the deployments that a module asks for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.settings import Settings
from deployments.local import stack as local
from tests.conftest import FIXTURES, LocalSettings
from tests.fakes.slack import SlackServer
from tests.fixtures.prefect_database import lay_under_stack


@pytest.fixture(scope="package")
def guarded_stack(
    local_settings: LocalSettings,
    tmp_path_factory: pytest.TempPathFactory,
    slack: SlackServer,
    shared: Path | None,
) -> Iterator[Settings]:
    """The whole stack without deployments. It listens on every address, as one that others reach:
    nobody gave it passwords, so it made its own.
    """
    requested = local_settings(
        tmp_path_factory.mktemp("guarded"),
        host="0.0.0.0",
        PYTHONPATH=str(FIXTURES),
        serving_use_cases="toy,toy_easy,toy_retrain",
        serving_poll_seconds=3.0,
        log_flush_seconds=1.0,
        slack_token=slack.token,
        slack_api_url=slack.url,
    )
    lay_under_stack(requested.state, shared)
    settings = local.up(requested)
    yield settings
    local.down(settings)


@pytest.fixture(scope="module")
def deployed_cases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only the flows of the module's ``DEPLOYED`` are applied: each use case has twelve."""
    from tests.fixtures.deployed import applying

    with applying(request.module.DEPLOYED):
        yield
