"""Convert a closed segment to Parquet files, one for each day of its events.

    predictions/<use_case>/date=YYYY-MM-DD/<segment>.parquet   id, time, event_time, the inputs,
        the outputs, model_version, sample_rate, role
    feedback/<use_case>/date=YYYY-MM-DD/<segment>.parquet      id, label, time, received
    <kind>/<use_case>/other-days/<segment>.parquet             the same, of the days beyond the
        first 400 of a segment

``date`` is the day of the event, since windows are chosen by event time. Without an event time it
is the day of the answer, or the day on which the feedback was received: a caller's clock decides no
folder. Callers decide the event times, so a segment makes files for at most ``MOST_DAYS`` days,
those with the most rows; all other rows share one file that no window reads. The same segment
always gives the same files: a repeated upload changes nothing. pyarrow costs 40 MB and is imported
only in the separate process of ``serving/upload/carrier.py``."""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from serving.formats.event_window import MOST_DAYS
from serving.log.segments import Header, Unreadable, read_header
from serving.upload.column_tables import ColumnTables
from serving.upload.row_tables import FeedbackTables, PredictionTables
from serving.upload.sieve import SetAside, Sieve, unreadable

_SLICE_BYTES = 3_000_000
# with smaller groups, each of a segment's days costs the same again, in time and in bytes
_GROUP_BYTES = 8_000_000
_DAY = "_day"
_EPOCH = date(1970, 1, 1).toordinal()
_OTHER_DAYS = date.min.toordinal() - _EPOCH - 1  # no day


@dataclass(frozen=True)
class Converted:
    """Files by their key in the lake, their number of rows, and the number of unreadable lines:
    those ``aside``, and a torn last one.
    """

    files: dict[str, memoryview]
    rows: int
    torn: int
    aside: SetAside = field(default_factory=SetAside)


def convert(path: Path, *, careful: bool = False) -> Converted:
    """Convert the segment; ``careful`` also finds rows that end the process. Raises ``Unreadable``
    for a file that is not a segment, ``OSError``.
    """
    import pyarrow as pa

    pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps twice as much
    header, start = read_header(path)
    try:
        reader = _Reader(path, header, start, careful)
        files = None
        with suppress(_TooManyDays):
            files = dict(_write(reader, header, None))
        # rare enough to read the segment twice more; the exception, and with it the open files, is
        # gone by now
        if files is None:
            files = dict(_write(reader, header, _fullest_days(reader)))
    except unreadable() as error:
        raise Unreadable(f"{path.name} cannot be converted: {error}") from error
    return Converted(files, reader.rows, reader.torn + len(reader.aside.lines), reader.aside)


def give_back_memory() -> None:
    """Return a conversion's memory to the operating system; it takes a millisecond."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


class _TooManyDays(Exception):
    """The segment's rows have more days than files are made for."""


class _Reader:
    """Reads the rows of a segment, any number of times; the counts are those of the last time."""

    def __init__(self, path: Path, header: Header, start: int, careful: bool) -> None:
        self.name = path.stem
        self._path = path
        self._header = header
        self._start = start
        self._careful = careful
        self._lines = _line_reader(header)
        self.schema = self._lines.schema
        if header.kind == "feedback":
            self.schema = self.schema.remove(self.schema.get_field_index("event_time"))
        self.rows = self.torn = 0
        self.aside = SetAside()

    def tables(self) -> Iterator[Any]:
        """Tables with the lake's columns and ``_DAY``."""
        sieve = Sieve(self._header, self._read, self._careful)
        self.rows, self.torn, self.aside = 0, 0, sieve.aside
        for lines in _slices(self._path, self._start):
            if lines[-1] != ord("\n"):
                self.torn += 1
                continue
            for table in sieve.tables(lines):
                self.rows += len(table)
                yield table

    def _read(self, lines: bytes | memoryview) -> Any:
        """Raises one of ``unreadable()``."""
        table, torn = self._lines.read(memoryview(lines))
        if torn:
            raise ValueError(self._lines.problem or "a line cannot be read")
        return _with_days(table, self.schema.names)


