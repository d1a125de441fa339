"""A process that runs flows as a worker's warm parent does, each in a fork, in the year's time, and
says what each took.

    python -m benchmarks.soak.runner CALENDAR LOG

Its standard input has an order a line, its standard output what came of each."""

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.soak.plan import Calendar


@dataclass(frozen=True)
class Took:
    """Seconds, CPU seconds and the memory beyond the parent's (bytes) of a run; ``figure`` is what
    a call returned."""

    wall: float
    cpu: float
    memory: int
    code: int
    figure: Any = None


def main() -> None:
    from deployments.launch.imports import import_all

    calendar, log = Calendar(Path(sys.argv[1])), Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    import_all()
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(_run(json.loads(line), calendar, log))), file=answers, flush=True)


def _run(order: dict[str, str], calendar: Calendar, log: Path) -> Took:
    own, start = _memory(), time.perf_counter()
    result = log.with_suffix(".figure")
    result.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        _become(order, calendar, log, result)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - start
    figure = json.loads(result.read_text()) if result.exists() else None
    cpu = usage.ru_utime + usage.ru_stime
    memory = max(0, usage.ru_maxrss * 1024 - own)
    return Took(wall, cpu, memory, os.waitstatus_to_exitcode(status), figure)


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _become(order: dict[str, str], calendar: Calendar, log: Path, result: Path) -> NoReturn:
    code = 1
    try:
        os.setsid()
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for target, source in ((0, nothing), (1, written), (2, written)):
            os.dup2(source, target)
        from benchmarks.soak.moved import move

        move(calendar)
        if "run" in order:
            code = _run_flow(order["run"])
        else:
            from benchmarks.soak import calls

            result.write_text(json.dumps(getattr(calls, order["call"])()))
            code = 0
    except BaseException:  # noqa: BLE001 - it must not go on as the parent
        traceback.print_exc()
    finally:
        with suppress(Exception):
            _end()
        os._exit(code)


def _run_flow(run: str) -> int:
    import runpy

    os.environ["PREFECT__FLOW_RUN_ID"] = run
    sys.argv = ["prefect.engine"]
    sys.modules.pop("prefect.engine", None)
    try:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end() -> None:
    """What the interpreter does at its end, so that the run's log is sent."""
    import threading
    from atexit import _run_exitfuncs as run_exit_functions

    threading._shutdown()  # type: ignore[attr-defined]
    run_exit_functions()
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    main()
