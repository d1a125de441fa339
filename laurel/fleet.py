"""Every use case in a row, as the running service knows it: champion, scores, drift, traffic, the
last retrain, and what needs a person."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from laurel.figures import moment
from laurel.servers import ledger_entries

if TYPE_CHECKING:
    from blocks.clients.service import ServiceApi

ENTRIES = 200
AT_ONCE = 2  # as many as the service reads at a time
MOVES = {("crown", "crowned"), ("crown", "adopted"), ("crown", "vacated"), ("rollback", "rollback")}
ENDED_BADLY = ("failed", "crashed")


@dataclass(frozen=True)
class Need:
    """What waits for a person, and the command that deals with it."""

    use_case: str
    sentence: str
    command: str


@dataclass(frozen=True)
class Row:
    """One use case. ``live`` is the score on the last checked window, ``coverage`` (0-1) the share
    of its rows whose labels have come; ``drift`` is that window's verdict. ``unknown`` says why
    something could not be read."""

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
    """A row for each use case that the service serves. Raises ``ServiceAway``."""
    described = service.ask("GET", "/v1")["use_cases"]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda one: _row(service, one), described))


def _row(service: "ServiceApi", described: Mapping[str, Any]) -> Row:
    from blocks.clients.service import ServiceAway

    path = f"/v1/{described['use_case']}"
    try:
        entries = ledger_entries(service, described["use_case"], f"limit={ENTRIES}")
        checks: list[dict[str, Any]] = []
        approvals: list[dict[str, Any]] = []
        whole = described
        if entries:
            checks = service.ask("GET", f"{path}/drift?limit=1")["drift"]
            approvals = service.ask("GET", f"{path}/approvals")["approvals"]
        if described["ready"]:
            whole = service.ask("GET", path)
    except ServiceAway as error:
        return Row(described["use_case"], described["version"], unknown=error.said or str(error))
    return row(whole, entries, checks, approvals)


def row(
    described: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
    approvals: Sequence[Mapping[str, Any]],
) -> Row:
    """The row of what the service answered; entries and checks have the latest first."""
    use_case, traffic = described["use_case"], described["traffic"]
    metrics = described.get("metrics") or {}
    metric = next(iter(metrics), None)
    move = last_move(entries)
    retrain = next(
        (one for one in entries if one["kind"] == "retrain" and one["verdict"] != "started"), None
    )
    check = checks[0] if checks else {}
    performance = check.get("performance") or {}
    live = (performance.get("metrics") or {}).get(metric) or {}
    return Row(
        use_case=use_case,
        champion=described["version"],
        since=moment(move["time"]) if move and described["version"] else None,
        metric=metric,
        live=live.get("value"),
        coverage=performance.get("coverage"),
        holdout=metrics.get(metric) if metric else None,
        window=check.get("window"),
        drift=check.get("outcome"),
        share=check.get("share"),
        requests_per_second=traffic["requests_per_second"],
        seconds_p99=traffic["seconds_p99"],
        last=retrain["verdict"] if retrain else None,
        last_at=moment(retrain["time"]) if retrain else None,
        needs=find_needs(described, entries, check, approvals, retrain),
    )


def last_move(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The entry by which the crown last moved."""
    return next((one for one in entries if (one["kind"], one["verdict"]) in MOVES), None)


def find_needs(
    described: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    check: Mapping[str, Any],
    approvals: Sequence[Mapping[str, Any]],
    retrain: Mapping[str, Any] | None,
) -> list[Need]:
    """What a person should do, the most pressing first."""
    name, alias = described["use_case"], described["alias"]["version"]
    needs = [_question(name, one) for one in approvals]
    if any(one.get("tampered") for one in entries):
        needs.append(Need(name, "the ledger was changed by hand", f"laurel audit {name}"))
    if alias and described.get("last_error"):
        sentence = f"v{alias} is not served: {described['last_error']}"
        needs.append(Need(name, sentence, "laurel doctor"))
    if described["log"]["last_error"]:
        needs.append(Need(name, "predictions do not reach the lake", "laurel logs service"))
    if retrain and retrain["verdict"] in ENDED_BADLY:
        needs.append(Need(name, f"the last retrain {retrain['verdict']}", f"laurel logs {name}"))
    if check.get("outcome") in ("broken", "silent", "unreadable"):
        sentence = {
            "broken": f"data of {check['window']} are broken",
            "silent": "no predictions come in",
            "unreadable": f"the drift check of {check['window']} is unreadable",
        }[check["outcome"]]
        needs.append(Need(name, sentence, f"laurel explain {name}"))
    return needs


def _question(use_case: str, approval: Mapping[str, Any]) -> Need:
    over = f" over v{approval['champion']}" if approval["champion"] else ""
    main = (approval.get("contest") or {}).get("main") or {}
    gain = f" (gain {main['gain']:+.3f})" if main.get("gain") is not None else ""
    sentence = f"approve v{approval['challenger']}{over}{gain}"
    return Need(use_case, sentence, f"laurel approve {use_case}")
