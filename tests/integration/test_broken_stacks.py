"""Stacks of these tests' own, started in order to break them."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from blocks.settings import REPOSITORY, Settings
from deployments.local import stack as local
from deployments.supervision import programs as local_programs
from tests.conftest import LocalSettings
from tests.fixtures.stacks import as_environment, eventually, marked, open_ports

pytestmark = pytest.mark.nightly("stacks of their own")

FLOW = """
import os, pathlib, subprocess, sys, time
from prefect import flow

@flow
def endless(pid_file: str):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(pid_file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
"""
# Starts as a flow run's process would, without the stack's servers: the environment is the stack's
# own.
DEPLOY = """
import asyncio, sys
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from endless import endless

async def main():
    async with get_client() as client:
        flow_id = await client.create_flow(endless)
        step = "prefect.deployments.steps.set_working_directory"
        await client.create_deployment(
            flow_id,
            "test",
            work_pool_name="ec2",
            entrypoint="endless.py:endless",
            pull_steps=[{step: {"directory": sys.argv[1]}}],
            enforce_parameter_schema=False,
        )
    await run_deployment("endless/test", parameters={"pid_file": sys.argv[2]}, timeout=0)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def doomed(
    local_settings: LocalSettings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A stack to be broken, with a folder as lake, in a path with a space, a percent sign and what
    starts a comment.
    """
    folder = tmp_path_factory.mktemp("doomed") / "50% of #1 ;x"
    settings = local_settings(folder, lake=f"file://{folder}/lake")
    yield settings
    local.down(settings)


def test_stack_with_a_folder_as_lake_starts_without_seaweedfs_and_keeps_artifacts_there(
    doomed: Settings, tmp_path: Path
) -> None:
    local.up(doomed)
    assert [one.name for one in local.status(doomed) if one.state == "RUNNING"] == [
        "prefect",
        "mlflow",
        "service",
        "worker",
    ]
    code = "import mlflow\nwith mlflow.start_run():\n    mlflow.log_text('laurel', 'crown.txt')"
    subprocess.run(
        [sys.executable, "-c", code], env=as_environment(doomed), cwd=tmp_path, check=True
    )
    assert list((doomed.state / "lake" / "mlflow").rglob("crown.txt"))


def test_killed_service_is_started_again(doomed: Settings) -> None:
    pid = {one.name: one.pid for one in local.status(doomed)}["service"]
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(
        lambda: {one.name: one.pid for one in local.status(doomed)}["service"] not in (pid, None)
    )
    assert eventually(lambda: local_programs.answers(f"{doomed.serving_base_url}/health"))


def test_down_ends_what_a_killed_supervisord_left_flow_runs_too(
    doomed: Settings, tmp_path: Path
) -> None:
    (tmp_path / "endless.py").write_text(FLOW)
    pids = tmp_path / "pids"
    deploy = [sys.executable, "-c", DEPLOY, str(tmp_path), str(pids)]
    subprocess.run(
        deploy,
        cwd=tmp_path,
        env={**as_environment(doomed), "PYTHONPATH": str(tmp_path)},
        check=True,
    )
    assert eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2), (
        "the flow run did not start"
    )
    run, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    os.kill(int((doomed.state / "supervisord.pid").read_text()), signal.SIGKILL)
    assert eventually(lambda: not local.Supervisor(doomed.state).states())
    assert run.is_running() and len(open_ports(doomed)) == 3

    assert local.down(doomed)
    assert not run.is_running() and not child.is_running()
    assert marked(doomed) == []
    assert open_ports(doomed) == []
    assert not local.down(doomed)


def test_server_that_dies_at_its_start_is_named_with_its_log_and_nothing_stays(
    doomed: Settings,
) -> None:
    with sqlite3.connect(doomed.state / "mlflow" / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'of a newer MLflow'")
    with pytest.raises(local.StackError) as caught:
        local.up(doomed)
    assert str(caught.value).startswith("mlflow died; everything was stopped. The last lines of ")
    assert f"{doomed.state}/logs/mlflow.log" in str(caught.value)
    assert "of a newer MLflow" in str(caught.value)
    assert marked(doomed) == []
    assert open_ports(doomed) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_leaves_nothing(
    number: int, local_settings: LocalSettings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path / "state")
    command = [sys.executable, "-m", "deployments.local", "up"]
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=as_environment(settings), stderr=subprocess.PIPE, text=True
    )
    assert eventually(lambda: len(marked(settings)) >= 4), "the servers did not start"
    process.send_signal(number)
    assert process.wait(60) == 130
    assert (
        process.stderr and process.stderr.read() == "Interrupted; nothing is left half-started.\n"
    )
    assert marked(settings) == []
    assert open_ports(settings) == []


def test_second_up_at_the_same_time_is_told_to_wait(
    local_settings: LocalSettings, tmp_path: Path
) -> None:
    settings = local_settings(tmp_path / "state")
    with (
        local._alone(settings.state),
        pytest.raises(local.StackError, match="Another `up` or `down` is running"),
    ):
        local.up(settings)


def test_command_line_says_what_is_wrong_without_a_traceback(
    local_settings: LocalSettings, tmp_path: Path, taken_port: int
) -> None:
    environment = as_environment(
        local_settings(tmp_path).model_copy(update={"prefect_port": taken_port})
    )
    command = [sys.executable, "-m", "deployments.local", "up"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    problem, command = done.stderr.splitlines()
    assert problem == (
        f"Port {taken_port} (LAUREL_PREFECT_PORT) is in use by another program; set "
        "LAUREL_PREFECT_PORT to a free port."
    )
    assert re.fullmatch(r"    LAUREL_PREFECT_PORT=\d+ make up", command)


def test_status_and_down_of_a_stack_that_never_was(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "nothing")
    assert {one.state for one in local.status(settings)} == {"STOPPED"}
    assert not local.down(settings)
    assert not (tmp_path / "nothing").exists()
