"""``laurel cancel``: the end of a run that is under way."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from laurel import names, outcome
from laurel.flow_runs import Request, Started, started_by_others, tell
from laurel.flow_runs import cancel as end
from laurel.output import CommandFailed, Json, print_json
from laurel.servers import open_prefect, service_api, stack_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from laurel.outcome import Outcome

# What a part of the loop leaves once it is done.
LEAVES = {
    "ingest": "the dataset version",
    "train": "the fitted candidates in MLflow",
    "evaluate": "the challenger (laurel promote {use_case})",
}
WAITS, OURS = "approve", "laurel"  # the flow that a person's answer ends; a deployment's tag


def cancel(
    what: Annotated[str, typer.Argument(metavar="USE_CASE|RUN", show_default=False)],
    flow: Annotated[
        str | None, typer.Option(metavar="FLOW", help="Only a run of this flow.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Cancel the run of a use case that is under way, or a run by its id, and wait for its end.

    Exit code 0: cancelled; 1: nothing is under way, or the run ended otherwise or not in time.

    Example: laurel cancel flights
    """
    settings = stack_settings()
    wanted = names.flow_named(flow) if flow else None
    with open_prefect(settings) as prefect:
        run = _by_id(prefect, UUID(what)) if _is_id(what) else _under_way(prefect, what, wanted)
        request = _request_of(prefect, run)
        if request.flow == WAITS:
            raise CommandFailed(
                f"This run waits for a person's answer. Give it: laurel reject {request.use_case}",
                exit_code=2,
            )
        started = started_by_others(request, settings, prefect, run)
        ended = tell(started, end(started))
    kept = _kept(ended)
    serves = _serves(started)
    if as_json:
        print_json({**asdict(ended), "kept": kept, "serves": serves})
    else:
        typer.echo(f"{ended.verdict}  {request.flow.replace('_', '-')} of {request.use_case}")
        if kept:
            typer.echo(f"  kept    {', '.join(kept)}")
        if serves:
            typer.echo(f"  serves  v{serves}")
        typer.echo(f"{ended.url}   {ended.seconds:.0f} s")
    raise typer.Exit(outcome.DONE if ended.exit_code == outcome.CANCELLED else outcome.FAILED)


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _by_id(prefect: "SyncPrefectClient", run_id: UUID) -> "FlowRun":
    from prefect.exceptions import ObjectNotFound

    try:
        run = prefect.read_flow_run(run_id)
    except ObjectNotFound:
        raise CommandFailed(f"Prefect has no run {run_id}.", exit_code=2) from None
    if run.deployment_id is None:
        raise CommandFailed(
            f"The run {run_id} is a part of another, or nobody's: cancel the whole one.", 2
        )
    if run.state is not None and run.state.is_final():
        raise CommandFailed(f"The run {run_id} is over: {run.state.name}.")
    return run


def _under_way(prefect: "SyncPrefectClient", use_case: str, flow: str | None) -> "FlowRun":
    """The one run of the use case that began or is due, and is not over. One that waits for a
    person's answer is not under way."""
    from datetime import UTC, datetime

    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        DeploymentFilterTags,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import TERMINAL_STATES

    due = FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)})
    state = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES]))
    found = prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(
            name=DeploymentFilterName(any_=[use_case]), tags=DeploymentFilterTags(all_=[OURS])
        ),
        flow_run_filter=FlowRunFilter(expected_start_time=due, state=state),
    )
    flows = {run.id: prefect.read_flow(run.flow_id).name for run in found}
    runs = [run for run in found if flows[run.id] != WAITS and flow in (None, flows[run.id])]
    if len(runs) == 1:
        return runs[0]
    if not runs and use_case not in (known := names.use_cases()):
        raise CommandFailed(names.unknown("use case", use_case, known), exit_code=2)
    if not runs:
        waits = f" One waits for an answer: laurel reject {use_case}"
        waits = waits if WAITS in flows.values() else ""
        raise CommandFailed(f"No run of {use_case} is under way.{waits}")
    listed = ", ".join(f"{flows[run.id].replace('_', '-')} {run.id}" for run in runs)
    raise CommandFailed(
        f"{len(runs)} runs of {use_case} are under way: name one by its id. {listed}", exit_code=2
    )


def _request_of(prefect: "SyncPrefectClient", run: "FlowRun") -> Request:
    assert run.deployment_id is not None
    deployment = prefect.read_deployment(run.deployment_id)
    if OURS not in deployment.tags:
        raise CommandFailed(f"The run {run.id} is none of Laurel's.", exit_code=2)
    return Request(prefect.read_flow(run.flow_id).name, deployment.name)


def _kept(ended: "Outcome") -> list[str]:
    """What the parts that were done leave behind."""
    done = [part.flow for part in ended.parts if part.state == "Completed"]
    return [LEAVES[flow].format(use_case=ended.use_case) for flow in done if flow in LEAVES]


def _serves(started: Started) -> str | None:
    """The version that serves now; ``None`` if there is none, or the service is silent."""
    from blocks.clients.service import ServiceAway

    try:
        path = f"/v1/{started.request.use_case}"
        return service_api(started.settings).ask("GET", path)["version"]
    except ServiceAway:
        return None
