"""The whole loop in one run: ingest, train, evaluate, promote."""

from dataclasses import dataclass
from typing import Any

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.promote import promote
from flows.runs import OPTIONS, completed, run_name
from flows.train import train
from tasks.steps.retrain import (
    ask_governor,
    failure_recorded,
    record_end,
    report_retrain,
    skip_retrain,
)
from tasks.steps.serving_checks import check_service
from tasks.steps.train import Training

# The ledger's names of the outcomes.
ENDS = {
    name: name.lower()
    for name in (
        "Nothing to do",
        "Below the gate",
        "Waits for approval",
        "No champion yet",
        "Rollout began",
    )
}
ENDS |= {"Champion stays": "kept", "Completed": "promoted"}


@dataclass(frozen=True)
class Ended:
    """How the loop ended; ``winner`` is the new champion."""

    name: str
    message: str
    winner: ModelVersion | None = None


@flow(name="retrain", flow_run_name=run_name("through"), **OPTIONS)
async def retrain(
    use_case: str,
    through: str | None = None,
    reason: str = "asked for",
    by_hand: bool = True,
    again: bool = False,
    rollout: str | None = None,
) -> State[ModelVersion]:
    """Ingest up to ``through``, train, evaluate, and promote the winner.

    One retrain at a time for each use case; unless it is started ``by_hand``, the governor must
    allow it. A run that may not start completes as *Skipped* and says why, and until when. The
    ledger records start, end and refusal. ``again``: contest also if neither a labelled period nor
    the definition is new. ``rollout`` is what a winner goes through, as in ``promote``.
    """
    refusal = ask_governor(use_case, reason, by_hand)
    if refusal is not None:
        skip_retrain(use_case, reason, refusal)
        return completed(refusal.reason, name="Skipped")
    with failure_recorded(use_case):
        end = await _loop(use_case, through, by_hand, again, rollout)
    _report(use_case, reason, end)
    return completed(end.message, end.winner, end.name)


async def _loop(
    use_case: str, through: str | None, by_hand: bool, again: bool, rollout: str | None
) -> Ended:
    """How the loop ended: the state's name and message of its last flow, and the new champion.

    Drift is found in a window before the source is sure to have all of it."""
    check_service(use_case)
    ingested: State[Any] = await ingest(use_case, through, at_most=not by_hand, return_state=True)
    dataset = await ingested.aresult()
    trained: State[Any] = await train(use_case, dataset.version, again=again, return_state=True)
    training = await trained.aresult()
    if not isinstance(training, Training):
        return Ended(trained.name or "", training)
    evaluated: State[Any] = await evaluate(use_case, training.plan.id, return_state=True)
    challenger = await evaluated.aresult()
    if not isinstance(challenger, ModelVersion):
        return Ended(evaluated.name or "", challenger)
    promoted: State[Any] = await promote(
        use_case, challenger.number, rollout=rollout, return_state=True
    )
    winner = await promoted.aresult()
    if not isinstance(winner, ModelVersion):
        return Ended(promoted.name or "", winner)
    return Ended(promoted.name or "", promoted.message or "", winner)


def _report(use_case: str, reason: str, end: Ended) -> None:
    verdict, version = ENDS[end.name], end.winner.number if end.winner else None
    place = record_end(use_case, verdict, end.message, version)
    report_retrain(use_case, reason, verdict, end.message, place)
