"""When the flows of a use case run by themselves: prefect.yaml says it for months, and this for
other periods."""

from typing import Any

from usecases.definition import UseCase

_INGEST = {"hour": "5 * * * *"}
_CHECK_HOURS = "20 * * * *"
_LOOK_MINUTES, _LOOK_HOURS = "*/10 * * * *", "40 * * * *"
_RETRAIN = {
    "hour": "0 7 * * *",
    "day": "0 7 * * *",
    "week": "0 7 * * 1",
    "quarter": "0 7 1 1,4,7,10 *",
}


def schedules_of(entrypoint: str, written: list[dict[str, Any]], case: UseCase) -> Any:
    """The schedules ``written`` for a flow, as often as suits the use case: hours are ingested
    hourly, windows of hours checked hourly, all others daily. A rollout with a canary is looked at
    every ten minutes, another one hourly, and of a use case without one daily, since a promotion
    may ask for it. A retrain's schedule, which is off, goes by the period, of hours by the day.
    """
    flow = entrypoint.rpartition(".")[2]
    crons = {
        "ingest": _INGEST.get(case.period),
        "drift_check": None if case.drift_window.is_of_whole_days else _CHECK_HOURS,
        "rollout": _looks(case),
        "retrain": _RETRAIN.get(case.period),
    }
    cron = crons.get(flow)
    return [{**schedule, "cron": cron} for schedule in written] if cron else written


def _looks(case: UseCase) -> str | None:
    if not case.stages:
        return None
    kinds = {stage.kind for stage in case.stages}
    return _LOOK_MINUTES if "canary" in kinds else _LOOK_HOURS
