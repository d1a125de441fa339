"""Two versions on the same later rows: what a promotion was worth."""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.contest.verdict import Contest
from tasks.steps.compare import compare_versions, in_short, report_comparison


@flow(name="compare", flow_run_name=run_name("window"), **OPTIONS)
async def compare(
    use_case: str, window: str, champion: str, challenger: str, seed: int = 0
) -> State[Contest]:
    """Score versions ``champion`` and ``challenger`` on the labelled rows of ``window``, which
    neither was trained on.

    It decides nothing: it shows what the contest would have said on later rows.
    """
    contest = compare_versions(use_case, window, champion, challenger, seed)
    report_comparison(use_case, window, champion, challenger, contest)
    return completed(in_short(window, champion, challenger, contest), contest)
