"""compose.yaml for real, under a project of its own. Run by `make compose-test`; `make test` leaves
this folder out.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.stack import Stack
from tests.compose.traffic import Traffic


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collected only where this folder, or a file in it, is asked for by name."""
    here = Path(__file__).parent
    asked = [
        Path(config.invocation_params.dir, argument.partition("::")[0]).resolve()
        for argument in config.args
    ]
    return None if any(path == here or here in path.parents for path in asked) else True


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All services, built from this checkout and healthy; taken down with all that they keep,
    whatever happens.
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
    """Callers who ask for predictions from the first test that wants them to the end."""
    stack.insist_on_champion()
    with Traffic(stack.serving_url, stack.secrets["LAUREL_SERVING_KEY"]) as traffic:
        yield traffic
