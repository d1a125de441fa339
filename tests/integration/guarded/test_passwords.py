"""Prefect and MLflow behind passwords, with real servers: who is let in, that the whole loop works
so, and that no secret gets out.
"""

import itertools
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelRegistry, ModelVersion, RegistryError
from blocks.settings import REPOSITORY, Settings
from deployments.apply.command import apply_now
from deployments.apply.webhook import Refused, apply_webhook
from deployments.local import stack as local
from deployments.runs import run_and_wait
from deployments.servers.environment import environment, prefect_auth
from tests.fixtures.browser import CHROMIUM, MISSING, Browser
from tests.fixtures.processes import ServiceProcess, wait_until

CASE = "toy_easy"
DEPLOYED = {CASE: ("retrain", "close_lost_run")}
pytestmark = pytest.mark.usefixtures("deployed_cases")
NEVER_SECONDS = 3600
MADE = (
    *(
        "prefect_auth",
        "mlflow_username",
        "mlflow_password",
        "serving_key",
        "s3_access_key",
        "s3_secret_key",
    ),
    *("serving_webhook_secret", "mlflow_webhook_key"),
)


@pytest.fixture(scope="module")
def guarded(guarded_stack: Settings) -> Settings:
    """The stack with its worker, the deployments applied and their schedules off."""
    local.up(guarded_stack)
    apply_now(guarded_stack)
    with prefect_of(guarded_stack) as prefect:
        for deployment in prefect.read_deployments():
            for schedule in deployment.schedules:
                prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
    return guarded_stack


def prefect_of(settings: Settings) -> SyncPrefectClient:
    return SyncPrefectClient(settings.prefect_api_url, auth_string=prefect_auth(settings))


def mlflow_auth(settings: Settings) -> tuple[str, str]:
    assert settings.mlflow_username and settings.mlflow_password
    return settings.mlflow_username, settings.mlflow_password.get_secret_value()


def secrets_of(settings: Settings) -> list[str]:
    """The text of each secret in force; of Prefect's its password alone as well. An access key is
    the name of a secret key.
    """
    names = set(type(settings).model_fields) - {"s3_access_key"}
    found = [
        value.get_secret_value()
        for name in names
        if isinstance(value := getattr(settings, name), SecretStr)
    ]
    return [*found, *(one.partition(":")[2] for one in found if ":" in one)]


@pytest.fixture(scope="module")
def crowned(guarded: Settings) -> ModelVersion:
    """The champion that a retrain made, as a run of the deployment on the worker."""
    run_retrain(guarded)
    champion = ModelRegistry.of(guarded).at(CASE, CHAMPION)
    assert champion is not None
    return champion


def run_retrain(settings: Settings) -> None:
    """A run of the deployment on the worker, to its good end."""
    with prefect_of(settings) as prefect:
        deployment = prefect.read_deployment_by_name(f"retrain/{CASE}")
        run = prefect.create_flow_run_from_deployment(deployment.id)

        def over() -> bool:
            state = prefect.read_flow_run(run.id).state
            return state is not None and state.is_final()

        wait_until(over, "the retrain ends", seconds=180)
        state = prefect.read_flow_run(run.id).state
        assert state and state.is_completed(), state


def served(settings: Settings) -> str | None:
    assert settings.serving_key
    key = {"Authorization": f"Bearer {settings.serving_key.get_secret_value()}"}
    return httpx.get(f"{settings.serving_base_url}/v1/{CASE}", headers=key, trust_env=False).json()[
        "version"
    ]


def twin_of(settings: Settings, version: ModelVersion) -> ModelVersion:
    """Another version with the same package."""
    made = ModelRegistry.of(settings)
    return made.register(CASE, version.run_id, version.tags["laurel.package_sha256"], {}, "a twin")


