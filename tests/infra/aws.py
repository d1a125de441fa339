"""The AWS of the tests: moto's server, clients for it, and a count of its resources."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

REGION = "us-east-1"
KEY = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
START_SECONDS = 60


@dataclass(frozen=True)
class Aws:
    """Moto's server at ``url``; it knows only its own account and invented credentials."""

    url: str

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.url, region_name=REGION, **KEY)

    def standing(self) -> Counter[str]:
        """The number of resources of each kind, however it was made: a destroy must restore the
        count.
        """
        return Counter(
            {f"{service} {kind}": count for service, kind, count in self._counts() if count}
        )

    def _counts(self) -> Iterator[tuple[str, str, int]]:
        for service, operation, key, kept in LISTS:
            yield (
                service,
                key,
                sum(1 for entry in self._entries(service, operation, key) if kept(entry)),
            )

    def _entries(self, service: str, operation: str, key: str) -> list[Any]:
        more = {"Scope": "Local"} if operation == "list_policies" else {}
        # The answer omits an empty list of queues.
        return list(getattr(self.client(service), operation)(**more).get(key, []))


def _any(entry: Any) -> bool:
    return True


def _alive(reservation: Any) -> bool:
    return any(instance["State"]["Name"] != "terminated" for instance in reservation["Instances"])


def _enabled(key: Any) -> bool:
    return not key.get("AliasName", "").startswith("alias/aws/")


# service, operation, key of its answer, and which entries count (terminated and built-in ones do
# not).
LISTS: list[tuple[str, str, str, Any]] = [
    ("s3", "list_buckets", "Buckets", _any),
    ("ec2", "describe_instances", "Reservations", _alive),
    ("ec2", "describe_volumes", "Volumes", _any),
    ("ec2", "describe_vpcs", "Vpcs", _any),
    ("ec2", "describe_subnets", "Subnets", _any),
    ("ec2", "describe_security_groups", "SecurityGroups", _any),
    ("ec2", "describe_nat_gateways", "NatGateways", lambda gateway: gateway["State"] != "deleted"),
    (
        "ec2",
        "describe_vpc_endpoints",
        "VpcEndpoints",
        lambda endpoint: endpoint["State"] != "deleted",
    ),
    ("ec2", "describe_addresses", "Addresses", _any),
    ("ec2", "describe_launch_templates", "LaunchTemplates", _any),
    ("iam", "list_roles", "Roles", _any),
    ("iam", "list_policies", "Policies", _any),
    ("iam", "list_instance_profiles", "InstanceProfiles", _any),
    ("iam", "list_open_id_connect_providers", "OpenIDConnectProviderList", _any),
    ("kms", "list_aliases", "Aliases", _enabled),
    ("logs", "describe_log_groups", "logGroups", _any),
    ("cloudwatch", "describe_alarms", "MetricAlarms", _any),
    ("cloudwatch", "list_dashboards", "DashboardEntries", _any),
    ("sns", "list_topics", "Topics", _any),
    ("sqs", "list_queues", "QueueUrls", _any),
    ("events", "list_rules", "Rules", _any),
    ("secretsmanager", "list_secrets", "SecretList", _any),
    ("ssm", "describe_parameters", "Parameters", lambda one: not one["Name"].startswith("/aws/")),
    ("backup", "list_backup_plans", "BackupPlansList", _any),
    ("backup", "list_backup_vaults", "BackupVaultList", _any),
    ("ecs", "list_clusters", "clusterArns", _any),
    ("ecr", "describe_repositories", "repositories", _any),
    ("autoscaling", "describe_auto_scaling_groups", "AutoScalingGroups", _any),
    ("elbv2", "describe_load_balancers", "LoadBalancers", _any),
    ("elbv2", "describe_target_groups", "TargetGroups", _any),
    ("rds", "describe_db_instances", "DBInstances", _any),
    ("lambda", "list_functions", "Functions", _any),
    ("sagemaker", "list_models", "Models", _any),
    ("sagemaker", "list_endpoint_configs", "EndpointConfigs", _any),
    ("sagemaker", "list_endpoints", "Endpoints", _any),
]


@contextmanager
def moto_server(folder: Path) -> Iterator[Aws]:
    """Moto's server on a free port of 127.0.0.1, while the context is open; its log is in
    ``folder``.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = folder / "moto.log"
    command = [
        str(Path(sys.executable).with_name("moto_server")),
        "-H",
        "127.0.0.1",
        "-p",
        str(port),
    ]
    # Otherwise a recording of requests would be a file in the checkout.
    environment = os.environ | {
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
        "MOTO_RECORDER_FILEPATH": str(folder / "recording"),
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=environment) as process,
    ):
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield Aws(url)
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/moto-api/data.json") as answer:
                json.load(answer)
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise RuntimeError(
        f"moto's server did not answer at {url} within {START_SECONDS} s. Its log:\n"
        f"{log.read_text()}"
    )
