"""A closed segment as Parquet files, one for each day that its rows are about.

    predictions/<use_case>/date=YYYY-MM-DD/<segment>.parquet   id, time, event_time, the inputs, score, decision, model_version
    feedback/<use_case>/date=YYYY-MM-DD/<segment>.parquet      id, label, time

``date`` is the day of the event (of the answer, where the caller told no event time), since windows are chosen by event time.
The same segment always gives the same files: an upload that is repeated changes nothing. pyarrow costs 40 MB and is imported here,
in the uploader's thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec

from serving.errors import InputError
from serving.feedback import read_feedback
from serving.predictions import Answer
from serving.rows import RowReader
from serving.segments import Header, Line, lines, read_header

# Making a batch holds the interpreter for a millisecond; a whole segment at once would hold up answers for a tenth of a second.
_BATCH_ROWS = 500


@dataclass(frozen=True)
class Converted:
    """Files by their key in the lake, and how many lines could not be read."""

    files: dict[str, bytes]
    torn: int


def convert(path: Path) -> Converted:
    """Raises ``Unreadable`` for a file that is no segment, ``OSError`` where it cannot be read."""
    import pyarrow as pa

    header = read_header(path)
    schema = _schema(header)
    rows_of = _predictions(header) if header.kind == "predictions" else _feedback
    batches: list[pa.RecordBatch] = []
    days: dict[date, list[int]] = {}
    pending: list[tuple[Any, ...]] = []
    count = torn = 0
    for line in lines(path):
        try:
            found = list(rows_of(line)) if line is not None else None
        except (InputError, msgspec.DecodeError, ValueError):
            found = None
        if found is None:
            torn += 1
            continue
        for day, values in found:
            days.setdefault(day, []).append(count)
            pending.append(values)
            count += 1
        if len(pending) >= _BATCH_ROWS:
            batches.append(_batch(pending, schema))
            pending = []
    if pending:
        batches.append(_batch(pending, schema))
    return Converted(_files(header, path.stem, pa.Table.from_batches(batches, schema), days), torn)


def _batch(rows: list[tuple[Any, ...]], schema: Any) -> Any:
    import pyarrow as pa

    columns = [pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _predictions(header: Header) -> Any:
    reader = RowReader(header.features(), header.event_time)
    answers = msgspec.json.Decoder(Answer)

    def rows(line: Line) -> Iterator[tuple[date, tuple[Any, ...]]]:
        served = datetime.fromtimestamp(line.time / 1e6, UTC)
        answer = answers.decode(line.answer)
        for (*inputs, event_time), said in zip(reader.read(bytes(line.request)), answer.predictions, strict=True):
            values = (said.id, served, event_time, *inputs, said.score, said.decision, answer.model_version)
            yield (event_time or served).date(), values

    return rows


def _feedback(line: Line) -> Iterator[tuple[date, tuple[Any, ...]]]:
    came = datetime.fromtimestamp(line.time / 1e6, UTC)
    for given in read_feedback(bytes(line.request)):
        time = given.known_at(came)
        yield (given.event_time or time).date(), (given.id, bool(given.label), time)


def _schema(header: Header) -> Any:
    import pyarrow as pa

    instant = pa.timestamp("us", tz="UTC")
    if header.kind == "feedback":
        return pa.schema([("id", pa.string()), ("label", pa.bool_()), ("time", instant)])
    return pa.schema(
        [
            ("id", pa.string()),
            ("time", instant),
            ("event_time", pa.timestamp("us")),
            *((column.name, pa.float64() if column.kind == "number" else pa.string()) for column in header.columns),
            ("score", pa.float64()),
            ("decision", pa.bool_()),
            ("model_version", pa.string()),
        ]
    )


def _files(header: Header, name: str, table: Any, days: dict[date, list[int]]) -> dict[str, bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = {}
    for day, positions in sorted(days.items()):
        sink = pa.BufferOutputStream()
        pq.write_table(table.take(pa.array(positions)), sink, compression="zstd")
        files[f"{header.kind}/{header.use_case}/date={day:%Y-%m-%d}/{name}.parquet"] = sink.getvalue().to_pybytes()
    return files
