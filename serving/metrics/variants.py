"""Figures of a rollout at ``/metrics``, by variant: champion and challenger side by side.

They are counted while a rollout runs, so that a service without one pays nothing."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from serving.metrics.counters import LATENCY_BOUNDS, Histogram, buckets

Labels = tuple[str, str, str]  # use case, role, version


class VariantStats:
    """Requests that a variant answered, and that it could not score; ``fallbacks`` are those of
    them that the champion answered. ``scoring`` has one time (seconds) for each batch."""

    __slots__ = ("failures", "fallbacks", "requests", "scoring")

    def __init__(self) -> None:
        self.requests = 0
        self.failures = 0
        self.fallbacks = 0
        self.scoring = Histogram(LATENCY_BOUNDS)


class ShadowStats:
    """Of all processes of a shadow: ``seconds`` were spent on the requests that did not fail;
    ``uploaded`` rows are in the lake; ``dropped`` never reached one; ``restarts`` are processes
    that did not end in order."""

    __slots__ = ("dropped", "failures", "requests", "restarts", "rows", "seconds", "uploaded")

    def __init__(self) -> None:
        self.requests = 0
        self.rows = 0
        self.failures = 0
        self.seconds = 0.0
        self.uploaded = 0
        self.dropped = 0
        self.restarts = 0


class Guard(Protocol):
    """What a guard has judged: ``bad`` of ``trials``, and the evidence (0-1, at 1 it reverts)."""

    @property
    def trials(self) -> int: ...

    @property
    def bad(self) -> int: ...

    @property
    def evidence(self) -> float: ...


class Variants:
    """The figures of one service's rollouts. ``states`` has those of now: use case to version,
    rollout, kind and state. ``reverts`` counts what guards of this process ended; ``guards`` are
    those of now, by use case, with the version that they judge."""

    def __init__(self) -> None:
        self.answering: dict[Labels, VariantStats] = defaultdict(VariantStats)
        self.shadows: dict[tuple[str, str], ShadowStats] = defaultdict(ShadowStats)
        self.reverts: Tally[tuple[str, str]] = Tally()
        self.states: dict[str, tuple[str, str, str, str]] = {}
        self.guards: dict[str, tuple[str, Mapping[str, Guard]]] = {}

    def families(self) -> Iterable[Metric]:
        """For ``Metrics.watch``."""
        yield from self._states()
        yield from self._answering()
        yield from self._guards()
        yield from self._shadows()

    def _states(self) -> Iterable[Metric]:
        info = GaugeMetricFamily(
            "laurel_rollout_info",
            "The rollout of now; its state is running, or without terms",
            labels=["use_case", "version", "rollout", "kind", "state"],
        )
        for use_case, state in list(self.states.items()):
            info.add_metric([use_case, *state], 1)
        yield info
        reverts = CounterMetricFamily(
            "laurel_rollout_reverts",
            "Rollouts that a guard of this service ended",
            labels=["use_case", "version"],
        )
        for variant, count in list(self.reverts.items()):
            reverts.add_metric(variant, count)
        yield reverts

    def _answering(self) -> Iterable[Metric]:
        labels = ["use_case", "role", "version"]
        requests = CounterMetricFamily(
            "laurel_rollout_requests", "Requests that a variant answered", labels=labels
        )
        failures = CounterMetricFamily(
            "laurel_rollout_failures", "Requests that a variant could not score", labels=labels
        )
        fallbacks = CounterMetricFamily(
            "laurel_rollout_fallbacks",
            "Requests that the challenger failed and the champion answered",
            labels=labels,
        )
        scoring = HistogramMetricFamily(
            "laurel_rollout_scoring_seconds", "Scoring of a batch of requests", labels=labels
        )
        for variant, stats in list(self.answering.items()):
            requests.add_metric(variant, stats.requests)
            failures.add_metric(variant, stats.failures)
            fallbacks.add_metric(variant, stats.fallbacks)
            scoring.add_metric(variant, *buckets(stats.scoring))
        return [requests, failures, fallbacks, scoring]

    def _guards(self) -> Iterable[Metric]:
        labels = ["use_case", "version", "guard"]
        evidence = GaugeMetricFamily(
            "laurel_rollout_guard_evidence",
            "Of one worker's guard that has the most, as a share of what reverts (0-1)",
            labels=labels,
        )
        trials = CounterMetricFamily(
            "laurel_rollout_guard_trials", "What a guard has judged", labels=labels
        )
        bad = CounterMetricFamily(
            "laurel_rollout_guard_bad",
            "Failures that the champion answered, and batches slower than its median allows",
            labels=labels,
        )
        for use_case, (version, guards) in list(self.guards.items()):
            for name, guard in guards.items():
                evidence.add_metric([use_case, version, name], guard.evidence)
                trials.add_metric([use_case, version, name], guard.trials)
                bad.add_metric([use_case, version, name], guard.bad)
        return [evidence, trials, bad]

    def _shadows(self) -> Iterable[Metric]:
        figures = {
            "requests": "Copies of requests that a shadow took",
            "rows": "Rows that a shadow scored",
            "uploaded": "Rows of a shadow that reached the lake, where labels judge them",
            "failures": "Copies that a shadow could not score",
            "seconds": "Time that a shadow spent on scoring",
            "dropped": "Copies that a shadow could not take, and nobody waited for",
            "restarts": "Processes of a shadow that did not end in order",
        }
        for figure, words in figures.items():
            family = CounterMetricFamily(
                f"laurel_shadow_{figure}", words, labels=["use_case", "version"]
            )
            for variant, stats in list(self.shadows.items()):
                family.add_metric(variant, getattr(stats, figure))
            yield family
