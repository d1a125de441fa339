"""What the last promotion brought, by the records of the flow ``compare``."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from serving.history.reigns import Reign
from serving.history.window_order import begin_of
from serving.records.contest import Contest

# Made now, by one thread: msgspec ends the process if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_DECODER = msgspec.json.Decoder(Contest)


class Brought(msgspec.Struct, frozen=True, kw_only=True):
    """The promoted ``version`` against ``before``, the champion that it took the crown from, on the
    latest window that both were compared on: ``rows`` with a label, and the gain with its bounds
    as in a contest.

    ``unknown`` says why there is no gain: ``no_promotion`` over another champion yet,
    ``not_compared`` since, ``unreadable``, or ``too_few_labels`` for a verdict, whatever the
    numbers say."""

    version: str | None = None
    before: str | None = None
    window: str | None = None
    metric: str | None = None
    rows: int | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    unknown: Literal["no_promotion", "not_compared", "unreadable", "too_few_labels"] | None = None


def promotion_of(reigns: Sequence[Reign]) -> tuple[str, str] | None:
    """The version of the last promotion and the champion before it; ``reigns`` have the latest
    first."""
    for reign, earlier in zip(reigns, reigns[1:], strict=False):
        if reign.how == "crowned" and reign.version and earlier.version:
            return reign.version, earlier.version
    return None


def latest_comparison(keys: Sequence[str], version: str, before: str) -> str | None:
    """Of the keys below ``reports/<use case>``, the record of the latest window on which the two
    were compared."""
    name = f"comparison-{before}-{version}.json"
    records = [key for key in keys if key.split("/")[3:] == [name]]
    return max(records, key=lambda key: begin_of(key.split("/")[2]), default=None)


def read_comparison(data: bytes) -> Contest:
    """Raises ``msgspec.DecodeError``, ``UnicodeDecodeError``, ``RecursionError``."""
    return _DECODER.decode(data)


def brought_by(version: str, before: str, window: str, contest: Contest | str) -> Brought:
    """A text stands for an unreadable record."""
    if isinstance(contest, str):
        return Brought(version=version, before=before, window=window, unknown="unreadable")
    main = contest.main
    suffices = contest.verdict != "inconclusive" and main.gain is not None
    return Brought(
        version=version,
        before=before,
        window=window,
        metric=main.metric,
        rows=main.rows,
        gain=main.gain,
        low=main.low,
        high=main.high,
        unknown=None if suffices else "too_few_labels",
    )
