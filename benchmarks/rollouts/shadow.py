"""What a shadow costs the process that answers: its CPU and its callers' times with and without, in
turn, in one run of the service with the real flights champion.

    python -m benchmarks.rollouts shadow [rounds]

Paced callers ask for one row at a time at a fixed rate; wrk asks as fast as it is answered. Only
ratios of the same run are compared: other work on the machine, and the callers, share its cores
with the service."""

import json
import multiprocessing
import statistics
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.serving import load as serving_load
from benchmarks.serving.figures import machine
from benchmarks.serving.mixed import Caller, percentile
from benchmarks.serving.model import FLIGHTS, Model, prepare
from benchmarks.serving.registry import RegistryProcess, free_port
from benchmarks.serving.servers import Place, Server, laurel
from benchmarks.serving.visit import LoadPlan, running
from blocks.settings import Settings

ROUNDS = 4
_SECONDS = 6.0
_CALLERS, _PAUSE_SECONDS = 4, 0.003
_CONNECTIONS = 32
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Phase:
    """Of the answering process: CPU (µs) for each request, and times (ms) of the answers."""

    requests: int
    cpu_us: float
    p50_ms: float
    p99_ms: float


def run(rounds: int) -> int:
    """Print the ratios. The exit status."""
    state = Settings.read().state
    model = prepare(state)
    print(f"load average before: {machine()['load_average'][0]}; {rounds} rounds, with and without")
    with (
        RegistryProcess(model.registry) as registry,
        tempfile.TemporaryDirectory(prefix="laurel-shadow-") as folder,
    ):
        registry.crown(FLIGHTS, "1")
        _end(registry)
        place = Place(
            model, Path(folder), free_port(), registry.url, state / "benchmarks" / "venvs"
        )
        server = laurel(place)
        plan = LoadPlan(model.rows, model.scores, Path(folder), "wrk", _SECONDS, 0.0)
        try:
            with running(server, plan) as (process, _):
                _compare(model, server, registry, process.pid, Path(folder), rounds)
        finally:
            _end(registry)
    return 0


def _compare(
    model: Model, server: Server, registry: RegistryProcess, pid: int, folder: Path, rounds: int
) -> None:
    body = json.dumps({"rows": model.rows[:1]}).encode()
    file = serving_load.write_bodies(folder / "shadow.bodies", server, list(model.rows), 1)
    phases: dict[str, dict[bool, list[Phase]]] = {}
    _paced(server, pid, body)  # warm
    for number in range(rounds):
        for with_shadow in (False, True) if number % 2 == 0 else (True, False):
            (_begin if with_shadow else _end)(registry)
            _wait_for_shadow(pid, there=with_shadow)
            for name, phase in (
                ("paced", _paced(server, pid, body)),
                ("flat out", _flat_out(server, pid, file)),
            ):
                phases.setdefault(name, {False: [], True: []})[with_shadow].append(phase)
    for name, sides in phases.items():
        print(f"\n{name}: {sum(each.requests for each in sides[True])} requests with a shadow")
        for figure in ("cpu_us", "p50_ms", "p99_ms"):
            off, on = ([getattr(phase, figure) for phase in sides[side]] for side in (False, True))
            ratios = sorted(after / before for before, after in zip(off, on, strict=True))
            print(
                f"  {figure}: {statistics.median(off):.4g} without, {statistics.median(on):.4g} "
                f"with; ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f}-{ratios[-1]:.3f})"
            )
    metrics = httpx.get(f"{server.url}/metrics", headers=server.headers, trust_env=False).text
    print(
        "\n" + "\n".join(line for line in metrics.splitlines() if line.startswith("laurel_shadow"))
    )


def _paced(server: Server, pid: int, body: bytes) -> Phase:
    """Callers in processes of their own, who pause between two requests."""
    processes = multiprocessing.get_context("fork")
    reports: Any = processes.Queue()

    def ask() -> None:
        caller, end = Caller(server, body, "application/json"), time.monotonic() + _SECONDS
        caller.ask_until(lambda: time.monotonic() > end, pause=_PAUSE_SECONDS)
        reports.put((caller.seconds, set(caller.statuses)))

    asking = [processes.Process(target=ask, daemon=True) for _ in range(_CALLERS)]
    before = _cpu_seconds(pid)
    for each in asking:
        each.start()
    answers = [reports.get(timeout=120) for _ in asking]
    used = _cpu_seconds(pid) - before
    assert all(statuses == {200} for _, statuses in answers), "a request was refused"
    seconds = [each for times, _ in answers for each in times]
    p50, p99 = (1e3 * percentile(seconds, share) for share in (0.5, 0.99))
    return Phase(len(seconds), 1e6 * used / len(seconds), p50, p99)


def _flat_out(server: Server, pid: int, file: Path) -> Phase:
    before = _cpu_seconds(pid)
    load = serving_load.run("wrk", server, 1, file, _CONNECTIONS, _SECONDS)
    used = _cpu_seconds(pid) - before
    return Phase(load.requests, 1e6 * used / load.requests, load.p50_ms, load.p99_ms)


def _cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _begin(registry: RegistryProcess) -> None:
    terms = json.dumps({"id": "benchmark", "kind": "shadow"})
    version = {"name": FLIGHTS, "version": "2"}
    _tell(registry, "model-versions/set-tag", version | {"key": "laurel.rollout", "value": terms})
    _tell(registry, "registered-models/alias", version | {"alias": "rollout"})


def _end(registry: RegistryProcess) -> None:
    """Take the alias away, if it is there."""
    httpx.request(
        "DELETE",
        f"{registry.url}/api/2.0/mlflow/registered-models/alias",
        json={"name": FLIGHTS, "alias": "rollout"},
        timeout=30,
        trust_env=False,
    )


def _tell(registry: RegistryProcess, path: str, content: dict[str, str]) -> None:
    httpx.post(
        f"{registry.url}/api/2.0/mlflow/{path}", json=content, timeout=30, trust_env=False
    ).raise_for_status()


def _wait_for_shadow(pid: int, *, there: bool) -> None:
    """Wait until the service has a shadow that takes copies, or none."""
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        ages = []
        for child in psutil.Process(pid).children():
            with suppress(psutil.Error):  # it ends at this moment
                if "serving.shadow" in child.cmdline():
                    ages.append(time.time() - child.create_time())
        if (there and ages and min(ages) > 5.0) or not (there or ages):
            return
        time.sleep(0.2)
    raise TimeoutError(f"the shadow is {'not there' if there else 'still there'}")
