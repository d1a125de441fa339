"""Write requests that were scored together to the prediction log, by column: a third of the cost of
JSON rows.

    {"rows":n,"time":µs,"numbers":"<base64>","texts":{"<input>":[...]},"event_time":[...],"predictions":{"id":[...],...},"model_version":["3"],"caller_hash":[...]}

The rows were decoded for scoring, so their numbers are in a matrix: the log stores them unchanged,
float64, one column after the other, null as NaN, and they are read without parsing. The rest is
text, and small. Inputs of a ``packed`` kind are ``numbers`` (``serving/package/kinds.py``)."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from serving.log.policy import loggable
from serving.package.kinds import KINDS
from serving.package.row_columns import RowColumns
from serving.scoring.predictions import Scored


class _ColumnLine(msgspec.Struct):
    rows: int
    time: int
    numbers: bytes
    texts: dict[str, list[Any]]
    event_time: list[Any]
    predictions: dict[str, list[Any]]
    model_version: list[str]
    caller_hash: list[int | None] | msgspec.UnsetType = msgspec.UNSET


def column_line(
    scored: Scored, rows: Sequence[tuple[Any, ...]], places: list[int | None] | None = None
) -> bytes:
    """The line of ``rows`` (from ``RowReader``) of one or several requests, without the inputs that
    the use case leaves out. ``places`` are those of each row's caller, while a rollout splits them.
    """
    manifest = scored.manifest
    kept = loggable(manifest)
    columns = [
        (place, feature.name, KINDS[feature.kind].packed)
        for place, feature in enumerate(manifest.features)
        if feature.name in kept
    ]
    texts = {
        name: list(map(make, values)) if (make := kept[name]) else values
        for place, name, packed in columns
        if not packed
        for values in (_column(rows, place),)
    }
    line = _ColumnLine(
        len(rows),
        time.time_ns() // 1000,
        _numbers(scored.matrix, rows, [place for place, _, packed in columns if packed]),
        texts,
        rows.event_times() if isinstance(rows, RowColumns) else [row[-1] for row in rows],
        {"id": scored.ids} | dict(zip(scored.champion.form.names, scored.values, strict=True)),
        [scored.version],
        msgspec.UNSET if places is None else places,
    )
    return msgspec.json.encode(line) + b"\n"


def _column(rows: Sequence[tuple[Any, ...]], place: int) -> list[Any]:
    return rows.column(place) if isinstance(rows, RowColumns) else [row[place] for row in rows]


def _numbers(matrix: np.ndarray, rows: Sequence[tuple[Any, ...]], places: list[int]) -> bytes:
    """``(n_numbers, n_rows)`` in float64. A matrix of less precision differs from the request: the
    numbers are then taken from the rows.
    """
    if isinstance(rows, RowColumns):
        return rows.numbers[places].tobytes()
    if matrix.dtype == np.float64:
        return matrix[:, places].T.tobytes()
    return np.array([[row[place] for row in rows] for place in places], dtype=np.float64).tobytes()
