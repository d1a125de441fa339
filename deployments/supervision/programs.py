"""The local stack's programs: each one's command and environment, what it waits for, and how to
tell that it is ready.
"""

import base64
import http.client
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from blocks.settings import Settings
from deployments.servers import mariadb, seaweedfs
from deployments.servers.environment import prefect_auth
from deployments.servers.worker import POOL

WORKER = "local"
PROBE_SECONDS = 10


@dataclass(frozen=True)
class Program:
    """One long-running process. Paths in its command are relative to the state folder.

    ``ready`` gets its start time (seconds of the epoch); ``obstacle`` returns a reason not to start
    it, or ``None``."""

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
    """The programs of these settings, servers first, without those that run elsewhere."""
    listing = [_worker(settings)]
    if settings.serving_url is None:
        listing.insert(0, _service(settings))
    if settings.mlflow_url is None:
        listing.insert(0, _mlflow(settings))
    if seaweedfs.is_local(settings):
        listing.insert(0, _seaweedfs(settings))
    if mariadb.is_local(settings):
        listing.insert(0, _mariadb(settings))
    if settings.prefect_url is None:
        listing.insert(0, _prefect(settings))
    return listing


def _prefect(settings: Settings) -> Program:
    url = f"http://{settings.own_host}:{settings.prefect_port}"
    return Program(
        "prefect",
        ["python", "-m", "deployments.servers.prefect_server"],
        url,
        lambda started: answers(f"{url}/api/health"),
        in_home=True,
    )


def _seaweedfs(settings: Settings) -> Program:
    url = f"http://{settings.inner_host}:{settings.s3_port}"
    return Program(
        "seaweedfs",
        seaweedfs.weed_command(settings),
        url,
        lambda started: (
            answers(url, sensible=range(200, 500)) and seaweedfs.bucket_is_writable(settings)
        ),
        seaweedfs.weed_environment(),
        # On SIGTERM its filer waits 15 s for its own subscribers; killing it loses nothing
        # (docs/decisions/0003).
        stop_seconds=2,
    )


def _mariadb(settings: Settings) -> Program:
    return Program(
        "mariadb",
        mariadb.command(settings),
        f"unix:{settings.state.resolve() / mariadb.SOCKET}",
        lambda started: mariadb.is_readable(settings),
    )


def _mlflow(settings: Settings) -> Program:
    url = f"http://{settings.own_host}:{settings.mlflow_port}"
    return Program(
        "mlflow",
        ["python", "-m", "deployments.servers.mlflow_server"],
        url,
        lambda started: answers(f"{url}/health"),
        in_home=True,
    )


def _service(settings: Settings) -> Program:
    url = f"http://{settings.own_host}:{settings.serving_port}"
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
        ["python", "-m", "deployments.servers.worker", "--name", WORKER],
        f"{settings.prefect_api_url.removesuffix('/api')}/work-pools/work-pool/{POOL}",
        lambda started: _is_online(settings, started),
        in_home=True,
        after="prefect" if settings.prefect_url is None else None,
        obstacle=lambda: _other_pool(settings),
        stop_seconds=15,
    )


def _other_pool(settings: Settings) -> str | None:
    """Why no worker should start: the pool ``ec2`` has another type. The worker makes a missing
    pool.
    """
    status, pool = ask(f"{settings.prefect_api_url}/work_pools/{POOL}", auth=prefect_auth(settings))
    if status != 200 or pool["type"] == "process":
        return None
    return (
        f"No worker was started: the work pool {POOL!r} is of type {pool['type']!r}, so its "
        "runs go elsewhere."
    )


def _is_online(settings: Settings, started: float) -> bool:
    """Whether the pool has heard from the worker since ``started`` (seconds of the epoch)."""
    status, workers = ask(
        f"{settings.prefect_api_url}/work_pools/{POOL}/workers/filter", {}, prefect_auth(settings)
    )
    if status != 200:
        return False
    beats = [
        worker["last_heartbeat_time"]
        for worker in workers
        if worker["name"] == WORKER and worker["last_heartbeat_time"]
    ]
    return any(datetime.fromisoformat(beat).timestamp() >= started for beat in beats)


def answers(url: str, sensible: range = range(200, 300)) -> bool:
    return ask(url)[0] in sensible


def ask(url: str, body: dict[str, Any] | None = None, auth: str | None = None) -> tuple[int, Any]:
    """Status and JSON of one request (POST with a body), status 0 if there is no answer. It uses no
    proxy: the stack is local.

    ``auth`` is ``user:password``.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        content = None if body is None else json.dumps(body)
        headers = {"Content-Type": "application/json"}
        if auth:
            headers["Authorization"] = f"Basic {base64.b64encode(auth.encode()).decode()}"
        connection.request("GET" if body is None else "POST", parts.path or "/", content, headers)
        response = connection.getresponse()
        text = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else None
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
