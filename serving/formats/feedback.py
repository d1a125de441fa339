"""Read feedback of callers: labels of the predicted rows, and rewards for the answers."""

import math
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from serving.errors import InputError
from serving.formats.rows import LOCAL_TIME, explain, malformed
from serving.package.outputs import YES_OR_NO, Label

_EXPECTED = {
    "id": "the id of a prediction, a text of 1 to 128 characters",
    "event_time": LOCAL_TIME,
    "reward": "a finite number",
    "time": "a date and time, such as '2013-06-01T15:00:00Z'",
}
_SHOWN = 10


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """The label of one prediction, the reward that its answer brought, or both. ``event_time``
    (local) is that of the predicted row, ``time`` is when the label was known.
    """

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    label: bool | float | str | UnsetType = UNSET
    reward: float | UnsetType = UNSET
    event_time: Annotated[datetime, Meta(tz=False)] | None = None
    time: datetime | None = None

    def known_at(self, received: datetime) -> datetime:
        """``time`` in UTC (a time without a zone is UTC), or at the latest ``received``.

        A label that was received is known: a clock that is ahead must not make it win over every
        correction until that day."""
        if self.time is None:
            return received
        label_time = (
            self.time.replace(tzinfo=UTC) if self.time.tzinfo is None else self.time.astimezone(UTC)
        )
        return min(label_time, received)


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    feedback: Annotated[list[Feedback], Meta(min_length=1)]


# for the check of the calendar, which does not depend on when the feedback was received
_ANY = datetime(2000, 1, 1, tzinfo=UTC)
_DECODER = msgspec.json.Decoder(_Request)


def read_feedback(body: bytes, label: Label = YES_OR_NO) -> list[Feedback]:
    """Decode ``{"feedback": [...]}``, with labels as ``label`` says: a yes or no as bool, the name
    of a class, or a number; a row has a label, a reward or both. Raises ``InputError`` naming row
    and field, ``MalformedBody`` if the body is not JSON.
    """
    try:
        entries = _DECODER.decode(body).feedback
    except msgspec.ValidationError as error:
        expected = {**_EXPECTED, "label": _in_words(label)}
        raise explain(error, body, "feedback", expected) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, body, "feedback") from error
    for row, entry in enumerate(entries):
        if entry.label is not UNSET:
            entry.label = _checked(entry.label, label, row)
        elif entry.reward is UNSET:
            message = f"Row {row}, field 'label': it is missing, and so is a reward."
            raise InputError(message, row, "label")
        if entry.reward is not UNSET and not math.isfinite(entry.reward):
            message = f"Row {row}, field 'reward': expected {_EXPECTED['reward']}."
            raise InputError(message, row, "reward")
        try:
            entry.known_at(_ANY)
        except OverflowError as error:  # the calendar's first or last day, pushed out by its zone
            raise InputError(
                f"Row {row}, field 'time': expected {_EXPECTED['time']}, got {entry.time}.",
                row,
                "time",
            ) from error
    return entries


def _checked(value: bool | float | str, label: Label, row: int) -> bool | float | str:
    """The label in its type. A column of numbers with gaps writes 1 as 1.0."""
    number = value if isinstance(value, float) and math.isfinite(value) else None
    if label.kind == "decision" and value in (0, 1):
        return bool(value)
    if label.kind == "number" and number is not None:
        return number
    if label.kind == "category" and not isinstance(value, bool):
        whole = number is not None and number.is_integer()
        name = f"{number:.0f}" if whole else value
        if isinstance(name, str) and (label.categories is None or name in label.categories):
            return name
    raise InputError(
        f"Row {row}, field 'label': expected {_in_words(label)}, got {value!r}.", row, "label"
    )


def _in_words(label: Label) -> str:
    if label.kind == "number":
        return "a finite number"
    if label.kind == "decision":
        return "0, 1, true or false"
    names = sorted(label.categories or ())
    shown = ", ".join(map(repr, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
    return f"a class, one of {shown}" if names else "the name of a class"
