"""What happens by itself: drift starts a retrain, silence is told, a dead run is marked as crashed, and a lost one runs again."""

from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

# Of drift events of a use case that follow each other this closely the first is handed on; what may run is the governor's to say.
FLOOD_SECONDS = 60
# Prefect sends a heartbeat every 30 s. Three may be missed and the server may be down for a minute before a run counts as dead.
HEARTBEAT_LOST_SECONDS = 150
SILENT = "No heartbeat"
# A run that was killed is reported twice, 2.2 s apart, and a rerun that is there by then would crash with the second report.
RERUN_AFTER_SECONDS = 10
RUNS_AT_MOST = 3


def retrain_on_drift(use_case: str, retrain_id: UUID) -> AutomationCore:
    """``laurel.drift.detected`` of a use case starts ``retrain``, which asks the governor whether it may run."""
    window = {"__prefect_kind": "jinja", "template": "{{ event.payload.window }}"}
    said = "drift in {{ event.payload.window }}: {{ event.payload.columns | join(', ') or event.payload.cause }}"
    reason = {"__prefect_kind": "jinja", "template": said}
    return AutomationCore(
        name=f"retrain {use_case} on drift",
        description=f"Drift of {use_case} starts retrain/{use_case}; the governor decides whether it runs.",
        tags=["laurel", use_case],
        trigger=EventTrigger(
            expect={"laurel.drift.detected"},
            match={"prefect.resource.id": f"laurel.use-case.{use_case}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(seconds=FLOOD_SECONDS),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=retrain_id,
                parameters={"use_case": use_case, "through": window, "reason": reason, "by_hand": False},
                job_variables=None,
            )
        ],
    )


def tell_silence(use_case: str, drift_check_id: UUID, hours: float) -> AutomationCore:
    """A dead man's switch: no ``laurel.predictions.seen`` for ``hours`` after the last one starts ``drift_check``, which looks and tells.

    It fires once for each silence, and never for a use case that was not asked yet.
    """
    return AutomationCore(
        name=f"tell when {use_case} gets no predictions",
        description=f"No check of {use_case} has seen fresh predictions for {hours:g} hours: drift_check/{use_case} looks, and tells.",
        tags=["laurel", use_case],
        trigger=EventTrigger(
            # With for_each and without "after" such a trigger never fires; with it the last event starts the clock.
            after={"laurel.predictions.seen"},
            expect={"laurel.predictions.seen"},
            match={"prefect.resource.id": f"laurel.use-case.{use_case}"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(hours=hours),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=drift_check_id,
                parameters={"use_case": use_case, "silent_for_hours": hours},
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
            # By a name of its own: whether the run is really dead nobody knows, so it is not started again by itself.
            ChangeFlowRunState(name=SILENT, state=StateType.CRASHED, force=False, message=f"{SILENT} for {HEARTBEAT_LOST_SECONDS} s.")
        ],
    )


def rerun_lost_run() -> AutomationCore:
    """A run whose task was killed, with its spot instance or by memory, goes back into the queue: three runs of it at most.

    ECS says that the task is gone (prefect-aws's observer), so that no second one of the same run can be at work.
    """
    return AutomationCore(
        name="run again what was lost with its instance",
        description=f"A run of the pool that crashed while it ran is scheduled again, until it ran {RUNS_AT_MOST} times.",
        tags=["laurel"],
        trigger=EventTrigger(
            after={"prefect.flow-run.Crashed"},
            # Whatever else happens to the run meanwhile, somebody has taken it up.
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*", "prefect.run-count": [str(runs) for runs in range(1, RUNS_AT_MOST)]},
            # Not a subflow, which only its parent can run again.
            match_related={"prefect.resource.role": "deployment"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=RERUN_AFTER_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(name="Scheduled", state=StateType.SCHEDULED, force=False, message="Its instance was lost: it runs again.")
        ],
    )
