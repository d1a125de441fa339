"""A flow of a use case, run on the stack from a terminal: started, watched, told."""

import getpass
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from laurel import outcome, parameters
from laurel.ledger import read_entries
from laurel.names import unknown
from laurel.outcome import Outcome, Part
from laurel.output import CommandFailed
from laurel.progress import Progress
from laurel.servers import open_prefect, service_api, stack_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun
    from prefect.client.schemas.responses import DeploymentResponse

    from blocks.settings import Settings
    from deployments.runs.remote_run import RemoteRuns

INTERRUPTED = 130
POLL_SECONDS, WORKER_SECONDS, CANCEL_SECONDS = 0.5, 60.0, 60.0
RECENT = 20


@dataclass(frozen=True)
class Request:
    """``pairs`` are a person's ``NAME=VALUE``, ``values`` what the command itself hands on."""

    flow: str
    use_case: str
    pairs: Sequence[str] = ()
    values: dict[str, Any] | None = None


@dataclass(frozen=True)
class Started:
    """A run of ``request`` on the stack of ``settings``."""

    request: Request
    settings: "Settings"
    runs: "RemoteRuns"
    run: "FlowRun"

    @property
    def page(self) -> str:
        return self.runs.page(self.run)

    @property
    def how_to_follow(self) -> str:
        return f"Follow it: laurel logs {self.request.use_case} --follow\nIts page: {self.page}"


