"""Read lines of a segment as Arrow tables in the lake's columns.

pyarrow reads and flattens them. msgspec, which decoded the request when it came, reads the rest
line by line (repeated keys, fractions of a second beyond the sixth digit, lines that a crash left),
and writes it again in a form that both read alike.

No array and no scalar is made of Python values: ``pyarrow.array`` imports pandas if it is
installed, 50 MB."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from serving.errors import InputError
from serving.formats.feedback import read_feedback
from serving.formats.outputs import OUTPUT_KINDS, prediction_type
from serving.log.segments import Header
from serving.package.kinds import KINDS
from serving.package.outputs import Label
from serving.package.times import decode_time
from serving.records.rollout import PLACES


class _Line(msgspec.Struct):
    time: int


class _FeedbackLine(_Line):
    request: msgspec.Raw


class _Label(msgspec.Struct):
    id: str
    label: bool | float | str | msgspec.UnsetType
    time: datetime
    received: datetime
    event_time: datetime | None
    reward: float | msgspec.UnsetType


def schema_of(header: Header) -> Any:
    """The lake's columns, and for feedback ``event_time``; ``received`` is by the service's clock.
    A row of feedback has a label, a reward or both.
    Inputs that the log leaves out are not among them.
    """
    import pyarrow as pa

    common = [
        ("id", pa.string()),
        ("time", pa.timestamp("us", tz="UTC")),
        ("event_time", pa.timestamp("us")),
    ]
    if header.kind == "feedback":
        return pa.schema(
            [
                common[0],
                ("label", OUTPUT_KINDS[header.label].arrow_type),
                common[1],
                ("received", common[1][1]),
                common[2],
                ("reward", pa.float64()),
            ]
        )
    inputs = [
        (column.name, pa.type_for_alias(KINDS[column.kind].lake_type)) for column in header.columns
    ]
    outputs = [(output.name, OUTPUT_KINDS[output.kind].arrow_type) for output in header.outputs]
    metadata = [
        ("model_version", pa.string()),
        ("sample_rate", pa.float64()),
        ("role", pa.string()),
        ("caller_hash", pa.uint32()),
    ]
    return pa.schema([*common, *inputs, *outputs, *metadata])


def answer_names(header: Header) -> list[str]:
    """The names of an answer's values for a row: its id and its outputs."""
    return ["id", *(output.name for output in header.outputs)]


class FeedbackTables:
    """Reads lines of feedback, all by msgspec: a label has two spellings, and there are few lines.
    ``problem``: that of the last bad line.
    """

    def __init__(self, header: Header) -> None:
        self.problem = ""
        self.schema = schema_of(header)
        self._decoder = msgspec.json.Decoder(_FeedbackLine)
        self._label = Label(header.label)

    def read(self, data: memoryview) -> tuple[Any, int]:
        """The rows of whole lines, and the number of unreadable lines."""
        lines, torn, self.problem = _rewrite_lines(data, self._write_labels)
        return (
            read_json(memoryview(b"".join(lines)), self.schema)
            if lines
            else self.schema.empty_table()
        ), torn

    def _write_labels(self, line: bytes) -> bytes:
        record = self._decoder.decode(line)
        received = datetime.fromtimestamp(record.time / 1e6, UTC)
        entries = read_feedback(bytes(record.request), self._label)
        return b"\n".join(
            msgspec.json.encode(
                _Label(
                    entry.id,
                    entry.label,
                    entry.known_at(received),
                    received,
                    entry.event_time,
                    entry.reward,
                )
            )
            for entry in entries
        )


