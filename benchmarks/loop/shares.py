"""What a retrain and a drift check spend their CPU on, part by part, without imports: run inside a
process that has imported what the warm parent imports, as a run on the pool has."""

import asyncio
import os
from typing import Any
from uuid import uuid4

from benchmarks.loop.spent import Spent

WORK = frozenset(
    {
        "search",
        "fit",
        "score",
        "cross-fit for drift",
        "parity",
        "thresholds and profile",
        "permutation importance",
    }
)
_LAKE = ("read", "write", "list", "stored", "exists", "create", "find", "newest")


def retrain_here(through: str) -> None:
    """Print the parts of a retrain of flights."""
    flow, spent = _flow("retrain"), Spent(WORK)
    watch_retrain(spent)
    asyncio.run(flow("flights", through))
    _print(f"retrain through {through}", spent)
    print(f"  outside of {', '.join(sorted(WORK))}: {spent.outside:.0%}")


def check_drift_here(window: str, report: bool) -> None:
    """Print the parts of a drift check of flights."""
    flow, spent = _flow("drift_check"), Spent(frozenset())
    watch_drift_check(spent)
    asyncio.run(flow("flights", window, report=report))
    _print(f"drift check of {window}{', with report' * report}", spent)


def _flow(name: str) -> Any:
    from importlib import import_module

    from deployments.launch.imports import import_all

    import_all()
    os.environ["PREFECT__FLOW_RUN_ID"] = str(uuid4())  # as a worker sets it
    return getattr(import_module(f"flows.{name}"), name)


def watch_retrain(spent: Spent) -> None:
    from blocks.registry import ModelRegistry
    from tasks.contest import behaviour, decide
    from tasks.data import ingestion, sources
    from tasks.models import modelling
    from tasks.packages import judging, packaging
    from tasks.steps import challenger, evaluate, promote, train

    spent.watch("search", evaluate, "tune")
    spent.watch("fit", modelling, "fit")
    spent.watch("score", modelling, "predict")
    spent.watch("score", evaluate, "score_holdout")
    for module in (decide, behaviour):
        spent.watch("score", module, "score_rows")
    for module in (packaging, judging):
        spent.watch("cross-fit for drift", module, "cross_fit")
    spent.watch("parity", packaging, "prove")
    spent.watch("thresholds and profile", packaging, "_with_reference", "_profile")
    spent.watch("permutation importance", challenger, "permutation_importance")
    spent.watch("contest", promote, "decide")
    spent.watch("intervals and calibration", judging, "judge_holdout")
    spent.watch("rehearsal", train, "rehearse")
    spent.watch("source", sources.Checked, "periods", "read", "mark")
    spent.watch("ingest", ingestion, "ingest_period")
    spent.watch("plots", challenger, "draw")
    _watch_outside(spent, ModelRegistry)


def watch_drift_check(spent: Spent) -> None:
    from blocks.registry import ModelRegistry
    from tasks.steps.drift_check import judge

    spent.watch("Evidently's report", judge, "run_evidently")
    spent.watch("window read", judge, "read_window")
    spent.watch("verdict", judge, "judge_window")
    spent.watch("performance", judge, "check_performance")
    _watch_outside(spent, ModelRegistry)


def _watch_outside(spent: Spent, registry: Any) -> None:
    from blocks.lake import Lake

    spent.watch("MLflow: runs and models", registry, "log_run", "load_model", "log_package")
    rest = ("register", "download_package", "runs", "run_url", "at", "tag", "set_alias", "version")
    spent.watch("MLflow: the rest", registry, *rest)
    spent.watch("lake", Lake, *_LAKE)


def _print(head: str, spent: Spent) -> None:
    print(f"{head}: {spent.whole:.1f} s of CPU")
    for part, seconds in sorted(spent.seconds.items(), key=lambda each: -each[1]):
        print(f"  {part}: {seconds:.2f} s, {seconds / spent.whole:.0%} ({spent.calls[part]} calls)")
    print(f"  Prefect and the rest: {spent.rest:.2f} s, {spent.rest / spent.whole:.0%}")
