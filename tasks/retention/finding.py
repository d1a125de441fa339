"""What of a use case, and of the stack that it runs on, is older than it is kept."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache

from blocks.lake import Lake
from blocks.registry import ModelRegistry, RegistryAway, RegistryError
from blocks.settings import Settings
from tasks.ledger.entries import read
from tasks.ledger.running_rollout import find_running
from tasks.log.compaction import KINDS
from tasks.models.studies import StudiesAway
from tasks.retention import flow_runs, lake_objects, mlflow_files, studies
from tasks.retention.removable import Removable
from usecases.definition import UseCase

SETTING: Mapping[str, str] = {
    "results": "LAUREL_KEEP_RESULTS_DAYS",
    "report_pages": "LAUREL_KEEP_REPORT_PAGES_DAYS",
    "runs": "LAUREL_KEEP_RUNS_DAYS",
    "predictions": "LAUREL_KEEP_PREDICTIONS_DAYS",
    "feedback": "LAUREL_KEEP_PREDICTIONS_DAYS",
    "challengers": "LAUREL_KEEP_CHALLENGERS_DAYS",
    "studies": "LAUREL_KEEP_STUDIES_DAYS",
}


def kept_days(case: UseCase) -> dict[str, int]:
    """How long each kind is kept; 0: forever. The log is kept for a window of the drift check at
    least.
    """
    settings = Settings.read()
    own = case.prediction_log.keep_days
    log = settings.keep_predictions_days if own is None else own
    log = max(log, case.drift_window.longest.days + 1) if log else 0
    return {
        "results": settings.keep_results_days,
        "report_pages": settings.keep_report_pages_days,
        "runs": settings.keep_runs_days,
        "predictions": log,
        "feedback": log,
        "challengers": settings.keep_challengers_days,
        "studies": settings.keep_studies_days,
    }


def find_removable(
    case: UseCase, store: Lake, models: ModelRegistry, now: datetime
) -> tuple[list[Removable], list[str]]:
    """What is older than it is kept, and what could not be looked at."""
    name = case.name
    finders: list[tuple[str, Callable[[int], Removable]]] = [
        ("results", lambda days: lake_objects.old_results(store, days, now)),
        ("report_pages", lambda days: lake_objects.old_pages(store, name, days, now)),
        ("report_pages", lambda days: mlflow_files.old_pages(models, name, days, now)),
        ("runs", lambda days: flow_runs.old_runs(name, days, now)),
        ("studies", lambda days: studies.old_studies(name, days, now)),
        (
            "challengers",
            lambda days: mlflow_files.old_challengers(
                models, name, lambda: read(store, name), days, now
            ),
        ),
        ("predictions", lambda days: lake_objects.old_predictions(store, name, days, now)),
        ("feedback", lambda days: lake_objects.old_feedback(store, name, days, now)),
    ]
    is_rolling = cache(lambda: find_running(store, models, name) is not None)
    kept, found, problems = kept_days(case), list[Removable](), list[str]()
    for kind, find in finders:
        if kept[kind]:
            try:
                # A rollout judges what came since it began, however long it lasts.
                if kind in KINDS and is_rolling():
                    continue
                found.append(find(kept[kind]))
            except (RegistryAway, RegistryError, StudiesAway) as error:
                problems.append(f"{kind}: {error}")
    return found, problems
