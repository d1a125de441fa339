"""The whole loop in one run: ingest, train, evaluate, promote."""

from prefect import flow
from prefect.states import Completed, State

from blocks.registry import ModelVersion
from flows.evaluate import evaluate
from flows.ingest import ingest
from flows.promote import promote
from flows.runs import TOLD, named
from flows.train import train
from tasks.retraining import AlreadyRunning, one_at_a_time, report_retrain, tell_skipped
from tasks.training import Training


@flow(name="retrain", flow_run_name=named("through"), **TOLD)
async def retrain(use_case: str, through: str | None = None, reason: str = "asked for") -> ModelVersion | State[None]:
    """Ingest up to ``through``, train, evaluate, and promote whoever wins.

    One at a time for each use case: a second one completes as *Skipped* and says which run it found.
    """
    try:
        with one_at_a_time(use_case):
            outcome = await _loop(use_case, through)
            report_retrain(use_case, reason, outcome.message if isinstance(outcome, State) else f"Version {outcome.number} won.")
            return outcome
    except AlreadyRunning as running:
        tell_skipped(use_case, str(running))
        return Completed(name="Skipped", message=str(running))


async def _loop(use_case: str, through: str | None) -> ModelVersion | State[None]:
    dataset = await ingest(use_case, through)
    training = await train(use_case, dataset.version)
    if not isinstance(training, Training):
        return Completed(name="Nothing to do", message=f"No labelled period after the champion's in {dataset.version}.")
    challenger = await evaluate(use_case, training.plan.id)
    if not isinstance(challenger, ModelVersion):
        return Completed(name="Below the gate", message=f"No challenger from training {training.plan.id}.")
    winner = await promote(use_case, challenger.number)
    if not isinstance(winner, ModelVersion):
        return Completed(name="Champion stays", message=f"Challenger {challenger.number} did not win.")
    return winner
