"""The local stack with its real servers, as the session's stack has them."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from pydantic import SecretStr

from blocks.settings import REPOSITORY, Settings
from deployments.demo.runs import DemoFailed, Runs
from deployments.local import stack as local
from deployments.local.watch import StackWatch
from deployments.supervision.supervisor import Supervisor
from tests.conftest import LocalSettings
from tests.fixtures.deployed import deploy
from tests.fixtures.stacks import as_environment, marked


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


def test_mlflow_is_one_process(stack: Settings) -> None:
    (mlflow,) = [one for one in local.status(stack) if one.name == "mlflow"]
    assert psutil.Process(mlflow.pid).children() == []


def test_second_up_reuses_what_runs(stack: Settings) -> None:
    before = [one.pid for one in local.status(stack)]
    said: list[str] = []
    assert local.up(stack, say=said.append) == stack
    assert said == ["The stack is already up."]
    assert [one.pid for one in local.status(stack)] == before


def test_up_with_other_settings_is_refused_and_the_stack_stays(stack: Settings) -> None:
    with pytest.raises(
        local.StackError, match="is up with different settings; stop it first: make down"
    ) as caught:
        local.up(
            stack.model_copy(
                update={"slack_channel": "#elsewhere", "slack_token": SecretStr("xoxb-another")}
            )
        )
    assert "LAUREL_SLACK_CHANNEL: #ml in the running stack, #elsewhere here" in str(caught.value)
    assert "LAUREL_SLACK_TOKEN: a secret that differs from the running stack's" in str(caught.value)
    assert "xoxb" not in str(caught.value)
    assert {one.state for one in local.status(stack)} == {"RUNNING"}


def fresh_shell(state: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A verb in a shell that knows of the stack nothing but its folder."""
    known = {"LAUREL_STATE": str(state), **variables}
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")
    } | known
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )


def test_verbs_in_a_fresh_shell_speak_to_the_stack_that_runs(stack: Settings) -> None:
    status = fresh_shell(stack.state, "deployments.local", "status", COLUMNS="200")
    assert (status.returncode, status.stderr) == (0, "")
    assert all(url in status.stdout for url in (stack.mlflow_tracking_uri, stack.serving_base_url))
    exports = fresh_shell(stack.state, "deployments.local", "exports").stdout.splitlines()
    assert f"export PREFECT_API_URL={stack.prefect_api_url}" in exports
    # Its secrets too, which no file holds: another Slack token in the blocks would silence the
    # stack.
    again = fresh_shell(stack.state, "deployments.local", "up")
    assert again.stdout.splitlines()[0] == "The stack is already up.", again.stderr
    assert (
        stack.slack_token
        and stack.slack_token.get_secret_value() not in (stack.state / "started.json").read_text()
    )


def test_verb_in_a_shell_with_another_port_tells_both_and_takes_the_stack_s(
    stack: Settings, taken_port: int
) -> None:
    audit = fresh_shell(
        stack.state, "deployments.checks.audit", "flights", LAUREL_MLFLOW_PORT=str(taken_port)
    )
    assert (
        f"LAUREL_MLFLOW_PORT: {taken_port} here, {stack.mlflow_port} in the running stack"
        in audit.stderr
    )
    assert "NOT CHECKED" not in audit.stdout
    refused = fresh_shell(
        stack.state, "deployments.local", "up", LAUREL_MLFLOW_PORT=str(taken_port)
    )
    assert refused.returncode == 1
    assert (
        f"LAUREL_MLFLOW_PORT: {stack.mlflow_port} in the running stack, {taken_port} here"
        in refused.stderr
    )
    assert {one.state for one in local.status(stack)} == {"RUNNING"}


def test_everything_temporary_of_the_stack_is_below_its_folder(stack: Settings) -> None:
    for process in marked(stack):
        folder = Path(process.environ()["TMPDIR"])
        assert folder.is_dir() and folder.resolve().is_relative_to(stack.state)
    assert list((stack.state / "tmp").glob("*/runner_storage"))


# Whatever the tests' own Python and checkout are closed to, this user reads; it writes where it is
# let.
NOBODY = 65_534
READS_ALL = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
AS_NOBODY = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--securebits=+no_setuid_fixup",
    *READS_ALL,
]


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="only root, by setpriv, can start a stack as another user",
)
def test_second_user_s_stack_runs_beside_the_first_one_s(
    stack: Settings, local_settings: LocalSettings
) -> None:
    with tempfile.TemporaryDirectory(prefix="laurel-nobody-") as folder:
        os.chown(folder, NOBODY, NOBODY)
        settings = local_settings(Path(folder) / "state", lake=f"file://{folder}/lake")
        environment = {**as_environment(settings), "HOME": folder, "USER": "nobody"}

        def as_nobody(verb: str) -> subprocess.CompletedProcess[str]:
            command = [*AS_NOBODY, sys.executable, "-m", "deployments.local", verb]
            return subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )

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
    filer_port = stack.s3_port + local.seaweedfs.SEAWEEDFS_PORTS["filer.port"]
    filer = f"http://{stack.host}:{filer_port}/buckets/laurel/private"
    assert httpx.get(f"{filer}/of-laurel").status_code == 401
    assert httpx.put(f"{filer}/planted", content=b"x").status_code == 401


def test_keys_in_the_state_folder_can_be_read_by_their_owner_only(stack: Settings) -> None:
    for path in (
        stack.state / "env",
        stack.state / "seaweedfs" / "s3.json",
        stack.state / "supervisord.conf",
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (
        stack.s3_secret_key
        and stack.s3_secret_key.get_secret_value() in (stack.state / "env").read_text()
    )


def test_artifact_logged_to_mlflow_lies_in_the_lake(stack: Settings, tmp_path: Path) -> None:
    code = (
        "import mlflow\nwith mlflow.start_run() as run:\n    mlflow.log_text('laurel', "
        "'crown.txt')\nprint(run.info.run_id)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=as_environment(stack),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    run_id = done.stdout.split()[-1] if "http" not in done.stdout.split()[-1] else ""
    keys = [
        one["Key"]
        for one in s3(stack).list_objects_v2(Bucket="laurel", Prefix="mlflow/")["Contents"]
    ]
    assert any(key.endswith("/artifacts/crown.txt") and run_id in key for key in keys)


def test_pages_of_other_sites_may_not_call_prefect(stack: Settings) -> None:
    answer = httpx.get(
        f"{stack.prefect_api_url}/health", headers={"Origin": "https://elsewhere.example"}
    )
    assert "access-control-allow-origin" not in answer.headers
    own = httpx.get(
        f"{stack.prefect_api_url}/health",
        headers={"Origin": f"http://localhost:{stack.prefect_port}"},
    )
    assert own.headers["access-control-allow-origin"] == f"http://localhost:{stack.prefect_port}"


def test_failed_run_of_the_demo_is_told_with_its_log_and_a_link_only_where_the_servers_stay(
    applied: Settings,
) -> None:
    deploy(applied, "flights", flows=("rollback",))
    with (
        SyncPrefectClient(applied.prefect_api_url) as prefect,
        StackWatch(Supervisor(applied.state), print) as watch,
    ):
        own, of_others = Runs(applied, prefect, "flights", watch), Runs(applied, prefect, "flights")
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
