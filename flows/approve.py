"""A person's decision on a challenger that won, or that looks too good: the run waits for it
without a process.
"""

from dataclasses import replace

from prefect import flow
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.states import State
from pydantic import Field

from blocks.registry import ModelVersion
from flows.runs import OPTIONS, completed, ended, run_name
from tasks.ledger.outcomes import crowned, refused
from tasks.steps.approve.answer import TIME_LIMIT, end_waiting, judge_answer
from tasks.steps.approve.ask import ask_people, contest_of, find_question, in_words
from tasks.steps.begin_rollout import (
    asked_rollout,
    begin_rollout,
    begins_rollout,
    check_rollout,
)
from tasks.steps.crown import Crowning, crown
from tasks.steps.promote import find_challenger, retire_challenger
from tasks.steps.refit import refit_winner


class Answer(RunInput):
    """The form on the run's page in Prefect, and what Slack and the service send."""

    approved: bool = Field(
        description="Yes: the challenger is fitted again with the newest rows and takes the crown."
    )
    by: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="Who answers: it goes to the ledger.",
    )
    why: str = Field("", max_length=2000, description="Why: it goes to the ledger as well.")


@flow(name="approve", flow_run_name=run_name("version", before="version "), **OPTIONS)
async def approve(
    use_case: str, version: str, asked_by: str = "", time_limit_of: str | None = None
) -> State[ModelVersion]:
    """Ask whether challenger ``version`` may take the crown, and wait for the answer; ``promote``
    starts this from its run ``asked_by``.

    If approved, the recipe is refitted, and crowned or rolled out. If rejected or expired, the
    challenger is retired and the champion stays. A run with ``time_limit_of`` enforces the time
    limit: it answers that run with no."""
    if time_limit_of is not None:
        return completed(end_waiting(use_case, time_limit_of), name="Time limit")
    question = find_question(use_case, version)
    answer = Answer(approved=False, by=TIME_LIMIT)
    if ask_people(question):
        answer = await asuspend_flow_run(
            wait_for_input=Answer.with_initial_data(description=in_words(question))
        )
    decision = judge_answer(question, answer.approved, answer.by, answer.why)
    contest = contest_of(question)
    challenger = find_challenger(use_case, version)
    if decision.verdict != "approved":
        retire_challenger(challenger)
        return completed(refused(contest, decision), name=decision.verdict.capitalize())
    contest = replace(contest, reasons=[*question.reasons, *decision.reasons])
    if begins_rollout(contest):
        check_rollout(challenger, asked_rollout(contest))
    winner = refit_winner(challenger, contest, int(question.facts["seed"] or 0))
    if begins_rollout(contest):
        began = begin_rollout(winner, contest)
        retire_challenger(challenger)
        return ended(began)
    seconds = crown(winner, Crowning(question.champion, decision.reasons))
    retire_challenger(challenger)
    return ended(crowned(contest, winner.number, seconds), winner)
