"""What the fleet page needs of a use case's records, and what of it waits for a person.

A need is a code with its numbers, and a sentence in the reader's language."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from serving.history.checks import SEARCHED_FOR_QUESTIONS, History
from serving.history.decisions import Item, Placed, fold
from serving.history.drift import DriftCheck
from serving.history.ledger import Approval, CheckedEntry, pending
from serving.history.reigns import Reign, reigns
from serving.history.rollouts import RolloutBrief, brief_rollout, latest_rollout
from serving.history.series import Window, metric_of, window_of
from serving.records.reasons import Reason, because

_CHECKS = 12
_FAILED = ("failed", "crashed")
_ENDED_WELL = ("promoted", "kept", "below the gate", "nothing to do", "no champion yet")


class Need(msgspec.Struct, frozen=True):
    """Something that waits for a person. ``href`` is its place on the service's page."""

    code: str
    numbers: dict[str, Any]
    href: str
    sentence: str


def need(reason: Reason, href: str) -> Need:
    return Need(reason.code.code, reason.code.numbers, href, reason)


class LastRetrain(msgspec.Struct, frozen=True, kw_only=True):
    """The last retrain; ``verdict`` is *started* while it runs."""

    id: str
    verdict: str
    time: str
    version: str | None
    gain: float | None


class Records(msgspec.Struct, frozen=True, kw_only=True):
    """The flows' records of one use case in brief. ``live`` is the score on the latest window that
    has one, ``scores`` are the values of the latest windows in the order of time."""

    reign: Reign | None
    live: Window | None
    metric: str | None
    scores: list[float | None]
    drift: Window | None
    approvals: list[Approval]
    retrain: LastRetrain | None
    rollout: RolloutBrief | None
    needs: list[Need]
    unknown: dict[str, str]


def read_records(history: History, use_case: str) -> Records:
    """Blocking. Raises ``LakeAway``."""
    placed = history.entries(use_case, SEARCHED_FOR_QUESTIONS)
    return brief(use_case, placed, history.drift(use_case, _CHECKS))


def brief(use_case: str, placed: Sequence[Placed], checks: Sequence[DriftCheck]) -> Records:
    """``placed`` are entries in order, ``checks`` those of the last windows, the latest first."""
    entries = [each.entry for each in placed]
    ruled = reigns(placed)
    metric = metric_of(checks, ruled)
    windows = [window_of(check, metric) for check in checks]
    live = next((window for window in windows if window.score.value is not None), None)
    items = fold(placed)
    retrain = next((item for item in items if any(p.kind == "retrain" for p in item.parts)), None)
    approvals = pending(entries)
    unknown = {}
    if live is None:
        unknown["live"] = (windows[0].score.reason or "no_labels") if windows else "no_check"
    if not windows:
        unknown["drift"] = "no_check"
    if retrain is None:
        unknown["retrain"] = "none_in_ledger"
    return Records(
        reign=ruled[0] if ruled else None,
        live=live,
        metric=metric,
        scores=[window.score.value for window in reversed(windows)],
        drift=windows[0] if windows else None,
        approvals=approvals,
        retrain=_last_retrain(retrain) if retrain else None,
        rollout=brief_rollout(latest_rollout(placed)),
        needs=[
            *_needs_of_ledger(use_case, placed, approvals, retrain),
            *_needs_of_windows(use_case, entries, checks),
        ],
        unknown=unknown,
    )


def _last_retrain(item: Item) -> LastRetrain:
    verdict = next(part.verdict for part in reversed(item.parts) if part.kind == "retrain")
    return LastRetrain(
        id=item.id, verdict=verdict, time=item.time, version=item.version, gain=item.gain
    )


def _needs_of_ledger(
    use_case: str, placed: Sequence[Placed], approvals: Sequence[Approval], retrain: Item | None
) -> list[Need]:
    needs = []
    for question in approvals:
        needs.append(_asks(use_case, question))
    for place, entry in placed:
        if entry.tampered:
            numbers = {"place": place, "fault": entry.fault}
            sentence = because("tampered_at", place=place)
            needs.append(Need("tampered", numbers, f"#{use_case}&decision={place}", sentence))
            break
    if retrain and (ended := _last_retrain(retrain).verdict) in _FAILED:
        sentence = (
            because("last_retrain_crashed", time=retrain.time)
            if ended == "crashed"
            else because("last_retrain_failed", time=retrain.time)
        )
        numbers = {"verdict": ended, "time": retrain.time}
        href = f"#{use_case}&decision={retrain.id}"
        needs.append(Need("retrain_failed", numbers, href, sentence))
    for place, entry in reversed(placed):
        if entry.kind == "breaker" or _is_end(entry):
            break
        if (entry.kind, entry.verdict) == ("refusal", "breaker"):
            href = f"#{use_case}&decision={place}"
            needs.append(need(because("breaker", time=entry.time), href))
            break
    return needs


def _asks(use_case: str, question: Approval) -> Need:
    main = question.contest.main if question.contest else None
    challenger, champion = question.challenger, question.champion
    gain, low, high = (main.gain, main.low, main.high) if main else (None, None, None)
    if champion is None:
        sentence = because("approve_first", challenger=challenger)
    elif gain is None:
        sentence = because("approve_unmeasured", challenger=challenger, champion=champion)
    else:
        sentence = because(
            "approve_over",
            challenger=challenger,
            champion=champion,
            gain=gain,
            low=low,
            high=high,
        )
    numbers = {
        "challenger": challenger,
        "champion": champion,
        "until": question.until,
        "gain": gain,
        "low": low,
        "high": high,
    }
    return Need("approval", numbers, f"#{use_case}&approvals", sentence)


def _is_end(entry: CheckedEntry) -> bool:
    return entry.kind == "retrain" and entry.verdict in _ENDED_WELL


def _needs_of_windows(
    use_case: str, entries: Sequence[CheckedEntry], checks: Sequence[DriftCheck]
) -> list[Need]:
    needs, href = [], f"#{use_case}&drift"
    last_check = next((entry for entry in reversed(entries) if entry.kind == "drift"), None)
    if last_check and last_check.verdict == "silent":
        needs.append(need(because("silent", time=last_check.time), href))
    if not checks:
        return needs
    latest = checks[0]
    window = latest.window
    if latest.outcome == "broken":
        needs.append(need(because("broken", window=window), href))
    if latest.outcome == "unreadable":
        needs.append(need(because("unreadable", window=window), href))
    if latest.outcome == "drifted" and not _was_answered(entries, latest.checked):
        share, limit = latest.share, latest.limit
        needs.append(need(because("drifted", window=window, share=share, limit=limit), href))
    if latest.performance and latest.performance.verdict == "worse":
        needs.append(need(because("worse", window=window), f"#{use_case}&score"))
    return needs


def _was_answered(entries: Sequence[CheckedEntry], checked: datetime) -> bool:
    """Whether a retrain has started, or ended, since the check: the loop is at it."""
    for entry in reversed(entries):
        if entry.kind == "retrain" and _after(entry.time, checked):
            return True
    return False


def _after(time: str, moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(time) >= moment
    except (ValueError, TypeError):
        return False
