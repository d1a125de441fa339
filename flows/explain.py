"""Ask the ledger."""

from datetime import datetime

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.ledger.explanations import Explanation, Question, explain_ledger


@flow(name="explain", flow_run_name=run_name("at", otherwise="now"), **OPTIONS)
async def explain(
    use_case: str, at: datetime | None = None, question: Question | None = None
) -> State[Explanation]:
    """Say which version was champion at ``at`` and why, and why no retrain ran; ``question``
    selects one of the two.

    ``at`` is UTC unless it names a zone; the default is now. The answer is the run's result, and an
    artifact on its page."""
    answer = explain_ledger(use_case, at, question)
    return completed(answer.in_short, answer)
