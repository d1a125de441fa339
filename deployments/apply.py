"""Bring the Prefect server to what the repository says: pool, blocks, deployments, automations; and MLflow's webhook to the service.

    python -m deployments.apply

Applied as often as one likes: what is right already is left alone, and said so. A schedule or an automation that
somebody switched on or off in the UI stays so.
"""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import yaml
from prefect import Flow
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object

from blocks import lake, registry, service, slack
from blocks.settings import Settings
from deployments.automations import crash_on_lost_heartbeat, retrain_on_drift
from deployments.webhook import Refused, apply_webhook
from usecases.definition import known

POOL = "ec2"
Change = Literal["created", "updated", "unchanged", "refused"]


@dataclass(frozen=True)
class Applied:
    """One object and what became of it."""

    kind: str
    name: str
    change: Change


async def apply(settings: Settings, said: Callable[[Applied], None] = lambda one: None) -> list[Applied]:
    """Create or update everything that is not as it should be. Raises ``httpx.HTTPError`` where Prefect does not answer."""
    done: list[Applied] = []

    def add(kind: str, name: str, change: Change) -> None:
        done.append(Applied(kind, name, change))
        said(done[-1])

    async with get_client() as client:
        add("work pool", POOL, await _pool(client))
        for name, block in blocks(settings).items():
            add("block", f"{block._block_type_slug}/{name}", await _block(name, block))
        retrains = {}
        for spec in deployments(settings, known()):
            flow: Flow[Any, Any] = import_object(spec["entrypoint"])
            change, deployment_id = await _deployment(client, flow, spec)
            add("deployment", f"{flow.name}/{spec['name']}", change)
            if flow.name == "retrain":
                retrains[spec["name"]] = deployment_id
        wanted = [retrain_on_drift(name, found, settings.retrain_cooldown_seconds) for name, found in retrains.items()]
        for automation in [*wanted, crash_on_lost_heartbeat()]:
            add("automation", automation.name, await _automation(client, automation))
    if settings.serving_webhook_secret is not None:
        try:
            add("webhook", "MLflow to the model service", await asyncio.to_thread(apply_webhook, settings))
        except Refused as refused:
            add("webhook", f"MLflow to the model service: {refused}", "refused")
    return done


def blocks(settings: Settings) -> dict[str, Block]:
    """The blocks that flows load, by document name, as the settings describe them."""
    return {
        lake.BLOCK: lake.Lake.of(settings),
        registry.BLOCK: registry.ModelRegistry.of(settings),
        service.BLOCK: service.ModelService.of(settings),
        slack.BLOCK: slack.SlackNotifier.of(settings),
    }


def deployments(settings: Settings, use_cases: list[str]) -> list[dict[str, Any]]:
    """The entries of prefect.yaml, and the same for each use case that has none there."""
    text = (settings.home / "prefect.yaml").read_text()
    for name, value in {"LAUREL_HOME": str(settings.home), "LAUREL_PYTHONPATH": settings.flow_run_pythonpath}.items():
        text = text.replace("{{ $" + name + " }}", value)
    written = yaml.safe_load(text)["deployments"]
    named = {spec["name"] for spec in written}
    model = [spec for spec in written if spec["name"] == written[0]["name"]]
    return written + [_for_use_case(spec, use_case) for use_case in use_cases if use_case not in named for spec in model]


def _for_use_case(spec: dict[str, Any], use_case: str) -> dict[str, Any]:
    own = copy.deepcopy(spec)
    return {**own, "name": use_case, "tags": ["laurel", use_case], "parameters": {**own["parameters"], "use_case": use_case}}


async def _pool(client: PrefectClient) -> Change:
    from prefect.workers.process import ProcessWorker

    try:
        await client.read_work_pool(POOL)
        return "unchanged"
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        await client.create_work_pool(WorkPoolCreate(name=POOL, type=ProcessWorker.type, base_job_template=template))
        return "created"


async def _block(name: str, wanted: Block) -> Change:
    try:
        found: Block = await type(wanted).aload(name)
    except ValueError:
        await wanted.asave(name)
        return "created"
    if _content(found) == _content(wanted):
        return "unchanged"
    await wanted.asave(name, overwrite=True)
    return "updated"


def _content(block: Block) -> dict[str, Any]:
    """The fields with their secrets, without what the server adds (``_block_document_id`` and its like)."""
    return {name: value for name, value in block.model_dump(context={"include_secrets": True}).items() if not name.startswith("_")}


async def _deployment(client: PrefectClient, flow: Flow[Any, Any], spec: dict[str, Any]) -> tuple[Change, Any]:
    wanted: dict[str, Any] = {
        "description": spec["description"],
        "entrypoint": spec["entrypoint"],
        "parameters": spec["parameters"],
        "tags": spec["tags"],
        "pull_steps": spec["pull"],
        "work_pool_name": spec["work_pool"]["name"],
        "job_variables": spec["work_pool"]["job_variables"],
        "parameter_openapi_schema": parameter_schema(flow).model_dump(),
    }
    schedules = [DeploymentScheduleCreate(schedule=_cron(one), active=one.get("active", True)) for one in spec["schedules"]]
    try:
        found = await client.read_deployment_by_name(f"{flow.name}/{spec['name']}")
        if _same(found, wanted) and [one.schedule for one in found.schedules] == [one.schedule for one in schedules]:
            return "unchanged", found.id
        switched = {one.schedule.model_dump_json(): one.active for one in found.schedules}
        schedules = [one.model_copy(update={"active": switched.get(one.schedule.model_dump_json(), one.active)}) for one in schedules]
        change: Change = "updated"
    except ObjectNotFound:
        change = "created"
    flow_id = await client.create_flow(flow)
    return change, await client.create_deployment(flow_id, spec["name"], schedules=schedules, enforce_parameter_schema=True, **wanted)


def _cron(spec: dict[str, Any]) -> CronSchedule:
    return CronSchedule(cron=spec["cron"], timezone=spec["timezone"])


def _same(found: DeploymentResponse, wanted: dict[str, Any]) -> bool:
    return all(getattr(found, field) == value for field, value in wanted.items())


async def _automation(client: PrefectClient, wanted: AutomationCore) -> Change:
    found = await client.read_automations_by_name(wanted.name)
    if not found:
        await client.create_automation(wanted)
        return "created"
    # A second one of the same name would fire a second time.
    for extra in found[1:]:
        await client.delete_automation(extra.id)
    core = AutomationCore.model_validate(found[0].model_dump(exclude={"id", "created", "updated"}))
    wanted = wanted.model_copy(update={"enabled": core.enabled})
    # Not as JSON: a list made of a set has another order in another process.
    if core.model_dump() == wanted.model_dump():
        return "unchanged"
    await client.update_automation(found[0].id, wanted)
    return "updated"


def apply_now(settings: Settings, said: Callable[[Applied], None] = lambda one: None) -> list[Applied]:
    """``apply``, to the server that the settings name, from code that is not async."""
    with temporary_settings({PREFECT_API_URL: settings.prefect_api_url}):
        return asyncio.run(apply(settings, said))


def main() -> None:
    """Apply and print a line for each object."""
    apply_now(Settings.read(), lambda one: print(f"{one.change:9}  {one.kind} {one.name}"))


if __name__ == "__main__":
    main()
