"""The stack of this folder, and the deployments that a module asks for."""

from collections.abc import Iterator

import pytest

from blocks.settings import Settings
from deployments.local import stack as local
from tests.conftest import FIXTURES, LocalSettings
from tests.fakes.slack import SlackServer


@pytest.fixture(scope="package")
def guarded_stack(
    local_settings: LocalSettings, tmp_path_factory: pytest.TempPathFactory, slack: SlackServer
) -> Iterator[Settings]:
    """The whole stack without deployments. It listens on every address, as one that others reach:
    nobody gave it passwords, so it made its own.
    """
    settings = local.up(
        local_settings(
            tmp_path_factory.mktemp("guarded"),
            host="0.0.0.0",
            PYTHONPATH=str(FIXTURES),
            serving_use_cases="toy,toy_easy,toy_retrain",
            serving_poll_seconds=3.0,
            log_flush_seconds=1.0,
            slack_token=slack.token,
            slack_api_url=slack.url,
        )
    )
    yield settings
    local.down(settings)


@pytest.fixture(scope="module")
def deployed_cases(request: pytest.FixtureRequest) -> Iterator[None]:
    """Only the module's ``DEPLOYED`` are applied: each use case has twelve deployments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deployments.apply.command.known", lambda: sorted(request.module.DEPLOYED))
        yield
