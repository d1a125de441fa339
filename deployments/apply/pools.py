"""The work pool ``ec2``: a process pool beside the server, or tasks on an ECS cluster, on its EC2
instances or on Fargate.
"""

import copy
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

from blocks.settings import Settings
from deployments.servers.environment import flow_run_environment
from deployments.servers.worker import POOL

PoolType = Literal["process", "ecs"]
ECS_TEMPLATE = Path(__file__).with_name("ecs_job_template.yaml")
PREFECT_AUTH = "PREFECT_API_AUTH_STRING"
REQUIRED = (
    "cluster",
    "capacity_provider",
    "image",
    "task_role_arn",
    "execution_role_arn",
    "log_group",
    "subnets",
    "security_groups",
)
LOG_STREAM_PREFIX = "flows"
# Providers that every cluster may have; AWS lets no other name begin so.
FARGATE = "FARGATE"
ENGINE = "python -m prefect.engine"
LAUNCHER = "python -P -S -m deployments.launch.launcher prefect.engine"
# Flows that fit models share a queue with its own limit, so that the others (rollback, explain, the
# drift check) need not wait for them: the pool has OTHER_RUNS more places. No run holds a place
# while it waits for another run, so none waits for ever.
TRAINING = "training"
TRAINING_RUNS: dict[PoolType, int] = {"process": 2, "ecs": 10}
OTHER_RUNS = 6


class PoolError(ValueError):
    """The pool cannot have the requested type; the message says what to do."""


async def apply_pool(
    client: PrefectClient, settings: Settings, requested: PoolType | None
) -> tuple[Literal["created", "updated", "unchanged"], PoolType]:
    """Make the pool, or update its job template. Returns the change, and the type in force.

    A missing pool becomes a process pool, unless ``asked`` says otherwise. Without ``asked`` an ECS
    pool's template stays as it is; in a process pool's template only the command is filled in.
    Raises ``PoolError`` for a pool of another type, and for missing settings of an ECS pool."""
    template = ecs_template(settings) if requested == "ecs" else None
    try:
        pool = await client.read_work_pool(POOL)
    except ObjectNotFound:
        await client.create_work_pool(
            WorkPoolCreate(
                name=POOL,
                type=requested or "process",
                base_job_template=template or process_template(),
            )
        )
        return "created", requested or "process"
    if pool.type not in ("process", "ecs") or requested not in (None, pool.type):
        raise PoolError(
            f"The work pool {POOL!r} is of type {pool.type!r}, and Prefect cannot change a "
            "pool's type. Stop its workers, let its runs "
            f"end, then: prefect work-pool delete {POOL} && python -m deployments.apply "
            f"--pool-type {requested or 'process'}. "
            "The deployments stay and join the new pool; runs that wait in the old one are lost."
        )
    in_force: PoolType = "ecs" if pool.type == "ecs" else "process"
    if in_force == "process":
        template = process_template(pool.base_job_template)
    if template is None or pool.base_job_template == template:
        return "unchanged", in_force
    await client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
    return "updated", in_force


async def apply_limits(
    client: PrefectClient, settings: Settings, pool_type: PoolType
) -> Literal["created", "updated", "unchanged"]:
    """Make the queue of the training flows, and set the limits of queue and pool from
    ``concurrent_runs``.

    If that is not set, an existing limit stays, and a missing limit becomes the default."""
    runs = settings.concurrent_runs
    pool = await client.read_work_pool(POOL)
    change: Literal["created", "updated", "unchanged"] = "unchanged"
    try:
        queue = await client.read_work_queue_by_name(TRAINING, POOL)
    except ObjectNotFound:
        queue, change = await client.create_work_queue(TRAINING, work_pool_name=POOL), "created"
    limit = runs or queue.concurrency_limit or TRAINING_RUNS[pool_type]
    if queue.concurrency_limit != limit:
        await client.update_work_queue(queue.id, concurrency_limit=limit)
        change = "updated" if change == "unchanged" else change
    total = limit + OTHER_RUNS if runs or pool.concurrency_limit is None else pool.concurrency_limit
    if pool.concurrency_limit != total:
        await client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=total))
        change = "updated" if change == "unchanged" else change
    return change


