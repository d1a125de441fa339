"""The heads of a ledger in MLflow: parameters of runs, which MLflow's API can neither change nor
remove.

    experiment flights-ledger
        run, tags laurel.ledger = flights, laurel.ledger.generation, laurel.ledger.base
            00000017                  <SHA-256>     the head: entry 17 is written
            00000018/<SHA-256>        announced     entry 18 is about to be written

``serving/records/heads.py`` judges a ledger by them. A run takes the heads of a hundred entries, so
that the latest ones are read at once. Whoever may write to MLflow can delete the run: MLflow then
keeps it as deleted, and ``Audit`` names it. https://mlflow.org/docs/latest/rest-api.html"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blocks.clients.registry import LEDGER_TAG, ApiError, RegistryApi, reading, tags_of

GENERATION_TAG = f"{LEDGER_TAG}.generation"
BASE_TAG = f"{LEDGER_TAG}.base"
ANNOUNCED = "announced"
LATEST_RUNS = 2
"""The latest heads are in these; runs without a head, opened after them, are read as well."""
_PAGE = 100


@dataclass(frozen=True)
class HeadRun:
    """A run with heads. ``generation`` counts how often a person accepted the ledger as it stood;
    ``base`` is the head before the run's first, as place and SHA-256: empty after an acceptance.

    ``params`` are its heads and announcements; ``started`` is in milliseconds since 1970."""

    id: str
    generation: int
    base: str
    params: Mapping[str, str] = field(repr=False)
    is_deleted: bool = False
    started: int = 0


def experiment_of(use_case: str) -> str:
    return f"{use_case}-ledger"


def read_head_runs(
    api: RegistryApi, use_case: str, latest: int | None = None, *, deleted: bool = False
) -> list[HeadRun]:
    """Return the runs with the ledger's heads, the newest first: all of them, or as many as have
    the ``latest`` heads (``up_to_latest``); those that are there, or the ``deleted`` ones. None if
    the ledger has no heads yet."""
    is_known = use_case in api.experiment_ids
    experiment = _find_experiment(api, use_case)
    if experiment is None:
        return []
    question: dict[str, Any] = {
        "experiment_ids": [experiment],
        "filter": f"tags.`{LEDGER_TAG}` = '{use_case}'",
        "order_by": ["attributes.start_time DESC"],
        "run_view_type": "DELETED_ONLY" if deleted else "ACTIVE_ONLY",
        "max_results": min(latest or _PAGE, _PAGE),
    }
    runs: list[HeadRun] = []
    while True:
        answer = api.ask("POST", "runs/search", question)
        with reading("its run has"):
            runs += [_head_run(run) for run in answer.get("runs", [])]
        token = answer.get("next_page_token")
        if not token or (latest is not None and len(_with_heads(runs)) >= latest):
            break
        question["page_token"] = token
    if not runs and is_known and not deleted:  # the experiment may be another one by now
        del api.experiment_ids[use_case]
        return read_head_runs(api, use_case, latest)
    return up_to_latest(runs, latest)


def up_to_latest(runs: list[HeadRun], latest: int | None) -> list[HeadRun]:
    """Return the first of ``runs``, up to the ``latest``-th that has a head.

    Writers at the same time may each open a run, and announce an entry there whose place another
    one takes: however many they are, the runs with the latest heads are behind them."""
    if latest is None:
        return runs
    last = _with_heads(runs)[latest - 1 : latest]
    return runs[: last[0] + 1] if last else runs


def _with_heads(runs: list[HeadRun]) -> list[int]:
    """Return the indices of the runs that have heads, and not announcements alone."""
    return [
        index for index, run in enumerate(runs) if any("/" not in param for param in run.params)
    ]


def open_head_run(api: RegistryApi, use_case: str, generation: int, base: str) -> str:
    """Create the run that takes the next heads, and return its id.

    It starts after the newest one, whatever this machine's clock says: runs are read in that
    order."""
    experiment = _find_experiment(api, use_case) or _create_experiment(api, use_case)
    newest = max((run.started for run in read_head_runs(api, use_case, 1)), default=0)
    now = max(int(time.time() * 1000), newest + 1)
    tags = {LEDGER_TAG: use_case, GENERATION_TAG: str(generation), BASE_TAG: base}
    run = api.ask(
        "POST",
        "runs/create",
        {
            "experiment_id": experiment,
            "run_name": f"heads after entry {base.partition(' ')[0] or '?'}",
            "start_time": now,
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        },
    )
    with reading("its run has"):
        run_id = str(run["run"]["info"]["run_id"])
    # MLflow's page would show it as running for ever; a finished run takes parameters as well.
    api.ask("POST", "runs/update", {"run_id": run_id, "status": "FINISHED", "end_time": now})
    return run_id


def log_head(api: RegistryApi, run_id: str, key: str, value: str) -> None:
    """Write a parameter once; the same value again changes nothing. Raises ``ApiError`` if it has
    another value."""
    api.ask("POST", "runs/log-parameter", {"run_id": run_id, "key": key, "value": value})


def _find_experiment(api: RegistryApi, use_case: str) -> str | None:
    if use_case in api.experiment_ids:
        return api.experiment_ids[use_case]
    try:
        answer = api.ask(
            "GET", "experiments/get-by-name", {"experiment_name": experiment_of(use_case)}
        )
    except ApiError as error:
        if error.code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    with reading("its experiment has"):
        api.experiment_ids[use_case] = str(answer["experiment"]["experiment_id"])
    return api.experiment_ids[use_case]


def _create_experiment(api: RegistryApi, use_case: str) -> str:
    try:
        answer = api.ask("POST", "experiments/create", {"name": experiment_of(use_case)})
    except ApiError as error:
        experiment = _find_experiment(api, use_case)  # another writer was first
        if error.code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
            raise
        return experiment
    with reading("its experiment has"):
        return str(answer["experiment_id"])


def _head_run(run: Mapping[str, Any]) -> HeadRun:
    info, data = run["info"], run.get("data", {})
    tags = tags_of(data)
    generation = tags.get(GENERATION_TAG, "")
    return HeadRun(
        str(info["run_id"]),
        int(generation) if generation.isdecimal() else 0,
        tags.get(BASE_TAG, ""),
        {param["key"]: param.get("value", "") for param in data.get("params", [])},
        info.get("lifecycle_stage") == "deleted",
        int(info.get("start_time", 0)),
    )
