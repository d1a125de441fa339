"""Read feedback of callers: the labels of the predicted rows."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from serving.errors import InputError
from serving.formats.rows import LOCAL_TIME, explain, malformed

_EXPECTED = {
    "id": "the id of a prediction, a text of 1 to 128 characters",
    "label": "0, 1, true or false",
    "event_time": LOCAL_TIME,
    "time": "a date and time, such as '2013-06-01T15:00:00Z'",
}


class Feedback(msgspec.Struct, forbid_unknown_fields=True):
    """The label of one prediction. ``event_time`` (local) is that of the predicted row, ``time`` is
    when the label was known.
    """

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    # a column of numbers with gaps writes a label as 1.0
    label: bool | Annotated[float, Meta(ge=0, le=1)]
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


def read_feedback(body: bytes) -> list[Feedback]:
    """Decode ``{"feedback": [...]}``. Raises ``InputError`` naming row and field, ``MalformedBody``
    if the body is not JSON.
    """
    try:
        entries = _DECODER.decode(body).feedback
    except msgspec.ValidationError as error:
        raise explain(error, body, "feedback", _EXPECTED) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, body, "feedback") from error
    for row, entry in enumerate(entries):
        if entry.label not in (0, 1):
            raise InputError(
                f"Row {row}, field 'label': expected {_EXPECTED['label']}, got {entry.label!r}.",
                row,
                "label",
            )
        try:
            entry.known_at(_ANY)
        except OverflowError as error:  # the calendar's first or last day, pushed out by its zone
            raise InputError(
                f"Row {row}, field 'time': expected {_EXPECTED['time']}, got {entry.time}.",
                row,
                "time",
            ) from error
    return entries
