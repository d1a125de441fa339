"""The contest, and the crown for who wins it."""

from prefect import flow
from prefect.states import Completed, State

from blocks.registry import ModelVersion
from flows.runs import TOLD, named
from tasks.approval import ask_for_approval, needs_answer
from tasks.crowning import Crowning, crown
from tasks.decisions import record_decision
from tasks.promotion import find_challenger, hold_contest, retire_challenger
from tasks.refitting import refit_winner
from usecases.definition import load


@flow(name="promote", flow_run_name=named("version", before="version ", otherwise="challenger"), **TOLD)
async def promote(use_case: str, version: str | None = None, seed: int = 0) -> ModelVersion | State[None]:
    """Let challenger (or ``version``) and champion contest; refit, package and deploy the winner.

    A champion that stays is an outcome, not a failure: the run then completes as *Champion stays*. Where the use case wants
    a person's word it completes as *Waits for approval*, and ``approve`` goes on. A deployment that does not get into
    service fails the run, with the alias back where it was.
    """
    challenger = find_challenger(use_case, version)
    decision = hold_contest(challenger, seed)
    record_decision(decision, challenger)
    if needs_answer(load(use_case).approval, decision.verdict):
        waiting = ask_for_approval(challenger, decision, seed)
        return Completed(name="Waits for approval", message=f"Challenger {challenger.number} waits for an answer in run {waiting}.")
    if not decision.promoted:
        retire_challenger(challenger)
        return Completed(name="Champion stays", message=f"{decision.verdict}: {'; '.join(decision.reasons)}")
    winner = refit_winner(challenger, decision, seed)
    crown(winner, Crowning(decision.champion, decision.reasons))
    retire_challenger(challenger)
    return winner
