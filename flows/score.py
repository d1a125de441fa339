"""Answers for many rows at once: a file, a query or a period, into a file or a table."""

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.steps.score import (
    ScoreRun,
    find_version,
    in_short,
    report_scores,
    score_rows,
    start_retrain,
)


@flow(name="score", flow_run_name=run_name("period", "table", otherwise="rows"), **OPTIONS)
async def score(
    use_case: str,
    rows: str | None = None,
    query: str | None = None,
    table: str | None = None,
    period: str | None = None,
    to: str | None = None,
    to_table: str | None = None,
    version: str | None = None,
    keep: list[str] | None = None,
    overwrite: bool = False,
    strict: bool = False,
    check_drift: bool = True,
    retrain_on_drift: bool = False,
) -> State[ScoreRun]:
    """Score the rows of a file, a folder, a database or a ``period`` of the use case's own source
    with the champion, or ``version``.

    The answers go into the Parquet file or the table that ``to`` names; by default into the lake's
    ``scores/``. The same rows and version are not scored again. Whether they drifted is told and
    recorded, and starts a retrain only with ``retrain_on_drift``."""
    scored = score_rows(
        find_version(use_case, version),
        rows=rows,
        query=query,
        table=table,
        period=period,
        to=to,
        to_table=to_table,
        keep=keep or (),
        overwrite=overwrite,
        strict=strict,
        check_drift=check_drift,
    )
    report_scores(scored)
    if retrain_on_drift:
        start_retrain(scored)
    return completed(in_short(scored), scored)
