"""A winner of the contest meets real traffic before it may take the crown."""

from prefect import flow
from prefect.states import State

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, completed, run_name
from tasks.steps.rollout import (
    Do,
    Request,
    crown_winner,
    find_rollout,
    follow,
    in_short,
    look_once,
    nothing_runs,
    overtaken,
)


@flow(name="rollout", flow_run_name=run_name("do"), **OPTIONS)
async def rollout(
    use_case: str, do: Do = "look", by: str = "", why: str = ""
) -> State[ModelVersion]:
    """Look at the running rollout once, and do one thing or nothing: the next step, the crown, or
    the end.

    A person may ask for more (``do``): ``advance`` takes the next step now, ``hold`` stays there
    until ``resume``, ``revert`` ends it; the ledger keeps who asked, ``by``, and ``why``. All that
    a run needs to know is in ledger and registry, so that it goes on where the last one was."""
    request = Request(do, by, why)
    standing = find_rollout(use_case)
    if standing is None:
        return completed(nothing_runs(use_case), name="Nothing to do")
    move = look_once(standing, request)
    if not follow(standing, move):
        return completed(overtaken(use_case), name="Nothing to do")
    if move.verdict == "won":
        crown_winner(standing, move)
    return completed(in_short(standing, move))
