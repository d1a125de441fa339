"""The contest, and the crown for its winner."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, ended, run_name
from tasks.ledger.outcomes import asks, contest_ended, crowned
from tasks.steps.approve.ask import ask_for_approval, asks_person
from tasks.steps.begin_rollout import begin_rollout, begins_rollout, check_rollout
from tasks.steps.crown import Crowning, crown
from tasks.steps.decisions import record_decision
from tasks.steps.promote import find_challenger, hold_contest, retire_challenger
from tasks.steps.refit import refit_winner


@flow(
    name="promote",
    flow_run_name=run_name("version", before="version ", otherwise="challenger"),
    **OPTIONS,
)
async def promote(
    use_case: str, version: str | None = None, seed: int = 0, rollout: str | None = None
) -> State[ModelVersion]:
    """Hold the contest between challenger (or ``version``) and champion; refit, package and deploy
    the winner.

    If the champion stays, that is an outcome, not a failure: the run completes as *Champion stays*,
    or as *No champion yet* if there is none. If the use case requires approval, it completes as
    *Waits for approval*, and ``approve`` continues. Unless the use case's rollout is immediate, or
    ``rollout`` says so for this promotion, the winner first meets real traffic: the run completes
    as *Rollout began*, and ``rollout`` goes on. If the winner does not get into service, the
    run fails, and the alias goes back.
    """
    challenger = find_challenger(use_case, version)
    check_rollout(challenger, rollout)
    decision = hold_contest(challenger, seed, rollout)
    record_decision(decision, challenger)
    if asks_person(decision):
        return ended(asks(decision, ask_for_approval(challenger, decision, seed)))
    if not decision.promoted:
        retire_challenger(challenger)
        return ended(contest_ended(decision))
    winner = refit_winner(challenger, decision, seed)
    if begins_rollout(decision):
        began = begin_rollout(winner, decision)
        retire_challenger(challenger)
        return ended(began)
    seconds = crown(winner, Crowning(decision.champion, decision.reasons))
    retire_challenger(challenger)
    return ended(crowned(decision, winner.number, seconds), winner)
