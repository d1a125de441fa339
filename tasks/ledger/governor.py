"""The governor: whether ``retrain`` may start automatically now. All it knows is in the ledger, so
a restart forgets nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from serving.records.ledger import Decision
from serving.records.reasons import because
from tasks.ledger.running_rollout import running
from usecases.definition import RetrainPolicy

DAY = timedelta(hours=24)
CRASHED = "crashed run"
_LONGEST_APPROVAL = timedelta(hours=144)
_OLD_IN_A_ROW = 8
_CLEARING = {
    ("crown", "crowned"),
    ("crown", "adopted"),
    ("retrain", "promoted"),
    ("breaker", "closed"),
}
Verdict = Literal["running", "cooldown", "budget", "breaker"]


@dataclass(frozen=True)
class Refusal:
    """Why no retrain starts, in a sentence, and until when; ``None`` if nobody knows."""

    verdict: Verdict
    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Breaker:
    """``rejections`` challengers in a row were not promoted; ``open_until`` is ``None`` while the
    breaker is closed.

    ``crashes`` counts the rejections that are runs which crashed before there was a challenger to
    judge."""

    rejections: int
    open_until: datetime | None
    crashes: int = 0


def may_retrain(policy: RetrainPolicy, entries: Sequence[Decision], at: datetime) -> Refusal | None:
    """Return why an automatic run may not start; of several reasons, the one that lasts longest.

    ``entries`` of one use case, oldest first: their order is the order of events, whatever their
    clocks say. Raises ``ValueError`` for a time without a zone, be it ``at`` or an entry's."""
    times = trusted_times(entries, at)
    requests = (
        _rolling(entries),
        _waiting(entries, at),
        _open_breaker(policy, entries, times, at),
        _budget(policy, entries, times, at),
    )
    starts = [
        refusal
        for refusal in (*requests, _cooldown(policy, entries, times, at))
        if refusal is not None
    ]
    return max(starts, key=lambda refusal: refusal.until or at, default=None)


def _rolling(entries: Sequence[Decision]) -> Refusal | None:
    """A rollout under way: its challenger could not be followed by another one yet."""
    entry = running(entries)
    if entry is None:
        return None
    reason = because("rollout_under_way", version=entry.version, use_case=entry.use_case)
    return Refusal("running", reason)


def is_enough(policy: RetrainPolicy, entries: Sequence[Decision], at: datetime) -> bool:
    """Return whether older entries than these latest ones change nothing for the governor: neither
    what ``may_retrain`` says, except how many rejections it counts, nor which start is open.

    Needed are the last start (a start is written only when no other is open), what closes the
    breaker or opens it, and all of the time that a rule looks back. Eight entries in a row must be
    older than that: one slow clock proves nothing. A clock that was ahead by more than that time
    when it wrote an older entry is not seen."""
    if not has_start(entries):
        return False
    times = trusted_times(entries, at)
    is_settled = any(
        (entry.kind, entry.verdict) in _CLEARING for entry in entries
    ) or policy.breaker_rejections <= len(_rejected(entries, times))
    looks_back = max(_LONGEST_APPROVAL, DAY, timedelta(hours=policy.cooldown_hours))
    return is_settled and len(times) >= _OLD_IN_A_ROW and times[_OLD_IN_A_ROW - 1] + looks_back < at


def breaker_of(policy: RetrainPolicy, entries: Sequence[Decision], at: datetime) -> Breaker:
    """Return the state of the breaker. Once its time is over it lets one run go: a rejection of
    that one opens it again."""
    return _breaker(policy, entries, trusted_times(entries, at), at)


def trusted_times(entries: Sequence[Decision], at: datetime) -> list[datetime]:
    """Return when each entry was written, never after ``at`` and never before an earlier entry.

    A clock that is ahead must not hold retrains back for ever: a future time counts as that of the
    next entry whose time is past (a refusal is one, so a request sets it), and as ``at`` if there
    is none. A clock that is behind must not let one through: its entry counts as of the latest time
    before it."""
    if at.tzinfo is None:
        raise ValueError(
            f"{at} has no time zone: give one, such as {at.isoformat(timespec='seconds')}+00:00."
        )
    times = [_moment(entry.use_case, entry.time) for entry in entries]
    latest = datetime.min.replace(tzinfo=UTC)
    for place, time in enumerate(times):
        if time <= at:
            times[place] = latest = max(latest, time)
    following = at
    for place in reversed(range(len(times))):
        times[place] = following = min(times[place], following)
    return times


