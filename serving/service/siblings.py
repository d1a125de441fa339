"""What the workers of one service know of each other: every answer about the service covers all of
them.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from serving.champions.champion import Champion, ChampionWatch
from serving.log.prediction_log import PredictionLog
from serving.metrics.counters import Metrics
from serving.metrics.traffic import Flow, flow_of
from serving.service.workers import WorkerBoard

# The counts of a dead worker stay; its other figures are gone.
_COUNTING = ("_total", "_bucket", "_count", "_sum")


def facts(watches: Mapping[str, ChampionWatch], log: PredictionLog, metrics: Metrics) -> bytes:
    """Return the JSON that this worker publishes."""
    return msgspec.json.encode(
        {
            "use_cases": {
                name: {
                    "version": watch.champion.version if watch.champion else None,
                    "since": watch.champion.since if watch.champion else None,
                    "last_error": watch.last_error,
                    "flow": flow_of(metrics, name),
                    "log": log.state(name),
                }
                for name, watch in watches.items()
            },
            "metrics": metrics.snapshot(),
        }
    )


def flows(board: WorkerBoard, metrics: Metrics, use_case: str) -> list[Flow]:
    """The counts of each worker, dead ones too."""
    others = [sibling.facts["use_cases"].get(use_case) for sibling in board.others()]
    return [flow_of(metrics, use_case), *[Flow(*other["flow"]) for other in others if other]]


def workers(board: WorkerBoard, champion: Champion | None, use_case: str) -> list[dict[str, Any]]:
    """Each living worker and its version (``None``: none yet). ``champion`` is this worker's."""
    rows = [
        {
            "id": board.id,
            "version": champion.version if champion else None,
            "since": champion.since if champion else None,
        }
    ]
    for sibling in board.others():
        if sibling.alive:
            other = sibling.facts["use_cases"].get(use_case, {})
            rows.append(
                {"id": sibling.id, "version": other.get("version"), "since": other.get("since")}
            )
    return sorted(rows, key=lambda row: int(row["id"] or 0))


def snapshots(board: WorkerBoard) -> list[list[Any]]:
    """The figures of the other workers, to add to our own at ``/metrics``."""
    return [
        sibling.facts["metrics"]
        if sibling.alive
        else [sample for sample in sibling.facts["metrics"] if sample[0].endswith(_COUNTING)]
        for sibling in board.others()
    ]
