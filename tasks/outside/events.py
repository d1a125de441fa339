"""Events about a use case, on which automations start flows."""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.events import Event, RelatedResource, Resource
from prefect.runtime import flow_run


def emit(name: str, use_case: str, payload: dict[str, Any]) -> None:
    """Send Prefect's server an event about ``use_case``. Returns when the server has it.

    Prefect's own ``emit_event`` returns at once: a thread sends the event by a WebSocket, and drops
    it when that breaks or the process ends early. A retrain that waits for an event must not
    depend on that. Raises ``httpx.HTTPError`` if the server is unreachable or refuses it.
    """
    event = Event(
        event=name,
        resource=Resource(
            {"prefect.resource.id": resource_id(use_case), "prefect.resource.name": use_case}
        ),
        related=_sender(),
        payload={"use_case": use_case, **payload},
    )
    with get_client(sync_client=True) as client:
        client.request("POST", "/events", json=[event.model_dump(mode="json")])


def resource_id(use_case: str) -> str:
    """Return the Prefect resource of a use case's events, to which the automations listen."""
    return f"laurel.use-case.{use_case}"


def _sender() -> list[RelatedResource]:
    """The flow run that this is, if there is one: Prefect's UI links it."""
    if not flow_run.id:
        return []
    return [
        RelatedResource(
            {
                "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
                "prefect.resource.role": "flow-run",
                "prefect.resource.name": str(flow_run.name),
            }
        )
    ]
