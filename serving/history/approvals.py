"""What people may change in the loop through the service: answer a waiting approve run, start a
rollback, and steer a rollout.

A button in Slack or a request names a run by its id. Only a run of the deployment ``approve/<use
case>`` for that very use case is answered: a forged id must not resume any other run of Prefect."""

import re
import time
import uuid
from dataclasses import dataclass

from serving.errors import PrefectAway, Refused
from serving.outside.prefect_api import ENDED, PrefectApi, Run, StartedRun

LONGEST_WORDS = 1000
_PAUSES_SECONDS = (0.2, 0.6, 1.5)
USE_CASE = r"^[A-Za-z0-9_-]{1,100}\Z"
VERSION = r"^[1-9][0-9]{0,9}\Z"


@dataclass(frozen=True)
class Answer:
    """A person's answer to the question whether the challenger may take the crown."""

    approved: bool
    by: str
    why: str = ""


def tidy(words: str) -> str:
    """One line without control characters, no longer than the ledger may hold."""
    return " ".join(
        re.sub(
            r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]", " ", words
        ).split()
    )[:LONGEST_WORDS]


def answer_run(prefect: PrefectApi, use_case: str, run: str, answer: Answer) -> Run:
    """Resume the approve run with the answer.

    Raises ``Refused``: 404 for an unknown run, 409 for a run that does not wait; ``PrefectAway``.
    """
    approve_run = find_approval(prefect, use_case, run)
    if refusal := not_waiting(approve_run):
        raise refusal
    run_input = {"approved": answer.approved, "by": tidy(answer.by), "why": tidy(answer.why)}
    reason = _resume(prefect, use_case, approve_run, run_input)
    if reason is not None:
        raise not_waiting(find_approval(prefect, use_case, run)) or Refused(
            409, "not_accepted", f"Prefect did not accept the answer: {reason}"
        )
    return approve_run


def _resume(
    prefect: PrefectApi, use_case: str, run: Run, run_input: dict[str, object]
) -> str | None:
    """Resume a run. Of answers at the same moment Prefect takes one and fails at the others (503,
    SQLite's lock): the run's state decides then.
    """
    for seconds in _PAUSES_SECONDS:
        try:
            return prefect.resume(run.id, run_input)
        except PrefectAway:
            time.sleep(seconds)
            if refusal := not_waiting(find_approval(prefect, use_case, run.id)):
                raise refusal from None
    return prefect.resume(run.id, run_input)


def find_approval(prefect: PrefectApi, use_case: str, run: str) -> Run:
    """The approve run of the use case with this id. Raises ``Refused`` if there is none."""
    unknown = Refused(
        404,
        "unknown_run",
        f"{use_case!r} has no approve run {run[:40]!r}; GET /v1/{use_case}/approvals lists "
        "the waiting ones.",
    )
    try:
        run_id = str(uuid.UUID(run))
    except ValueError:
        raise unknown from None
    approve_run = prefect.run(run_id)
    deployment = (
        prefect.deployment(f"approve/{use_case}")
        if approve_run and approve_run.deployment_id
        else None
    )
    if (
        approve_run is None
        or deployment is None
        or approve_run.deployment_id != deployment
        or approve_run.parameters.get("use_case") != use_case
    ):
        raise unknown
    return approve_run


def not_waiting(run: Run) -> Refused | None:
    """Why the run cannot be answered now; ``None`` if it waits."""
    state = state_of(run)
    if state == "over":
        return Refused(
            409,
            "over",
            f"The approve run is over ({(run.state_name or 'ended').lower()}): it was "
            "answered, or its time was up.",
        )
    if state == "answered":
        return Refused(
            409, "answered", "Somebody has already answered, and the approve run continues."
        )
    return (
        Refused(
            409,
            "not_yet",
            "The approve run is not waiting for an answer yet. Try again in a moment.",
        )
        if state == "begins"
        else None
    )


def state_of(run: Run) -> str:
    """begins, waiting, answered or over. A run begins once, is suspended, and begins a second time
    when it is answered.
    """
    if run.state_type == "PAUSED":
        return "waiting"
    if run.state_type in ENDED:
        return "over"
    return "answered" if run.run_count >= (2 if run.state_type == "RUNNING" else 1) else "begins"


def roll_back(
    prefect: PrefectApi, use_case: str, version: str | None, reason: str, once: str | None = None
) -> StartedRun:
    """Start the flow that gives the crown back to the previous champion or to ``version``. Raises
    ``Refused``, ``PrefectAway``.
    """
    deployment = prefect.deployment(f"rollback/{use_case}")
    if deployment is None:
        raise Refused(
            503,
            "no_deployment",
            f"Prefect has no deployment rollback/{use_case}: run python -m deployments.apply.",
        )
    return prefect.start(
        deployment, {"use_case": use_case, "version": version, "reason": tidy(reason)}, once
    )


def steer(
    prefect: PrefectApi, use_case: str, do: str, by: str, why: str, once: str | None = None
) -> StartedRun:
    """Start the flow that looks at the running rollout and does what a person asks: advance, hold,
    resume or revert. Raises ``Refused``, ``PrefectAway``."""
    deployment = prefect.deployment(f"rollout/{use_case}")
    if deployment is None:
        raise Refused(
            503,
            "no_deployment",
            f"Prefect has no deployment rollout/{use_case}: run python -m deployments.apply.",
        )
    parameters = {"use_case": use_case, "do": do, "by": tidy(by), "why": tidy(why)}
    return prefect.start(deployment, parameters, once)
