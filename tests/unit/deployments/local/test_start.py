"""A start of one-line programs under a real supervisord: waits depend on signs of life, and not on
a clock.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deployments.local import start as local_start
from deployments.local.start import Start
from deployments.local.watch import StackWatch
from deployments.servers.errors import StackError
from deployments.supervision import signs_of_life
from deployments.supervision.programs import Program
from deployments.supervision.signs_of_life import Sign, Vigil, cpu_seconds, family
from deployments.supervision.supervisor import MARKER, Supervisor

SLEEPS = "import time; time.sleep(600)"
QUIET = 5.0


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Supervisor]]:
    """``start(code)``: an empty supervisord for one program of that code, which gives up after
    five quiet seconds.
    """
    monkeypatch.setattr(local_start, "QUIET_SECONDS", QUIET)
    monkeypatch.setattr(signs_of_life, "WORK_SECONDS", 0.05)
    monkeypatch.setattr(signs_of_life, "TELL_SECONDS", 2.0)
    monkeypatch.setenv("LAUREL_LAKE", "of this shell")
    started: list[Supervisor] = []

    def begin(code: str, state: Path = tmp_path) -> Supervisor:
        (state / "logs").mkdir(parents=True)
        supervisor = Supervisor(state)
        started.append(supervisor)
        supervisor.start([program(code)], {"LAUREL_STATE": str(state)})
        return supervisor

    yield begin
    for supervisor in started:
        supervisor.shut_down()


def program(code: str, ready: Callable[[float], bool] = lambda started: False) -> Program:
    return Program("slow", [sys.executable, "-c", f"exec({code!r})"], "", ready)


def bring_up(supervisor: Supervisor, code: str, ready: Callable[[float], bool]) -> list[str]:
    lines: list[str] = []
    Start(supervisor, lambda name, seconds: None, lines.append).bring_up([program(code, ready)])
    return lines


@pytest.mark.slow("waits for seconds")
@pytest.mark.parametrize(
    "works",
    ["sum(range(200_000)); time.sleep(0.02)", "print('a line', flush=True); time.sleep(0.5)"],
)
@pytest.mark.nightly("waits for real seconds")
def test_program_that_is_at_work_is_waited_for_beyond_every_limit_and_the_wait_is_told(
    works: str, start: Callable[..., Supervisor], tmp_path: Path
) -> None:
    marker = tmp_path / "done"
    code = "\n".join(
        [
            "import pathlib, time",
            f"end = time.time() + {3 * QUIET}",
            f"while time.time() < end: {works}",
            f"pathlib.Path({str(marker)!r}).touch()",
            SLEEPS,
        ]
    )
    lines = bring_up(start(code), code, lambda started: marker.exists())
    assert any(line.startswith("slow is not ready after") for line in lines)


@pytest.mark.nightly("waits for real seconds")
def test_program_that_does_nothing_is_given_up_with_its_log(
    start: Callable[..., Supervisor],
) -> None:
    code = f"print('waits for a letter', flush=True); {SLEEPS}"
    with pytest.raises(
        StackError, match="slow is not ready after .* and has made no progress for 5 s; everything"
    ) as caught:
        bring_up(start(code), code, lambda started: False)
    assert "    waits for a letter" in str(caught.value)


def test_a_quiet_time_ends_with_the_next_sign() -> None:
    marks = iter([1, 1, 2, 2])
    vigil = Vigil(lambda: Sign(next(marks)), look_seconds=0.0)
    time.sleep(0.2)
    assert vigil.quiet_seconds() >= 0.2
    assert vigil.quiet_seconds() == 0


def test_time_in_which_the_watcher_itself_was_stopped_is_no_quiet_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 1.0, 601.0, 601.5, 602.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    vigil = Vigil(lambda: Sign(1), lambda seconds: None)
    assert vigil.quiet_seconds() == 1
    assert vigil.quiet_seconds() == 3


def test_use_of_the_processor_by_a_child_counts_as_its_parent_s(
    start: Callable[..., Supervisor],
) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    supervisor = start(code)
    supervisor.run("slow")
    pid = supervisor.states()["slow"]["pid"]
    deadline = time.monotonic() + 60
    while cpu_seconds(family(pid)) < 0.5 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cpu_seconds(family(pid)) >= 0.5
    assert family(2**30) == []


def running(supervisor: Supervisor) -> psutil.Process:
    supervisor.run("slow")
    process = psutil.Process(supervisor.states()["slow"]["pid"])
    deadline = time.monotonic() + 60
    while (
        MARKER not in process.environ() and time.monotonic() < deadline
    ):  # empty while it becomes the program
        time.sleep(0.01)
    return process


@pytest.mark.parametrize("depth", [0, 12], ids=["short path", "path too long for a socket"])
def test_temporary_files_go_below_the_state_folder_by_a_path_that_a_socket_fits_in(
    depth: int, start: Callable[..., Supervisor], tmp_path: Path
) -> None:
    state = tmp_path.joinpath("state", *["deep 50% #1"] * depth)
    supervisor = start(SLEEPS, state)
    environment = running(supervisor).environ()
    folder = Path(environment["TMPDIR"])
    assert folder.resolve().is_relative_to(state / "tmp")
    assert len(os.fsencode(folder)) <= 68
    supervisor.shut_down()
    assert not folder.exists() and not folder.is_symlink()
    assert not list((state / "tmp").iterdir())


def test_nothing_of_this_shell_s_settings_reaches_a_program(
    start: Callable[..., Supervisor],
) -> None:
    environment = running(start(SLEEPS)).environ()
    assert "LAUREL_LAKE" not in environment


def test_death_of_a_program_is_told_at_once_with_its_log(start: Callable[..., Supervisor]) -> None:
    code = f"print('alive', flush=True); {SLEEPS}"
    supervisor = start(code)
    lines: list[str] = []
    process = running(supervisor)
    deadline = time.monotonic() + 60
    while "alive" not in supervisor.log("slow").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    with StackWatch(supervisor, lines.append) as watch:
        process.send_signal(signal.SIGKILL)
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
        watch.check()
    assert lines[0].startswith("slow died, and is restarting. The last lines of")
    assert "    alive" in lines[0]


def test_stack_that_is_gone_ends_the_wait_of_whoever_watches_it(
    start: Callable[..., Supervisor],
) -> None:
    supervisor = start(SLEEPS)
    process = running(supervisor)
    with StackWatch(supervisor, lambda line: None) as watch:
        psutil.Process(int((supervisor.state / "supervisord.pid").read_text())).kill()
        deadline = time.monotonic() + 60
        with pytest.raises(StackError, match="was stopped, or its supervisord died"):
            while time.monotonic() < deadline:
                watch.check()
                time.sleep(0.05)
    process.kill()
