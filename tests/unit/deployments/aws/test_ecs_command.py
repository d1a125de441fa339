"""A command inside the cluster, on moto's ECS, with an agent that really runs it and passes its
output to CloudWatch.
"""

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from deployments.aws.ecs_command import Cluster, CommandLost, main
from deployments.runs.run_report import FromLines, as_lines

pytestmark = pytest.mark.slow("starts a stand-in of AWS")

REGION, ACCOUNT = "eu-central-1", "123456789012"


@dataclass
class Cloud:
    """The stack ``laurel`` as a command sees it, and an agent that runs tasks as an instance's
    agent would.
    """

    ecs: Any
    logs: Any
    ssm: Any
    ended: threading.Event = field(default_factory=threading.Event)
    lost: bool = False
    slow: bool = False

    def build(self) -> None:
        """The parts of Terraform's stack that a command needs, and an instance in the cluster."""
        from moto.ec2.utils import generate_instance_identity_document

        ec2 = boto3.client("ec2")
        vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/20")["Subnet"]["SubnetId"]
        group = ec2.create_security_group(GroupName="flows", Description="flows", VpcId=vpc)[
            "GroupId"
        ]
        self.ecs.create_cluster(clusterName="laurel")
        image = ec2.describe_images()["Images"][0]["ImageId"]
        started = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, InstanceType="m6i.large")
        machine = boto3.resource("ec2").Instance(started["Instances"][0]["InstanceId"])
        document = json.dumps(generate_instance_identity_document(machine))
        self.ecs.register_container_instance(cluster="laurel", instanceIdentityDocument=document)
        container = {
            "name": "command",
            "image": "laurel-flows:1",
            "essential": True,
            "cpu": 256,
            "memory": 512,
        }
        self.ecs.register_task_definition(
            family="laurel-command", networkMode="awsvpc", containerDefinitions=[container]
        )
        self.logs.create_log_group(logGroupName="/laurel/command")
        values = {
            "LAUREL_ECS_CLUSTER": "laurel",
            "LAUREL_ECS_SUBNETS": subnet,
            "LAUREL_ECS_SECURITY_GROUPS": group,
        }
        # More than a page of parameters, as a real stack has.
        for name, value in {
            **{f"LAUREL_OTHER_{number}": "x" for number in range(15)},
            **values,
        }.items():
            self.ssm.put_parameter(Name=f"/laurel/config/{name}", Value=value, Type="String")

    def watch(self) -> None:
        finished: set[str] = set()
        while not self.ended.is_set():
            for arn, task in list(_tasks().items()):
                if arn not in finished and task.last_status != "STOPPED" and not self.slow:
                    finished.add(arn)
                    self._run(arn, task)
            time.sleep(0.05)

    def _run(self, arn: str, task: Any) -> None:
        if self.lost:
            del task.containers[0].exitCode
            self.ecs.stop_task(
                cluster="laurel", task=arn, reason="CannotPullContainerError: no such image"
            )
            return
        (override,) = task.overrides["containerOverrides"]
        process = subprocess.run(
            [sys.executable, *override["command"][1:]], capture_output=True, text=True, check=False
        )
        stream = {
            "logGroupName": "/laurel/command",
            "logStreamName": f"command/command/{arn.rpartition('/')[2]}",
        }
        # Like Docker's log driver: one event per line, and none for an empty line.
        events = [
            {"timestamp": int(time.time() * 1000), "message": line}
            for line in process.stdout.splitlines()
            if line
        ]
        self.logs.create_log_stream(**stream)
        if events:
            self.logs.put_log_events(**stream, logEvents=events)
        task.containers[0].exitCode = process.returncode
        self.ecs.stop_task(cluster="laurel", task=arn, reason="Essential container in task exited")


def _tasks() -> dict[str, Any]:
    """The cluster's tasks by their ARN, as moto keeps them."""
    from moto.ecs.models import ecs_backends

    return ecs_backends[ACCOUNT][REGION].tasks.get("laurel", {})


