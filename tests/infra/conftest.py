"""Terraform for real, at moto's server. Run by `make infra-test`; `make test` leaves this folder out, for it needs Terraform."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.aws import Aws, moto_server
from tests.infra.terraform import Terraform


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collected only where this folder, or a file in it, is asked for by name."""
    here = Path(__file__).parent
    asked = [Path(config.invocation_params.dir, argument.partition("::")[0]).resolve() for argument in config.args]
    return None if any(path == here or here in path.parents for path in asked) else True


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Moto's server, one for all stacks."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def terraform(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """``with terraform.applied("single", name="laurel") as stack: ...``"""
    if shutil.which("terraform") is None:
        pytest.fail("Terraform is not installed: https://developer.hashicorp.com/terraform/install (1.10 or newer).")
    return Terraform(aws, tmp_path_factory.mktemp("stacks"))
