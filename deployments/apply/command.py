"""Configure the Prefect server from the repository: pool, blocks, deployments, automations; and
MLflow's webhook to the service.

    python -m deployments.apply [--pool-type process|ecs] [--tolerate-broken]
    python -m deployments.apply --remove <use case>

It can run as often as you like: an object that is right already is reported as unchanged. A
schedule or an automation that somebody switched on or off in the UI stays as it is. A use case
whose file is broken is reported in one line, keeps its deployments, and makes the exit code 1; the
others are applied."""

import argparse
import asyncio
import importlib
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from uuid import UUID

import httpx
from prefect import Flow
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema

from blocks import lake, registry, results, service, slack, warehouse
from blocks.settings import Settings
from deployments.apply.automations import (
    close_lost_run,
    crash_on_lost_heartbeat,
    crash_on_lost_start,
    rerun_lost_run,
    retrain_on_drift,
    tell_silence,
)
from deployments.apply.pools import TRAINING, PoolError, PoolType, apply_limits, apply_pool
from deployments.apply.removed_use_cases import find_removed, remove
from deployments.apply.webhook import Refused, apply_webhook
from deployments.apply.written import written_deployments
from deployments.local.settings import read_stack_settings
from deployments.servers.environment import prefect_auth
from deployments.servers.worker import POOL
from usecases.definition import known, load_all

Change = Literal["created", "updated", "unchanged", "refused", "no file"]


USE_CASE = "use case"
_WAY_OUT = (
    "set PYTHONPATH to where it is, or remove them with python -m deployments.apply --remove {name}"
)


@dataclass(frozen=True)
class Applied:
    """One object and how it changed."""

    kind: str
    name: str
    change: Change


async def apply(
    settings: Settings,
    report: Callable[[Applied], None] = lambda applied: None,
    pool_type: PoolType | None = None,
    use_cases: Collection[str] | None = None,
) -> list[Applied]:
    """Create or update everything that differs, of these ``use_cases`` or of all. Without
    ``pool_type`` a work pool stays as it is.

    All files of use cases are loaded before anything is written: a broken file is *refused*, with
    the reason in its name. Raises ``httpx.HTTPError`` if Prefect does not answer, ``PoolError`` if
    the pool cannot have that type."""
    applied_objects: list[Applied] = []

    def add(kind: str, name: str, change: Change) -> None:
        applied_objects.append(Applied(kind, name, change))
        report(applied_objects[-1])

    cases, faults = load_all(known() if use_cases is None else use_cases)
    for fault in faults.values():
        add(USE_CASE, str(fault), "refused")
    async with get_client() as client:
        pool_change, pool_type = await apply_pool(client, settings, pool_type)
        add("work pool", f"{POOL} ({pool_type})", pool_change)
        add("work queue", f"{POOL}/{TRAINING}", await apply_limits(client, settings, pool_type))
        for name, block in blocks(settings).items():
            add("block", f"{block._block_type_slug}/{name}", await _block(name, block))
        ids: dict[str, dict[str, UUID]] = defaultdict(dict)  # by flow, then by use case
        existing = _PrefectObjects(client)
        for spec in written_deployments(settings, cases, pool_type):
            flow = await existing.flow(spec["entrypoint"])
            change, deployment_id = await _deployment(
                client, flow, spec, await existing.deployment(flow, spec["name"])
            )
            add("deployment", f"{flow.name}/{spec['name']}", change)
            ids[flow.name][spec["name"]] = deployment_id
        automations = [
            retrain_on_drift(name, by_use_case) for name, by_use_case in ids["retrain"].items()
        ]
        automations += [
            tell_silence(name, by_use_case, cases[name].drift.silent_hours)
            for name, by_use_case in ids["drift_check"].items()
        ]
        for name, close_id in ids["close_lost_run"].items():
            watched = [
                by_use_case[name]
                for flow, by_use_case in ids.items()
                if flow != "close_lost_run" and name in by_use_case
            ]
            automations.append(close_lost_run(name, close_id, watched))
        automations += [crash_on_lost_heartbeat(settings.heartbeat_seconds), crash_on_lost_start()]
        automations += [rerun_lost_run()] if pool_type == "ecs" else []
        for automation in automations:
            add("automation", automation.name, await _automation(client, automation))
        for name, count in (await find_removed(client, known())).items():
            add(
                USE_CASE,
                f"{name} still has {count} deployments: {_WAY_OUT.format(name=name)}",
                "no file",
            )
    if settings.serving_webhook_secret is not None:
        try:
            add(
                "webhook",
                "MLflow to the model service",
                await asyncio.to_thread(apply_webhook, settings),
            )
        except Refused as refusal:
            add("webhook", f"MLflow to the model service: {refusal}", "refused")
    return applied_objects