@pytest.fixture(scope="module")
def stack() -> Iterator[Cloud]:
    from moto.server import ThreadedMotoServer

    with pytest.MonkeyPatch.context() as variables:
        variables.setattr(Cluster.run, "__defaults__", (0.2,))  # seconds between looks
        server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        server.start()
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        credentials = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }
        for name, value in {
            **credentials,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            variables.setenv(name, value)
        # Each time that a moto task is described it moves a step towards its end, unless it is set
        # to stay.
        stay = {"model_name": "ecs::task", "transition": {"progression": "manual", "times": 10_000}}
        httpx.post(f"{url}/moto-api/state-manager/set-transition", json=stay).raise_for_status()
        cloud = Cloud(*(boto3.client(service) for service in ("ecs", "logs", "ssm")))
        cloud.build()
        agent = threading.Thread(target=cloud.watch, daemon=True)
        agent.start()
        yield cloud
        cloud.ended.set()
        agent.join()
        httpx.post(
            f"{url}/moto-api/state-manager/unset-transition", json={"model_name": "ecs::task"}
        ).raise_for_status()
        httpx.post(f"{url}/moto-api/reset").raise_for_status()
        server.stop()


@pytest.fixture
def cloud(stack: Cloud) -> Cloud:
    stack.lost = stack.slow = False
    return stack


def run(code: str, timeout_seconds: float = 60) -> tuple[int, list[str]]:
    lines: list[str] = []
    arguments = {"timeout_seconds": timeout_seconds, "poll_seconds": 0.05}
    return Cluster("laurel", boto3.client).run(
        ["python", "-c", code], lines.append, **arguments
    ), lines


@pytest.mark.parametrize("code", [0, 3])
def test_output_and_exit_code_of_the_command_come_back(code: int, cloud: Cloud) -> None:
    assert run(f"print('one\\n\\ntwo')\nraise SystemExit({code})") == (code, ["one", "two"])


def test_long_output_comes_whole_and_in_order(cloud: Cloud) -> None:
    assert run("for number in range(2500): print(number)") == (
        0,
        [str(number) for number in range(2500)],
    )


def test_command_that_never_ran_is_no_success(cloud: Cloud) -> None:
    cloud.lost = True
    with pytest.raises(
        CommandLost,
        match="never ran, or its task was removed: CannotPullContainerError: no such image",
    ):
        run("print(1)")


def test_command_that_does_not_end_in_time_is_stopped(cloud: Cloud) -> None:
    cloud.slow = True
    with pytest.raises(CommandLost, match="did not end within 0.2 s and was stopped"):
        run("print(1)", timeout_seconds=0.2)
    assert {task.last_status for task in _tasks().values()} == {"STOPPED"}


def test_stack_that_is_not_there_is_said(cloud: Cloud) -> None:
    with pytest.raises(
        CommandLost,
        match=(
            "has no LAUREL_ECS_CLUSTER, LAUREL_ECS_SUBNETS, LAUREL_ECS_SECURITY_GROUPS under "
            "/elsewhere/config"
        ),
    ):
        Cluster("elsewhere", boto3.client).run(["true"], print, 1)


def test_report_of_the_command_gets_into_the_file_and_not_into_the_log(
    cloud: Cloud, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = "## flights: won\n\n| a | b |\n\n" + "ü€ long\n" * 3000
    code = (
        "from deployments.runs.run_report import as_lines\nprint('working')\n"
        f"print('\\n'.join(as_lines({report!r})))"
    )
    assert (
        main(["laurel", "--report", str(tmp_path / "report.md"), "--", "python", "-c", code]) == 0
    )
    assert (tmp_path / "report.md").read_text() == report
    assert capsys.readouterr().out == "working\n"


def test_report_of_a_command_that_never_ran_says_so(cloud: Cloud, tmp_path: Path) -> None:
    cloud.lost = True
    assert main(["laurel", "--report", str(tmp_path / "report.md"), "--", "python", "-c", "1"]) == 1
    assert "did not finish.** The command never ran" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("text", ["", "x", "ü" * 700, "a\n\n\nb\n"])
def test_lines_of_a_report_are_its_text_again(text: str) -> None:
    report = FromLines()
    assert (
        all(report.take(line) and len(line) < 1100 for line in as_lines(text))
        and report.text == text
    )
    assert not report.take("reporting: nothing")
