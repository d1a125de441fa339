"""What the local stack runs: each program's command and environment, what it waits for, and how one knows that it is ready."""

import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import SecretStr

from blocks.settings import Settings
from deployments import local_storage

POOL = "ec2"
WORKER = "local"
PROBE_SECONDS = 2


@dataclass(frozen=True)
class Program:
    """One long-running process. Paths in its command are relative to the state folder.

    ``ready`` is told when it was started (seconds of the epoch); ``obstacle`` says why it is not to be started, if so.
    """

    name: str
    command: list[str]
    url: str
    ready: Callable[[float], bool]
    environment: dict[str, str] = field(default_factory=dict)
    in_home: bool = False
    after: str | None = None
    obstacle: Callable[[], str | None] = lambda: None
    stop_seconds: int = 10


def programs(settings: Settings) -> list[Program]:
    """The programs of these settings, servers first; what the settings say runs elsewhere is left out."""
    found = [_worker(settings)]
    if settings.serving_url is None:
        found.insert(0, _service(settings))
    if settings.mlflow_url is None:
        found.insert(0, _mlflow(settings))
    if local_storage.is_local(settings):
        found.insert(0, _seaweedfs(settings))
    if settings.prefect_url is None:
        found.insert(0, _prefect(settings))
    return found


def environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work with this stack: Laurel's settings, Prefect's and MLflow's."""
    return {
        **_exported(settings),
        "PREFECT_API_URL": settings.prefect_api_url,
        "PREFECT_HOME": str(settings.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # The default lets a client hang for minutes on a server that is away; tasks have retries of their own.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PYTHONPATH": settings.flow_run_pythonpath,
        # Threads that spin while they wait make a fit ten times as long when something else wants the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # The matrices are narrow: a second BLAS thread doubles the time of a logistic regression.
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
    }


def _exported(settings: Settings) -> dict[str, str]:
    values = {name: getattr(settings, name) for name, field in type(settings).model_fields.items() if field.validation_alias is None}
    return {
        f"LAUREL_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _prefect(settings: Settings) -> Program:
    url = f"http://{settings.host}:{settings.prefect_port}"
    # By default any web page may call the API from a browser, and a deployment that it makes is code that the worker runs.
    origins = {url, f"http://localhost:{settings.prefect_port}"}
    # Prefect keeps a single connection to a database whose address holds ":memory:". With more of them SQLite answers
    # "database is locked", events are lost and clients wait two seconds to ask again (docs/decisions/0009-prefect-on-sqlite.md).
    database = f"sqlite+aiosqlite:///file:{quote(str(settings.state / 'prefect' / 'prefect.db'))}?uri=true&one_connection=:memory:"
    return Program(
        "prefect",
        ["prefect", "server", "start", "--host", settings.host, "--port", str(settings.prefect_port)],
        url,
        lambda started: answers(f"{url}/api/health"),
        {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(sorted(origins)),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # The second UI asks amplitude.com at every page, whatever the analytics setting says.
            "PREFECT_SERVER_UI_V2_ENABLED": "false",
        },
    )


def _seaweedfs(settings: Settings) -> Program:
    url = f"http://{settings.host}:{settings.s3_port}"
    return Program(
        "seaweedfs",
        local_storage.weed_command(settings),
        url,
        lambda started: answers(url, sensible=range(200, 500)) and local_storage.bucket_is_writable(settings),
        local_storage.weed_environment(),
        # Its filer waits 15 s for its own subscribers before it goes on; killing it loses nothing (docs/decisions/0003).
        stop_seconds=2,
    )


def _mlflow(settings: Settings) -> Program:
    url = f"http://{settings.host}:{settings.mlflow_port}"
    lake = settings.lake.rstrip("/")
    # MLflow takes a folder's address for an encoded one, the lake takes it as it is written.
    artifacts = {"MLFLOW_ARTIFACTS_DESTINATION": f"file://{quote(lake.removeprefix('file://'))}/mlflow"}
    if lake.startswith("s3://"):
        artifacts = {"MLFLOW_ARTIFACTS_DESTINATION": f"{lake}/mlflow", "AWS_DEFAULT_REGION": settings.s3_region}
        if settings.s3_endpoint_url:
            artifacts |= {"MLFLOW_S3_ENDPOINT_URL": settings.s3_endpoint_url, "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE": "path"}
        if settings.s3_access_key and settings.s3_secret_key:
            artifacts |= {"AWS_ACCESS_KEY_ID": settings.s3_access_key.get_secret_value()}
            artifacts |= {"AWS_SECRET_ACCESS_KEY": settings.s3_secret_key.get_secret_value()}
    # The service is on this machine and speaks HTTP, which MLflow refuses to call by default. Without its key MLflow could not read
    # its own webhooks after a restart; it keeps the list of them for this many seconds.
    webhooks = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true", "MLFLOW_WEBHOOK_CACHE_TTL": "1"}
    if settings.mlflow_webhook_key:
        webhooks |= {"MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": settings.mlflow_webhook_key.get_secret_value()}
    store = "sqlite:///mlflow/mlflow.db"
    return Program(
        "mlflow",
        ["mlflow", "server", "--host", settings.host, "--port", str(settings.mlflow_port), "--workers", "1"]
        + ["--backend-store-uri", store, "--serve-artifacts"],
        url,
        lambda started: answers(f"{url}/health"),
        # A server that found its own address as tracking store would ask itself.
        {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_TRACKING_URI": store, **artifacts, **webhooks},
    )


def _service(settings: Settings) -> Program:
    url = f"http://{settings.host}:{settings.serving_port}"
    return Program(
        "service",
        ["python", "-m", "serving"],
        url,
        lambda started: answers(f"{url}/health"),
        in_home=True,
        after="mlflow" if settings.mlflow_url is None else None,
        stop_seconds=20,
    )


def _worker(settings: Settings) -> Program:
    return Program(
        "worker",
        ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER],
        f"{settings.prefect_api_url.removesuffix('/api')}/work-pools/work-pool/{POOL}",
        lambda started: _is_online(settings.prefect_api_url, started),
        # Both at their defaults: a run waits up to 10 s for the next look, and cancelling one does nothing.
        {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_ENABLE_CANCELLATION": "true"},
        after="prefect" if settings.prefect_url is None else None,
        obstacle=lambda: _other_pool(settings.prefect_api_url),
        stop_seconds=15,
    )


def _other_pool(prefect_api_url: str) -> str | None:
    """Where there is no pool ``ec2`` yet, the worker makes one of its own type."""
    status, found = ask(f"{prefect_api_url}/work_pools/{POOL}")
    if status != 200 or found["type"] == "process":
        return None
    return f"No worker was started: the work pool {POOL!r} is of type {found['type']!r}, so its runs go elsewhere."


def _is_online(prefect_api_url: str, started: float) -> bool:
    """Whether the pool has heard from the worker since ``started`` (seconds of the epoch)."""
    status, workers = ask(f"{prefect_api_url}/work_pools/{POOL}/workers/filter", {})
    if status != 200:
        return False
    beats = [one["last_heartbeat_time"] for one in workers if one["name"] == WORKER and one["last_heartbeat_time"]]
    return any(datetime.fromisoformat(beat).timestamp() >= started for beat in beats)


def answers(url: str, sensible: range = range(200, 300)) -> bool:
    return ask(url)[0] in sensible


def ask(url: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and JSON of one request (POST with a body), status 0 where nobody answers. No proxy is asked: the stack is here."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        content = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", parts.path or "/", content, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