def _with_days(table: Any, names: list[str]) -> Any:
    """The columns ``names``, and the day of each row. Raises ``ValueError`` if a day is outside the
    calendar.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    received = table["received" if "received" in table.column_names else "time"].cast(
        pa.timestamp("us")
    )
    days = pc.coalesce(table["event_time"], received).cast(pa.date32()).cast(pa.int32())
    bounds = pc.min_max(days).as_py()
    if len(table) and not (
        bounds["min"] > _OTHER_DAYS and bounds["max"] + _EPOCH <= date.max.toordinal()
    ):
        raise ValueError("an event time is outside the calendar")
    return table.select(names).append_column(_DAY, days)


def _fullest_days(reader: _Reader) -> frozenset[int]:
    """The days with the most rows; of equal days the later."""
    import pyarrow.compute as pc

    rows: Counter[int] = Counter()
    for table in reader.tables():
        counts = pc.value_counts(table[_DAY])
        rows.update(
            dict(
                zip(
                    counts.field("values").to_pylist(),
                    counts.field("counts").to_pylist(),
                    strict=True,
                )
            )
        )
    return frozenset(sorted(rows, key=lambda day: (-rows[day], -day))[:MOST_DAYS])


def _write(
    reader: _Reader, header: Header, kept_days: Collection[int] | None
) -> Iterator[tuple[str, memoryview]]:
    """Key and content of each file. Raises ``_TooManyDays`` if ``kept_days`` is ``None`` and there
    are too many.
    """
    import pyarrow as pa

    days = _Days(reader.schema, kept_days)
    tables: list[Any] = []
    for table in reader.tables():
        tables.append(table)
        if sum(table.nbytes for table in tables) >= _GROUP_BYTES:
            days.write(pa.concat_tables(tables))
            tables = []
    if tables:
        days.write(pa.concat_tables(tables))
    return days.finish(f"{header.kind}/{header.use_case}", f"{reader.name}.parquet")


def _line_reader(header: Header) -> Any:
    if header.kind == "feedback":
        return FeedbackTables(header)
    return ColumnTables(header) if header.by_column else PredictionTables(header)


def _slices(path: Path, start: int) -> Iterator[memoryview]:
    """Slices of whole lines; the last slice may be a line without a newline, which a crash left.

    All slices share memory: the next one overwrites a slice.
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
            if filled == len(buffer):  # a line is longer than the buffer
                buffer = buffer + bytearray(len(buffer))
    if filled:
        yield memoryview(buffer)[:filled]


class _Days:
    """Parquet files that are being written, one for each day. A group of rows goes to all of its
    days at once, so that few rows wait in memory.
    """

    def __init__(self, schema: Any, kept_days: Collection[int] | None) -> None:
        self._schema = schema
        self._kept_days = None if kept_days is None else np.array(sorted(kept_days), dtype=np.int32)
        # Ids and measured numbers hardly repeat: a dictionary of them costs space, and as much time
        # as all the rest.
        self._repeated = [
            field.name
            for field in schema
            if field.name != "id" and (field.type == "string" or field.name == "sample_rate")
        ]
        self._sinks: dict[int, Any] = {}
        self._writers: dict[int, Any] = {}

    def write(self, table: Any) -> None:
        """Rows keep their order within a day. Raises ``_TooManyDays``."""
        import pyarrow.compute as pc

        # Sorted once and then cut: a search for each of a month's days in all rows takes ten times
        # as long.
        days = self._merge_other_days(table[_DAY].combine_chunks())
        order = pc.sort_indices(days)  # stable
        runs = pc.run_end_encode(days.take(order))
        table = table.drop_columns(_DAY)
        table = table.take(order) if len(runs.values) > 1 else table
        start = 0
        for day, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            self._writer(day).write_table(table.slice(start, end - start))
            start = end

    def finish(self, folder: str, name: str) -> Iterator[tuple[str, memoryview]]:
        for day in sorted(self._writers):
            self._writers[day].close()
            day_folder = (
                "other-days"
                if day == _OTHER_DAYS
                else f"date={date.fromordinal(day + _EPOCH).isoformat()}"
            )
            yield f"{folder}/{day_folder}/{name}", memoryview(self._sinks.pop(day).getvalue())

    def _merge_other_days(self, days: Any) -> Any:
        """Merge all other days into one, whose rows are written together: each ``write_table``
        makes a row group, 0.1 MB of metadata.
        """
        import pyarrow as pa

        if self._kept_days is None:
            return days
        numbers = np.frombuffer(
            days.buffers()[1], np.int32, len(days), 4 * days.offset
        )  # to_numpy imports pandas
        mapped = np.where(np.isin(numbers, self._kept_days), numbers, np.int32(_OTHER_DAYS))
        return pa.Array.from_buffers(days.type, len(mapped), [None, pa.py_buffer(mapped)])

    def _writer(self, day: int) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if day not in self._writers:
            if self._kept_days is None and len(self._writers) >= MOST_DAYS:
                raise _TooManyDays
            self._sinks[day] = pa.BufferOutputStream()
            self._writers[day] = pq.ParquetWriter(
                self._sinks[day], self._schema, compression="zstd", use_dictionary=self._repeated
            )
        return self._writers[day]
