"""The whole loop in one run: ingest, train, evaluate, promote."""

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed, State

from blocks.registry import ModelVersion
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.promote import promote
from flows.runs import TOLD, named
from flows.train import train
from tasks.retraining import ask_again, ask_governor, failure_recorded, record_end, report_retrain, skip_retrain
from tasks.serving_checks import check_service
from tasks.training import Training

# What the ledger calls the outcomes that are no promotion.
ENDS = {name: name.lower() for name in ("Nothing to do", "Below the gate", "Waits for approval")} | {"Champion stays": "kept"}


@flow(name="retrain", flow_run_name=named("through"), **TOLD)
async def retrain(use_case: str, through: str | None = None, reason: str = "asked for", by_hand: bool = True) -> ModelVersion | State[None]:
    """Ingest up to ``through``, train, evaluate, and promote whoever wins.

    One at a time for each use case; where it is not started ``by_hand``, as the governor allows. A run that may not start completes as
    *Skipped* and says why, and until when. The ledger has start, end and refusal.
    """
    refusal = ask_governor(use_case, reason, by_hand)
    if refusal is None and flow_run.run_count > 1:
        refusal = ask_again(use_case, reason, by_hand)
    if refusal is not None:
        skip_retrain(use_case, reason, refusal)
        return Completed(name="Skipped", message=refusal.reason)
    with failure_recorded(use_case):
        outcome = await _loop(use_case, through)
    _report(use_case, reason, outcome)
    return outcome


async def _loop(use_case: str, through: str | None) -> ModelVersion | State[None]:
    check_service(use_case, must_serve=False)
    dataset = await ingest(use_case, through)
    training = await train(use_case, dataset.version)
    if not isinstance(training, Training):
        return Completed(name="Nothing to do", message=f"No labelled period after the champion's in {dataset.version}.")
    challenger = await evaluate(use_case, training.plan.id)
    if not isinstance(challenger, ModelVersion):
        return Completed(name="Below the gate", message=f"No challenger from training {training.plan.id}.")
    check_service(use_case, must_serve=True)
    promoted: State[ModelVersion | State[None]] = await promote(use_case, challenger.number, return_state=True)
    winner = await promoted.aresult()
    if not isinstance(winner, ModelVersion):
        return Completed(name=promoted.name, message=f"Challenger {challenger.number}: {promoted.message}")
    return winner


def _report(use_case: str, reason: str, outcome: ModelVersion | State[None]) -> None:
    if isinstance(outcome, ModelVersion):
        said = f"Version {outcome.number} won."
        record_end(use_case, "promoted", said, outcome.number)
    else:
        said = outcome.message or ""
        record_end(use_case, ENDS[outcome.name or ""], said)
    report_retrain(use_case, reason, said)
