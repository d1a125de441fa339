"""The local stack with its real servers. The last group of tests starts stacks of its own, in order to break them."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from pydantic import SecretStr

from blocks.settings import REPOSITORY, Settings
from deployments.demo.runs import DemoFailed, Runs
from deployments.local import ports
from deployments.local import stack as local
from deployments.local.watch import StackWatch
from deployments.supervision import programs
from deployments.supervision.supervisor import MARKER, Supervisor
from tests.conftest import LocalSettings

FLOW = """
import os, pathlib, subprocess, sys, time
from prefect import flow

@flow
def endless(pid_file: str):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(pid_file).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
"""
# Starts as a flow run's process would, without the stack's servers: the environment is the stack's own.
DEPLOY = """
import asyncio, sys
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from endless import endless

async def main():
    async with get_client() as client:
        flow_id = await client.create_flow(endless)
        await client.create_deployment(flow_id, "test", work_pool_name="ec2", entrypoint="endless.py:endless",
            pull_steps=[{"prefect.deployments.steps.set_working_directory": {"directory": sys.argv[1]}}], enforce_parameter_schema=False)
    await run_deployment("endless/test", parameters={"pid_file": sys.argv[2]}, timeout=0)

asyncio.run(main())
"""


def eventually(found: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found():
            return True
        time.sleep(0.1)
    return False


def marked(settings: Settings) -> list[psutil.Process]:
    """Living processes of the stack, found without asking the code under test."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARKER) == str(settings.state):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def open_ports(settings: Settings) -> list[int]:
    def listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((settings.host, port)) == 0

    return [port.number for port in ports.needed(settings) if listens(port.number)]


def as_environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, **local.environment(settings)}


def s3(settings: Settings, access_key: str | None = None):
    assert settings.s3_access_key and settings.s3_secret_key
    access_key = access_key or settings.s3_access_key.get_secret_value()
    secret_key = settings.s3_secret_key.get_secret_value()
    return boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=settings.s3_region,
    )


def test_every_program_runs_and_tells_pid_memory_and_address(stack: Settings) -> None:
    found = local.status(stack)
    assert [one.name for one in found] == ["prefect", "seaweedfs", "mlflow", "service", "worker"]
    assert {one.state for one in found} == {"RUNNING"}
    assert all(one.pid and psutil.pid_exists(one.pid) and one.memory_bytes > 10e6 for one in found)
    for one in found[2:4]:
        assert httpx.get(f"{one.url}/health").status_code == 200


def test_second_up_reuses_what_runs(stack: Settings) -> None:
    before = [one.pid for one in local.status(stack)]
    said: list[str] = []
    assert local.up(stack, say=said.append) == stack
    assert said == ["The stack is already up."]
    assert [one.pid for one in local.status(stack)] == before


def test_up_with_other_settings_is_refused_and_the_stack_stays(stack: Settings) -> None:
    with pytest.raises(local.StackError, match="is up with other settings; stop it first: make down") as caught:
        local.up(stack.model_copy(update={"slack_channel": "#elsewhere", "slack_token": SecretStr("xoxb-another")}))
    assert "LAUREL_SLACK_CHANNEL: #ml in the running stack, #elsewhere here" in str(caught.value)
    assert "LAUREL_SLACK_TOKEN: a secret, and another one here" in str(caught.value)
    assert "xoxb" not in str(caught.value)
    assert {one.state for one in local.status(stack)} == {"RUNNING"}


