"""What all flow runs share: a name that says use case and window, and a word to people when one fails."""

from collections.abc import Callable
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run

from tasks.announcements import flow_failed
from tasks.outside import tell


def named(*parameters: str, otherwise: str = "latest") -> Callable[[], str]:
    """A run name of the use case and these parameters, ``otherwise`` for those that are left out."""

    def name() -> str:
        given = flow_run.parameters
        return " ".join([str(given["use_case"]), *(str(given.get(parameter) or otherwise) for parameter in parameters)])

    return name


def tell_failure(flow: Flow[Any, Any], run: FlowRun, state: State[Any]) -> None:
    """Hook for failed and crashed runs. A subflow's failure is its parent's, and told once."""
    if run.parent_task_run_id is None:
        tell(flow_failed(str(run.parameters.get("use_case")), flow=flow.name, error=state.message or state.name or "no message"))


TOLD: dict[str, Any] = {"on_failure": [tell_failure], "on_crashed": [tell_failure]}
