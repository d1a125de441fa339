"""What happens by itself: drift starts a retrain, and a run whose worker died is marked as crashed."""

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

# Prefect sends a heartbeat every 30 s. Three may be missed and the server may be down for a minute before a run counts as dead.
HEARTBEAT_LOST_SECONDS = 150


def retrain_on_drift(use_case: str, retrain_id: UUID, cooldown_seconds: int) -> AutomationCore:
    """The first ``laurel.drift.detected`` of a use case starts ``retrain``; others within the cooldown do not."""
    window = {"__prefect_kind": "jinja", "template": "{{ event.payload.window }}"}
    reason = {"__prefect_kind": "jinja", "template": "drift in {{ event.payload.window }}: {{ event.payload.columns | join(', ') }}"}
    return AutomationCore(
        name=f"retrain {use_case} on drift",
        description=f"Drift of {use_case} starts retrain/{use_case}, at most once in {cooldown_seconds} s.",
        tags=["laurel", use_case],
        trigger=EventTrigger(
            expect={"laurel.drift.detected"},
            match={"prefect.resource.id": f"laurel.use-case.{use_case}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(seconds=cooldown_seconds),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=retrain_id,
                parameters={"use_case": use_case, "through": window, "reason": reason},
                job_variables=None,
            )
        ],
    )


def crash_on_lost_heartbeat() -> AutomationCore:
    """A run that stopped beating is crashed: a worker killed together with its run cannot say so itself."""
    return AutomationCore(
        name="mark runs without a heartbeat as crashed",
        description=f"No heartbeat for {HEARTBEAT_LOST_SECONDS} s: the machine or the worker of the run is gone.",
        tags=["laurel"],
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            # Any word of the run will do: its end is told under its outcome's name, such as "Champion stays".
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=HEARTBEAT_LOST_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(name=None, state=StateType.CRASHED, force=False, message=f"No heartbeat for {HEARTBEAT_LOST_SECONDS} s.")
        ],
    )