def fresh_shell(state: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A verb in a shell that knows of the stack nothing but its folder."""
    known = {"LAUREL_STATE": str(state), **variables}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")} | known
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def test_verbs_in_a_fresh_shell_speak_to_the_stack_that_runs(stack: Settings) -> None:
    status = fresh_shell(stack.state, "deployments.local", "status", COLUMNS="200")
    assert (status.returncode, status.stderr) == (0, "")
    assert all(url in status.stdout for url in (stack.mlflow_tracking_uri, stack.serving_base_url))
    exports = fresh_shell(stack.state, "deployments.local", "exports").stdout.splitlines()
    assert f"export PREFECT_API_URL={stack.prefect_api_url}" in exports
    # Its secrets too, which no file holds: another Slack token in the blocks would silence the stack.
    again = fresh_shell(stack.state, "deployments.local", "up")
    assert again.stdout.splitlines()[0] == "The stack is already up.", again.stderr
    assert stack.slack_token and stack.slack_token.get_secret_value() not in (stack.state / "started.json").read_text()


def test_verb_in_a_shell_with_another_port_tells_both_and_takes_the_stack_s(stack: Settings, taken_port: int) -> None:
    audit = fresh_shell(stack.state, "deployments.checks.audit", "flights", LAUREL_MLFLOW_PORT=str(taken_port))
    assert f"LAUREL_MLFLOW_PORT: {taken_port} here, {stack.mlflow_port} in the stack" in audit.stderr
    assert "NOT CHECKED" not in audit.stdout
    refused = fresh_shell(stack.state, "deployments.local", "up", LAUREL_MLFLOW_PORT=str(taken_port))
    assert refused.returncode == 1
    assert f"LAUREL_MLFLOW_PORT: {stack.mlflow_port} in the running stack, {taken_port} here" in refused.stderr
    assert {one.state for one in local.status(stack)} == {"RUNNING"}


def test_everything_temporary_of_the_stack_is_below_its_folder(stack: Settings) -> None:
    for process in marked(stack):
        folder = Path(process.environ()["TMPDIR"])
        assert folder.is_dir() and folder.resolve().is_relative_to(stack.state)
    assert list((stack.state / "tmp").glob("*/runner_storage"))


# Whatever the tests' own Python and checkout are closed to, this user reads; it writes where it is let.
NOBODY = 65_534
READS_ALL = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--securebits=+no_setuid_fixup", *READS_ALL]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root, by setpriv, can start a stack as another user")
def test_second_user_s_stack_runs_beside_the_first_one_s(stack: Settings, local_settings: LocalSettings) -> None:
    with tempfile.TemporaryDirectory(prefix="laurel-nobody-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        settings = local_settings(Path(folder) / "state", lake=f"file://{folder}/lake")
        environment = {**as_environment(settings), "HOME": folder, "USER": "nobody"}

        def as_nobody(verb: str) -> subprocess.CompletedProcess[str]:
            command = [*AS_NOBODY, sys.executable, "-m", "deployments.local", verb]
            return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)

        try:
            up = as_nobody("up")
            assert up.returncode == 0, up.stderr
            assert {process.uids().real for process in marked(settings)} == {NOBODY}
        finally:
            as_nobody("down")
    assert {one.state for one in local.status(stack)} == {"RUNNING"}


def test_bucket_of_the_lake_is_there_for_the_keys_and_for_nobody_else(stack: Settings) -> None:
    assert [bucket["Name"] for bucket in s3(stack).list_buckets()["Buckets"]] == ["laurel"]
    s3(stack).put_object(Bucket="laurel", Key="private/of-laurel", Body=b"x")
    with pytest.raises(s3(stack).exceptions.ClientError, match="InvalidAccessKeyId"):
        s3(stack, access_key="guessed").list_buckets()
    assert httpx.get(f"{stack.s3_endpoint_url}/laurel/private/of-laurel").status_code == 403
    filer = f"http://{stack.host}:{stack.s3_port + local.local_storage.SEAWEEDFS_PORTS['filer.port']}/buckets/laurel/private"
    assert httpx.get(f"{filer}/of-laurel").status_code == 401
    assert httpx.put(f"{filer}/planted", content=b"x").status_code == 401


def test_keys_in_the_state_folder_can_be_read_by_their_owner_only(stack: Settings) -> None:
    for path in (stack.state / "env", stack.state / "seaweedfs" / "s3.json", stack.state / "supervisord.conf"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stack.s3_secret_key and stack.s3_secret_key.get_secret_value() in (stack.state / "env").read_text()


def test_artifact_logged_to_mlflow_lies_in_the_lake(stack: Settings, tmp_path: Path) -> None:
    code = "import mlflow\nwith mlflow.start_run() as run:\n    mlflow.log_text('laurel', 'crown.txt')\nprint(run.info.run_id)"
    done = subprocess.run([sys.executable, "-c", code], env=as_environment(stack), cwd=tmp_path, capture_output=True, text=True, check=True)
    run_id = done.stdout.split()[-1] if "http" not in done.stdout.split()[-1] else ""
    keys = [one["Key"] for one in s3(stack).list_objects_v2(Bucket="laurel", Prefix="mlflow/")["Contents"]]
    assert any(key.endswith("/artifacts/crown.txt") and run_id in key for key in keys)


def test_pages_of_other_sites_may_not_call_prefect(stack: Settings) -> None:
    answer = httpx.get(f"{stack.prefect_api_url}/health", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in answer.headers
    own = httpx.get(f"{stack.prefect_api_url}/health", headers={"Origin": f"http://localhost:{stack.prefect_port}"})
    assert own.headers["access-control-allow-origin"] == f"http://localhost:{stack.prefect_port}"


def test_failed_run_of_the_demo_is_told_with_its_log_and_a_link_only_where_the_servers_stay(applied: Settings) -> None:
    with SyncPrefectClient(applied.prefect_api_url) as prefect, StackWatch(Supervisor(applied.state), print) as watch:
        own, of_others = Runs(applied, prefect, watch), Runs(applied, prefect)
        run = own.start("rollback", version="999", reason="a version that never was")
        with pytest.raises(DemoFailed, match="the rollback ended as Failed") as caught:
            own.wait(run, "the rollback")
        assert "The last lines of its log:\n    " in str(caught.value)
        assert "/runs/flow-run/" not in str(caught.value)
        with pytest.raises(DemoFailed, match=f"See {applied.prefect_pages}/runs/flow-run/{run.id}"):
            of_others.wait(run, "the rollback")


def test_worker_serves_a_process_pool(stack: Settings) -> None:
    pool = httpx.get(f"{stack.prefect_api_url}/work_pools/ec2").json()
    assert (pool["type"], pool["status"]) == ("process", "READY")


@pytest.fixture(scope="module")
def doomed(local_settings: LocalSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A stack to be broken, with a folder as lake, in a path with a space, a percent sign and what starts a comment."""
    folder = tmp_path_factory.mktemp("doomed") / "50% of #1 ;x"
    settings = local_settings(folder, lake=f"file://{folder}/lake")
    yield settings
    local.down(settings)


def test_stack_with_a_folder_as_lake_starts_without_seaweedfs_and_keeps_artifacts_there(doomed: Settings, tmp_path: Path) -> None:
    local.up(doomed)
    assert [one.name for one in local.status(doomed) if one.state == "RUNNING"] == ["prefect", "mlflow", "service", "worker"]
    code = "import mlflow\nwith mlflow.start_run():\n    mlflow.log_text('laurel', 'crown.txt')"
    subprocess.run([sys.executable, "-c", code], env=as_environment(doomed), cwd=tmp_path, check=True)
    assert list((doomed.state / "lake" / "mlflow").rglob("crown.txt"))


def test_killed_service_is_started_again(doomed: Settings) -> None:
    pid = {one.name: one.pid for one in local.status(doomed)}["service"]
    assert pid
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: {one.name: one.pid for one in local.status(doomed)}["service"] not in (pid, None))
    assert eventually(lambda: programs.answers(f"{doomed.serving_base_url}/health"))


