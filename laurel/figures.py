"""Scores, ages and tables in a terminal of 80 columns."""

from collections.abc import Sequence
from datetime import UTC, datetime

NONE = "–"
WIDTH = 80


def score(value: float | None) -> str:
    """Three digits: ``.788``, ``12.3``."""
    if value is None:
        return NONE
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def percent(share: float | None) -> str:
    return NONE if share is None else f"{share:.0%}".replace("%", " %")


def milliseconds(seconds: float | None) -> str:
    return NONE if seconds is None else f"{seconds * 1000:.0f} ms"


def moment(text: str) -> datetime:
    """A time of the ledger."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def age(time: datetime | None, now: datetime | None = None) -> str:
    """``12 d``, ``3 h``, ``5 min``; a time that another clock has in the future is ``now``."""
    if time is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns, two blanks apart. A first column that is too wide for the terminal
    is cut."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    spare = WIDTH - sum(widths[1:]) - 2 * (len(header) - 1)
    widths[0] = min(widths[0], max(spare, 12))
    return [
        "  ".join(
            _cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
