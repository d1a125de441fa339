"""``laurel logs``: the newest run of a use case, or a program of the stack."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from laurel import names
from laurel.output import CommandFailed, Json, print_json
from laurel.servers import open_prefect, stack_settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

    from blocks.settings import Settings

POLL_SECONDS = 0.5
PAGE = 200  # an answer of Prefect's API holds no more
LAST_LINES_SECONDS = 5.0  # a run sends its last lines after it reported its end
LEVELS = ((40, "✗ "), (30, "! "), (0, ""))


def logs(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the end.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=100_000, help="How many of the last lines.")
    ] = 200,
    flow: Annotated[
        str | None, typer.Option(metavar="FLOW", help="The newest run of this flow only.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the log of a use case's newest run, or of a program: prefect, mlflow, service, ...

    With --follow, --json prints a line of JSON for each line of the log.

    Example: laurel logs flights --follow
    """
    settings, programs = stack_settings(), names.programs()
    if name in programs and flow is None:
        _of_program(settings, name, lines, follow, as_json)
        return
    wanted = names.flow_named(flow) if flow else None
    with open_prefect(settings) as prefect:
        run = newest_run(prefect, name, wanted)
        if run is None:
            raise CommandFailed(_no_run(name, wanted, programs))
        _of_run(prefect, settings, run, lines, follow, as_json)


def _no_run(name: str, flow: str | None, programs: list[str]) -> str:
    use_cases = names.use_cases()
    if name not in use_cases:
        return names.unknown("use case or program", name, [*use_cases, *programs])
    ran = f"has no run of {flow}" if flow else "has not run"
    return f"{name} {ran} yet. Start one: laurel run {flow or 'retrain'} {name}"


def newest_run(
    prefect: "SyncPrefectClient", use_case: str, flow: str | None = None
) -> "FlowRun | None":
    """The run of one of the use case's deployments that was due last; ``None``: it has none."""
    from datetime import UTC, datetime

    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
    )
    from prefect.client.schemas.sorting import FlowRunSort

    due = FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)})
    found = prefect.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])) if flow else None,
        deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[use_case])),
        flow_run_filter=FlowRunFilter(expected_start_time=due),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    return found[0] if found else None


@dataclass(frozen=True)
class Line:
    """A line of a run's log, and the flow that wrote it."""

    time: str
    flow: str
    level: int
    message: str

    @property
    def text(self) -> str:
        mark = next(mark for least, mark in LEVELS if self.level >= least)
        first, *rest = self.message.splitlines() or [""]
        clock = self.time[11:19]
        return "\n".join([f"{clock} {self.flow}  {mark}{first}", *(f"    {line}" for line in rest)])

    @property
    def document(self) -> dict[str, Any]:
        return {
            "time": self.time,
            "flow": self.flow,
            "level": self.level,
            "message": self.message,
        }


class RunLog:
    """The lines of a run and its subflows, each once."""

    def __init__(self, prefect: "SyncPrefectClient", run: "FlowRun") -> None:
        self._prefect, self.run = prefect, run
        self._flow_of: dict[UUID, str] = {}
        self._seen: set[UUID] = set()
        self._until: Any = None

    def newest(self, count: int) -> list[Line]:
        """The last ``count`` lines, in order."""
        from prefect.client.schemas.sorting import LogSort

        found: list[Any] = []
        while len(found) < count:
            page = self._prefect.read_logs(
                self._filter(), min(PAGE, count - len(found)), len(found), LogSort.TIMESTAMP_DESC
            )
            found += page
            if len(page) < PAGE:
                break
        return self._lines(found[::-1])

    def newer(self) -> list[Line]:
        """The lines since the last call, in order."""
        from prefect.client.schemas.sorting import LogSort

        found: list[Any] = []
        while True:
            page = self._prefect.read_logs(self._filter(), PAGE, len(found), LogSort.TIMESTAMP_ASC)
            found += page
            if len(page) < PAGE:
                return self._lines(found)

    def is_over(self) -> bool:
        self.run = self._prefect.read_flow_run(self.run.id)
        return self.run.state is not None and self.run.state.is_final()

    def _filter(self) -> Any:
        from prefect.client.schemas.filters import (
            LogFilter,
            LogFilterFlowRunId,
            LogFilterTimestamp,
        )

        since = LogFilterTimestamp(after_=self._until) if self._until else None
        return LogFilter(flow_run_id=LogFilterFlowRunId(any_=list(self._flows())), timestamp=since)

    def _flows(self) -> dict[UUID, str]:
        from deployments.runs.remote_run import RemoteRuns

        if not self._flow_of:
            self._flow_of[self.run.id] = self._prefect.read_flow(self.run.flow_id).name
        runs = RemoteRuns(self._prefect, "", lambda line: None)
        self._flow_of |= {part.id: name for name, part in runs.parts(self.run)}
        return self._flow_of

    def _lines(self, logs: list[Any]) -> list[Line]:
        new = [log for log in logs if log.id not in self._seen]
        self._seen.update(log.id for log in new)
        if new:
            self._until = max(log.timestamp for log in new)
        return [
            Line(
                log.timestamp.astimezone().isoformat(timespec="milliseconds"),
                self._flow_of.get(log.flow_run_id, "?").replace("_", "-"),
                log.level,
                log.message,
            )
            for log in new
        ]


