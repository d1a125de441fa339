"""Runs that the worker's warm parent forks: what they see, how they end, and what is left."""

import json
import re
import signal
from typing import Any
from uuid import UUID

import psutil
import pytest
from launched import report
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from deployments.servers.environment import flow_run_environment
from deployments.servers.worker import POOL
from tests.fixtures.processes import wait_until
from tests.fixtures.stacks import marked
from tests.integration.planting import Loop

pytestmark = pytest.mark.nightly("runs that are ended from outside")

READY = "Warm parent of runs: ready"


class Runs:
    """Runs of the deployment ``report/launched`` on the stack's worker."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._log = loop.settings.state / "logs" / "worker.log"
        environment = {
            "PYTHONPATH": loop.settings.flow_run_pythonpath,
            **flow_run_environment(loop.settings),
        }
        self._deployment = loop.prefect.create_deployment(
            loop.prefect.create_flow(report),
            "launched",
            entrypoint="launched.report",
            work_pool_name=POOL,
            pull_steps=[
                {
                    "prefect.deployments.steps.set_working_directory": {
                        "directory": str(loop.settings.home)
                    }
                }
            ],
            job_variables={"env": environment},
        )
        self._environment = environment

    def start(self, end: str = "", **environment: str) -> UUID:
        return self._loop.prefect.create_flow_run_from_deployment(
            self._deployment,
            parameters={"end": end},
            job_variables={"env": {**self._environment, **environment}},
        ).id

    def end(self, run: UUID) -> FlowRun:
        def is_over() -> bool:
            state = self._loop.prefect.read_flow_run(run).state
            return state is not None and state.is_final()

        wait_until(is_over, "the run is over", seconds=180)
        return self._loop.prefect.read_flow_run(run)

    def facts(self, run: UUID) -> dict[str, Any]:
        state = self.end(run).state
        assert state is not None and state.is_completed(), state
        return dict(json.loads(state.message or ""))

    def log(self) -> str:
        return self._log.read_text()

    def printed_pid(self, before: str) -> int:
        """The process of the one run that has printed since ``before``."""

        def new() -> list[str]:
            return re.findall(r"stderr of (\d+)", self.log()[len(before) :])

        wait_until(lambda: bool(new()), "the run prints", seconds=120)
        return int(new()[-1])

    def launcher(self) -> psutil.Process:
        """The process that the worker started for the one run."""
        (launcher,) = [
            process
            for process in marked(self._loop.settings)
            if "deployments.launch.launcher" in process.cmdline()
        ]
        return launcher

    def left(self) -> list[psutil.Process]:
        """Keepers and runs: what was forked from the parent, which is the worker's child."""
        forked = [
            process
            for process in marked(self._loop.settings)
            if "deployments.launch.parent" in process.cmdline()
        ]
        pids = {process.pid for process in forked}
        return [process for process in forked if process.ppid() in pids]


@pytest.fixture(scope="module")
def runs(loop: Loop) -> Runs:
    runs = Runs(loop)
    wait_until(lambda: READY in runs.log(), "the parent is warm", seconds=180)
    return runs


def test_runs_have_the_imports_and_each_its_own_environment_and_random_numbers(runs: Runs) -> None:
    started = [runs.start(LAUREL_SPECIAL="mine"), *(runs.start() for _ in range(4))]
    facts = [runs.facts(run) for run in started]
    assert [fact["preloaded"] for fact in facts] == [True] * 5
    assert [fact["special"] for fact in facts] == ["mine", None, None, None, None]
    assert len({number for fact in facts for number in fact["numbers"]}) == 10
    for fact in facts:
        for stream in ("stdout", "stderr"):
            # Prefect's worker joins what runs write as it comes, so that the end of a line may
            # stand behind a part of another run's.
            words = f"{stream} of {fact['pid']}"
            wait_until(lambda words=words: words in runs.log(), words)


def test_forked_run_computes_with_all_libraries(runs: Runs) -> None:
    assert runs.facts(runs.start("compute"))["preloaded"]


def test_run_with_a_variable_that_libraries_read_is_a_fresh_interpreter(runs: Runs) -> None:
    assert not runs.facts(runs.start(OMP_NUM_THREADS="secret-1"))["preloaded"]
    assert "A run begins as a fresh interpreter: OMP_NUM_THREADS differ" in runs.log()
    assert "secret-1" not in runs.log()


@pytest.mark.parametrize(("how", "code"), [("leave", "7"), ("crash", "-11")])
def test_run_that_ends_without_a_word_is_crashed(runs: Runs, how: str, code: str) -> None:
    state = runs.end(runs.start(how)).state
    assert state is not None and state.is_crashed()
    assert code in (state.message or "")
    wait_until(lambda: not runs.left(), "nothing is left")


def test_cancelled_run_ends(runs: Runs, loop: Loop) -> None:
    before = runs.log()
    run = runs.start("sleep")
    pid = runs.printed_pid(before)
    loop.prefect.set_flow_run_state(run, Cancelling())
    state = runs.end(run).state
    assert state is not None and state.is_cancelled()
    wait_until(lambda: not psutil.pid_exists(pid) and not runs.left(), "nothing is left")


@pytest.mark.parametrize(
    ("victim", "number"),
    [
        ("run", signal.SIGTERM),
        ("run", signal.SIGKILL),
        ("launcher", signal.SIGTERM),
        ("launcher", signal.SIGKILL),
        ("keeper", signal.SIGKILL),
    ],
)
def test_run_that_is_ended_from_outside_is_crashed_and_nothing_is_left(
    runs: Runs, victim: str, number: signal.Signals
) -> None:
    before = runs.log()
    run = runs.start("sleep")
    pid = runs.printed_pid(before)
    process = psutil.Process(pid)
    victims = {"run": process, "keeper": process.parent(), "launcher": runs.launcher()}
    hit = victims[victim]
    assert hit is not None
    hit.send_signal(number)
    state = runs.end(run).state
    assert state is not None and state.is_crashed()
    wait_until(lambda: not psutil.pid_exists(pid) and not runs.left(), "nothing is left")