PREFECT = [
    ("POST", "/flows/filter"),
    ("POST", "/deployments/filter"),
    ("POST", "/block_documents/filter"),
    ("POST", "/logs/filter"),
    ("GET", "/admin/settings"),
    ("GET", "/work_pools/ec2"),
    ("GET", "/no/such/page"),
    ("POST", "/health"),
]
MLFLOW = [
    ("GET", "/"),
    ("GET", f"/api/2.0/mlflow/registered-models/alias?name={CASE}&alias=champion"),
    ("POST", "/api/2.0/mlflow/runs/search"),
    ("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=1"),
    ("GET", "/api/2.0/mlflow-artifacts/artifacts/0/secret"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/0/planted"),
    ("GET", "/api/2.0/mlflow/webhooks"),
    ("GET", "/get-artifact?path=x&run_uuid=x"),
    ("POST", "/graphql"),
    ("GET", "/signup"),
    ("POST", "/api/2.0/mlflow/users/create"),
    ("GET", "/no/such/page"),
]


@pytest.mark.parametrize(
    ("server", "method", "path"),
    [("prefect", *one) for one in PREFECT] + [("mlflow", *one) for one in MLFLOW],
)
def test_nobody_is_let_in_without_the_password(
    guarded: Settings, server: str, method: str, path: str
) -> None:
    assert guarded.prefect_auth
    user, _, password = guarded.prefect_auth.get_secret_value().partition(":")
    mine, other = ((user, password), mlflow_auth(guarded))[:: 1 if server == "prefect" else -1]
    shown = {
        "nothing": None,
        "wrong password": (mine[0], mine[1] + "x"),
        "wrong user": ("root", mine[1]),
        "other server's": other,
    }
    base = guarded.prefect_api_url if server == "prefect" else guarded.mlflow_tracking_uri
    body = {"json": {}} if method == "POST" else {}
    with httpx.Client(base_url=base, trust_env=False) as client:
        answers = {
            what: client.request(method, path, auth=auth, **body).status_code
            for what, auth in shown.items()
        }
        assert answers == dict.fromkeys(shown, 401)
        if method == "GET":
            assert client.request(method, path, auth=mine).status_code != 401


def test_readiness_is_told_without_a_password(guarded: Settings) -> None:
    for url in (
        f"{guarded.prefect_api_url}/health",
        f"{guarded.prefect_api_url}/ready",
        f"{guarded.mlflow_tracking_uri}/health",
    ):
        assert httpx.get(url, trust_env=False).status_code == 200


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
@pytest.mark.parametrize("token", [None, "", "laurel:guessed"])
def test_no_stream_of_prefect_is_open_without_the_password(
    guarded: Settings, path: str, token: str | None
) -> None:
    url = f"{guarded.prefect_api_url.replace('http', 'ws')}/{path}"
    with pytest.raises((ConnectionClosed, InvalidStatus)), connect(url, proxy=None) as socket:
        socket.recv(timeout=10)
    with (
        pytest.raises(ConnectionClosed),
        connect(url, subprotocols=[Subprotocol("prefect")], proxy=None) as socket,
    ):
        socket.send(
            json.dumps(
                {"type": "auth", "token": token}
                if token is not None
                else {"type": "filter", "filter": {}}
            )
        )
        for _ in range(3):
            assert json.loads(socket.recv(timeout=10)).get("type") != "auth_success"


def test_the_pages_of_prefect_ask_for_the_password(guarded: Settings) -> None:
    said = httpx.get(f"http://127.0.0.1:{guarded.prefect_port}/ui-settings", trust_env=False).json()
    assert (said["auth"], said["api_url"]) == ("BASIC", "/api")


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_who_types_the_password_into_the_pages_of_prefect_sees_them(guarded: Settings) -> None:
    with (
        Browser() as browser,
        browser.open(f"http://127.0.0.1:{guarded.prefect_port}/deployments") as page,
    ):
        page.wait_for("document.querySelector('input')", "a password is asked for")
        assert CASE not in page.text("body")
        page.evaluate("document.querySelector('input').focus()")
        page.type_text(prefect_auth(guarded) or "")
        page.press("Enter")
        page.wait_for("document.body.innerText.includes('Deployments')", "the pages are there")
        page.go(f"http://127.0.0.1:{guarded.prefect_port}/deployments")
        page.wait_for(
            f"document.body.innerText.includes({CASE!r})", "the deployments are listed", 60
        )


def test_seaweedfs_is_reached_by_this_machine_alone(guarded: Settings) -> None:
    listening = {
        (one.laddr.ip, one.laddr.port)
        for process in psutil.process_iter()
        if process.name() == "weed" and f"-s3.port={guarded.s3_port}" in process.cmdline()
        for one in process.net_connections("tcp")
        if one.status == psutil.CONN_LISTEN
    }
    assert len(listening) >= 8
    assert {address for address, _ in listening} == {"127.0.0.1"}


def test_the_loop_closes_behind_passwords(guarded: Settings, crowned: ModelVersion) -> None:
    assert served(guarded) == crowned.number
    assert ModelRegistry.of(guarded).download_package(crowned, guarded.state / "fetched").is_dir()


def test_the_service_finds_a_new_champion_by_asking_with_the_password(
    guarded: Settings, crowned: ModelVersion
) -> None:
    with httpx.Client(
        base_url=f"{guarded.mlflow_tracking_uri}/api/2.0/mlflow/",
        auth=mlflow_auth(guarded),
        trust_env=False,
    ) as mlflow:
        (webhook,) = mlflow.get("webhooks").json()["webhooks"]
        place = f"webhooks/{webhook['webhook_id']}"
        assert mlflow.patch(place, json={"status": "DISABLED"}).status_code == 200
        twin = twin_of(guarded, crowned)
        ModelRegistry.of(guarded).set_alias(twin, CHAMPION)
        wait_until(lambda: served(guarded) == twin.number, "the poll finds the twin")
    assert apply_webhook(guarded) == "updated"


def test_mlflow_s_webhook_brings_a_new_champion_to_a_service_that_never_asks(
    guarded: Settings, crowned: ModelVersion, tmp_path: Path
) -> None:
    secret = "a secret of the test"
    user, password = mlflow_auth(guarded)
    registry = ModelRegistry.of(guarded)
    registry.set_alias(crowned, CHAMPION)
    with ServiceProcess(
        tmp_path,
        guarded.mlflow_tracking_uri,
        serving_use_cases=CASE,
        serving_poll_seconds=NEVER_SECONDS,
        serving_webhook_secret=secret,
        mlflow_username=user,
        mlflow_password=password,
    ) as service:

        def version() -> str | None:
            return service.client.get(f"/v1/{CASE}").json()["version"]

        wait_until(lambda: version() == crowned.number, "the champion serves")
        away = {
            "serving_url": f"http://127.0.0.1:{service.port}",
            "serving_webhook_secret": SecretStr(secret),
        }
        apply_webhook(guarded.model_copy(update=away))
        time.sleep(
            1.5
        )  # MLflow keeps its list of webhooks for a second, and so may not know of this one yet
        twin = twin_of(guarded, crowned)
        registry.set_alias(twin, CHAMPION)
        wait_until(lambda: version() == twin.number, "the webhook brings the twin")
        registry.set_alias(crowned, CHAMPION)  # the ledger knows of no twin
    assert not [one for one in (password, secret) if one in service.output.read_text()]
    assert apply_webhook(guarded) == "updated"


@pytest.mark.parametrize(
    ("password", "said"),
    [
        (None, "answered 401. Set LAUREL_PREFECT_AUTH to the server's user:password."),
        ("laurel:wrong", "answered 401. Set LAUREL_PREFECT_AUTH to the server's user:password."),
        ("the right one", "There is no deployment 'retrain/toy_github'."),
    ],
)
def test_who_runs_a_deployment_from_elsewhere_wants_the_right_password(
    guarded: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    password: str | None,
    said: str,
) -> None:
    """``python -m deployments.runs.run_and_wait``, in this process."""
    right = prefect_auth(guarded) or ""
    monkeypatch.setenv("LAUREL_PREFECT_URL", guarded.prefect_api_url)
    if password:
        monkeypatch.setenv(
            "LAUREL_PREFECT_AUTH", right if password == "the right one" else password
        )
    report = tmp_path / "report.md"
    code = run_and_wait.main(
        ["--use-case", "toy_github", "--report", str(report), "--poll-seconds", "0.2"]
    )
    assert (code, said in report.read_text()) == (1, True), report.read_text()
    assert right.partition(":")[2] not in report.read_text() + "".join(capfd.readouterr())


def test_clients_with_another_password_say_which_setting_is_wrong_and_not_what_it_holds(
    guarded: Settings,
) -> None:
    wrong = guarded.model_copy(update={"mlflow_password": SecretStr("guessed-guessed")})
    code = f"""
from blocks.registry import ModelRegistry, RegistryError
from blocks.settings import Settings
try:
    ModelRegistry.of(Settings.read()).at({CASE!r}, "champion")
except RegistryError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=os.environ | environment(wrong),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Set LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD" in done.stdout
    assert "guessed" not in done.stdout + done.stderr
    with pytest.raises(Refused, match="answered 401|did not answer as expected") as caught:
        apply_webhook(wrong)
    assert "guessed" not in str(caught.value)
    assert issubclass(RegistryError, RuntimeError)


def test_files_with_secrets_are_their_owner_s(guarded: Settings) -> None:
    holders = [
        path
        for path in guarded.state.rglob("*")
        if path.is_file() and _holds(path, secrets_of(guarded))
    ]
    assert guarded.state / "env" in holders
    known = {guarded.state / name for name in ("env", "seaweedfs/s3.json")}
    assert set(holders) <= known
    for path in {*known, guarded.state / "mlflow" / "basic_auth.ini"}:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def _holds(path: Path, secrets: list[str]) -> bool:
    content = path.read_bytes()
    return any(secret.encode() in content for secret in secrets)


def test_no_secret_is_in_a_log_nor_in_the_list_of_processes_nor_in_a_representation(
    guarded: Settings, crowned: ModelVersion
) -> None:
    secrets = secrets_of(guarded)
    assert len(secrets) >= 6
    logs = list((guarded.state / "logs").glob("*"))
    assert {"prefect.log", "mlflow.log", "service.log", "worker.log"} <= {
        path.name for path in logs
    }
    assert not [path.name for path in logs if _holds(path, secrets)]
    lines = [
        line for process in psutil.process_iter() if (line := " ".join(_command_line(process)))
    ]
    assert any(str(guarded.prefect_port) in line for line in lines)
    assert not [line for line, secret in itertools.product(lines, secrets) if secret in line]
    assert not [
        secret for secret in secrets if secret in f"{guarded!r} {ModelRegistry.of(guarded)!r}"
    ]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_no_secret_is_told_by_prefect_s_api(guarded: Settings, crowned: ModelVersion) -> None:
    kinds = (
        "deployments",
        "flow_runs",
        "task_runs",
        "work_pools",
        "work_pools/ec2/workers",
        "block_documents",
        "artifacts",
        "automations",
    )
    with httpx.Client(
        base_url=guarded.prefect_api_url, auth=_prefect_pair(guarded), trust_env=False
    ) as prefect:
        told: dict[str, Any] = {
            kind: prefect.post(f"/{kind}/filter", json={})
            for kind in (*kinds, "variables", "logs", "events")
        }
        told["settings"] = prefect.get("/admin/settings")
    assert {kind: answer.status_code for kind, answer in told.items()} == dict.fromkeys(told, 200)
    assert all(
        len(told[kind].json())
        for kind in (
            "deployments",
            "flow_runs",
            "task_runs",
            "work_pools/ec2/workers",
            "block_documents",
            "logs",
        )
    )
    assert not [
        (kind, secret)
        for (kind, answer), secret in itertools.product(told.items(), secrets_of(guarded))
        if secret in answer.text
    ]


def _prefect_pair(settings: Settings) -> tuple[str, str]:
    user, _, password = (prefect_auth(settings) or "").partition(":")
    return user, password


def test_who_is_added_to_mlflow_may_do_nothing_until_it_is_granted(
    guarded: Settings, crowned: ModelVersion
) -> None:
    owner, guest = mlflow_auth(guarded), ("guest", "of-the-guest")
    api, ask = f"{guarded.mlflow_tracking_uri}/api/2.0/mlflow", f"registered-models/get?name={CASE}"
    made = {"username": guest[0], "password": guest[1]}
    assert (
        httpx.post(f"{api}/users/create", json=made, auth=owner, trust_env=False).status_code == 200
    )
    assert httpx.get(f"{api}/{ask}", auth=owner, trust_env=False).status_code == 200
    assert httpx.get(f"{api}/{ask}", auth=guest, trust_env=False).status_code == 403
    path = "/api/2.0/mlflow-artifacts/artifacts/planted"
    assert (
        httpx.put(
            guarded.mlflow_tracking_uri + path, content=b"x", auth=guest, trust_env=False
        ).status_code
        == 403
    )


@pytest.fixture(scope="module")
def renewed(guarded: Settings, crowned: ModelVersion) -> Settings:
    """The same stack after a restart with all secrets made anew: none of the tests after this one
    knows the old ones to be good.
    """
    with httpx.Client(
        base_url=f"{guarded.mlflow_tracking_uri}/api/2.0/mlflow/",
        auth=mlflow_auth(guarded),
        trust_env=False,
    ) as mlflow:
        (webhook,) = mlflow.get("webhooks").json()["webhooks"]
        # With a new key MLflow could neither read it nor list any.
        assert mlflow.delete(f"webhooks/{webhook['webhook_id']}").status_code == 200
    local.down(guarded)
    settings = local.up(guarded.model_copy(update=dict.fromkeys(MADE)))
    apply_now(settings)
    return settings


@pytest.mark.nightly("starts the stack anew")
def test_after_a_restart_with_new_secrets_the_old_ones_are_good_for_nothing(
    guarded: Settings, renewed: Settings
) -> None:
    assert guarded.slack_token, "the only one that was given"
    kept = set(secrets_of(guarded)) & set(secrets_of(renewed))
    assert kept == {guarded.slack_token.get_secret_value()}
    for settings, status in ((renewed, 200), (guarded, 401)):
        flows = f"{renewed.prefect_api_url}/flows/filter"
        assert (
            httpx.post(flows, json={}, auth=_prefect_pair(settings), trust_env=False).status_code
            == status
        )
        models = f"{renewed.mlflow_tracking_uri}/api/2.0/mlflow/registered-models/search"
        assert httpx.get(models, auth=mlflow_auth(settings), trust_env=False).status_code == status
        assert settings.serving_key
        key = {"X-Api-Key": settings.serving_key.get_secret_value()}
        assert (
            httpx.get(
                f"{renewed.serving_base_url}/v1/{CASE}", headers=key, trust_env=False
            ).status_code
            == status
        )


@pytest.mark.nightly("starts the stack anew")
def test_after_a_restart_with_new_secrets_flows_service_and_webhook_work(
    renewed: Settings, crowned: ModelVersion
) -> None:
    run_retrain(renewed)
    ModelRegistry.of(renewed).set_alias(crowned, CHAMPION)
    wait_until(lambda: served(renewed) == crowned.number, "the service follows")
    assert apply_webhook(renewed) == "unchanged"


@pytest.mark.parametrize("name", ["prefect", "mlflow"])
def test_a_server_command_that_would_listen_openly_ends_at_once_and_says_what_to_set(
    name: str, tmp_path: Path
) -> None:
    variables = os.environ | {
        "LAUREL_HOST": "0.0.0.0",
        "LAUREL_STATE": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-m", f"deployments.servers.{name}_server"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert (
        f"Set LAUREL_{name.upper()}_" in done.stderr and "or LAUREL_HOST=127.0.0.1." in done.stderr
    )
    assert "Traceback" not in done.stderr