def person() -> str:
    """Who types, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody at a terminal"


@contextmanager
def start(request: Request) -> Iterator[Started]:
    """Start the run. Everything that can be wrong with the request is told before: raises
    ``CommandFailed``, ``UseCaseError`` for a broken file."""
    settings = stack_settings()
    with open_prefect(settings) as prefect:
        from deployments.runs.remote_run import RemoteRuns

        values = _checked(prefect, settings, request)
        runs = RemoteRuns(prefect, settings.prefect_pages, lambda line: None)
        run = runs.start(request.flow, request.use_case, values)
        yield Started(request, settings, runs, run)


def _checked(
    prefect: "SyncPrefectClient", settings: "Settings", request: Request
) -> dict[str, Any]:
    """The parameters of the run. A use case that is younger than the stack of this machine is
    applied to it first."""
    from usecases.definition import known, load

    flow, use_case, here = request.flow, request.use_case, known()
    if use_case in here:
        load(use_case)
    deployment = _deployment(prefect, request)
    if deployment is None and use_case in here and settings.prefect_url is None:
        _apply(settings, use_case)
        deployment = _deployment(prefect, request)
    if deployment is None and use_case in here:
        raise CommandFailed(
            f'The stack has no deployment of {flow} for "{use_case}" yet. Apply it: laurel up'
        )
    if deployment is None:
        raise CommandFailed(unknown("use case", use_case, here), exit_code=2)
    schema = deployment.parameter_openapi_schema or {}
    given = {"by": person(), **(deployment.parameters or {}), **(request.values or {})}
    typed = parameters.parse(flow, request.pairs, schema, given)
    wanted = {**(request.values or {}), **typed}
    if "by" in schema.get("required", []):
        wanted.setdefault("by", given["by"])
    return wanted


def _deployment(prefect: "SyncPrefectClient", request: Request) -> "DeploymentResponse | None":
    from prefect.exceptions import ObjectNotFound

    try:
        return prefect.read_deployment_by_name(f"{request.flow}/{request.use_case}")
    except ObjectNotFound:
        return None


def _apply(settings: "Settings", use_case: str) -> None:
    """What ``laurel up`` applies for the use case. Raises ``CommandFailed``."""
    from deployments.apply.command import apply_now
    from deployments.apply.pools import PoolError

    _say(f"{use_case} is new to the stack: its deployments are applied")
    try:
        apply_now(settings, use_cases=[use_case])
    except PoolError as error:
        raise CommandFailed(str(error)) from error


def finish(started: Started, quiet: bool = False) -> Outcome:
    """Wait for the run's end and show its subflows meanwhile. An interrupt asks whether the run
    is to end too."""
    from dataclasses import replace

    from deployments.runs.remote_run import Patience

    live = not quiet and sys.stderr.isatty()
    say = (lambda line: None) if quiet else _say
    patience = Patience(worker_seconds=WORKER_SECONDS, poll_seconds=POLL_SECONDS)
    run = started.run
    try:
        with Progress(started.request.flow, live, say) as progress:
            runs = replace(started.runs, look=progress.look)
            run = runs.wait(run, patience)
    except KeyboardInterrupt:
        run = _interrupted(started)
    return tell(started, run)


def finish_run(request: Request, settings: "Settings", run: str, quiet: bool = False) -> Outcome:
    """``finish`` for a run that somebody else started."""
    from uuid import UUID

    with open_prefect(settings) as prefect:
        return finish(
            started_by_others(request, settings, prefect, prefect.read_flow_run(UUID(run))), quiet
        )


def started_by_others(
    request: Request, settings: "Settings", prefect: "SyncPrefectClient", run: "FlowRun"
) -> Started:
    from deployments.runs.remote_run import RemoteRuns

    return Started(
        request, settings, RemoteRuns(prefect, settings.prefect_pages, lambda line: None), run
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _interrupted(started: Started) -> "FlowRun":
    """The run, cancelled, if the person wants that. Raises ``CommandFailed`` if it goes on."""
    import typer

    try:
        end = sys.stdin.isatty() and typer.confirm("\nCancel the run?", default=False, err=True)
    except (KeyboardInterrupt, typer.Abort):
        end = False
    if not end:
        raise CommandFailed(f"The run goes on. {started.how_to_follow}", INTERRUPTED)
    return cancel(started)


def cancel(started: Started) -> "FlowRun":
    """Ask for the run's end, and return the run once it is over, however it ended. Raises
    ``CommandFailed`` if it is not over in time."""
    started.runs.cancel(started.run)
    until = time.monotonic() + CANCEL_SECONDS
    while time.monotonic() < until:
        run = started.runs.prefect.read_flow_run(started.run.id)
        if run.state is not None and run.state.is_final():
            return run
        time.sleep(POLL_SECONDS)
    raise CommandFailed(
        f"The run is asked to end, and has not after {CANCEL_SECONDS:.0f} s. "
        f"{started.how_to_follow}"
    )


def tell(started: Started, run: "FlowRun") -> Outcome:
    """How the run ended, with the numbers that it left in the ledger."""
    request, state = started.request, run.state
    kind = state.type.value if state else "UNKNOWN"
    verdict = outcome.verdict_of(request.flow, (state.name if state else "") or "", kind)
    parts = [
        Part(name, (part.state.name if part.state else "") or "", _seconds(part))
        for name, part in started.runs.parts(run)
    ]
    return Outcome(
        flow=request.flow,
        use_case=request.use_case,
        run=str(run.id),
        verdict=verdict,
        exit_code=outcome.code_of(verdict, kind),
        message=" ".join(((state.message if state else None) or "").split()),
        url=started.page,
        seconds=_seconds(run),
        parts=parts,
        **_numbers(started, run),
    )


def _numbers(started: Started, run: "FlowRun") -> dict[str, Any]:
    """Versions, score and gate, from the ledger as the service shows it: the run's own sentence
    tells the same without them."""
    from blocks.clients.service import ServiceAway
    from usecases.definition import known, load

    use_case = started.request.use_case
    try:
        entries = read_entries(service_api(started.settings), use_case, RECENT)
    except ServiceAway:
        return {}
    values = outcome.of_ledger(entries, str(run.id))
    if "score" in values and use_case in known():
        from tasks.messages.wording import metric_name

        gate = load(use_case).gate
        values |= {"metric": metric_name(gate.metric.name), "gate": gate.threshold}
        if values.get("gain_of"):
            values["gain_of"] = metric_name(values["gain_of"])
    return values


def _seconds(run: "FlowRun") -> float:
    return round(run.total_run_time.total_seconds(), 1)
