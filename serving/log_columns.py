"""Large requests in the prediction log, by column, in segments of their own: a fifth of what their rows as JSON would cost.

    {"rows":n,"time":µs,"numbers":"<base64>","texts":{"<input>":[...]},"event_time":[...],"predictions":{"id":[...],...},"model_version":["3"]}

The rows have been decoded to be scored, so their numbers lie in a matrix: they go to the log as they are, float64, one column
after the other, null as NaN, and come out without being parsed. The rest is text, and small.
"""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serving.predictions import Scored
from serving.segments import Header


class _Predictions(msgspec.Struct):
    id: Sequence[str]
    score: Sequence[float]
    decision: Sequence[bool]


class _Written(msgspec.Struct):
    rows: int
    time: int
    numbers: bytes
    texts: dict[str, list[Any]]
    event_time: list[Any]
    predictions: _Predictions
    model_version: list[str]


class _Read(msgspec.Struct):
    rows: int
    time: int
    numbers: bytes
    texts: msgspec.Raw
    event_time: msgspec.Raw
    predictions: msgspec.Raw
    model_version: msgspec.Raw


def column_line(scored: Scored, rows: Sequence[tuple[Any, ...]]) -> bytes:
    """The line of a request's ``rows`` (as ``RowReader`` gives them), without the inputs that the use case leaves out."""
    manifest = scored.manifest
    kept = [(place, feature) for place, feature in enumerate(manifest.features) if feature.name not in manifest.log_leave_out]
    line = _Written(
        len(rows),
        time.time_ns() // 1000,
        _numbers(scored.matrix, rows, [place for place, feature in kept if feature.kind == "number"]),
        {feature.name: [row[place] for row in rows] for place, feature in kept if feature.kind != "number"},
        [row[-1] for row in rows],
        _Predictions(scored.ids, scored.scores, scored.decisions),
        [scored.version],
    )
    return msgspec.json.encode(line) + b"\n"


def _numbers(matrix: np.ndarray, rows: Sequence[tuple[Any, ...]], places: list[int]) -> bytes:
    """``(n_numbers, n_rows)`` in float64. A matrix of less precision is not what was asked: it is made again from the rows."""
    if matrix.dtype == np.float64:
        return matrix[:, places].T.tobytes()
    return np.array([[row[place] for row in rows] for place in places], dtype=np.float64).tobytes()


class ColumnTables:
    """Reads such lines of segments with one header."""

    def __init__(self, header: Header) -> None:
        import pyarrow as pa

        from serving.log_tables import schema_of

        self.schema = schema = schema_of(header)
        self._numbers = [column.name for column in header.columns if column.kind == "number"]
        self._texts = [column.name for column in header.columns if column.kind != "number"]
        self._sample_rate = header.sample_rate
        predictions = pa.struct([(name, pa.list_(schema.field(name).type)) for name in ("id", "score", "decision")])
        self._read_as = pa.schema(
            [
                ("texts", pa.struct([(name, pa.list_(pa.string())) for name in self._texts])),
                ("event_time", pa.list_(schema.field("event_time").type)),
                ("predictions", predictions),
                ("model_version", pa.list_(pa.string())),
            ]
        )
        self._decoder = msgspec.json.Decoder(_Read)

    def read(self, data: memoryview) -> tuple[Any, int]:
        """The rows of whole lines, and how many lines could not be read."""
        import pyarrow as pa

        tables, torn = [self.schema.empty_table()], 0
        for line in bytes(data).splitlines():
            try:
                tables.append(self._table(line))
            except (ValueError, TypeError, msgspec.DecodeError, pa.ArrowException):
                torn += 1
        return pa.concat_tables(tables), torn

    def _table(self, line: bytes) -> Any:
        import pyarrow as pa

        from serving.log_tables import read_json

        found = self._decoder.decode(line)
        parts = (b"texts", found.texts), (b"event_time", found.event_time), (b"predictions", found.predictions)
        json = b",".join(b'"%b":%b' % (name, bytes(raw)) for name, raw in (*parts, (b"model_version", found.model_version)))
        texts, event_time, predictions, version = (
            read_json(memoryview(b"{%b}\n" % json), self._read_as).combine_chunks().to_batches()[0].columns
        )
        numbers = np.frombuffer(found.numbers, np.float64).reshape(len(self._numbers), found.rows)
        columns = dict(zip(self._numbers, map(_nullable, numbers), strict=True))
        columns |= {name: texts.field(name).flatten() for name in self._texts}
        columns |= {name: predictions.field(name).flatten() for name in ("id", "score", "decision")}
        columns["event_time"] = event_time.flatten()
        columns["time"] = pa.Array.from_buffers(
            self.schema.field("time").type, found.rows, [None, pa.py_buffer(np.full(found.rows, found.time))]
        )
        columns["sample_rate"] = pa.Array.from_buffers(
            pa.float64(), found.rows, [None, pa.py_buffer(np.full(found.rows, self._sample_rate))]
        )
        first = pa.Array.from_buffers(pa.int64(), found.rows, [None, pa.py_buffer(np.zeros(found.rows, np.int64))])
        columns["model_version"] = version.flatten().take(first)
        table = pa.Table.from_arrays([columns[name] for name in self.schema.names], schema=self.schema)
        table.validate(full=True)
        return table


def _nullable(values: np.ndarray) -> Any:
    import pyarrow as pa

    known = np.packbits(~np.isnan(values), bitorder="little")
    return pa.Array.from_buffers(pa.float64(), len(values), [pa.py_buffer(known), pa.py_buffer(np.ascontiguousarray(values))])