def _moment(use_case: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(
            f"The ledger of {use_case!r} has the time {text!r}, which is not ISO 8601."
        ) from error
    if time.tzinfo is None:
        raise ValueError(
            f"The ledger of {use_case!r} has the time {text!r}, which names no time zone."
        )
    return time


def has_start(entries: Sequence[Decision]) -> bool:
    """Return whether the latest start is among these latest entries: no older one is open."""
    return any((entry.kind, entry.verdict) == ("retrain", "started") for entry in entries)


def open_starts(entries: Sequence[Decision]) -> list[Decision]:
    """Return the starts without an end: runs that are running, and runs that died silently. Oldest
    first."""
    started: dict[str | None, Decision] = {}
    for entry in entries:
        if (entry.kind, entry.verdict) == ("retrain", "started"):
            started[entry.run] = entry
        elif entry.kind == "retrain":
            started.pop(entry.run, None)
    return list(started.values())


def _starts(
    entries: Sequence[Decision], times: Sequence[datetime]
) -> tuple[dict[str, datetime], dict[str, str]]:
    """Return when each run started, and the ends of those that fitted nothing to the end: they
    found nothing to do, crashed, or were cancelled."""
    started: dict[str, datetime] = {}
    idle: dict[str, str] = {}
    for place, (entry, time) in enumerate(zip(entries, times, strict=True)):
        run = entry.run or f"entry {place}"
        if (entry.kind, entry.verdict) == ("retrain", "started"):
            started.setdefault(run, time)
        elif entry.kind == "retrain":
            idle.pop(run, None)  # a run that crashed and was started again has another end
            if entry.verdict in ("nothing to do", "crashed", "cancelled"):
                idle[run] = entry.verdict
    return started, idle


def _cooldown(
    policy: RetrainPolicy, entries: Sequence[Decision], times: Sequence[datetime], at: datetime
) -> Refusal | None:
    """Refuse for the cooldown. It ignores runs that a person cancelled; one that crashed may crash
    again at once."""
    started, idle = _starts(entries, times)
    counted_times = [time for run, time in started.items() if idle.get(run) != "cancelled"]
    if not counted_times:
        return None
    last = max(counted_times)
    until = last + timedelta(hours=policy.cooldown_hours)
    if until <= at:
        return None
    reason = because("cooldown", last=last, hours=policy.cooldown_hours, until=until)
    return Refusal("cooldown", reason, until)


def _budget(
    policy: RetrainPolicy, entries: Sequence[Decision], times: Sequence[datetime], at: datetime
) -> Refusal | None:
    """Refuse beyond the budget. Runs that found nothing to do, crashed, or were cancelled are not
    counted: the breaker ends a row of crashes."""
    started, idle = _starts(entries, times)
    today = sorted(time for run, time in started.items() if run not in idle and time + DAY > at)
    if len(today) < policy.runs_per_day:
        return None
    until = today[-policy.runs_per_day] + DAY
    reason = because("budget", retrains=len(today), allowed=policy.runs_per_day, until=until)
    return Refusal("budget", reason, until)


def _waiting(entries: Sequence[Decision], at: datetime) -> Refusal | None:
    """Refuse while a challenger waits for an answer: that retrain has not ended, and its time limit
    ends the wait in any case."""
    answers = {
        entry.run for entry in entries if entry.kind == "approval" and entry.verdict != "asked"
    }
    for entry in reversed(entries):
        limit = entry.facts.get("until")
        if (
            (entry.kind, entry.verdict) == ("approval", "asked")
            and entry.run not in answers
            and isinstance(limit, str)
        ):
            until = _moment(entry.use_case, limit)
            if until > at:
                reason = because(
                    "approval_waits", challenger=entry.challenger, until=until, run=entry.run
                )
                return Refusal("running", reason, until)
    return None


def _breaker(
    policy: RetrainPolicy, entries: Sequence[Decision], times: Sequence[datetime], at: datetime
) -> Breaker:
    rejected = _rejected(entries, times)
    crashes = sum(author.startswith(CRASHED) for author in rejected)
    if len(rejected) < policy.breaker_rejections:
        return Breaker(len(rejected), None, crashes)
    until = max(rejected.values()) + timedelta(hours=policy.breaker_hours)
    return Breaker(len(rejected), until if until > at else None, crashes)


def _open_breaker(
    policy: RetrainPolicy, entries: Sequence[Decision], times: Sequence[datetime], at: datetime
) -> Refusal | None:
    breaker = _breaker(policy, entries, times, at)
    if breaker.open_until is None:
        return None
    challengers, crashes = breaker.rejections - breaker.crashes, breaker.crashes
    row = [because("challengers_in_a_row", number=challengers)] if challengers else []
    row += [because("runs_crashed", number=crashes)] if crashes else []
    reason = because(
        "breaker_open",
        rejections=row,
        until=breaker.open_until,
        use_case=entries[-1].use_case,
    )
    return Refusal("breaker", reason, breaker.open_until)


def _rejected(entries: Sequence[Decision], times: Sequence[datetime]) -> dict[str, datetime]:
    """Return the challengers, each once, that were not promoted since the last promotion: which and
    when.

    A failed run is none: it is reported as a failure, and cooldown and budget hold it. A crashed
    run counts: no budget ends a run that takes its machine down, is started again, and so on. A
    challenger that waits for approval is none yet."""
    rejected: dict[str, datetime] = {}
    for place, (entry, time) in enumerate(zip(entries, times, strict=True)):
        author = (
            f"version {entry.challenger or entry.version}"
            if entry.challenger or entry.version
            else f"run {entry.run or place}"
        )
        if entry.kind == "retrain":  # a run that was started again after a crash has another end
            rejected.pop(f"{CRASHED} {entry.run}", None)
        match entry.kind, entry.verdict:
            case ("retrain", "crashed"):
                rejected[f"{CRASHED} {entry.run}"] = time
            case pair if pair in _CLEARING:
                rejected.clear()
            case ("contest", "keep" | "suspicious" | "unfair" | "inconclusive") | (
                "approval",
                "rejected" | "expired",
            ):
                rejected[author] = time
            case ("crown", "failed") | ("retrain", "below the gate") | ("rollout", "lost"):
                rejected[author] = time
            case ("approval", "asked"):
                rejected.pop(author, None)
    return rejected


def short(time: datetime) -> str:
    """Return the time to the minute, in UTC, as people read it."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
