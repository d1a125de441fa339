"""Every use case in a row, as the running service tells it, and what needs a person in words."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from laurel.figures import moment

if TYPE_CHECKING:
    from blocks.clients.service import ServiceApi

STILL_READING, READING_SECONDS = "not_read_yet", 5.0
# Without one of these the flows' records were read, and null means that there is none.
UNREAD = ("lake_away", STILL_READING, "scope")
REASONS = {
    "lake_away": "the lake is unreachable",
    STILL_READING: "the service is still reading its records",
    "scope": "LAUREL_SERVING_KEY lacks the scope operate",
}
# The command that deals with what the service's code names.
COMMANDS = {
    "approval": "laurel approve {name}",
    "no_champion": "laurel doctor",
    "swap_failed": "laurel doctor",
    "log_dropped": "laurel logs service",
    "tampered": "laurel audit {name}",
    "retrain_failed": "laurel logs {name} --flow retrain",
    "breaker": "laurel explain {name}",
    "silent": "laurel explain {name}",
    "drifted": "laurel explain {name}",
    "worse": "laurel run retrain {name}",
}


@dataclass(frozen=True)
class Need:
    """What waits for a person: its code and numbers, its place on the page, a sentence, and the
    command that deals with it."""

    use_case: str
    code: str
    numbers: Mapping[str, Any]
    href: str
    sentence: str
    command: str


@dataclass(frozen=True)
class Row:
    """One use case. ``live`` is the score on the last window that has one, ``coverage`` (0-1) the
    share of its labels that have come; ``drift`` is the verdict on ``window``. ``unknown`` says why
    the flows' records could not be read."""

    use_case: str
    champion: str | None = None
    since: datetime | None = None
    metric: str | None = None
    live: float | None = None
    coverage: float | None = None
    holdout: float | None = None
    window: str | None = None
    drift: str | None = None
    share: float | None = None
    requests_per_second: float | None = None
    seconds_p99: float | None = None
    last: str | None = None
    last_at: datetime | None = None
    needs: list[Need] = field(default_factory=list)
    unknown: str = ""


def read_fleet(service: "ServiceApi") -> list[Row]:
    """A row for each use case that the service serves. A service that has just started is given
    some seconds to read its records. Raises ``ServiceAway``."""
    end = time.monotonic() + READING_SECONDS
    while True:
        told = service.ask("GET", "/v1?view=fleet")["use_cases"]
        reading = any(STILL_READING in one["unknown"].values() for one in told)
        if not reading or time.monotonic() > end:
            return [row(one) for one in told]
        time.sleep(0.5)


def row(told: Mapping[str, Any]) -> Row:
    """The row of what the service answered."""
    name = told["use_case"]
    champion, live, holdout, drift, retrain = (
        told[part] or {} for part in ("champion", "live", "holdout", "drift", "retrain")
    )
    unread = [reason for reason in told["unknown"].values() if reason in UNREAD]
    return Row(
        use_case=name,
        champion=champion.get("version"),
        since=moment(champion["since"]) if champion.get("since") else None,
        metric=holdout.get("metric"),
        live=live.get("value"),
        coverage=live.get("coverage"),
        holdout=holdout.get("value"),
        window=drift.get("window"),
        drift=drift.get("outcome"),
        share=drift.get("share"),
        requests_per_second=told["traffic"]["requests_per_second"],
        seconds_p99=told["traffic"]["p99"],
        last=retrain.get("verdict"),
        last_at=moment(retrain["time"]) if retrain else None,
        needs=[need_of(name, one) for one in told["needs"]],
        unknown=REASONS[unread[0]] if unread else "",
    )


def need_of(use_case: str, told: Mapping[str, Any]) -> Need:
    """The need in the service's words, and what to do about it."""
    command = COMMANDS.get(told["code"], "laurel open {name}").format(name=use_case)
    return Need(use_case, told["code"], told["numbers"], told["href"], told["sentence"], command)
