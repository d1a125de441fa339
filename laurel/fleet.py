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
# The service's code, as a sentence with its numbers and the command that deals with it.
NEEDS = {
    "no_champion": ("no version serves", "laurel doctor"),
    "swap_failed": ("v{alias} is not served, v{version} still is", "laurel doctor"),
    "log_dropped": ("{rows} predictions were not kept", "laurel logs service"),
    "tampered": ("the ledger was changed by hand", "laurel audit {name}"),
    "retrain_failed": ("the last retrain {verdict}", "laurel logs {name} --flow retrain"),
    "breaker": ("retrains were stopped: rejected in a row", "laurel explain {name}"),
    "silent": ("no predictions come in", "laurel explain {name}"),
    "broken": ("data of {window} are broken", "laurel open {name}"),
    "unreadable": ("the drift check of {window} is unreadable", "laurel open {name}"),
    "drifted": ("{window} drifted, and no retrain followed", "laurel explain {name}"),
    "worse": ("the champion is worse on {window}", "laurel run retrain {name}"),
}


@dataclass(frozen=True)
class Need:
    """What waits for a person, and the command that deals with it."""

    use_case: str
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
    """The need in words; one of a newer service by its code."""
    code, numbers = told["code"], told["numbers"]
    if code == "approval":
        over = f" over v{numbers['champion']}" if numbers["champion"] else ""
        gain = f" (gain {numbers['gain']:+.3f})" if numbers["gain"] is not None else ""
        sentence = f"approve v{numbers['challenger']}{over}{gain}"
        return Need(use_case, sentence, f"laurel approve {use_case}")
    sentence, command = NEEDS.get(code, (code.replace("_", " "), "laurel open {name}"))
    return Need(use_case, sentence.format(**numbers), command.format(name=use_case))
