"""Record what the services of an ECS cluster run before a deployment, and restore it if the
deployment fails.

    python -m deployments.aws.ecs_services record laurel before.json
    python -m deployments.aws.ecs_services wait laurel --tag 3f2a91c
    python -m deployments.aws.ecs_services restore laurel before.json
    python -m deployments.aws.ecs_services tags laurel

The record holds each service's task definition and its images, by digest if they are pinned so.
``restore`` registers task definitions that were deregistered meanwhile (Terraform does that with
old ones) as new revisions with the same content. ``wait`` succeeds only if every service runs
images with that tag: ECS itself rolls back if new tasks do not become healthy, and then the service
is stable too. ``tags`` prints the running tags as Terraform's variables. AWS credentials come from
the default chain: in a workflow, the role that it assumed by OIDC."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

POLL_SECONDS = 5.0
SERVICES = ("prefect", "mlflow", "worker", "serving")
# Fields of a description that a registration does not accept.
_GIVEN = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "registeredBy",
    "deregisteredAt",
)

Record = dict[str, dict[str, Any]]


class RestoreFailed(RuntimeError):
    """Not every service runs its former task definition again; the message names each that does
    not.
    """


def record(ecs: Any, cluster: str, services: Sequence[str] = SERVICES) -> Record:
    """``{service: {"task_definition": ARN, "images": {container: image}}}`` of the services that
    exist.
    """
    found: Record = {}
    for service in _describe(ecs, cluster, services):
        found[service["serviceName"]] = {
            "task_definition": service["taskDefinition"],
            "images": _images(ecs, service),
        }
    return found


def tags(ecs: Any, ssm: Any, stack: str) -> dict[str, str]:
    """Terraform's variable -> tag of the running image; empty if nothing runs yet."""
    flows = ssm.get_parameters(Names=[f"/{stack}/config/LAUREL_ECS_IMAGE"])["Parameters"]
    now = {name: next(iter(was["images"].values())) for name, was in record(ecs, stack).items()}
    images = {
        "image_tag": flows[0]["Value"] if flows else "",
        "servers_image_tag": now.get("prefect", ""),
        "serving_image_tag": now.get("serving", ""),
    }
    return {variable: image.rpartition(":")[2] for variable, image in images.items()}


def restore(ecs: Any, cluster: str, before: Record, say: Callable[[str], None]) -> list[str]:
    """Have every recorded service run its recorded task definition. Returns the services that ran
    another one.

    A service that the failed deployment created is left alone. Raises ``RestoreFailed`` if a
    recorded service is gone."""
    now = {
        service["serviceName"]: service["taskDefinition"]
        for service in _describe(ecs, cluster, list(before))
    }
    restored = []
    for name, was in before.items():
        if name in now and now[name] != was["task_definition"]:
            definition = _active(ecs, was["task_definition"])
            ecs.update_service(cluster=cluster, service=name, taskDefinition=definition)
            say(
                f"{name}: restored to {_short(definition)}, which runs "
                f"{', '.join(was['images'].values())}"
            )
            restored.append(name)
    gone = sorted(set(before) - set(now))
    if gone:
        raise RestoreFailed(
            f"These services are gone from the cluster {cluster!r}, and only Terraform can "
            f"create them again: {', '.join(gone)}"
        )
    return restored


def wait_until_stable(
    ecs: Any, cluster: str, names: Sequence[str], timeout_seconds: float, tag: str | None = None
) -> None:
    """Return when each service runs its desired number of tasks, all from its newest deployment,
    with images that have ``tag``.

    Raises ``RestoreFailed``; at once if a service is stable with images of another tag.
    """
    end = time.monotonic() + timeout_seconds
    while True:
        found = _describe(ecs, cluster, names)
        unstable = [one for one in found if not _is_stable(one)]
        other = [
            one["serviceName"]
            for one in found
            if tag and _is_stable(one) and not _has_tag(_images(ecs, one), tag)
        ]
        missing = sorted(set(names) - {one["serviceName"] for one in found})
        if other or missing:
            reason = "ECS rolled them back" if other else "they do not exist"
            raise RestoreFailed(
                f"Without images of {tag}: {', '.join(other + missing)}; {reason}. The "
                "services' events in the ECS console say why."
            )
        if not unstable:
            return
        if time.monotonic() > end:
            told = ", ".join(
                f"{one['serviceName']} ({one['runningCount']} of {one['desiredCount']} tasks)"
                for one in unstable
            )
            raise RestoreFailed(
                f"Not stable within {timeout_seconds:g} s: {told}. The services' events in "
                "the ECS console say why."
            )
        time.sleep(POLL_SECONDS)


