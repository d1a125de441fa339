"""The parts of the stack, and whether each of them answers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from blocks.settings import Settings


@dataclass(frozen=True)
class StackPart:
    """``answers`` is ``None`` if nobody can tell from here; ``note`` says what is wrong."""

    name: str
    answers: bool | None
    url: str
    note: str = ""

    @property
    def port(self) -> int | None:
        return urlsplit(self.url).port if self.url.startswith("http") else None


def read_parts(settings: "Settings") -> list[StackPart]:
    """Prefect, MLflow, the lake, the service and the worker, each asked now."""
    looks: list[Callable[[Settings], StackPart]] = [_prefect, _mlflow, _lake, _service, _worker]
    with ThreadPoolExecutor(len(looks)) as threads:
        return list(threads.map(lambda look: look(settings), looks))


def _prefect(settings: "Settings") -> StackPart:
    return _asked("prefect", settings.prefect_api_url.removesuffix("/api"), "/api/health")


def _mlflow(settings: "Settings") -> StackPart:
    return _asked("mlflow", settings.mlflow_tracking_uri, "/health")


def _service(settings: "Settings") -> StackPart:
    return _asked("service", settings.serving_base_url, "/health")


def _lake(settings: "Settings") -> StackPart:
    from pathlib import Path

    from deployments.servers import seaweedfs
    from deployments.supervision.programs import answers

    if seaweedfs.is_local(settings):
        url = f"http://{settings.inner_host}:{settings.s3_port}"
        there = answers(url, sensible=range(200, 500))
        return StackPart("lake", there, url, "" if there else "does not answer")
    if settings.lake.startswith("file://"):
        there = Path(settings.lake.removeprefix("file://")).is_dir()
        return StackPart("lake", there, settings.lake, "" if there else "the folder is missing")
    return StackPart("lake", None, settings.lake, "not on this machine")


def _worker(settings: "Settings") -> StackPart:
    from deployments.servers.environment import prefect_auth
    from deployments.servers.worker import POOL
    from deployments.supervision.programs import ask

    url = f"{settings.prefect_pages}/work-pools/work-pool/{POOL}"
    path = f"{settings.prefect_api_url}/work_pools/{POOL}"
    auth = prefect_auth(settings)
    status, pool = ask(path, auth=auth)
    if status != 200:
        return StackPart("worker", None, url, "Prefect does not say")
    if pool["is_paused"]:
        return StackPart("worker", False, url, "its pool is paused")
    if pool["type"].endswith(":push"):
        return StackPart("worker", True, url)
    status, workers = ask(f"{path}/workers/filter", {}, auth)
    if status != 200:
        return StackPart("worker", None, url, "Prefect does not say")
    online = any(worker["status"] == "ONLINE" for worker in workers)
    return StackPart("worker", online, url, "" if online else "no worker is online")


def _asked(name: str, url: str, path: str) -> StackPart:
    from deployments.supervision.programs import ask

    status, _ = ask(f"{url.rstrip('/')}{path}")
    if status == 0:
        return StackPart(name, False, url, "does not answer")
    fine = 200 <= status < 300
    return StackPart(name, fine, url, "" if fine else f"answers {status}")