class PredictionTables:
    """Reads lines of predictions with one header. ``problem``: that of the last bad line."""

    def __init__(self, header: Header) -> None:
        import pyarrow as pa

        self.problem = ""
        self.schema = schema_of(header)
        self._sample_rate = header.sample_rate
        self._role = header.role
        self._names = [column.name for column in header.columns]
        self._answer_names = answer_names(header)
        self._event_time = header.event_time
        row = pa.struct(
            [
                *(self.schema.field(name) for name in self._names),
                (header.event_time, pa.timestamp("us")),
            ]
        )
        prediction = pa.struct([self.schema.field(name) for name in self._answer_names])
        predictions = ("predictions", pa.list_(prediction))
        answer = pa.struct([predictions, self.schema.field("model_version")])
        self._line = pa.schema(
            [
                ("time", pa.int64()),
                ("request", pa.struct([("rows", pa.list_(row))])),
                ("answer", answer),
                self.schema.field("caller_hash"),
            ]
        )
        self._decoder = msgspec.json.Decoder(_line_type(header), dec_hook=decode_time)

    def read(self, data: memoryview) -> tuple[Any, int]:
        """The rows of whole lines, and the number of unreadable lines."""
        import pyarrow as pa

        if (table := self.read_fast(data)) is not None:
            return table, 0
        lines, torn, self.problem = _rewrite_lines(data, self._rewrite_line)
        if not lines:
            return self.schema.empty_table(), torn
        if (table := self.read_fast(memoryview(b"".join(lines)))) is not None:
            return table, torn
        alone = [table for line in lines if (table := self.read_fast(memoryview(line))) is not None]
        return pa.concat_tables([self.schema.empty_table(), *alone]), torn + len(lines) - len(alone)

    def read_fast(self, data: memoryview) -> Any:
        """The table, or ``None`` if a line must be read with more care."""
        import pyarrow as pa

        try:
            lines = read_json(data, self._line)
            table = (
                self._flatten(lines.combine_chunks().to_batches()[0]) if lines is not None else None
            )
            if table is not None:
                table.validate(full=True)  # pyarrow accepts any bytes as text
            return table
        except (pa.ArrowInvalid, UnicodeDecodeError):
            return None

    def _flatten(self, lines: Any) -> Any:
        """One row for each row of each request; ``None`` if a required value is missing."""
        import pyarrow as pa

        time, request, answer, place = lines.columns
        rows, predictions, version = (
            request.field("rows"),
            answer.field("predictions"),
            answer.field("model_version"),
        )
        row_values, predicted_values = rows.flatten(), predictions.flatten()
        outputs = {name: predicted_values.field(name) for name in self._answer_names}
        if any(
            column.null_count
            for column in (
                time,
                request,
                answer,
                rows,
                predictions,
                version,
                row_values,
                predicted_values,
                *outputs.values(),
            )
        ):
            return None
        if not rows.value_lengths().equals(predictions.value_lengths()):
            return None
        line = rows.value_parent_indices()
        columns = outputs | {name: row_values.field(name) for name in self._names}
        columns["time"] = time.take(line).cast(self.schema.field("time").type)
        columns["event_time"] = row_values.field(self._event_time)
        columns["model_version"] = version.take(line)
        rates = pa.py_buffer(np.full(len(row_values), self._sample_rate))
        columns["sample_rate"] = pa.Array.from_buffers(pa.float64(), len(row_values), [None, rates])
        columns["role"] = repeat_text(self._role, len(row_values))
        columns["caller_hash"] = place.take(line)
        return pa.Table.from_arrays(
            [columns[name] for name in self.schema.names], schema=self.schema
        )

    def _rewrite_line(self, line: bytes) -> bytes:
        record = self._decoder.decode(line)
        if len(record.request.rows) != len(record.answer.predictions):
            raise ValueError("the number of predictions is not the number of rows")
        return msgspec.json.encode(record)


def _line_type(header: Header) -> Any:
    """The type of a line. Its rows were checked when they came: no field is required or bounded."""
    fields: list[tuple[str, Any, Any]] = [
        ("event_time", Annotated[datetime, Meta(tz=False)] | None, None)
    ]
    fields += [
        (f"f{i}", KINDS[column.kind].log_type | None, None)
        for i, column in enumerate(header.columns)
    ]
    renamed = {f"f{i}": column.name for i, column in enumerate(header.columns)} | {
        "event_time": header.event_time
    }
    row: Any = msgspec.defstruct("Row", fields, rename=renamed, gc=False)
    request = msgspec.defstruct("Request", [("rows", list[row])])
    predictions: Any = list[prediction_type(header.outputs)]  # type: ignore[misc]
    answer = msgspec.defstruct("Answer", [("predictions", predictions), ("model_version", str)])
    place: Any = Annotated[int, Meta(ge=0, lt=PLACES)] | None
    parts: list[Any] = [("request", request), ("answer", answer), ("caller_hash", place, None)]
    return msgspec.defstruct("PredictionLine", parts, bases=(_Line,))


def repeat_text(text: str, rows: int) -> Any:
    """An Arrow column with the same text in every row."""
    import pyarrow as pa

    data = text.encode()
    ends = np.arange(rows + 1, dtype=np.int32) * np.int32(len(data))
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data * rows)]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def read_json(data: memoryview, schema: Any) -> Any:
    """Read the lines as a table, on this thread. ``None`` if the number of objects is not that of
    lines. Raises ``ArrowInvalid``.
    """
    import pyarrow as pa
    from pyarrow import json

    letters = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    if letters[0] != ord("{") or not (letters[ends[:-1] + 1] == ord("{")).all():
        return None  # a line that is not an object, such as null, would crash pyarrow
    reading = json.ReadOptions(use_threads=False, block_size=len(data) + 1)
    parsing = json.ParseOptions(
        explicit_schema=schema, newlines_in_values=False, unexpected_field_behavior="ignore"
    )
    table = json.read_json(pa.py_buffer(data), reading, parsing)
    return table if len(table) == len(ends) else None


def _rewrite_lines(
    data: memoryview, write: Callable[[bytes], bytes]
) -> tuple[list[bytes], int, str]:
    """The lines as ``write`` returns them, the number of unreadable lines, and the error of the
    last of these.
    """
    lines, torn, problem = [], 0, ""
    for line in bytes(data).split(b"\n")[:-1]:
        try:
            lines.append(write(line) + b"\n")
        except (InputError, msgspec.DecodeError, ValueError, OverflowError) as error:
            torn, problem = torn + 1, str(error)
    return lines, torn, problem
