"""Columns of prediction-log files in the types of the use case, and what of them is missing or of
another type.
"""

from collections import Counter
from collections.abc import Collection
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from serving.records.reasons import because
from tasks.data.kinds import KINDS
from usecases.definition import UseCase

if TYPE_CHECKING:
    from pyarrow import Array, RecordBatch, Schema

RATE = "sample_rate"
ROLE = "role"
_OWN = {RATE: "number", ROLE: "text"}  # read whatever is requested
_CHALLENGER = "rollout"  # its answers are judged by its rollout, and are not the champion's
_CHAMPION = "champion"  # whose are all rows of files from before roles
_BEFORE = {"id": "text", "time": "time", "event_time": "time"}
_AFTER = {"model_version": "text", RATE: "number", ROLE: "text"}
_OUTPUTS = {  # by their kind
    "number": "number",
    "decision": "truth value",
    "bound": "number",
    "category": "text",
    "set": "texts",
}


class Intake:
    """Accepts files of several champions and services, from several threads. ``names`` are the
    requested columns, in their order.
    """

    def __init__(self, case: UseCase, columns: Collection[str] | None) -> None:
        inputs: dict[str, str] = {
            column.name: KINDS[column.kind].log_type for column in case.columns
        }
        outputs = {output.name: _OUTPUTS[output.kind] for output in case.outputs}
        everything = _BEFORE | inputs | outputs | _AFTER
        if strangers := sorted(set(columns or ()) - set(everything)):
            raise ValueError(
                f"The prediction log of {case.name!r} has no columns {strangers}; it has "
                f"{list(everything)}."
            )
        self._kinds = {
            name: kind for name, kind in everything.items() if columns is None or name in columns
        }
        self._inputs = [name for name in inputs if name in self._kinds]
        self.names = list(self._kinds)
        self.texts = [name for name, kind in self._kinds.items() if kind == "text" and name != "id"]
        self._held: Counter[str] = Counter()
        self._clashes: dict[tuple[str, str], list[str]] = {}
        self._lock = Lock()

    def choose(self, path: str, schema: "Schema") -> list[str]:
        """The columns to read from a file: the requested ones, its sample rate and its roles.
        Remembers what is odd about it.
        """
        there = [
            name
            for name in [*self._kinds, *(name for name in _OWN if name not in self._kinds)]
            if name in schema.names
        ]
        kinds = {name: _kind_of(schema.field(name).type) for name in there}
        with self._lock:
            self._held.update(there)
            for name, kind in kinds.items():
                if kind not in ((_OWN | self._kinds)[name], "nothing"):
                    self._clashes.setdefault((name, kind), []).append(path)
        return there

    def partly(self, files: int) -> list[str]:
        """Inputs that only some of this many files have."""
        return [name for name in self._inputs if 0 < self._held[name] < files]

    def problems(self, files: int) -> list[str]:
        """A line for each column that is of another type than the use case says, with the first
        file that has it so.
        """
        expected = _OWN | self._kinds
        return [
            because(
                "column_of_type_in_files",
                column=name,
                found=kind,
                expected=expected[name],
                files=len(paths),
                of=files,
                example=min(paths),
            )
            for (name, kind), paths in sorted(self._clashes.items())
        ]

    def conform(self, batch: "RecordBatch") -> tuple["RecordBatch", np.ndarray, np.ndarray]:
        """The batch in the types of the use case, null where a value has none in it; the sample
        rate of each row (0-1], and its position in the batch. Rows of a challenger in its rollout
        are left out.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        arrays = {
            name: _conformed(batch.column(name), (_OWN | self._kinds)[name])
            for name in batch.schema.names
        }
        rates = np.ones(len(batch))
        if RATE in arrays:
            logged_rates = arrays[RATE].to_numpy(zero_copy_only=False)
            # A row says nothing of its rate in logs older than the rate; above 1 and not above 0
            # there is none.
            rates = np.where((logged_rates > 0) & (logged_rates <= 1), logged_rates, 1.0)
        if ROLE in self._kinds:
            given_roles = arrays.get(ROLE, pa.nulls(len(batch), pa.string())).cast(pa.string())
            arrays[ROLE] = given_roles.fill_null(_CHAMPION)
        columns = {name: array for name, array in arrays.items() if name in self._kinds}
        conformed = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        if ROLE in arrays:
            is_own = pc.fill_null(pc.not_equal(arrays[ROLE].cast(pa.string()), _CHALLENGER), True)
            if not pc.all(is_own).as_py():
                flags = is_own.to_numpy(zero_copy_only=False)
                return conformed.filter(is_own), rates[flags], np.flatnonzero(flags)
        return conformed, rates, np.arange(len(batch))

    def frame(self, batch: "RecordBatch", positions: np.ndarray) -> pl.DataFrame:
        """Some rows of a conformed batch."""
        import pyarrow as pa

        rows = pl.from_arrow(batch.take(pa.array(positions)))
        assert isinstance(rows, pl.DataFrame)
        return rows.with_columns(
            pl.col([name for name in self.texts if name in rows.columns]).cast(pl.String)
        )


def _kind_of(kind: Any) -> str:
    from pyarrow import types

    if types.is_null(kind):
        return "nothing"
    if types.is_boolean(kind):
        return "truth value"
    if types.is_floating(kind) or types.is_integer(kind) or types.is_decimal(kind):
        return "number"
    if types.is_timestamp(kind) or types.is_date(kind):
        return "time"
    if types.is_dictionary(kind):
        return _kind_of(kind.value_type)
    if types.is_list(kind) and _kind_of(kind.value_type) in ("text", "nothing"):
        return "texts"
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    return str(kind)


def _conformed(array: "Array", kind: str) -> "Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    is_text = kind == "text" and _kind_of(array.type) == "text"
    if is_text and pa.types.is_dictionary(array.type):
        return array
    zone = getattr(array.type, "tz", None)
    target = {
        "number": pa.float64(),
        "text": pa.string(),
        "texts": pa.list_(pa.string()),
        "truth value": pa.bool_(),
        "time": pa.timestamp("us", tz=zone),
    }[kind]
    if _kind_of(array.type) not in (kind, "nothing"):
        return pa.nulls(len(array), target)  # reported as a problem
    array = array if array.type == target else array.cast(target, safe=False)
    if kind != "number" or not np.isnan(pc.sum(array).as_py() or 0.0):
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, target), array)
