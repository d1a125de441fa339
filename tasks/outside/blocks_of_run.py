"""How a task reaches the outside world: the registered blocks, and when to retry."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE, CachePolicy
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.settings import get_current_settings

from blocks.lake import BLOCK as LAKE
from blocks.lake import Lake, LakeAway
from blocks.message import Message
from blocks.registry import BLOCK as REGISTRY
from blocks.registry import ModelRegistry, RegistryAway
from blocks.service import BLOCK as SERVICE
from blocks.service import ModelService, ServiceAway
from blocks.settings import run_of_process
from blocks.slack import BLOCK as SLACK
from blocks.slack import SlackNotifier
from blocks.warehouse import BLOCK as WAREHOUSE
from blocks.warehouse import Warehouse, WarehouseAway
from tasks.outside.slack_threads import tell_in_thread
from usecases.definition import SourceAway

PREFECT_SECONDS = 120
DEFAULT_PORTS = {"http": 80, "https": 443}


class NotRegistered(LookupError):
    """A block is missing on the Prefect server."""


_given: ContextVar[Mapping[type, Any] | None] = ContextVar("given", default=None)


@contextmanager
def given(*blocks: Any) -> Iterator[None]:
    """Inside, these are all blocks that there are, and no Prefect server is asked: for a process
    that runs no flow, such as a command."""
    token = _given.set({type(block): block for block in blocks})
    try:
        yield
    finally:
        _given.reset(token)


def _load(kind: Any, name: str) -> Any:
    """The block, read once a flow run, and once for all subflows in a process of a worker: it then
    keeps its connections, and all tasks see the same one. ``given`` ones come before those of the
    server.
    """
    if (blocks := _given.get()) is not None:
        if kind not in blocks:
            raise NotRegistered(f"No {name} is configured. Start again")
        return blocks[kind]
    run_id = run_of_process() or flow_run.id
    return _load_for_run(kind, name, run_id) if run_id else _read(kind, name)


@lru_cache(maxsize=16)
def _load_for_run(kind: Any, name: str, run_id: str) -> Any:
    return _read(kind, name)


def _read(kind: Any, name: str) -> Any:
    try:
        return kind.load(
            name, _sync=True
        )  # also in hooks of async flows, where load would give a coroutine
    except ValueError as error:
        raise NotRegistered(
            f"Prefect has no block '{kind._block_type_slug}/{name}'. Register it: python -m "
            "deployments.apply"
        ) from error


def lake() -> Lake:
    return _load(Lake, LAKE)


def registry() -> ModelRegistry:
    return _load(ModelRegistry, REGISTRY)


def service() -> ModelService:
    return _load(ModelService, SERVICE)


def warehouse() -> Warehouse:
    """Raises ``NotRegistered``, which names the setting that registers it."""
    try:
        return _load(Warehouse, WAREHOUSE)
    except NotRegistered as error:
        raise NotRegistered(f"{error}, with LAUREL_WAREHOUSE_URL set.") from error


def tell(message: Message, thread: str | None = None) -> None:
    """Post it in Slack, in the thread of this root flow run or of the run ``thread``; log it
    if Slack is not configured.

    Never raises because of Slack.
    """
    notifier: SlackNotifier = _load(SlackNotifier, SLACK)
    if not notifier.is_connected or not (thread or flow_run.id):
        notifier.send(message)
        return
    try:
        run, store = thread or _thread_of(str(flow_run.id)), lake()
    except (
        NotRegistered,
        httpx.HTTPError,
        PrefectException,
    ) as error:  # no lake, or Prefect is unreachable: post it anyway
        notifier.warn(f"This message is posted outside its run's thread: {error}")
        notifier.send(message)
        return
    tell_in_thread(notifier, store, run, message)


def run_page(run_id: str) -> str | None:
    """The page of a flow run in Prefect, as people reach it."""
    notifier: SlackNotifier = _load(SlackNotifier, SLACK)
    return notifier.run_page(run_id)


@lru_cache(maxsize=16)
def _thread_of(run_id: str) -> str:
    """The run whose thread ``run_id`` continues: its root's, or that of the run that requested an
    approval.
    """
    root = _root_of(run_id)
    with get_client(sync_client=True) as client:
        return thread_of(client.read_flow_run(UUID(root)))


def thread_of(root: FlowRun) -> str:
    """The thread of a root run: its own, or that of the run that requested it."""
    with suppress(ValueError):  # a person's direct call continues no run
        return str(UUID(str(root.parameters.get("asked_by"))))
    return str(root.id)


def _is_outage(_task: Any, _run: Any, state: Any) -> bool:
    """Whether an unreachable server failed the task. Prefect's own server, which a run needs for
    everything else, is awaited here.
    """
    try:
        state.result()
    except (LakeAway, RegistryAway, ServiceAway, SourceAway, WarehouseAway):
        return True
    except (httpx.TransportError, httpx.HTTPStatusError) as error:
        return _is_prefects(error) and _wait_for_prefect()
    except Exception:  # noqa: BLE001 - a fault of the data or the code: a retry would fail as well
        return False
    return False


def _is_prefects(error: httpx.TransportError | httpx.HTTPStatusError) -> bool:
    """Whether a request to Prefect's server got no answer, or one from a server that starts or
    ends.
    """
    api = urlsplit(str(get_current_settings().api.url))
    url = error.request.url
    ours = (url.scheme, url.host, url.port or DEFAULT_PORTS.get(url.scheme)) == (
        api.scheme,
        api.hostname,
        api.port or DEFAULT_PORTS.get(api.scheme),
    )
    return ours and (
        isinstance(error, httpx.TransportError) or error.response.status_code in (502, 503, 504)
    )


def _wait_for_prefect() -> bool:
    """Whether Prefect's server answers within ``PREFECT_SECONDS``. A client that never reached it
    gives up at once by itself.
    """
    until = time.monotonic() + PREFECT_SECONDS
    while time.monotonic() < until:
        with get_client(sync_client=True) as client:
            if client.api_healthcheck() is None:
                return True
        time.sleep(1)
    return False


PATIENT: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 3, 9],
    "retry_condition_fn": _is_outage,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of a task that reads or writes outside: an outage is waited out for 13 seconds, one of
Prefect for two minutes beside.

Nothing else is retried.
"""


def _root_run(context: TaskRunContext, _inputs: dict[str, Any]) -> str:
    """For a direct call the task run itself, which is never a second attempt."""
    return _root_of(flow_run.id) if flow_run.id else str(context.task_run.id)


@lru_cache(maxsize=16)
def _root_of(run_id: str) -> str:
    """The outermost flow run of ``run_id``: a subflow that is run again is a new one, its root
    stays the same.
    """
    return str(flow_run.root_flow_run_id)


RESUMED: dict[str, Any] = {
    **PATIENT,
    "cache_policy": CachePolicy.from_cache_key_fn(_root_run) + INPUTS + TASK_SOURCE,
    "persist_result": True,
}
"""As ``PATIENT``, but not repeated when the same flow run is started again
(docs/decisions/0014-ecs.md).

The result of such a task is kept in the lake. It is JSON: what the task returns is a model, a
dataclass, or plain values. """
