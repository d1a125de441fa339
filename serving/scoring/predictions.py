"""Make predictions, from checked rows to the answer's JSON, without HTTP, log or threads: these are
in ``serving/scoring/scorer.py``. The answer for a row has the outputs of the package.
"""

import math
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from serving.champions.champion import Champion
from serving.errors import InputError, PackageError
from serving.formats.rows import shift_row, spans
from serving.package.manifest import Manifest
from serving.package.model import Package, UnknownValue
from serving.package.outputs import Values
from serving.scoring.remarks import MOST_SHOWN, UnknownCategory, merge

Score = Callable[[Package, np.ndarray], np.ndarray]

NO_MATRIX = np.empty((0, 0))
_ANSWER_ROWS = 1000


class _Answer(msgspec.Struct, gc=False):
    """The answer of few rows, in their order."""

    predictions: list[Any]
    model_version: str
    use_case: str


class _Rest(msgspec.Struct, omit_defaults=True):
    """The members after the predictions."""

    model_version: str
    use_case: str
    warnings: list[str] = []


class Scored(msgspec.Struct, frozen=True):
    """Rows that one champion has scored, in order: ids and each output's ``values`` have one entry
    for each row, the matrix one row.

    ``unknown`` are categories that look like a mistake. The matrix may lack the places of wide
    inputs. A large request, scored in pieces, and a part of a batch have no matrix."""

    champion: Champion
    ids: list[str]
    values: Values
    matrix: np.ndarray
    unknown: Sequence[UnknownCategory] = ()

    @property
    def manifest(self) -> Manifest:
        return self.champion.package.manifest

    @property
    def version(self) -> str:
        return self.champion.version

    @property
    def numbers(self) -> Values:
        """Values of the outputs of kind "number"."""
        return [self.values[place] for place in self.champion.form.numbers]

    @property
    def use_case(self) -> str:
        return self.manifest.use_case


class Ids(Protocol):
    """Names the rows of a request, in order."""

    def take(self, rows: int) -> list[str]: ...


class PredictionIds:
    """Makes ids such as ``019aa3f2c1b-4fa2c1-0000002a``: start of the process (ms, hex), a random
    part, and a count.

    They are unique across processes and restarts; sorted as text they have the order of the
    process's answers. An id costs 0.2 µs."""

    def __init__(self) -> None:
        self._prefix = f"{time.time_ns() // 1_000_000:011x}-{secrets.token_hex(3)}-"
        self._next = 0
        self._lock = threading.Lock()

    def take(self, rows: int) -> list[str]:
        with self._lock:
            first = self._next
            self._next += rows
        return [f"{self._prefix}{number:08x}" for number in range(first, first + rows)]


def check_finite(version: str, numbers: Sequence[float]) -> None:
    """Raises ``PackageError`` naming the first row without a finite number."""
    if not all(map(math.isfinite, numbers)):
        row = next(i for i, number in enumerate(numbers) if not math.isfinite(number))
        raise PackageError(
            f"Version {version} gives no finite number for row {row}. Roll back, and look at the "
            "row's values."
        )


def predict(champion: Champion, rows: Sequence[tuple[Any, ...]], ids: Ids, score: Score) -> Scored:
    """Score rows that ``champion.reader`` has read. Raises ``PackageError`` if the model gives a
    number that is not finite.
    """
    package = champion.package
    unknown_values: list[UnknownValue] = []
    numbers, matrix = _encode_and_score(package, rows, unknown_values, score)
    values = package.values_of(numbers)
    for place in champion.form.numbers:
        check_finite(champion.version, values[place])
    unknown = _unknown(package, unknown_values) if unknown_values else ()
    return Scored(champion, ids.take(len(rows)), values, matrix, unknown)


def _encode_and_score(
    package: Package,
    rows: Sequence[tuple[Any, ...]],
    unknown_values: list[UnknownValue],
    score: Score,
) -> tuple[np.ndarray, np.ndarray]:
    """The model's numbers and the matrix, of which many rows keep the narrow places only."""
    if len(rows) <= package.rows_at_once:
        matrix = package.encode_rows(rows, unknown_values)
        return score(package, matrix), matrix
    numbers, kept = [], []
    for at, end in spans(len(rows), package.rows_at_once):
        unknown: list[UnknownValue] = []
        try:
            matrix = package.encode_rows(rows[at:end], unknown)
        except InputError as error:
            raise shift_row(error, at) from error
        unknown_values += [(row + at, position, value) for row, position, value in unknown]
        numbers.append(score(package, matrix))
        kept.append(matrix[:, : package.narrow].copy())
    return np.concatenate(numbers), np.concatenate(kept)


def slice_values(values: Values, start: int, end: int) -> Values:
    """The values of the rows from ``start`` to ``end``."""
    return [column[start:end] for column in values]


def _unknown(package: Package, unknown_values: Sequence[UnknownValue]) -> list[UnknownCategory]:
    """One unknown category for each row; ``merge`` counts them."""
    return [
        UnknownCategory(package.names[at], value, row, 1, package.nearest(at, value))
        for row, at, value in unknown_values
    ]


def answer_json(scored: Scored) -> bytes:
    """The native answer; for many rows it is written in pieces, so that other threads can run."""
    prediction = scored.champion.form.prediction
    if not scored.unknown and len(scored.ids) <= _ANSWER_ROWS:
        predictions = list(map(prediction, scored.ids, *scored.values))
        return msgspec.json.encode(_Answer(predictions, scored.version, scored.use_case))
    parts = [
        msgspec.json.encode(
            list(map(prediction, scored.ids[at:end], *slice_values(scored.values, at, end)))
        )[1:-1]
        for at, end in spans(len(scored.ids), _ANSWER_ROWS)
    ]
    warnings = [category.message for category in merge([], scored.unknown, 0)[:MOST_SHOWN]]
    rest = msgspec.json.encode(_Rest(scored.version, scored.use_case, warnings))
    return b'{"predictions":[%b],%b' % (b",".join(parts), rest[1:])
