"""The record of what one process of a service answered in a month:
``traffic/<use case>/<month>/<process>.json``. Those of all processes are added."""

from serving.records.record import record


@record
class Hour:
    """Predictions and feedback answered in an hour: requests, those refused or failed, rows scored,
    and how many requests took at most as long as each bound of the month, and longer than all."""

    requests: int = 0
    errors: int = 0
    rows: int = 0
    latency: list[int]


@record
class TrafficMonth:
    """``bounds`` of latencies are in seconds, rising. ``hours`` go by their names in UTC, such as
    ``2026-11-30T19``; hours without a request are not among them."""

    bounds: list[float]
    hours: dict[str, Hour]
