"""The contest, and the crown for who wins it."""

from prefect import flow
from prefect.states import Completed, State

from blocks.registry import ModelVersion
from flows.runs import TOLD, named
from tasks.promotion import crown, find_challenger, hold_contest, record_decision, refit_winner, retire_challenger


@flow(name="promote", flow_run_name=named("version", before="version ", otherwise="challenger"), **TOLD)
async def promote(use_case: str, version: str | None = None, seed: int = 0) -> ModelVersion | State[None]:
    """Let challenger (or ``version``) and champion contest; refit, package and deploy the winner.

    A champion that stays is an outcome, not a failure: the run then completes as *Champion stays*. A deployment that
    does not get into service fails the run, with the alias back where it was.
    """
    challenger = find_challenger(use_case, version)
    decision = hold_contest(challenger, seed)
    record_decision(decision, challenger)
    if not decision.promoted:
        retire_challenger(challenger)
        return Completed(name="Champion stays", message=f"{decision.verdict}: {'; '.join(decision.reasons)}")
    winner = refit_winner(challenger, decision, seed)
    crown(winner)
    retire_challenger(challenger)
    return winner