def blocks(settings: Settings) -> dict[str, Block]:
    """The blocks that flows load, by document name, as the settings describe them."""
    database = warehouse.Warehouse.of(settings)
    return {
        lake.BLOCK: lake.Lake.of(settings),
        results.BLOCK: results.Results.of(settings),
        registry.BLOCK: registry.ModelRegistry.of(settings),
        service.BLOCK: service.ModelService.of(settings),
        slack.BLOCK: slack.SlackNotifier.of(settings),
        **({warehouse.BLOCK: database} if database else {}),
    }


def find_changed_blocks(settings: Settings) -> list[str]:
    """The blocks in Prefect that are missing, or differ from what the settings describe."""

    async def look() -> list[str]:
        changed = []
        for name, block in blocks(settings).items():
            try:
                stored: Block = await type(block).aload(name)
            except ValueError:
                changed.append(name)
                continue
            if _content(stored) != _content(block):
                changed.append(name)
        return changed

    return asyncio.run(look())


async def _block(name: str, block: Block) -> Change:
    try:
        stored: Block = await type(block).aload(name)
    except ValueError:
        await block.asave(name)
        return "created"
    if _content(stored) == _content(block):
        return "unchanged"
    await block.asave(name, overwrite=True)
    return "updated"


def _content(block: Block) -> dict[str, Any]:
    """The fields with their secrets, without those that the server adds (``_block_document_id`` and
    the like).
    """
    return {
        name: value
        for name, value in block.model_dump(context={"include_secrets": True}).items()
        if not name.startswith("_")
    }


@dataclass(frozen=True)
class _Deployable:
    """A flow as its deployments need it. ``schema`` describes its parameters."""

    id: UUID
    name: str
    schema: dict[str, Any]


class _PrefectObjects:
    """Prefect's flows and deployments: read once for each flow, and once for each use case."""

    def __init__(self, client: PrefectClient) -> None:
        self._client = client
        self._flows: dict[str, _Deployable] = {}
        self._deployments: dict[str, dict[UUID, DeploymentResponse]] = {}

    async def flow(self, entrypoint: str) -> _Deployable:
        if entrypoint not in self._flows:
            # Prefect's import_object looks in the working directory first: in a person's `flows`.
            module, _, name = entrypoint.rpartition(".")
            flow: Flow[Any, Any] = getattr(importlib.import_module(module), name)
            self._flows[entrypoint] = _Deployable(
                await self._client.create_flow(flow), flow.name, parameter_schema(flow).model_dump()
            )
        return self._flows[entrypoint]

    async def deployment(self, flow: _Deployable, name: str) -> DeploymentResponse | None:
        if name not in self._deployments:
            deployments = await self._client.read_deployments(
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[name]))
            )
            self._deployments[name] = {deployment.flow_id: deployment for deployment in deployments}
        return self._deployments[name].get(flow.id)


async def _deployment(
    client: PrefectClient,
    flow: _Deployable,
    spec: dict[str, Any],
    existing: DeploymentResponse | None,
) -> tuple[Change, UUID]:
    fields: dict[str, Any] = {
        "description": spec["description"],
        "entrypoint": spec["entrypoint"],
        "parameters": spec["parameters"],
        "tags": spec["tags"],
        "pull_steps": spec["pull"],
        "work_pool_name": spec["work_pool"]["name"],
        "work_queue_name": spec["work_pool"].get("work_queue_name", "default"),
        "job_variables": spec["work_pool"]["job_variables"],
        "parameter_openapi_schema": flow.schema,
    }
    schedules = [
        DeploymentScheduleCreate(schedule=_cron(schedule), active=schedule.get("active", True))
        for schedule in spec["schedules"]
    ]
    if existing is not None:
        if _same(existing, fields) and [schedule.schedule for schedule in existing.schedules] == [
            schedule.schedule for schedule in schedules
        ]:
            return "unchanged", existing.id
        active = {
            schedule.schedule.model_dump_json(): schedule.active for schedule in existing.schedules
        }
        schedules = [
            schedule.model_copy(
                update={"active": active.get(schedule.schedule.model_dump_json(), schedule.active)}
            )
            for schedule in schedules
        ]
    deployment_id = await client.create_deployment(
        flow.id, spec["name"], schedules=schedules, enforce_parameter_schema=True, **fields
    )
    return "updated" if existing else "created", deployment_id


