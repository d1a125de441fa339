"""Split a line of the prediction log into two lines with half of its rows each, so that a bad row
is found and set aside alone.

No row is decoded: values keep their bytes.
"""

from typing import Any

import msgspec

from serving.log.segments import Header
from serving.package.kinds import KINDS


class _Request(msgspec.Struct):
    rows: list[msgspec.Raw]


class _FeedbackRequest(msgspec.Struct):
    feedback: list[msgspec.Raw]


class _Answer(msgspec.Struct):
    predictions: list[msgspec.Raw]
    model_version: msgspec.Raw


class _Line(msgspec.Struct):
    rows: int
    time: msgspec.Raw
    request: _Request
    answer: _Answer
    caller_hash: int | msgspec.UnsetType = msgspec.UNSET


class _FeedbackLine(msgspec.Struct):
    rows: int
    time: msgspec.Raw
    request: _FeedbackRequest


class _ColumnLine(msgspec.Struct):
    rows: int
    time: msgspec.Raw
    numbers: bytes
    texts: dict[str, list[msgspec.Raw]]
    event_time: list[msgspec.Raw]
    predictions: dict[str, list[msgspec.Raw]]
    model_version: msgspec.Raw
    caller_hash: list[int | None] | msgspec.UnsetType = msgspec.UNSET


_LINE, _FEEDBACK, _COLUMNS = (
    msgspec.json.Decoder(kind) for kind in (_Line, _FeedbackLine, _ColumnLine)
)


def halve(line: bytes, header: Header) -> tuple[bytes, bytes]:
    """Two lines, both with a newline at the end. Raises ``ValueError`` (msgspec's errors are among
    them) for a line that is not whole.
    """
    decoder: Any = (
        _FEEDBACK if header.kind == "feedback" else _COLUMNS if header.by_column else _LINE
    )
    whole = decoder.decode(line)
    middle = whole.rows // 2
    if whole.rows < 2 or any(length != whole.rows for length in _lengths(whole, header)):
        raise ValueError("the line has a different number of values and rows")
    first, second = (_part(whole, start, end) for start, end in ((0, middle), (middle, whole.rows)))
    return first, second


def _lengths(line: Any, header: Header) -> list[float]:
    if isinstance(line, _ColumnLine):
        numbers = sum(KINDS[column.kind].packed for column in header.columns)
        number_count = len(line.numbers) / 8 / numbers if numbers else line.rows
        return [
            number_count,
            *(
                len(values)
                for values in (line.event_time, *line.texts.values(), *line.predictions.values())
            ),
            len(line.caller_hash) if line.caller_hash else line.rows,
        ]
    if isinstance(line, _FeedbackLine):
        return [len(line.request.feedback)]
    return [len(line.request.rows), len(line.answer.predictions)]


def _part(line: Any, start: int, end: int) -> bytes:
    changes: dict[str, Any] = {"rows": end - start}
    if isinstance(line, _ColumnLine):
        size = (
            len(line.numbers) // line.rows
        )  # of one row's numbers, which are stored column by column
        columns = [
            line.numbers[at : at + 8 * line.rows]
            for at in range(0, size * line.rows, 8 * line.rows)
        ]
        changes["numbers"] = b"".join(column[8 * start : 8 * end] for column in columns)
        changes["texts"] = {name: values[start:end] for name, values in line.texts.items()}
        changes["event_time"] = line.event_time[start:end]
        if line.caller_hash:
            changes["caller_hash"] = line.caller_hash[start:end]
        changes["predictions"] = {
            name: values[start:end] for name, values in line.predictions.items()
        }
    elif isinstance(line, _FeedbackLine):
        changes["request"] = _FeedbackRequest(line.request.feedback[start:end])
    else:
        changes["request"] = _Request(line.request.rows[start:end])
        changes["answer"] = _Answer(line.answer.predictions[start:end], line.answer.model_version)
    return msgspec.json.encode(msgspec.structs.replace(line, **changes)) + b"\n"
