"""Where the microseconds of one prediction go: a table, and the picture of
docs/serving-performance.md.

Two runs for each number of connections. The service as it is gives CPU time for each request, of
the thread that answers and of all others; the same service with a stopwatch at each stage
(``serving_stages.py``) says in which shares the former is divided. What no stage accounts for is
the event loop, and the kernel's part of reading from sockets."""

import json
import signal
import statistics
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.serving import figures
from benchmarks.serving import load as serving_load
from benchmarks.serving import perf as serving_perf
from benchmarks.serving import process as serving_process
from benchmarks.serving.model import FLIGHTS, Model, prepare
from benchmarks.serving.process import BenchmarkFailed
from benchmarks.serving.registry import RegistryProcess, free_port
from benchmarks.serving.servers import SERVERS, Place, Server
from benchmarks.serving.visit import LoadPlan, running

CONNECTIONS = (1, 32)
SERVICE, FLOOR = "laurel", "floor-asgi"
LOOP, OTHERS = "event loop and sockets", "other threads: upload, access log, registry"
STOP_SECONDS = 20.0
ROUNDS = 3


@dataclass(frozen=True)
class Profile:
    """Microseconds of CPU for each request of one row, by stage, the last two being ``LOOP`` and
    ``OTHERS``.

    ``libraries`` are shares (0-1) of the answering thread's time by shared library; empty without
    perf."""

    connections: int
    stages: dict[str, float]
    floor: float
    rps: float
    requests_a_batch: float
    libraries: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.stages.values())


def profile(state: Path, seconds: float, generator: str) -> list[Profile]:
    """Raises ``BenchmarkFailed``."""
    model = prepare(state)
    with (
        RegistryProcess(model.registry) as registry,
        tempfile.TemporaryDirectory(prefix="laurel-profile-") as folder,
    ):
        registry.crown(FLIGHTS, "1")
        bench = _Bench(model, registry.url, Path(folder), seconds, generator)
        profiles = [
            _median([bench.profile(connections) for _ in range(ROUNDS)])
            for connections in CONNECTIONS
        ]
        return [
            replace(measured, libraries=bench.libraries(measured.connections))
            for measured in profiles
        ]


@dataclass(frozen=True)
class _Bench:
    model: Model
    registry_url: str
    folder: Path
    seconds: float
    generator: str

    def profile(self, connections: int) -> Profile:
        floor, _, _ = self._load(self._server(FLOOR), connections)
        answering, others, rps = self._load(self._server(SERVICE), connections)
        seconds, watched = self._stages(connections)
        stages = divide(
            seconds["microseconds"], watched - seconds["stopwatch_microseconds"], answering
        ) | {OTHERS: others}
        return Profile(connections, stages, floor, rps, seconds["requests_a_batch"], {})

    def libraries(self, connections: int) -> dict[str, float]:
        server = self._server(SERVICE)
        with running(server, self._load_plan()) as (process, _):
            load = partial(self._run, server, connections, serving_perf.SECONDS + 1.5)
            return serving_perf.sample(process.pid, load, self.folder / "perf.data")

    def _server(self, name: str) -> Server:
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        return SERVERS[name](Place(self.model, own, free_port(), self.registry_url, own))

    def _load_plan(self) -> LoadPlan:
        return LoadPlan(
            self.model.rows, self.model.scores, self.folder, self.generator, self.seconds, 1.0
        )

    def _run(self, server: Server, connections: int, seconds: float) -> serving_load.Load:
        file = serving_load.write_bodies(self.folder / "bodies", server, self.model.rows, 1)
        return serving_load.run(self.generator, server, 1, file, connections, seconds)

    def _load(self, server: Server, connections: int) -> tuple[float, float, float]:
        """CPU microseconds a request: of the process's first thread, and of all others; and
        requests a second.
        """
        with running(server, self._load_plan()) as (process, _):
            self._run(server, connections, 1.0)
            first, whole = (
                serving_process.thread_seconds(process.pid),
                serving_process.cpu_seconds(process.pid),
            )
            load = self._run(server, connections, self.seconds)
            answering = serving_process.thread_seconds(process.pid) - first
            others = serving_process.cpu_seconds(process.pid) - whole - answering
        return 1e6 * answering / load.requests, max(0.0, 1e6 * others / load.requests), load.rps

    def _stages(self, connections: int) -> tuple[dict[str, Any], float]:
        """What the stopwatch said, and the CPU microseconds of the answering thread for each
        request, stopwatch and all.
        """
        server, file = self._server(SERVICE), self.folder / f"stages-{connections}.json"
        command = [server.command[0], "-m", "benchmarks.serving.stages", str(file)]
        with running(replace(server, command=command), self._load_plan()) as (process, _):
            before = serving_process.thread_seconds(process.pid)
            load = self._run(server, connections, self.seconds)
            watched = 1e6 * (serving_process.thread_seconds(process.pid) - before) / load.requests
            process.send_signal(
                signal.SIGINT
            )  # it writes its file when it ends; SIGTERM would leave it no time to
            process.wait(STOP_SECONDS)
        if not file.exists():
            raise BenchmarkFailed("The service with a stopwatch ended without its figures.")
        decoded: dict[str, Any] = json.loads(file.read_text())
        return decoded, watched