def _cron(spec: dict[str, Any]) -> CronSchedule:
    return CronSchedule(cron=spec["cron"], timezone=spec["timezone"])


def _same(existing: DeploymentResponse, fields: dict[str, Any]) -> bool:
    return all(getattr(existing, field) == value for field, value in fields.items())


async def _automation(client: PrefectClient, wanted: AutomationCore) -> Change:
    existing = await client.read_automations_by_name(wanted.name)
    if not existing:
        await client.create_automation(wanted)
        return "created"
    # A second automation with the same name would fire a second time.
    for duplicate in existing[1:]:
        await client.delete_automation(duplicate.id)
    core = AutomationCore.model_validate(
        existing[0].model_dump(exclude={"id", "created", "updated"})
    )
    wanted = wanted.model_copy(update={"enabled": core.enabled})
    # Not as JSON: a list made from a set has another order in another process.
    if core.model_dump() == wanted.model_dump():
        return "unchanged"
    await client.update_automation(existing[0].id, wanted)
    return "updated"


def apply_now(
    settings: Settings,
    report: Callable[[Applied], None] = lambda applied: None,
    pool_type: PoolType | None = None,
    use_cases: Collection[str] | None = None,
) -> list[Applied]:
    """``apply``, to the server that the settings name, from code that is not async."""
    with temporary_settings(
        {PREFECT_API_URL: settings.prefect_api_url, PREFECT_API_AUTH_STRING: prefect_auth(settings)}
    ):
        return asyncio.run(apply(settings, report, pool_type, use_cases))


def remove_now(settings: Settings, use_case: str) -> list[str]:
    """Delete what Laurel made in Prefect for a use case without a file. Raises ``ValueError`` if it
    has a file, or if there is nothing to delete.
    """
    if use_case in known():
        raise ValueError(
            f"{use_case!r} has a file in usecases/, and would come back: delete the file first."
        )
    with temporary_settings(
        {PREFECT_API_URL: settings.prefect_api_url, PREFECT_API_AUTH_STRING: prefect_auth(settings)}
    ):
        removed = asyncio.run(_remove(use_case))
    if not removed:
        raise ValueError(
            f"Prefect has no deployment or automation that Laurel made for {use_case!r}."
        )
    return removed


async def _remove(use_case: str) -> list[str]:
    async with get_client() as client:
        return await remove(client, use_case)


def main(words: Sequence[str] | None = None) -> None:
    """Apply and print a line for each object. Ends the process if anything is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.apply",
        description="Configure the Prefect server from the repository.",
    )
    parser.add_argument(
        "--pool-type",
        choices=get_args(PoolType),
        help="where flow runs go: processes beside the worker, or ECS tasks; default: unchanged",
    )
    parser.add_argument(
        "--tolerate-broken",
        action="store_true",
        help="exit with 0 even if a use case's file is broken",
    )
    parser.add_argument(
        "--remove",
        metavar="USE_CASE",
        help="delete the deployments and automations of a use case that has no file",
    )
    arguments = parser.parse_args(words)
    try:
        if arguments.remove:
            for removed in remove_now(read_stack_settings(), arguments.remove):
                print(f"removed    {removed}")
            return
        applied = apply_now(read_stack_settings(), _print, arguments.pool_type)
    except (PoolError, ValueError) as error:
        sys.exit(f"{error}")
    except httpx.TransportError as error:
        way = "Start it (make up), or set LAUREL_PREFECT_URL to a running server; then apply again"
        sys.exit(
            f"Prefect at {read_stack_settings().prefect_api_url} does not answer "
            f"({type(error).__name__}: {error}). {way}."
        )
    broken = [item.name for item in applied if (item.kind, item.change) == (USE_CASE, "refused")]
    if broken:
        print(
            "\nEverything is applied except the use cases with broken files:",
            *broken,
            sep="\n  ",
            file=sys.stderr,
        )
        sys.exit(0 if arguments.tolerate_broken else 1)


def _print(applied: Applied) -> None:
    print(f"{applied.change:9}  {applied.kind} {applied.name}", flush=True)
