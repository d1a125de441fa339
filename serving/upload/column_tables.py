"""Read lines with rows by column (``serving/scoring/column_lines.py``) as Arrow tables in the
lake's columns.
"""

from typing import Any

import msgspec
import numpy as np

from serving.log.segments import Header
from serving.package.kinds import KINDS

# pyarrow's own errors are among them; a line with a value of another type causes TypeError and
# AttributeError.
_UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError)


class _ColumnLine(msgspec.Struct):
    rows: int
    time: int
    numbers: bytes
    texts: msgspec.Raw
    event_time: msgspec.Raw
    predictions: msgspec.Raw
    model_version: msgspec.Raw
    caller_hash: list[int | None] | None = None

    @property
    def places(self) -> list[int | None]:
        """Of each row's caller. Raises ``ValueError`` unless there are as many as rows."""
        places = self.caller_hash or [None] * self.rows
        if len(places) != self.rows:
            raise ValueError("the places of callers have another length than the columns")
        return places


class ColumnTables:
    """Reads such lines of segments with one header. ``problem``: that of the last bad line."""

    def __init__(self, header: Header) -> None:
        import pyarrow as pa

        from serving.upload.row_tables import answer_names, schema_of

        self.problem = ""
        self.schema = schema = schema_of(header)
        packed = {column.name: KINDS[column.kind].packed for column in header.columns}
        self._numbers = [name for name in packed if packed[name]]
        self._texts = [name for name in packed if not packed[name]]
        self._sample_rate = header.sample_rate
        self._role = header.role
        self._answer_names = answer_names(header)

        def lists_of(name: str) -> Any:
            return pa.list_(schema.field(name).type)

        predictions = pa.struct([(name, lists_of(name)) for name in self._answer_names])
        self._read_as = pa.schema(
            [
                ("texts", pa.struct([(name, lists_of(name)) for name in self._texts])),
                ("event_time", lists_of("event_time")),
                ("predictions", predictions),
                ("model_version", pa.list_(pa.string())),
            ]
        )
        self._decoder = msgspec.json.Decoder(_ColumnLine)

    def read(self, data: memoryview) -> tuple[Any, int]:
        """The rows of whole lines, in order, and the number of unreadable lines."""
        import pyarrow as pa

        lines = bytes(data).split(b"\n")[:-1]
        try:
            return self._table(lines), 0
        except _UNREADABLE:
            pass  # at least one line is bad: each is tried alone
        tables, torn = [self.schema.empty_table()], 0
        for line in lines:
            try:
                tables.append(self._table([line]))
            except _UNREADABLE as error:
                torn, self.problem = torn + 1, str(error)
        return pa.concat_tables(tables), torn

    def _table(self, lines: list[bytes]) -> Any:
        """One table of all lines. Raises one of ``_UNREADABLE`` if any of them is not whole."""
        import pyarrow as pa

        from serving.upload.row_tables import read_json, repeat_text

        line_records = list(map(self._decoder.decode, lines))
        counts = np.array([line.rows for line in line_records])
        numbers = np.concatenate(
            [
                np.frombuffer(line.numbers, np.float64).reshape(len(self._numbers), line.rows)
                for line in line_records
            ],
            axis=1,
        )
        text_table = read_json(memoryview(b"".join(map(_texts, line_records))), self._read_as)
        texts, event_time, predictions, version = (
            text_table.combine_chunks().to_batches()[0].columns
        )
        lists = {name: texts.field(name) for name in self._texts} | {
            name: predictions.field(name) for name in self._answer_names
        }
        lists["event_time"] = event_time
        lengths = _plain(
            pa.int32(), counts.astype(np.int32)
        )  # compared in Arrow: to_numpy imports pandas
        if any(not column.value_lengths().equals(lengths) for column in lists.values()):
            raise ValueError("the columns have different lengths")
        columns = dict(zip(self._numbers, map(_nullable, numbers), strict=True)) | {
            name: column.flatten() for name, column in lists.items()
        }
        columns["time"] = _plain(
            self.schema.field("time").type, np.repeat([line.time for line in line_records], counts)
        )
        columns["role"] = repeat_text(self._role, int(counts.sum()))
        columns["sample_rate"] = _plain(pa.float64(), np.full(counts.sum(), self._sample_rate))
        columns["caller_hash"] = _places([place for line in line_records for place in line.places])
        columns["model_version"] = version.flatten().take(
            _plain(pa.int64(), np.repeat(np.arange(len(line_records)), counts))
        )
        table = pa.Table.from_arrays(
            [columns[name] for name in self.schema.names], schema=self.schema
        )
        table.validate(full=True)
        return table


def _texts(line: _ColumnLine) -> bytes:
    """The text members of a line, as a separate line."""
    parts = (
        bytes(line.texts),
        bytes(line.event_time),
        bytes(line.predictions),
        bytes(line.model_version),
    )
    return b'{"texts":%b,"event_time":%b,"predictions":%b,"model_version":%b}\n' % parts


def _plain(kind: Any, values: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.Array.from_buffers(
        kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))]
    )


def _places(values: list[int | None]) -> Any:
    import pyarrow as pa

    validity = np.packbits([value is not None for value in values], bitorder="little")
    numbers = np.array([value or 0 for value in values], dtype=np.uint32)
    buffers = [pa.py_buffer(validity), pa.py_buffer(numbers)]
    return pa.Array.from_buffers(pa.uint32(), len(values), buffers)


def _nullable(values: np.ndarray) -> Any:
    import pyarrow as pa

    validity = np.packbits(~np.isnan(values), bitorder="little")
    return pa.Array.from_buffers(
        pa.float64(),
        len(values),
        [pa.py_buffer(validity), pa.py_buffer(np.ascontiguousarray(values))],
    )
