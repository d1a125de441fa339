"""What the workers of one service know of each other: every answer about the service is an answer for all of them."""

from typing import TYPE_CHECKING, Any

import msgspec

from serving.traffic import Flow, flow_of

if TYPE_CHECKING:
    from serving.service import Service

# What a dead worker has counted stays counted; what it held is gone.
_COUNTING = ("_total", "_bucket", "_count", "_sum")


def facts(service: "Service") -> bytes:
    """JSON that this worker publishes."""
    return msgspec.json.encode(
        {
            "use_cases": {
                name: {
                    "version": watch.champion.version if watch.champion else None,
                    "since": watch.champion.since if watch.champion else None,
                    "last_error": watch.last_error,
                    "flow": flow_of(service.metrics, name),
                    "log": service.log.state(name),
                }
                for name, watch in service.watches.items()
            },
            "metrics": service.metrics.snapshot(),
        }
    )


def flows(service: "Service", use_case: str) -> list[Flow]:
    """What each worker has counted, the dead ones too."""
    others = [sibling.facts["use_cases"].get(use_case) for sibling in service.board.others()]
    return [flow_of(service.metrics, use_case), *[Flow(*other["flow"]) for other in others if other]]


def workers(service: "Service", use_case: str) -> list[dict[str, Any]]:
    """Each living worker, and the version that it serves (``None``: none yet)."""
    champion = service.watch(use_case).champion
    said = [{"id": service.board.id, "version": champion.version if champion else None, "since": champion.since if champion else None}]
    for sibling in service.board.others():
        if sibling.alive:
            other = sibling.facts["use_cases"].get(use_case, {})
            said.append({"id": sibling.id, "version": other.get("version"), "since": other.get("since")})
    return sorted(said, key=lambda one: int(one["id"] or 0))


def snapshots(service: "Service") -> list[list[Any]]:
    """The figures of the other workers, to be added to our own at ``/metrics``."""
    return [
        sibling.facts["metrics"] if sibling.alive else [sample for sample in sibling.facts["metrics"] if sample[0].endswith(_COUNTING)]
        for sibling in service.board.others()
    ]
