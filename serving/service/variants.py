"""What this service has counted of a rollout: each variant's figures, over all its workers."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

from serving.metrics.counters import LATENCY_BOUNDS
from serving.metrics.traffic import quantile
from serving.metrics.variants import Variants
from serving.service.siblings import snapshots
from serving.service.workers import WorkerBoard

Samples = Iterable[tuple[str, dict[str, str], float]]

_SIDE = "laurel_rollout_"
_SHADOW = "laurel_shadow_"
_GUARD = "laurel_rollout_guard_"
_BUCKET = "laurel_rollout_scoring_seconds_bucket"
_COUNTS = ("requests", "failures", "fallbacks")
_SHADOWED = ("requests", "rows", "uploaded", "failures", "dropped", "restarts", "seconds")


def rollout_figures(
    variants: Variants, board: WorkerBoard, use_case: str, version: str | None
) -> dict[str, Any]:
    """``variants``: requests, failures, fallbacks and the scoring time (seconds; ``None`` without
    any) by role and version, the champion first; ``shadow`` of ``version``, ``None`` without one;
    ``guards``: what each has judged, and the evidence (0-1, at 1 it reverts) of the worker that has
    the most.

    Counted since the service started."""
    samples = list(_samples(variants, board, use_case))
    return {
        "variants": _sides(samples),
        "shadow": _shadow(samples, version),
        "guards": _guards(samples),
    }


def _samples(variants: Variants, board: WorkerBoard, use_case: str) -> Samples:
    own = (
        (sample.name, sample.labels, sample.value)
        for family in variants.families()
        for sample in family.samples
    )
    others = (tuple(sample) for snapshot in snapshots(board) for sample in snapshot)
    for name, labels, value in chain(own, others):
        if name.startswith((_SIDE, _SHADOW)) and labels.get("use_case") == use_case:
            yield name, labels, value


def _sides(samples: Samples) -> list[dict[str, Any]]:
    counts: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    times: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for name, labels, value in samples:
        if "role" not in labels:
            continue
        side = labels["role"], labels["version"]
        if name == _BUCKET:
            times[side][labels["le"]] += value
        else:
            counts[side][name.removeprefix(_SIDE).removesuffix("_total")] += value
    return [
        {
            "role": role,
            "version": version,
            **{count: int(counts[role, version][count]) for count in _COUNTS},
            "seconds_p50": quantile(_apart(times[role, version]), 0.50),
            "seconds_p99": quantile(_apart(times[role, version]), 0.99),
        }
        for role, version in sorted(counts)
    ]


def _apart(cumulative: dict[str, float]) -> list[int]:
    """The counts by bound; Prometheus's are cumulative."""
    below, counts = 0, []
    for bound in [*map(str, map(float, LATENCY_BOUNDS)), "+Inf"]:
        upto = int(cumulative.get(bound, below))
        counts.append(upto - below)
        below = upto
    return counts


def _shadow(samples: Samples, version: str | None) -> dict[str, float] | None:
    figures: dict[str, float] = {}
    for name, labels, value in samples:
        figure = name.removeprefix(_SHADOW).removesuffix("_total")
        if name.startswith(_SHADOW) and figure in _SHADOWED and labels["version"] == version:
            figures[figure] = figures.get(figure, 0.0) + value
    return figures or None


def _guards(samples: Samples) -> list[dict[str, Any]]:
    guards: dict[str, dict[str, float]] = {}
    for name, labels, value in samples:
        if not name.startswith(_GUARD):
            continue
        figures = guards.setdefault(labels["guard"], {"trials": 0, "bad": 0, "evidence": 0.0})
        figure = name.removeprefix(_GUARD).removesuffix("_total")
        figures[figure] = (
            max(figures[figure], value) if figure == "evidence" else (figures[figure] + value)
        )
    return [{"guard": guard, **guards[guard]} for guard in sorted(guards)]
