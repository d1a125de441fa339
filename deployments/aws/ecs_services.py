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
    by_service: Record = {}
    for service in _describe(ecs, cluster, services):
        by_service[service["serviceName"]] = {
            "task_definition": service["taskDefinition"],
            "images": _images(ecs, service),
        }
    return by_service


def tags(ecs: Any, ssm: Any, stack: str) -> dict[str, str]:
    """Terraform's variable -> tag of the running image; empty if nothing runs yet."""
    flows = ssm.get_parameters(Names=[f"/{stack}/config/LAUREL_ECS_IMAGE"])["Parameters"]
    images_by_service = {
        name: next(iter(recorded["images"].values()))
        for name, recorded in record(ecs, stack).items()
    }
    images = {
        "image_tag": flows[0]["Value"] if flows else "",
        "servers_image_tag": images_by_service.get("prefect", ""),
        "serving_image_tag": images_by_service.get("serving", ""),
    }
    return {variable: image.rpartition(":")[2] for variable, image in images.items()}


def restore(ecs: Any, cluster: str, before: Record, say: Callable[[str], None]) -> list[str]:
    """Have every recorded service run its recorded task definition. Returns the services that ran
    another one.

    A service that the failed deployment created is left alone. Raises ``RestoreFailed`` if a
    recorded service is gone."""
    running = {
        service["serviceName"]: service["taskDefinition"]
        for service in _describe(ecs, cluster, list(before))
    }
    restored = []
    for name, recorded in before.items():
        if name in running and running[name] != recorded["task_definition"]:
            definition = _active(ecs, recorded["task_definition"])
            ecs.update_service(cluster=cluster, service=name, taskDefinition=definition)
            say(
                f"{name}: restored to {_short(definition)}, which runs "
                f"{', '.join(recorded['images'].values())}"
            )
            restored.append(name)
    missing = sorted(set(before) - set(running))
    if missing:
        raise RestoreFailed(
            f"These services are gone from the cluster {cluster!r}, and only Terraform can "
            f"create them again: {', '.join(missing)}"
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
        descriptions = _describe(ecs, cluster, names)
        unstable = [service for service in descriptions if not _is_stable(service)]
        rolled_back = [
            service["serviceName"]
            for service in descriptions
            if tag and _is_stable(service) and not _has_tag(_images(ecs, service), tag)
        ]
        missing = sorted(set(names) - {service["serviceName"] for service in descriptions})
        if rolled_back or missing:
            reason = "ECS rolled them back" if rolled_back else "they do not exist"
            raise RestoreFailed(
                f"Without images of {tag}: {', '.join(rolled_back + missing)}; {reason}. The "
                "services' events in the ECS console say why."
            )
        if not unstable:
            return
        if time.monotonic() > end:
            counts = ", ".join(
                f"{service['serviceName']} "
                f"({service['runningCount']} of {service['desiredCount']} tasks)"
                for service in unstable
            )
            raise RestoreFailed(
                f"Not stable within {timeout_seconds:g} s: {counts}. The services' events in "
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
    descriptions = ecs.describe_services(cluster=cluster, services=list(services))["services"]
    return [service for service in descriptions if service["status"] == "ACTIVE"]


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
    options = parser.parse_args(arguments)
    if options.file is None and options.what not in ("wait", "tags"):
        parser.error(f"{options.what} needs a file")
    names: list[str] = options.service or list(SERVICES)
    try:
        ecs = boto3.client("ecs")
        if options.what == "record":
            recorded = record(ecs, options.cluster, names)
            options.file.write_text(json.dumps(recorded, indent=1))
            print(
                f"{len(recorded)} services of {options.cluster}: "
                f"{', '.join(recorded) or 'none yet'}"
            )
        elif options.what == "tags":
            for variable, tag in tags(ecs, boto3.client("ssm"), options.cluster).items():
                print(f"{options.prefix}{variable}={tag}")
        elif options.what == "wait":
            wait_until_stable(ecs, options.cluster, names, options.timeout_seconds, options.tag)
            print(f"{len(names)} services are stable")
        else:
            restored = restore(ecs, options.cluster, json.loads(options.file.read_text()), print)
            wait_until_stable(ecs, options.cluster, restored, options.timeout_seconds)
            print(f"{len(restored)} services restored")
    except (RestoreFailed, ClientError, BotoCoreError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
