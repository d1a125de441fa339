"""The service's description of itself: ``GET /v1/{use_case}``, and the figures of queue and
prediction log at ``/metrics``.
"""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from serving.champions.champion import Champion
from serving.edge.log_output import LogHandler
from serving.service.service import Service
from serving.service.siblings import flows, workers

_EXAMPLES = 20


def describe(service: Service, use_case: str) -> dict[str, Any]:
    """Champion, watch, traffic and log of a use case. Raises ``UnknownUseCase``."""
    watch = service.use_cases.watch(use_case)
    state = service.log.state(use_case)
    description: dict[str, Any] = {
        "use_case": use_case,
        "ready": watch.champion is not None,
        "version": None,
        "alias": {"version": watch.alias_version, "checked": watch.checked},
        "last_error": watch.last_error,
        "workers": workers(service.board, service.use_cases.watch(use_case).champion, use_case),
        "traffic": service.traffic.describe(
            use_case, flows(service.board, service.metrics, use_case)
        ),
        "log": {
            "rows_waiting": state.rows_waiting,
            "rows_uploaded": state.rows_uploaded,
            "rows_dropped": state.rows_dropped,
            "rows_unreadable": state.rows_unreadable,
            "lines_torn": state.lines_torn,
            "bytes_waiting": service.log.bytes_waiting(use_case),
            "lag_seconds": service.log.lag_seconds(use_case),
            "last_error": service.uploader.last_error
            if service.uploader.alive
            else "The uploader has stopped; restart the service.",
        },
    }
    if watch.champion is not None:
        description |= _describe_champion(watch.champion)
    return description


def _describe_champion(champion: Champion) -> dict[str, Any]:
    manifest = champion.package.manifest
    return {
        "version": champion.version,
        "since": champion.since,
        "title": manifest.title,
        "question": manifest.question,
        "recipe": manifest.recipe,
        "metrics": manifest.metrics,
        "trained_on": manifest.trained_on,
        "trained_through": manifest.trained_through,
        "dataset_version": manifest.dataset_version,
        "created": manifest.created or champion.created,
        "provisional": manifest.provisional or None,
        "decision_threshold": manifest.decision_threshold,
        "schema": {
            "features": manifest.features,
            "event_time": manifest.event_time,
            "label": manifest.label,
            "outputs": manifest.outputs,
        },
        "parity": manifest.parity,
        "examples": champion.package.smoke.rows[:_EXAMPLES],
        "example": champion.package.smoke.rows[0],
    }


def families(service: Service) -> Iterable[Metric]:
    """For ``Metrics.watch``."""
    queue = GaugeMetricFamily(
        "laurel_queue_requests", "Large requests that wait or are being scored"
    )
    queue.add_metric([], service.scorer.large)
    connections = GaugeMetricFamily("laurel_connections", "Open connections")
    connections.add_metric([], len(service.connections))
    dropped_lines = CounterMetricFamily(
        "laurel_access_log_dropped", "Lines of the access log that were dropped"
    )
    dropped_lines.add_metric([], service.access_log.dropped)
    dropped_words = CounterMetricFamily(
        "laurel_service_log_dropped", "Lines of the service's own log that were dropped"
    )
    dropped_words.add_metric([], LogHandler.dropped)
    waiting = GaugeMetricFamily(
        "laurel_log_rows_waiting",
        "Rows on this disk that are not in the lake yet",
        labels=["use_case"],
    )
    uploaded = CounterMetricFamily(
        "laurel_log_rows_uploaded", "Rows that reached the lake", labels=["use_case"]
    )
    dropped = CounterMetricFamily(
        "laurel_log_rows_dropped",
        "Rows answered but not logged: backlog or disk full",
        labels=["use_case"],
    )
    torn = CounterMetricFamily(
        "laurel_log_lines_torn", "Lines of the log that could not be read", labels=["use_case"]
    )
    set_aside = "Rows that could not be converted to Parquet, set aside on this disk"
    unreadable = CounterMetricFamily("laurel_log_rows_unreadable", set_aside, labels=["use_case"])
    lag = GaugeMetricFamily(
        "laurel_log_lag_seconds",
        "Age of the oldest row that is not in the lake",
        labels=["use_case"],
    )
    size = GaugeMetricFamily(
        "laurel_log_bytes_waiting",
        "Bytes on this disk that are not in the lake yet",
        labels=["use_case"],
    )
    for name in service.use_cases.watches:
        lag.add_metric([name], service.log.lag_seconds(name))
        size.add_metric([name], service.log.bytes_waiting(name))
        state = service.log.state(name)
        waiting.add_metric([name], state.rows_waiting)
        uploaded.add_metric([name], state.rows_uploaded)
        dropped.add_metric([name], state.rows_dropped)
        torn.add_metric([name], state.lines_torn)
        unreadable.add_metric([name], state.rows_unreadable)
    return [
        queue,
        connections,
        dropped_lines,
        dropped_words,
        lag,
        size,
        waiting,
        uploaded,
        dropped,
        torn,
        unreadable,
    ]
