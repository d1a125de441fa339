"""How a task reaches the outside world: the registered blocks, and when it is worth trying again."""

from functools import lru_cache
from typing import Any

from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE, CachePolicy
from prefect.context import TaskRunContext
from prefect.runtime import flow_run

from blocks.lake import BLOCK as LAKE
from blocks.lake import Lake, LakeAway
from blocks.registry import BLOCK as REGISTRY
from blocks.registry import ModelRegistry, RegistryAway
from blocks.service import BLOCK as SERVICE
from blocks.service import ModelService, ServiceAway
from blocks.slack import BLOCK as SLACK
from blocks.slack import Message, SlackNotifier
from blocks.warehouse import BLOCK as WAREHOUSE
from blocks.warehouse import Warehouse, WarehouseAway


class NotRegistered(LookupError):
    """A block is missing on the Prefect server."""


def _load(kind: Any, name: str) -> Any:
    """The block, read once a flow run: it then keeps its connections, and all tasks of the run see the same one."""
    run_id = flow_run.id
    return _load_for_run(kind, name, run_id) if run_id else _read(kind, name)


@lru_cache(maxsize=16)
def _load_for_run(kind: Any, name: str, run_id: str) -> Any:
    return _read(kind, name)


def _read(kind: Any, name: str) -> Any:
    try:
        return kind.load(name, _sync=True)  # also in hooks of async flows, where load would give a coroutine
    except ValueError as error:
        raise NotRegistered(f"Prefect has no block '{kind._block_type_slug}/{name}'. Register it: python -m deployments.apply") from error


def lake() -> Lake:
    return _load(Lake, LAKE)


def registry() -> ModelRegistry:
    return _load(ModelRegistry, REGISTRY)


def service() -> ModelService:
    return _load(ModelService, SERVICE)


def warehouse() -> Warehouse:
    """Raises ``NotRegistered`` that says which setting brings it."""
    try:
        return _load(Warehouse, WAREHOUSE)
    except NotRegistered as error:
        raise NotRegistered(f"{error}, with LAUREL_WAREHOUSE_URL set.") from error


def tell(message: Message) -> None:
    """Say it in Slack, or in the run's log where Slack is not configured. Never raises for Slack's sake."""
    _load(SlackNotifier, SLACK).send(message)


def artifact_key(use_case: str, what: str) -> str:
    """The key of a use case's artifacts: Prefect takes no underscore there, and a module's name no dash."""
    return f"{use_case}-{what}".replace("_", "-").lower()


def _is_outage(_task: Any, _run: Any, state: Any) -> bool:
    try:
        state.result()
    except (LakeAway, RegistryAway, ServiceAway, WarehouseAway):
        return True
    except Exception:  # noqa: BLE001 - a fault of the data or the code: asked for again it would fail again
        return False
    return False


PATIENT: dict[str, Any] = {
    "retries": 3,
    "retry_delay_seconds": [1, 3, 9],
    "retry_condition_fn": _is_outage,
    "cache_policy": NO_CACHE,
    "persist_result": False,
}
"""Options of a task that reads or writes outside: an outage is waited out for 13 seconds, nothing else is retried."""


def _root_run(context: TaskRunContext, _inputs: dict[str, Any]) -> str:
    """Of a direct call the task run itself: it is nobody's second attempt."""
    return _root_of(flow_run.id) if flow_run.id else str(context.task_run.id)


@lru_cache(maxsize=16)
def _root_of(run_id: str) -> str:
    """The outermost flow run of ``run_id``: a subflow that is run again is a new one, its root stays the same."""
    return str(flow_run.root_flow_run_id)


RESUMED: dict[str, Any] = {
    **PATIENT,
    "cache_policy": CachePolicy.from_cache_key_fn(_root_run) + INPUTS + TASK_SOURCE,
    "persist_result": True,
}
"""As ``PATIENT``, and not done again where the same flow run is started again (docs/decisions/0014-ecs.md).

The result of such a task is kept in the lake. It is JSON: what the task returns is a model, a dataclass, or plain values.
"""
