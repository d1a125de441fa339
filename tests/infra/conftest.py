"""Real Terraform against moto's server. `make infra-test` runs it; `make test` leaves this folder
out, since it needs Terraform.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.collecting import is_named
from tests.infra.aws import Aws, moto_server
from tests.infra.known import known
from tests.infra.terraform import Plan, Stack, Terraform

# The stacks' variables in the tests of their plans, with every part switched on.
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
CLUSTER = {
    "image_tag": "v1",
    "allowed_cidrs": ["203.0.113.0/24"],
    "alarm_email": "ml@example.org",
    "github": {"repository": "example/laurel", "terraform_policy_arns": {"plan": [READ_ONLY]}},
    "protect": False,
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collected only if this folder, or a file in it, is named."""
    return None if is_named(Path(__file__).parent, config) else True


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    """Moto's server, one for all stacks."""
    with moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def terraform(aws: Aws, tmp_path_factory: pytest.TempPathFactory) -> Terraform:
    """``with terraform.applied("single", name="laurel") as stack: ...``"""
    if shutil.which("terraform") is None:
        pytest.fail(
            "Terraform is not installed: https://developer.hashicorp.com/terraform/install "
            "(1.10 or newer)."
        )
    return Terraform(aws, tmp_path_factory.mktemp("stacks"))


@pytest.fixture(scope="session")
def known_cluster(terraform: Terraform) -> Stack:
    """The stack cluster without unknown values, for plans."""
    return known(terraform, "cluster", **CLUSTER)


@pytest.fixture(scope="session")
def cluster_plan(known_cluster: Stack) -> Plan:
    return known_cluster.plan()


@pytest.fixture(scope="session")
def single_plan(terraform: Terraform) -> Plan:
    """The plan of the stack single, its bucket and its volume known."""
    stack = known(
        terraform,
        "single",
        repository="https://git.example.org/laurel.git",
        revision="v1",
        name="laurel-box",
    )
    # Moto's server knows Amazon's images and not Canonical's.
    image = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    stack.override("image", f'data "aws_ssm_parameter" "ami" {{\n  name = "{image}"\n}}\n')
    # A plan shows only a digest of user data.
    (stack.folder / "cloud_init_output.tf").write_text(
        'output "cloud_init" {\n  value = local.cloud_init\n}\n'
    )
    return stack.plan()


@pytest.fixture(autouse=True, scope="module")
def trusting(all_authorities: None) -> None:
    """Programs here load packages, providers or images."""
