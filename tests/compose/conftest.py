"""The real compose.yaml, as a separate project. `make compose-test` runs it; `make test` leaves
this folder out.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.stack import Stack
from tests.compose.traffic import Traffic
from tests.fixtures.collecting import is_named


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collected only if this folder, or a file in it, is named."""
    return None if is_named(Path(__file__).parent, config) else True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services, built from this checkout and healthy; whatever happens, they are removed with
    their data.
    """
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.fail(
            "No Docker engine answers here: `docker info` says why. `make compose-test` "
            "needs one, with Compose v2."
        )
    stack = Stack.made_in(tmp_path_factory.mktemp("compose"))
    try:
        stack.build()
        stack.up()
        yield stack
    except BaseException:
        print(stack.logs())
        raise
    finally:
        stack.down()


@pytest.fixture(scope="session")
def traffic(stack: Stack) -> Iterator[Traffic]:
    """Callers that request predictions from the first test that uses them to the end."""
    stack.insist_on_champion()
    with Traffic(stack.serving_url, stack.secrets["LAUREL_SERVING_KEY"]) as traffic:
        yield traffic


@pytest.fixture(autouse=True, scope="module")
def trusting(all_authorities: None) -> None:
    """Programs here load packages, providers or images."""