def process_template(existing: dict[str, Any] | None = None) -> dict[str, Any]:
    """``existing``, or else the process worker's own job template, with Laurel's command to start a
    run, unless somebody chose another.

    Without one the worker starts a supervisor, which starts the run
    (docs/decisions/0015-starting-a-run.md)."""
    from prefect.workers.process import ProcessWorker

    template = copy.deepcopy(existing or ProcessWorker.get_default_base_job_template())
    command = template["variables"]["properties"].get("command")
    if command is not None and command.get("default") in (None, ENGINE):
        command["default"] = LAUNCHER
    return template


def ecs_template(settings: Settings) -> dict[str, Any]:
    """prefect-aws's job template, merged with ``ecs_job_template.yaml``, with the settings as
    defaults. Raises ``PoolError``.
    """
    from prefect_aws.workers.ecs_worker import ECSWorker

    defaults = _defaults(settings)
    additions = yaml.safe_load(ECS_TEMPLATE.read_text())
    template = copy.deepcopy(ECSWorker.get_default_base_job_template())
    fields = template["variables"]["properties"]
    for name, field in additions["variables"].items():
        fields[name] = {**fields.get(name, {}), **field}
    defaults["env"] = {**additions["env"], **defaults["env"]}
    for name, value in defaults.items():
        fields[name] = {**fields[name], "default": value}
    _merge(template["job_configuration"], additions["job_configuration"])
    if (settings.ecs_capacity_provider or "").startswith(FARGATE):
        fargate = additions["fargate"]
        for name, field in fargate["variables"].items():
            fields[name] = {**fields.get(name, {}), **field}
        _merge(template["job_configuration"], fargate["job_configuration"])
    return template


def _defaults(settings: Settings) -> dict[str, Any]:
    """The job variables that the settings decide."""
    missing = [
        f"LAUREL_ECS_{name.upper()}" for name in REQUIRED if not getattr(settings, f"ecs_{name}")
    ]
    if settings.prefect_url is None:
        missing.append("LAUREL_PREFECT_URL")
    if missing:
        raise PoolError(
            f"A work pool of type 'ecs' needs {', '.join(missing)}: set them (docs/ecs.md) "
            "and apply again."
        )
    secrets = _secrets(settings.ecs_secrets)
    logs = {
        "awslogs-group": settings.ecs_log_group,
        "awslogs-stream-prefix": LOG_STREAM_PREFIX,
        "awslogs-create-group": "false",
    }
    return {
        "cluster": settings.ecs_cluster,
        "capacity_provider_strategy": [
            {"capacityProvider": settings.ecs_capacity_provider, "weight": 1, "base": 0}
        ],
        "image": settings.ecs_image,
        "task_role_arn": settings.ecs_task_role_arn,
        "execution_role_arn": settings.ecs_execution_role_arn,
        "cloudwatch_logs_options": logs,
        "subnets": _listed(settings.ecs_subnets or ""),
        "security_groups": _listed(settings.ecs_security_groups or ""),
        # The worker removes its own password from the task's environment only if this field names
        # the secret.
        "prefect_api_auth_string_secret_arn": secrets.pop(PREFECT_AUTH, None),
        "secrets": [{"name": name, "valueFrom": arn} for name, arn in secrets.items()],
        "env": {
            **flow_run_environment(settings),
            "LAUREL_HOME": settings.ecs_home,
            "PREFECT_API_URL": settings.prefect_api_url,
            "AWS_DEFAULT_REGION": settings.s3_region,
            "LAUREL_PROMOTE_TIMEOUT_SECONDS": str(settings.promote_timeout_seconds),
        },
    }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _secrets(text: str) -> dict[str, str]:
    """ARNs by variable. Raises ``PoolError`` for an invalid ARN without showing it: it may be the
    secret itself.
    """
    pairs = [entry.partition("=") for entry in _listed(text)]
    invalid = [
        str(place)
        for place, (name, _, arn) in enumerate(pairs, 1)
        if not name or not arn.startswith("arn:")
    ]
    if invalid:
        raise PoolError(
            "LAUREL_ECS_SECRETS is NAME=ARN,NAME=ARN with ARNs of Secrets Manager; entry "
            f"{', '.join(invalid)} is not."
        )
    return {name: arn for name, _, arn in pairs}


def _merge(into: dict[str, Any], additions: dict[str, Any]) -> None:
    for name, value in additions.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value