def test_down_ends_what_a_killed_supervisord_left_flow_runs_too(doomed: Settings, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(FLOW)
    pids = tmp_path / "pids"
    deploy = [sys.executable, "-c", DEPLOY, str(tmp_path), str(pids)]
    subprocess.run(deploy, cwd=tmp_path, env={**as_environment(doomed), "PYTHONPATH": str(tmp_path)}, check=True)
    assert eventually(lambda: pids.exists() and len(pids.read_text().split()) == 2), "the flow run did not start"
    run, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    os.kill(int((doomed.state / "supervisord.pid").read_text()), signal.SIGKILL)
    assert eventually(lambda: not local.Supervisor(doomed.state).states())
    assert run.is_running() and len(open_ports(doomed)) == 3

    assert local.down(doomed)
    assert not run.is_running() and not child.is_running()
    assert marked(doomed) == []
    assert open_ports(doomed) == []
    assert not local.down(doomed)


def test_server_that_dies_at_its_start_is_named_with_its_log_and_nothing_stays(doomed: Settings) -> None:
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
def test_interrupted_up_leaves_nothing(number: int, local_settings: LocalSettings, tmp_path: Path) -> None:
    settings = local_settings(tmp_path / "state")
    command = [sys.executable, "-m", "deployments.local", "up"]
    process = subprocess.Popen(command, cwd=REPOSITORY, env=as_environment(settings), stderr=subprocess.PIPE, text=True)
    assert eventually(lambda: len(marked(settings)) >= 4), "the servers did not start"
    process.send_signal(number)
    assert process.wait(60) == 130
    assert process.stderr and process.stderr.read() == "Interrupted; nothing was left half-started.\n"
    assert marked(settings) == []
    assert open_ports(settings) == []


def test_second_up_at_the_same_time_is_told_to_wait(local_settings: LocalSettings, tmp_path: Path) -> None:
    settings = local_settings(tmp_path / "state")
    with local._alone(settings.state), pytest.raises(local.StackError, match="Another `up` or `down` is at work"):
        local.up(settings)


def test_command_line_says_what_is_wrong_without_a_traceback(local_settings: LocalSettings, tmp_path: Path, taken_port: int) -> None:
    environment = as_environment(local_settings(tmp_path).model_copy(update={"prefect_port": taken_port}))
    command = [sys.executable, "-m", "deployments.local", "up"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    problem, command = done.stderr.splitlines()
    assert problem == f"Port {taken_port} (LAUREL_PREFECT_PORT) is in use by another program; set LAUREL_PREFECT_PORT to a free one."
    assert re.fullmatch(r"    LAUREL_PREFECT_PORT=\d+ make up", command)


def test_status_and_down_of_a_stack_that_never_was(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "nothing")
    assert {one.state for one in local.status(settings)} == {"STOPPED"}
    assert not local.down(settings)
    assert not (tmp_path / "nothing").exists()
