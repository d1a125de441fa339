"""Run a command inside the cluster, which reaches Prefect and the services, and pass on its output
and exit code.

    python -m deployments.aws.ecs_command laurel -- \\
        python -m deployments.runs.run_and_wait --use-case flights

``laurel`` is the stack's name: its parameters /laurel/config/... name the cluster and network, the
task definition is laurel-command, the log group /laurel/command. AWS credentials come from the
default chain: in a workflow, the role that it assumed by OIDC. If it is interrupted, or the time is
over, it stops the command."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from deployments.runs.run_report import FromLines

CONTAINER = "command"
NEEDED = ("LAUREL_ECS_CLUSTER", "LAUREL_ECS_SUBNETS", "LAUREL_ECS_SECURITY_GROUPS")


class CommandLost(RuntimeError):
    """The command did not start, or its outcome is unknown; the message says why."""


@dataclass(frozen=True)
class Cluster:
    """The stack ``name`` as a command needs it. ``client`` makes a client for an AWS service."""

    name: str
    client: Callable[[str], Any]

    def run(
        self,
        command: list[str],
        say: Callable[[str], None],
        timeout_seconds: float,
        poll_seconds: float = 3,
    ) -> int:
        """Run ``command``, pass each line of its output to ``say``, and return its exit code.
        Raises ``CommandLost``.
        """
        ecs, logs = self.client("ecs"), self.client("logs")
        cluster, arn = self._start(ecs, command)
        log = _Log(
            logs, f"/{self.name}/{CONTAINER}", f"{CONTAINER}/{CONTAINER}/{arn.rpartition('/')[2]}"
        )
        end = time.monotonic() + timeout_seconds
        try:
            while True:
                task = _describe(ecs, cluster, arn)
                log.pass_on(say)
                if task["lastStatus"] == "STOPPED":
                    log.wait_for_the_rest(say, poll_seconds)
                    return _exit_code(task)
                if time.monotonic() > end:
                    raise CommandLost(
                        f"The command did not end within {timeout_seconds:g} s and was stopped."
                    )
                time.sleep(poll_seconds)
        except BaseException:
            ecs.stop_task(cluster=cluster, task=arn, reason="the caller no longer waits for it")
            raise

    def _start(self, ecs: Any, command: list[str]) -> tuple[str, str]:
        configuration = self._configuration()
        network = {
            "subnets": configuration["LAUREL_ECS_SUBNETS"].split(","),
            "securityGroups": configuration["LAUREL_ECS_SECURITY_GROUPS"].split(","),
        }
        cluster = configuration["LAUREL_ECS_CLUSTER"]
        answer = ecs.run_task(
            cluster=cluster,
            taskDefinition=f"{self.name}-{CONTAINER}",
            networkConfiguration={"awsvpcConfiguration": network},
            overrides={"containerOverrides": [{"name": CONTAINER, "command": command}]},
            startedBy="github",
        )
        if not answer["tasks"]:
            reasons = "; ".join(
                failure.get("reason", "no reason given") for failure in answer["failures"]
            )
            raise CommandLost(
                f"ECS did not start the command in the cluster {cluster!r}: {reasons}"
            )
        return cluster, answer["tasks"][0]["taskArn"]

    def _configuration(self) -> dict[str, str]:
        path = f"/{self.name}/config"
        pages = self.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=path)
        configuration = {
            parameter["Name"].rpartition("/")[2]: parameter["Value"]
            for page in pages
            for parameter in page["Parameters"]
        }
        missing = [name for name in NEEDED if name not in configuration]
        if missing:
            raise CommandLost(
                f"The parameter store has no {', '.join(missing)} under {path}: is there a "
                "stack with that name in this region?"
            )
        return configuration


class _Log:
    """A container's output, line by line, as CloudWatch gets it."""

    def __init__(self, logs: Any, group: str, stream: str) -> None:
        self._logs, self._place = logs, {"logGroupName": group, "logStreamName": stream}
        self._token: str | None = None

    def pass_on(self, say: Callable[[str], None]) -> int:
        """Pass on the new lines; returns how many there were."""
        lines = 0
        while True:
            token = {"nextToken": self._token} if self._token else {}
            try:
                page = self._logs.get_log_events(**self._place, startFromHead=True, **token)
            except self._logs.exceptions.ResourceNotFoundException:
                return lines  # no output yet
            for event in page["events"]:
                say(event["message"])
            lines += len(page["events"])
            if not page["events"]:
                return lines
            self._token = page["nextForwardToken"]

    def wait_for_the_rest(self, say: Callable[[str], None], poll_seconds: float) -> None:
        """The last lines reach CloudWatch some seconds after the task has ended: poll until two
        polls find nothing.
        """
        quiet = 0
        while quiet < 2:
            time.sleep(poll_seconds)
            quiet = 0 if self.pass_on(say) else quiet + 1


def _describe(ecs: Any, cluster: str, arn: str) -> dict[str, Any]:
    tasks = ecs.describe_tasks(cluster=cluster, tasks=[arn])["tasks"]
    if not tasks:
        raise CommandLost(f"ECS no longer knows the task {arn}.")
    return dict(tasks[0])


def _exit_code(task: dict[str, Any]) -> int:
    container: dict[str, Any] = next(
        (candidate for candidate in task["containers"] if candidate["name"] == CONTAINER), {}
    )
    if "exitCode" not in container:
        reason = container.get("reason") or task.get("stoppedReason") or "no reason given"
        raise CommandLost(f"The command never ran, or its task was removed: {reason}")
    return int(container["exitCode"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code: the command's own, or 1 if it did not run."""
    import boto3

    parser = argparse.ArgumentParser(
        prog="python -m deployments.aws.ecs_command", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("name", help="name of the stack: Terraform's variable `name`")
    parser.add_argument(
        "--timeout-minutes", type=float, default=90, help="limit for the command (default: 90)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="write the report that the command prints to this file",
    )
    parser.add_argument(
        "command", nargs="+", help="after --: what to run, as in a shell of the image laurel-flows"
    )
    options = parser.parse_args(arguments)
    report = FromLines()

    def say(line: str) -> None:
        if not report.take(line):
            print(line, flush=True)

    try:
        code = Cluster(options.name, boto3.client).run(
            options.command, say, options.timeout_minutes * 60
        )
    except (CommandLost, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        report.text = report.text or f"> **The command did not finish.** {error}\n"
        code = 1
    if options.report:
        options.report.write_text(report.text)
    return code


if __name__ == "__main__":
    sys.exit(main())