def _of_run(
    prefect: "SyncPrefectClient",
    settings: "Settings",
    run: "FlowRun",
    count: int,
    follow: bool,
    as_json: bool,
) -> None:
    log = RunLog(prefect, run)
    page = f"{settings.prefect_pages}/runs/flow-run/{run.id}"
    lines = log.newest(count)
    if as_json and not follow:
        state = run.state.name if run.state else None
        listed = [line.document for line in lines]
        print_json({"run": str(run.id), "state": state, "url": page, "lines": listed})
        return
    if not as_json:
        typer.echo(f"{run.name}  {run.state.name if run.state else 'unknown'}  {page}")
    for line in lines:
        _print(line, as_json)
    for line in _following(log) if follow else ():
        _print(line, as_json)
    if follow and not as_json and log.run.state is not None:
        typer.echo(f"{log.run.state.name}: {log.run.state.message or ''}".strip(": "))


def _following(log: RunLog) -> Iterator[Line]:
    """New lines until the run is over and has sent its last ones."""
    ended: float | None = None
    while ended is None or time.monotonic() - ended < LAST_LINES_SECONDS:
        if ended is None and log.is_over():
            ended = time.monotonic()
        lines = log.newer()
        yield from lines
        if any(line.message.startswith("Finished in state") for line in lines) and ended:
            return
        time.sleep(POLL_SECONDS)


def _print(line: Line, as_json: bool) -> None:
    if as_json:
        print_json(line.document)
    else:
        typer.echo(line.text)


def _of_program(settings: "Settings", name: str, count: int, follow: bool, as_json: bool) -> None:
    from deployments.supervision.supervisor import Supervisor

    path = Supervisor(settings.state.resolve()).log(name)
    if not path.exists():
        raise CommandFailed(f"{name} has no log in {path.parent}: it never ran. laurel up")
    with path.open(errors="replace") as file:
        lines = [line.rstrip("\n") for line in deque(file, count)]
        position = file.tell()
    if as_json and not follow:
        print_json({"program": name, "file": path, "lines": lines})
        return
    for line in lines:
        _print_text(name, line, as_json)
    for line in tail(path, position) if follow else ():
        _print_text(name, line, as_json)


def _print_text(name: str, line: str, as_json: bool) -> None:
    if as_json:
        print_json({"program": name, "message": line})
    else:
        typer.echo(line)


def tail(path: Path, position: int) -> Iterator[str]:
    """Whole lines that are written after ``position``, for ever; a file that begins anew (its
    program was started again, or it was rotated) is read from its beginning."""
    begun, identity = "", path.stat().st_ino
    while True:
        try:
            status = path.stat()
        except FileNotFoundError:
            time.sleep(POLL_SECONDS)
            continue
        if status.st_ino != identity or status.st_size < position:
            begun, identity, position = "", status.st_ino, 0
        with path.open(errors="replace") as file:
            file.seek(position)
            text = file.read()
            position = file.tell()
        *whole, begun = (begun + text).split("\n")
        yield from whole
        time.sleep(POLL_SECONDS)
