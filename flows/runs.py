"""What all flow runs share: a name with use case and window, and a message if the run fails."""

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import Flow, runtime
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed
from prefect.utilities.urls import url_for

from blocks import results
from tasks.ledger.outcomes import Outcome
from tasks.messages.announcements import flow_failed
from tasks.outside.blocks_of_run import tell, thread_of

T = TypeVar("T")


def run_name(*parameters: str, before: str = "", otherwise: str = "latest") -> Callable[[], str]:
    """A function for the run's name: the use case and the first of ``parameters`` that is set,
    prefixed with ``before``.
    """

    def name() -> str:
        arguments = runtime.flow_run.parameters
        value = next(
            (
                f"{before}{arguments[parameter]}"
                for parameter in parameters
                if arguments.get(parameter)
            ),
            otherwise,
        )
        return f"{arguments['use_case']} {value}"

    return name


def ended(outcome: Outcome, result: T | None = None) -> State[T]:
    """The completed state for ``outcome``: its message says what happened, and ``result`` is what
    the flow returns; without one the message, whose code a state does not keep.
    """
    told: Any = outcome.message if result is None else result
    return completed(outcome.message, told, outcome.name)


def completed(message: str, result: T | None = None, name: str = "Completed") -> State[T]:
    """A completed state that says what happened."""
    state: State[T] = Completed(name=name, message=message, data=result)
    return state


def tell_failure(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook for failed runs. A subflow's failure fails its parent, and is reported once. Prefect
    sets the arguments' names.
    """
    if flow_run.parent_task_run_id is None:
        use_case, error = (
            str(flow_run.parameters.get("use_case")),
            state.message or state.name or "no message",
        )
        # Inside the run the notifier adds the link, with the UI's address for people.
        message = flow_failed(
            use_case,
            flow=flow.name,
            error=error,
            run_url=None if runtime.flow_run.id else url_for(flow_run),
        )
        tell(message, thread=thread_of(flow_run))


def tell_crash(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Hook for a crashed run that no automation watches. ``close_lost_run`` reports runs of
    deployments, once.
    """
    if flow_run.deployment_id is None:
        tell_failure(flow, flow_run, state)


OPTIONS: dict[str, Any] = {
    "on_failure": [tell_failure],
    "on_crashed": [tell_crash],
    # The storage for results of flows and steps. Compressed, since Prefect takes a flow's plain
    # JSON for a record of its own and returns a dict.
    "result_storage": results.STORAGE,
    "result_serializer": "compressed/json",
}
