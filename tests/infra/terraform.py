"""A stack of ``infra/terraform`` in its own folder, against moto's server: plan, apply, destroy.

The real program and the real provider run. A test-only override file makes moto's server the only
AWS that they know."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blocks.settings import REPOSITORY
from tests.infra.aws import REGION, Aws

INFRA = REPOSITORY / "infra"
# Nothing listens on the discard port: a request that does not go to moto's server goes nowhere.
NOWHERE = "http://127.0.0.1:9"
# What would change a command here; the rest (a mirror, a cache of plugins) belongs to the machine.
OF_A_USER = ("TF_VAR_", "TF_CLI_ARGS", "TF_DATA_DIR", "TF_WORKSPACE", "TF_LOG")
NOT_COPIED = shutil.ignore_patterns(
    ".terraform*", "*.tfstate*", "*.tfplan", "*.tfvars*", "__pycache__"
)

PROVIDER = """
terraform {
  backend "local" {}
}

provider "aws" {
  region                      = "%s"
  access_key                  = "testing"
  secret_key                  = "testing"
  profile                     = null
  skip_credentials_validation = true
  skip_metadata_api_check     = "true"
  s3_use_path_style           = true
  # moto's server answers unknown requests with 500, which the provider would otherwise retry for
  # minutes.
  max_retries                 = 2
}
"""

# For the stacks that have a lake; test_lake.py applies the module itself. The provider looks ten
# times, five seconds apart, whether a lifecycle stands, and moto's server forgets that EventBridge
# was switched on, so that each plan would switch it on again.
LAKE = """
resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  count = 0
}

resource "aws_s3_bucket_notification" "lake" {
  count = 0
}
"""


class TerraformError(Exception):
    """Terraform ended with an error; the message is its output."""


@dataclass(frozen=True)
class Plan:
    """``terraform show -json`` of a plan."""

    document: dict[str, Any]

    @property
    def changes(self) -> dict[str, list[str]]:
        """Address -> actions, for everything that changes."""
        by_address = {
            change["address"]: change["change"]["actions"]
            for change in self.document.get("resource_changes", [])
        }
        return {
            address: actions
            for address, actions in by_address.items()
            if actions not in (["no-op"], ["read"])
        }

    def planned(self, kind: str) -> dict[str, dict[str, Any]]:
        """Address -> planned attributes of each resource of the type ``kind``; unknown values are
        missing.
        """
        changes = self.document.get("resource_changes", [])
        return {
            resource_change["address"]: resource_change["change"]["after"]
            for resource_change in changes
            if resource_change["type"] == kind and resource_change["change"]["after"] is not None
        }


@dataclass
class Stack:
    """A copy of ``infra/`` whose folder ``name`` (below ``infra/terraform``) is worked in."""

    name: str
    copy: Path
    aws: Aws
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.copy / "terraform" / self.name

    def override(self, name: str, text: str) -> None:
        """Write ``<name>_override.tf``, which Terraform merges over the stack's own files."""
        (self.folder / f"{name}_override.tf").write_text(text)

    def init(self) -> None:
        plugins = os.environ.get("TF_PLUGIN_DIR")
        self.run(
            "init",
            "-input=false",
            *([f"-plugin-dir={plugins}"] if plugins else []),
            reach_out=not plugins,
        )

    def plan(self, **variables: Any) -> Plan:
        """Plan with the stack's variables and those given here, and keep it for ``apply``. Raises
        ``TerraformError``.
        """
        (self.folder / "test.auto.tfvars.json").write_text(json.dumps(self.variables | variables))
        self.run("plan", "-input=false", "-out=test.tfplan")
        return Plan(json.loads(self.run("show", "-json", "test.tfplan")))

    def apply(self, **variables: Any) -> Plan:
        """Plan, and apply that plan; the variables are kept for later commands. Raises
        ``TerraformError``.
        """
        plan = self.plan(**variables)
        self.variables |= variables
        self.run("apply", "-input=false", "test.tfplan")
        return plan

    def outputs(self) -> dict[str, Any]:
        return {
            name: output["value"]
            for name, output in json.loads(self.run("output", "-json")).items()
        }

    def destroy(self) -> None:
        self.run("destroy", "-input=false", "-auto-approve")

    def standing(self) -> list[str]:
        """Addresses in the state."""
        return (
            self.run("state", "list").splitlines()
            if (self.folder / "terraform.tfstate").exists()
            else []
        )

    def run(self, command: str, *arguments: str, reach_out: bool = False) -> str:
        """Standard output of ``terraform <command>``; ``reach_out``: it may download. Raises
        ``TerraformError``.
        """
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", *OF_A_USER))
        }
        environment |= {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws.url,
        }
        environment |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        if not reach_out:
            environment |= {"HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1"}
        process = subprocess.run(
            ["terraform", command, *(["-no-color"] if command != "state" else []), *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        if process.returncode:
            raise TerraformError(
                f"terraform {command} of {self.name} failed:\n{process.stdout}\n{process.stderr}"
            )
        return process.stdout


@dataclass(frozen=True)
class Terraform:
    """Makes stacks, each in its own folder below ``scratch``."""

    aws: Aws
    scratch: Path

    def stack(self, name: str, /, **variables: Any) -> Stack:
        """The stack or module ``infra/terraform/<name>``, copied and initialized, with nothing
        planned.
        """
        copy = self.scratch / f"{name.replace('/', '-')}-{len(list(self.scratch.iterdir()))}"
        shutil.copytree(INFRA, copy, ignore=NOT_COPIED)
        stack = Stack(name, copy, self.aws, variables)
        stack.override("provider", PROVIDER % REGION)
        if not name.startswith("modules/"):
            (copy / "terraform/modules/lake/lake_override.tf").write_text(LAKE)
        stack.init()
        return stack

    @contextmanager
    def applied(
        self, name: str, overrides: dict[str, str] | None = None, /, **variables: Any
    ) -> Iterator[Stack]:
        """The stack, applied; at the end it is destroyed, and nothing of it may be left.

        ``overrides``: texts by name, for ``Stack.override``: ``{"moto": 'resource "aws_x" "y" {
        count = 0 }'}``."""
        before = self.aws.standing()
        stack = self.stack(name, **variables)
        for file, text in (overrides or {}).items():
            stack.override(file, text)
        stack.apply()
        try:
            yield stack
        finally:
            stack.destroy()
        assert stack.standing() == []
        leftovers = self.aws.standing() - before
        assert not leftovers, f"terraform destroy of {name} left behind: {dict(leftovers)}"
