"""What a policy would have done: history replayed, without a decision."""

from typing import Any

from prefect import flow
from prefect.states import State

from flows.runs import OPTIONS, completed, run_name
from tasks.backtest.replay import Backtest
from tasks.steps.backtest import in_short, replay_history, report_backtest


@flow(
    name="backtest",
    flow_run_name=run_name("through", before="through ", otherwise="all history"),
    **OPTIONS,
)
async def backtest(
    use_case: str,
    start: str | None = None,
    through: str | None = None,
    policy: dict[str, dict[str, Any]] | None = None,
    dataset_version: str | None = None,
    seed: int = 0,
) -> State[Backtest]:
    """Replay a dataset version (default: the latest) under a policy, compared with never retraining
    and with retraining each period.

    The first champion wins on the period ``start`` (default: the third labelled one). ``policy``
    overrides the use case's own: ``{"drift": {"share": 0.2}, "retrain": {"cooldown_hours": 24}}``.
    No champion and no alias changes."""
    replay = replay_history(use_case, start, through, policy or {}, dataset_version, seed)
    report_backtest(replay)
    return completed(in_short(replay), replay)
