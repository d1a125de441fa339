"""A closed segment as Parquet files, one for each day that its rows are about.

    predictions/<use_case>/date=YYYY-MM-DD/<segment>.parquet   id, time, event_time, the inputs, score, decision, model_version, sample_rate
    feedback/<use_case>/date=YYYY-MM-DD/<segment>.parquet      id, label, time, received

``date`` is the day of the event, since windows are chosen by event time. Where the caller told none it is the day of the answer, or on
which the feedback was received: a caller's clock decides no folder.
The same segment always gives the same files: an upload that is repeated changes nothing. pyarrow costs 40 MB and is imported here,
in a process of its own: ``serving/carrier.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from serving.column_tables import ColumnTables
from serving.log_tables import FeedbackTables, PredictionTables
from serving.segments import Header, Unreadable, read_header

_SLICE_BYTES = 3_000_000
_GROUP_BYTES = 8_000_000  # in smaller groups each of a segment's days costs the same again, in time and in bytes


@dataclass(frozen=True)
class Converted:
    """Files by their key in the lake, the rows in them, and how many lines could not be read."""

    files: dict[str, memoryview]
    rows: int
    torn: int


def convert(path: Path) -> Converted:
    """Raises ``Unreadable`` for a file that is no segment, ``OSError`` where it cannot be read."""
    header, start = read_header(path)
    try:
        return _convert(path, header, start)
    except (ValueError, TypeError, ArithmeticError) as error:  # pyarrow's own are among them
        raise Unreadable(f"{path.name} cannot be converted: {error}") from error


def give_back_memory() -> None:
    """What a conversion needed goes back to the operating system; it takes a millisecond."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _convert(path: Path, header: Header, start: int) -> Converted:
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps twice as much
    reader = _reader(header)
    days = _Days(reader.schema if header.kind == "predictions" else reader.schema.remove(reader.schema.get_field_index("event_time")))
    gathered: list[Any] = []
    rows = torn = 0
    for lines in _slices(path, start):
        if lines[-1] != ord("\n"):
            torn += 1
            continue
        table, unread = reader.read(lines)
        torn, rows = torn + unread, rows + len(table)
        gathered.append(table)
        if sum(table.nbytes for table in gathered) >= _GROUP_BYTES:
            days.write(pa.concat_tables(gathered))
            gathered = []
    if gathered:
        days.write(pa.concat_tables(gathered))
    files = {f"{header.kind}/{header.use_case}/date={day.isoformat()}/{path.stem}.parquet": data for day, data in days.finish()}
    return Converted(files, rows, torn)


def _reader(header: Header) -> Any:
    if header.kind == "feedback":
        return FeedbackTables(header)
    return ColumnTables(header) if header.by_column else PredictionTables(header)


def _slices(path: Path, start: int) -> Iterator[memoryview]:
    """Whole lines, about as many as make a slice; last what has no newline at its end, which a crash left.

    All in the same memory: a slice is gone when the next one is asked for.
    """
    buffer, filled = bytearray(_SLICE_BYTES), 0
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while count := file.readinto(memoryview(buffer)[filled:]):
            end = buffer.rfind(b"\n", filled, filled + count) + 1
            filled += count
            if end:
                yield memoryview(buffer)[:end]
                buffer[: filled - end] = buffer[end:filled]
                filled -= end
            if filled == len(buffer):  # a line that is longer than the buffer
                buffer = buffer + bytearray(len(buffer))
    if filled:
        yield memoryview(buffer)[:filled]


class _Days:
    """Parquet files in the making, one for each day. A group of rows goes to all of its days at once, so that few wait in memory."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        # Ids and measured numbers hardly repeat: a dictionary of them costs as much time as all the rest, and room.
        self._repeated = [field.name for field in schema if field.name != "id" and (field.type == "string" or field.name == "sample_rate")]
        self._sinks: dict[date, Any] = {}
        self._writers: dict[date, Any] = {}

    def write(self, table: Any) -> None:
        """Rows keep their order within a day."""
        import pyarrow as pa
        import pyarrow.compute as pc

        came = table["received" if "received" in table.column_names else "time"].cast(pa.timestamp("us"))
        days = pc.coalesce(table["event_time"], came).cast(pa.date32())
        table = table.select(self._schema.names)
        # Sorted once and then cut: to look for each of a month's days in all rows takes ten times as long.
        order = pc.sort_indices(days.combine_chunks() if isinstance(days, pa.ChunkedArray) else days)  # stable
        runs = pc.run_end_encode(days.take(order).combine_chunks())
        table = table.take(order) if len(runs.values) > 1 else table
        start = 0
        for day, end in zip(runs.values, runs.run_ends, strict=True):
            self._writer(day.as_py()).write_table(table.slice(start, end.as_py() - start))
            start = end.as_py()

    def finish(self) -> Iterator[tuple[date, memoryview]]:
        for day in sorted(self._writers):
            self._writers[day].close()
            yield day, memoryview(self._sinks.pop(day).getvalue())

    def _writer(self, day: date) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if day not in self._writers:
            self._sinks[day] = pa.BufferOutputStream()
            self._writers[day] = pq.ParquetWriter(self._sinks[day], self._schema, compression="zstd", use_dictionary=self._repeated)
        return self._writers[day]
