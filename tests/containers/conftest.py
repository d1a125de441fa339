"""The real ``laurel-serving`` on a Docker engine. `make images-test` runs it; `make test` leaves
this folder out, since it builds an image.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from tests.containers.container import Container, docker
from tests.fixtures.collecting import is_named

IMAGE = "laurel-serving:test"
DOCKERFILE = REPOSITORY / "infra" / "images" / "serving" / "Dockerfile"
Run = Callable[..., Container]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collected only if this folder, or a file in it, is named."""
    return None if is_named(Path(__file__).parent, config) else True


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine that answers."""
    try:
        docker("version")
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(
            f"No Docker engine answers ({error}). Install Docker, start it, and see that "
            "`docker version` names a server."
        )


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image, built from this checkout."""
    docker("build", "--tag", IMAGE, "--file", str(DOCKERFILE), str(REPOSITORY))
    return IMAGE


@pytest.fixture
def run(image: str, volume: str) -> Iterator[Run]:
    """``run("serve", environment={...}, volumes={...})``: a container, hardened as in the
    manifests; removed before ``volume``.
    """
    started: list[Container] = []

    def start(
        *arguments: str,
        environment: dict[str, str] | None = None,
        volumes: dict[str, str] | None = None,
    ) -> Container:
        started.append(Container.start(image, arguments, environment or {}, volumes or {}))
        return started[-1]

    yield start
    for container in started:
        container.remove()


@pytest.fixture
def volume(image: str) -> Iterator[str]:
    """A volume that outlives containers."""
    name = docker("volume", "create").strip()
    yield name
    docker("volume", "rm", "--force", name)


@pytest.fixture(autouse=True, scope="module")
def trusting(all_authorities: None) -> None:
    """Programs here load packages, providers or images."""
