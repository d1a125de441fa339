"""Ask the ledger."""

from datetime import datetime

from prefect import flow

from flows.runs import TOLD, named
from tasks.explanations import Explanation, Question, explain_ledger


@flow(name="explain", flow_run_name=named("at", otherwise="now"), **TOLD)
async def explain(use_case: str, at: datetime | None = None, question: Question | None = None) -> Explanation:
    """Say who was champion at ``at`` and why, and why no retrain ran; ``question`` asks for one of both.

    ``at`` is UTC unless it names a zone; without it, now. The answer is the run's result, and an artifact on its page.
    """
    return explain_ledger(use_case, at, question)
