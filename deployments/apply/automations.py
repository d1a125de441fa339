"""The automations: drift starts a retrain, silence is reported, a dead run is marked as crashed and
reported, and a lost run runs again.
"""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

# Drift events of a use case within this time of each other count as one; the governor decides what
# may run.
FLOOD_SECONDS = 60
# A run counts as dead after this many missed heartbeats in a row, plus this time for a server
# restart.
MISSED_HEARTBEATS = 3
RESTART_SECONDS = 60
SILENT = "No heartbeat"
# A process needs seconds to import Prefect and the flow; an ECS task may wait for an instance to
# start.
START_MINUTES = 30
NEVER_STARTED = "Never started"
# The message with which Laurel itself cancels a run that has not started
# (tasks/steps/approve/runs.py): no run is lost.
NOT_NEEDED = "Not needed: "
# A killed run is reported twice, 2.2 s apart; a rerun that started in between would crash with the
# second report.
RERUN_AFTER_SECONDS = 10
RUNS_AT_MOST = 3


def retrain_on_drift(use_case: str, retrain_id: UUID) -> AutomationCore:
    """``laurel.drift.detected`` of a use case starts ``retrain``, which asks the governor whether
    it may run.
    """
    window = {"__prefect_kind": "jinja", "template": "{{ event.payload.window }}"}
    template = (
        "drift in {{ event.payload.window }}: {{ event.payload.columns | join(', ') or "
        "event.payload.cause }}"
    )
    reason = {"__prefect_kind": "jinja", "template": template}
    return AutomationCore(
        name=f"retrain {use_case} on drift",
        description=(
            f"Drift of {use_case} starts retrain/{use_case}; the governor decides whether it runs."
        ),
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
                parameters={
                    "use_case": use_case,
                    "through": window,
                    "reason": reason,
                    "by_hand": False,
                },
                job_variables=None,
            )
        ],
    )


def tell_silence(use_case: str, drift_check_id: UUID, hours: float) -> AutomationCore:
    """A dead man's switch: without ``laurel.predictions.seen`` for ``hours`` after the last one, it
    starts ``drift_check``, which looks again and reports.

    It fires once for each silence, and never for a use case without predictions so far.
    """
    return AutomationCore(
        name=f"tell when {use_case} gets no predictions",
        description=(
            f"No check of {use_case} has seen fresh predictions for {hours:g} hours: "
            f"drift_check/{use_case} looks again, and sends a message."
        ),
        tags=["laurel", use_case],
        trigger=EventTrigger(
            # With for_each and without "after" such a trigger never fires; with "after" the last
            # event starts the clock.
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


def lost_after_seconds(heartbeat_seconds: int) -> int:
    """How long a run with a heartbeat every ``heartbeat_seconds`` may be silent before it counts as
    dead.
    """
    return MISSED_HEARTBEATS * heartbeat_seconds + RESTART_SECONDS


def crash_on_lost_heartbeat(heartbeat_seconds: int) -> AutomationCore:
    """Mark a run without a heartbeat as crashed: a worker killed together with its run cannot
    report it.

    The server does this alone: a dead run takes a place in the pool, and there may be no worker
    left. ``close_lost_run`` checks whether the run is really dead: a server that was away, or a
    machine that slept, heard no heartbeat either."""
    seconds = lost_after_seconds(heartbeat_seconds)
    return _crash(
        "mark runs without a heartbeat as crashed",
        f"No heartbeat for {seconds} s: the machine or the worker of the run is gone.",
        after="prefect.flow-run.heartbeat",
        within=timedelta(seconds=seconds),
        # A separate name: the run may still be alive, so it is not restarted by itself.
        state=SILENT,
        message=f"{SILENT} for {seconds} s.",
    )


def crash_on_lost_start() -> AutomationCore:
    """Mark a run that never started as crashed: if its worker died, it would stay *Pending* and
    hold its place in the pool for ever.
    """
    return _crash(
        "mark runs that never started as crashed",
        f"Pending for {START_MINUTES} minutes: the worker that took the run is gone.",
        after="prefect.flow-run.Pending",
        within=timedelta(minutes=START_MINUTES),
        state=NEVER_STARTED,
        message=f"{NEVER_STARTED}: {START_MINUTES} minutes after a worker took it.",
    )


def _crash(
    name: str, description: str, *, after: str, within: timedelta, state: str, message: str
) -> AutomationCore:
    return AutomationCore(
        name=name,
        description=description,
        tags=["laurel"],
        trigger=EventTrigger(
            after={after},
            # Any event of the run will do: its end carries the outcome's name, such as "Champion
            # stays".
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Only runs of Laurel's deployments: other runs on the same server have other
            # heartbeats, every 180 s by default.
            match_related={
                "prefect.resource.role": "tag",
                "prefect.resource.id": "prefect.tag.laurel",
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=within,
        ),
        actions=[
            ChangeFlowRunState(name=state, state=StateType.CRASHED, force=False, message=message)
        ],
    )


def close_lost_run(use_case: str, close_id: UUID, watched: Collection[UUID]) -> AutomationCore:
    """A run that crashed or was cancelled cannot report it: ``close_lost_run`` sends a message, and
    writes its end to the ledger.

    ``watched`` are the use case's other deployments: a crash of ``close_lost_run`` must not start
    ``close_lost_run`` again."""
    run = {
        "__prefect_kind": "jinja",
        "template": "{{ event.resource.id | replace('prefect.flow-run.', '') }}",
    }
    return AutomationCore(
        name=f"tell what became of a lost run of {use_case}",
        description=(
            f"A run of {use_case} that crashed or was cancelled is reported in Slack, and its "
            "end is written to the ledger."
        ),
        tags=["laurel", use_case],
        trigger=EventTrigger(
            expect={
                f"prefect.flow-run.{state}"
                for state in ("Crashed", "Cancelled", SILENT, NEVER_STARTED)
            },
            match={
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.state-message": f"!{NOT_NEEDED}*",
            },
            match_related={
                "prefect.resource.role": "deployment",
                "prefect.resource.id": sorted(
                    f"prefect.deployment.{deployment}" for deployment in watched
                ),
            },
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            # A killed run is reported twice.
            within=timedelta(seconds=RERUN_AFTER_SECONDS),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=close_id,
                parameters={"use_case": use_case, "run": run},
                job_variables=None,
            )
        ],
    )


def rerun_lost_run() -> AutomationCore:
    """Put a run back into the queue if its task was killed, with its spot instance or for lack of
    memory: three attempts at most.

    ECS reports that the task is gone (prefect-aws's observer), so no second task of the same run
    can be at work."""
    return AutomationCore(
        name="run again what was lost with its instance",
        description=(
            "A run of the pool that crashed while it ran is scheduled again, up to "
            f"{RUNS_AT_MOST} attempts."
        ),
        tags=["laurel"],
        trigger=EventTrigger(
            after={"prefect.flow-run.Crashed"},
            # Any other event of the run means that something has already picked it up.
            expect={"prefect.flow-run.*"},
            match={
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.run-count": [str(runs) for runs in range(1, RUNS_AT_MOST)],
            },
            # Not a subflow: only its parent can run it again.
            match_related={"prefect.resource.role": "deployment"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=RERUN_AFTER_SECONDS),
        ),
        actions=[
            ChangeFlowRunState(
                name="Scheduled",
                state=StateType.SCHEDULED,
                force=False,
                message="Its instance was lost: it runs again.",
            )
        ],
    )
