"""The contest, and the crown for its winner."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, ended, run_name
from tasks.ledger.outcomes import asks, contest_ended, crowned
from tasks.steps.approve.ask import ask_for_approval, asks_person
from tasks.steps.crown import Crowning, crown
from tasks.steps.decisions import record_decision
from tasks.steps.promote import find_challenger, hold_contest, retire_challenger
from tasks.steps.refit import refit_winner


@flow(
    name="promote",
    flow_run_name=run_name("version", before="version ", otherwise="challenger"),
    **OPTIONS,
)
async def promote(use_case: str, version: str | None = None, seed: int = 0) -> State[ModelVersion]:
    """Hold the contest between challenger (or ``version``) and champion; refit, package and deploy
    the winner.

    If the champion stays, that is an outcome, not a failure: the run completes as *Champion stays*,
    or as *No champion yet* if there is none. If the use case requires approval, it completes as
    *Waits for approval*, and ``approve`` continues. If the winner does not get into service, the
    run fails, and the alias goes back.
    """
    challenger = find_challenger(use_case, version)
    decision = hold_contest(challenger, seed)
    record_decision(decision, challenger)
    if asks_person(decision):
        return ended(asks(decision, ask_for_approval(challenger, decision, seed)))
    if not decision.promoted:
        retire_challenger(challenger)
        return ended(contest_ended(decision))
    winner = refit_winner(challenger, decision, seed)
    seconds = crown(winner, Crowning(decision.champion, decision.reasons))
    retire_challenger(challenger)
    return ended(crowned(decision, winner.number, seconds), winner)
