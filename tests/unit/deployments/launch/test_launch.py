"""The launcher, the warm parent and what it forks, as real processes on a small checkout: runs end
as a fresh interpreter would, and nothing is lost or left.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from blocks.settings import REPOSITORY
from deployments.launch import wire
from tests.fixtures.processes import wait_until

LAUNCH = "deployments.launch.launcher"
# What runs: it says how it finds the world, and ends as its argument says.
MODULE = """
import atexit, json, os, random, signal, sys, threading, time
import numpy as np
how = sys.argv[1] if len(sys.argv) > 1 else ""
umask = os.umask(0); os.umask(umask)
print(json.dumps({
    "pid": os.getpid(), "warm": "flows.small" in sys.modules, "arguments": sys.argv[1:],
    "name": __name__, "folder": os.getcwd(), "first": sys.path[0], "umask": umask,
    "numbers": [random.random(), float(np.random.rand())], "input": sys.stdin.read(),
    "variables": {name: value for name, value in os.environ.items() if name.startswith("LAUREL_T")},
    "term": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
    "child": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
    "mask": [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "version": sys.modules["flows.small"].VERSION if "flows.small" in sys.modules else None,
}), flush=True)
def late():
    time.sleep(0.2)
    print("a thread's last word")
if how == "number": sys.exit(3)
if how == "text": sys.exit("a reason")
if how == "error": raise ValueError("a fault")
if how == "leave": os._exit(7)
if how == "crash": os.kill(os.getpid(), signal.SIGSEGV)
if how == "interrupt": os.kill(os.getpid(), signal.SIGINT)
if how == "late":
    atexit.register(print, "the exit's last word")
    threading.Thread(target=late).start()
if how == "sleep": time.sleep(600)
if how == "care":
    def care(number, frame):
        print("cared", flush=True); sys.exit(5)
    signal.signal(signal.SIGTERM, care)
    print("waits", flush=True)
    time.sleep(600)
"""


class Checkout:
    """A copy of ``deployments/launch`` with one small flow, in a folder with a space in its name,
    and the warm parent of this process's runs.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / ("a long name " * 12)
        (self.home / "flows").mkdir(parents=True)
        shutil.copytree(
            REPOSITORY / "deployments/launch",
            self.home / "deployments/launch",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for package in ("deployments", "flows"):
            (self.home / package / "__init__.py").touch()
        (self.home / "deployments/launch/libraries.py").write_text("LIBRARIES = ('json',)\n")
        self.flow = self.home / "flows/small.py"
        self.flow.write_text("import os\nos.environ['MADE'] = 'by an import'\nVERSION = 1\n")
        (self.home / "said.py").write_text(MODULE)
        self.output = folder / "output"
        self.work = folder / "work"
        self.work.mkdir()
        self.environment = {
            **{name: value for name, value in os.environ.items() if name != wire.PARENT},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(self.home),
        }
        self.worker: subprocess.Popen[bytes] | None = None

    def start(self, ready: str = "ready") -> None:
        """Start a process in the worker's place, and the parent with it."""
        code = (
            "import os, time\nfrom deployments.launch import parent\n"
            "print(parent.start(os.environ)['LAUREL_WARM_PARENT'], flush=True)\ntime.sleep(600)"
        )
        with self.output.open("w") as output:
            self.worker = subprocess.Popen(
                [sys.executable, "-c", code],
                cwd=self.work,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.wait_for(ready)
        self.environment[wire.PARENT] = self.output.read_text().split()[0]

    def wait_for(self, words: str, times: int = 1) -> None:
        wait_until(lambda: self.output.read_text().count(words) >= times, words)

    @property
    def parent(self) -> psutil.Process:
        assert self.worker is not None
        (parent,) = psutil.Process(self.worker.pid).children()
        return parent

    def launch(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["python", "-P", "-S", "-m", LAUNCH, "said", *arguments],
            cwd=self.work,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> "Ended":
        launcher = self.launch(*arguments, **environment)
        output, errors = launcher.communicate(timeout=60)
        return Ended(launcher.returncode, output, errors)

    def stop(self) -> None:
        if self.worker is not None:
            self.worker.kill()
            self.worker.wait()


class Ended:
    """How a launcher ended, and what its run printed."""

    def __init__(self, code: int, output: str, errors: str) -> None:
        self.code, self.output, self.errors = code, output, errors
        self.facts = json.loads(output.splitlines()[0]) if output.startswith("{") else {}


def waits(launcher: subprocess.Popen[str], *, lines: int = 1) -> psutil.Process:
    """The run of this launcher, which has printed as many lines."""
    assert launcher.stdout is not None
    said = [launcher.stdout.readline() for _ in range(lines)]
    return psutil.Process(json.loads(said[0])["pid"])


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


pytestmark = [
    pytest.mark.slow(reason="a parent imports Prefect"),
    pytest.mark.skipif(sys.platform != "linux", reason="the warm parent needs Linux"),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """A checkout whose parent no test ends."""
    checkout = Checkout(tmp_path_factory.mktemp("shared"))
    checkout.start()
    yield checkout
    checkout.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path)
    checkout.start()
    yield checkout
    checkout.stop()


def test_run_finds_the_world_as_a_fresh_interpreter_does(shared: Checkout) -> None:
    umask = os.umask(0o027)
    try:
        warm = shared.run("a", "b c", LAUREL_TEST="1").facts
        fresh = shared.run("a", "b c", LAUREL_TEST="1", LAUREL_WARM_PARENT="nobody").facts
    finally:
        os.umask(umask)
    assert warm.pop("warm") and not fresh.pop("warm")
    for facts in (warm, fresh):
        for name in ("pid", "numbers", "version"):
            del facts[name]
    assert warm == fresh
    assert warm["umask"] == 0o027 and warm["variables"] == {"LAUREL_TEST": "1"}


@pytest.mark.parametrize("how", ["number", "text", "error", "leave", "crash", "interrupt", "late"])
def test_run_ends_as_a_fresh_interpreter_does(shared: Checkout, how: str) -> None:
    warm, fresh = shared.run(how), shared.run(how, LAUREL_WARM_PARENT="nobody")
    assert warm.facts["warm"] and not fresh.facts["warm"]
    assert warm.code == fresh.code
    assert warm.output.splitlines()[1:] == fresh.output.splitlines()[1:]
    assert warm.errors.splitlines()[-1:] == fresh.errors.splitlines()[-1:]
    if how == "late":
        assert warm.output.splitlines()[1:] == ["a thread's last word", "the exit's last word"]


def test_no_run_sees_another_ones_environment_or_random_numbers(shared: Checkout) -> None:
    first, second = shared.run(LAUREL_TEST_SECRET="hunter2"), shared.run()
    assert first.facts["variables"] == {"LAUREL_TEST_SECRET": "hunter2"}
    assert second.facts["variables"] == {}
    assert len({*first.facts["numbers"], *second.facts["numbers"]}) == 4


def test_twenty_runs_at_once(shared: Checkout) -> None:
    with ThreadPoolExecutor(20) as threads:
        ended = list(threads.map(lambda place: shared.run("number", str(place)), range(20)))
    assert [run.facts["arguments"][1] for run in ended] == [str(place) for place in range(20)]
    assert {run.code for run in ended} == {3}
    assert all(run.facts["warm"] for run in ended)
    assert len({number for run in ended for number in run.facts["numbers"]}) == 40
    wait_until(lambda: not shared.parent.children(), "no keeper is left, not even as a zombie")


def test_worker_that_has_imported_a_flow_has_its_runs_forked(shared: Checkout) -> None:
    """A worker imports a flow for its hooks, and hands on the variables that libraries set then."""
    assert shared.run(MADE="by an import").facts["warm"]
    assert not shared.run(MADE="by somebody").facts["warm"]


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "OMP_NUM_THREADS", "MY_TOKEN"])
def test_run_with_another_variable_is_a_fresh_interpreter_and_no_value_is_told(
    shared: Checkout, name: str
) -> None:
    ended = shared.run("number", **{name: "http://hunter2/api"})
    assert ended.code == 3 and not ended.facts["warm"]
    shared.wait_for(f"A run begins as a fresh interpreter: {name} differ")
    assert "hunter2" not in shared.output.read_text()


def test_signal_reaches_the_run_once_and_its_end_is_the_launchers(shared: Checkout) -> None:
    launcher = shared.launch("care")
    run = waits(launcher, lines=2)
    launcher.terminate()
    assert launcher.communicate(timeout=60)[0] == "cared\n"
    assert launcher.returncode == 5 and gone(run)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_run_that_is_killed_ends_its_launcher_alike(
    shared: Checkout, number: signal.Signals
) -> None:
    launcher = shared.launch("sleep")
    waits(launcher).send_signal(number)
    assert launcher.wait(60) == -number


def test_run_dies_with_its_launcher_and_with_its_keeper(shared: Checkout) -> None:
    launcher = shared.launch("sleep")
    run = waits(launcher)
    launcher.kill()
    wait_until(lambda: gone(run), "the run has died with its launcher")
    launcher = shared.launch("sleep")
    run = waits(launcher)
    keeper = run.parent()
    assert keeper is not None
    keeper.kill()
    assert launcher.wait(60) == -signal.SIGKILL
    wait_until(lambda: gone(run), "the run has died with its keeper")


def test_launcher_that_goes_before_its_run_begins_leaves_nothing(shared: Checkout) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(wire.address(shared.environment[wire.PARENT]))
    wait_until(lambda: len(shared.parent.children()) == 1, "a keeper waits for an order")
    assert shared.run("number").facts["warm"], "others need not wait for it"
    connection.close()
    wait_until(lambda: not shared.parent.children(), "the keeper has gone")


def test_runs_in_progress_outlive_the_parent_and_later_ones_are_fresh(own: Checkout) -> None:
    launcher = own.launch("care")
    run = waits(launcher, lines=2)
    own.parent.kill()
    assert not own.run().facts["warm"] and not gone(run)
    launcher.terminate()
    assert launcher.communicate(timeout=60)[0] == "cared\n" and launcher.returncode == 5


def test_parent_dies_with_the_worker(own: Checkout) -> None:
    assert own.worker is not None
    parent = own.parent
    own.worker.kill()
    own.worker.wait()
    wait_until(lambda: gone(parent), "the parent has died")
    assert not own.run().facts["warm"]


@pytest.mark.nightly("waits for real seconds")
def test_parent_that_does_not_answer_is_not_waited_for(
    own: Checkout,
) -> None:
    own.parent.suspend()
    began = own.launch("number")
    assert not json.loads(began.communicate(timeout=60)[0])["warm"] and began.returncode == 3
    own.parent.resume()
    wait_until(lambda: not own.parent.children(), "the run did not begin again")


def test_changed_code_is_not_forked_and_the_parent_starts_anew(own: Checkout) -> None:
    assert own.run().facts["version"] == 1
    time.sleep(0.01)  # the clock of files is as coarse as that
    own.flow.write_text("VERSION = 2\n\n")
    assert not own.run().facts["warm"]
    own.wait_for("ready", times=2)
    assert own.run().facts["version"] == 2
    own.flow.write_text("VERSION =")
    assert not own.run().facts["warm"]
    own.wait_for("an import failed (SyntaxError)")
    assert not own.run("number").facts["warm"]
    own.flow.write_text("VERSION = 4\n\n\n\n")
    assert not own.run().facts["warm"]
    own.wait_for("ready", times=3)
    assert own.run().facts["version"] == 4


def test_run_that_begins_during_the_imports_waits_for_them(tmp_path: Path) -> None:
    """It would import the same, and take longer."""
    checkout = Checkout(tmp_path)
    checkout.flow.write_text("import time\ntime.sleep(2)\nVERSION = 1\n")
    try:
        checkout.start(ready="\n")
        wait_until(lambda: imports(checkout.environment[wire.PARENT]), "the parent imports")
        assert "ready" not in checkout.output.read_text()
        assert checkout.run().facts["version"] == 1
    finally:
        checkout.stop()


def imports(name: str) -> bool:
    return f"@laurel-runs-{name}-imports" in Path("/proc/net/unix").read_text()


def test_import_that_starts_a_thread_forks_nothing(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    checkout.flow.write_text(
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True, name='mine').start()\n"
    )
    try:
        checkout.start(ready="importing started threads (mine)")
        assert not checkout.run().facts["warm"]
    finally:
        checkout.stop()


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_other_users_are_refused_on_both_sides(shared: Checkout) -> None:
    """Another user gets no process from the parent, and no environment from a launcher."""
    name = shared.environment[wire.PARENT]
    code = (
        "import os, socket, sys\nos.setuid(65534)\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        f"connection.connect({wire.address(name)!r})\n"
        "print(connection.recv(1))"
    )
    stranger = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert stranger.stdout == "b''\n" and not shared.parent.children()
    code = (
        "import os, socket\nos.setuid(65534)\n"
        "listener = socket.socket(socket.AF_UNIX)\n"
        f"listener.bind({wire.address('strangers')!r})\nlistener.listen()\nprint(flush=True)\n"
        "connection, _ = listener.accept()\nprint(connection.recv(2**16), flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as squatter:
        assert squatter.stdout is not None
        squatter.stdout.readline()
        assert not shared.run("number", LAUREL_WARM_PARENT="strangers").facts["warm"]
        assert squatter.communicate(timeout=60)[0] == b"b''\n"


def test_mlflow_knows_whose_each_module_is_before_a_run_logs_a_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.utils import requirements_utils

    from deployments.launch import imports as of_parent

    monkeypatch.setattr(requirements_utils, "_MODULES_TO_PACKAGES", None)
    of_parent._find_packages()
    assert "sklearn" in requirements_utils._MODULES_TO_PACKAGES