def _is_stable(service: dict[str, Any]) -> bool:
    return len(service["deployments"]) == 1 and service["runningCount"] == service["desiredCount"]


def _has_tag(images: dict[str, str], tag: str) -> bool:
    return any(image.endswith(f":{tag}") for image in images.values())


def _images(ecs: Any, service: dict[str, Any]) -> dict[str, str]:
    definition = ecs.describe_task_definition(taskDefinition=service["taskDefinition"])[
        "taskDefinition"
    ]
    return {
        container["name"]: container["image"] for container in definition["containerDefinitions"]
    }


def _describe(ecs: Any, cluster: str, services: Sequence[str]) -> list[dict[str, Any]]:
    if not services:
        return []
    found = ecs.describe_services(cluster=cluster, services=list(services))["services"]
    return [service for service in found if service["status"] == "ACTIVE"]


def _active(ecs: Any, arn: str) -> str:
    """``arn``, or, if it was deregistered, a new revision with the same content: a service does not
    accept an inactive one.
    """
    definition = ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    if definition["status"] == "ACTIVE":
        return arn
    content = {name: value for name, value in definition.items() if name not in _GIVEN}
    return str(ecs.register_task_definition(**content)["taskDefinition"]["taskDefinitionArn"])


def _short(arn: str) -> str:
    return arn.rpartition("/")[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 if AWS refuses, or services do not come back."""
    import boto3

    parser = argparse.ArgumentParser(
        prog="python -m deployments.aws.ecs_services", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("what", choices=("record", "wait", "restore", "tags"))
    parser.add_argument("cluster", help="name of the ECS cluster")
    parser.add_argument("file", type=Path, nargs="?", help="the record, JSON")
    parser.add_argument("--tag", help="wait: the tag of the images that must run")
    parser.add_argument(
        "--service", action="append", metavar="NAME", help=f"default: {', '.join(SERVICES)}"
    )
    parser.add_argument(
        "--timeout-seconds",
        type=float,
        default=900,
        help="how long services may take to become stable (default: 900)",
    )
    parser.add_argument(
        "--prefix", default="TF_VAR_", help="tags: the prefix of each name (default: TF_VAR_)"
    )
    asked = parser.parse_args(arguments)
    if asked.file is None and asked.what not in ("wait", "tags"):
        parser.error(f"{asked.what} needs a file")
    names: list[str] = asked.service or list(SERVICES)
    try:
        ecs = boto3.client("ecs")
        if asked.what == "record":
            found = record(ecs, asked.cluster, names)
            asked.file.write_text(json.dumps(found, indent=1))
            print(f"{len(found)} services of {asked.cluster}: {', '.join(found) or 'none yet'}")
        elif asked.what == "tags":
            for variable, tag in tags(ecs, boto3.client("ssm"), asked.cluster).items():
                print(f"{asked.prefix}{variable}={tag}")
        elif asked.what == "wait":
            wait_until_stable(ecs, asked.cluster, names, asked.timeout_seconds, asked.tag)
            print(f"{len(names)} services are stable")
        else:
            restored = restore(ecs, asked.cluster, json.loads(asked.file.read_text()), print)
            wait_until_stable(ecs, asked.cluster, restored, asked.timeout_seconds)
            print(f"{len(restored)} services restored")
    except (RestoreFailed, ClientError, BotoCoreError) as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