def divide(stages: dict[str, float], watched: float, whole: float) -> dict[str, float]:
    """``whole`` divided as the stages divide ``watched``, the rest being ``LOOP``: the two runs met
    the machine in other moods.
    """
    rest = max(0.0, watched - sum(stages.values()))
    all_of = sum(stages.values()) + rest
    return {stage: whole * spent / all_of for stage, spent in (stages | {LOOP: rest}).items()}


def _median(rounds: list[Profile]) -> Profile:
    """Of each figure: stages of a median round need not add up to the median of the totals, and are
    what is told.
    """
    stages = {
        stage: statistics.median(measured.stages[stage] for measured in rounds)
        for stage in rounds[0].stages
    }
    floor, rps, batch = (
        statistics.median(getattr(measured, name) for measured in rounds)
        for name in ("floor", "rps", "requests_a_batch")
    )
    return Profile(rounds[0].connections, stages, floor, rps, batch, {})


def report(profiles: list[Profile]) -> str:
    """Markdown: a line a stage."""
    heads = [
        f"{measured.connections} connection{'s' * (measured.connections > 1)}"
        for measured in profiles
    ]
    lines = [
        f"| µs of CPU a request of one row | {' | '.join(heads)} |",
        f"|---|{'---|' * len(heads)}",
    ]
    for stage in profiles[0].stages:
        lines.append(
            f"| {stage} | {' | '.join(f'{measured.stages[stage]:.1f}' for measured in profiles)} |"
        )
    lines.append(
        f"| **all** | {' | '.join(f'**{measured.total:.1f}**' for measured in profiles)} |"
    )
    lines.append(
        "| the floor: uvicorn answers a constant | "
        f"{' | '.join(f'{measured.floor:.1f}' for measured in profiles)} |"
    )
    gathered = ", ".join(
        f"{measured.requests_a_batch:.1f} at {head}"
        for measured, head in zip(profiles, heads, strict=True)
    )
    lines += ["", f"Requests that are scored together, on average: {gathered}.", ""]
    for measured, head in zip(profiles, heads, strict=True):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in measured.libraries.items())
        lines.append(
            f"The answering thread by shared library (perf), {head}: "
            f"{shares or 'perf is not to be had here'}."
        )
    return "\n".join(lines)


def draw(profiles: list[Profile], file: Path) -> None:
    """A bar for each number of connections, a colour a stage, and the floor under it."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "laurel", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.2), layout="constrained")
    colours = [matplotlib.colormaps["tab20"](number) for number in range(20)]
    names, at = [], 0.0
    for measured in profiles:
        names += [f"Laurel, {measured.connections} conn.", f"floor, {measured.connections} conn."]
        remaining = 0.0
        for number, (stage, spent) in enumerate(measured.stages.items()):
            axes.barh(
                at,
                spent,
                left=remaining,
                color=colours[number],
                edgecolor="white",
                label=stage if measured is profiles[0] else None,
            )
            if spent > 0.03 * max(other.total for other in profiles):
                axes.text(
                    remaining + spent / 2, at, f"{spent:.1f}", ha="center", va="center", fontsize=8
                )
            remaining += spent
        axes.text(remaining, at, f" {remaining:.0f} µs", va="center", fontweight="bold")
        axes.barh(at + 1, measured.floor, color="lightgrey")
        axes.text(measured.floor, at + 1, f" {measured.floor:.0f} µs", va="center")
        at += 2.4
    axes.set_yticks(
        [place for group in range(len(profiles)) for place in (2.4 * group, 2.4 * group + 1)], names
    )
    axes.invert_yaxis()
    axes.set_xlabel("µs of CPU for a request of one row")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.08)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    pyplot.close(figure)


def run(state: Path, seconds: float, generator: str, picture: Path | None) -> int:
    here = figures.machine()
    profiles = profile(state, seconds, generator)
    print(
        f"{here['cores']} cores ({here['cpu']}), load average before "
        f"{here['load_average'][0]}, {here['when']}; load by {generator}.\n"
    )
    print(report(profiles))
    if picture is not None:
        draw(profiles, picture)
    return 0
