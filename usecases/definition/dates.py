"""What a use case says of a date, and which parts of it models may see."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from usecases.definition.columns import Column

# The parts by name, and how many places of the matrix each takes. Their meaning stands in
# serving/package/encoders/dates.py, which makes them.
PARTS: Mapping[str, int] = {
    "year": 1,
    "month": 1,
    "day": 1,
    "day_of_year": 1,
    "weekday": 1,
    "hour": 1,
    "days": 1,
    "year_cycle": 2,
    "week_cycle": 2,
    "day_cycle": 2,
}


def width_of_date(column: "Column") -> int:
    """How many places of the matrix the column's parts take."""
    return sum(PARTS[part] for part in column.parts or ())


def misuse_of_date(column: "Column") -> str | None:
    """Why the column cannot be a date; ``None`` if it can."""
    parts = column.parts or ()
    if not parts:
        return "needs parts, what models see of it, such as parts=('weekday', 'hour')"
    if strangers := [part for part in parts if part not in PARTS]:
        return f"has no parts {strangers}; a datetime has {', '.join(PARTS)}"
    if repeated := sorted({part for part in parts if parts.count(part) > 1}):
        return f"has parts named twice: {repeated}"
    earliest, latest = column.earliest, column.latest
    if any(bound is not None and bound.tzinfo is not None for bound in (earliest, latest)):
        return "has a bound with a zone, and its values are local: write datetime(2024, 1, 31)"
    if earliest is not None and latest is not None and earliest > latest:
        return f"has no values: earliest is {earliest}, and latest {latest}"
    return None


def refuses_date(column: "Column", value: object) -> str | None:
    """Why ``value``, a datetime, cannot stand in the column; ``None`` if it can."""
    assert isinstance(value, datetime)
    if value.tzinfo is not None:
        return f"{column.name!r} is local, but {value} has a zone"
    early = column.earliest is not None and value < column.earliest
    late = column.latest is not None and value > column.latest
    if not early and not late:
        return None
    return f"{column.name!r} must be {column.earliest} to {column.latest}, not {value}"
