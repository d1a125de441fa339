"""Bytes in, bytes out: the whole of a prediction but HTTP. The route calls it, whatever the route is made of."""

import math
import secrets
import threading
import time

import msgspec

from serving.champion import Champion
from serving.errors import PackageError


class Prediction(msgspec.Struct):
    """``score`` is the probability (0-1) that the label is true, ``decision`` whether it reaches the package's threshold."""

    id: str
    score: float
    decision: bool


class Answer(msgspec.Struct):
    """What a caller gets, in the order of the rows."""

    predictions: list[Prediction]
    model_version: str
    use_case: str


class PredictionIds:
    """Ids such as ``019aa3f2c1b-4fa2c1-0000002a``: start of the process (ms, hex), a random part, and a count.

    Unique across processes and restarts; sorted as text they are in the order of the process's answers. An id costs 0.2 µs.
    """

    def __init__(self) -> None:
        self._prefix = f"{time.time_ns() // 1_000_000:011x}-{secrets.token_hex(3)}-"
        self._next = 0
        self._lock = threading.Lock()

    def take(self, rows: int) -> list[str]:
        with self._lock:
            first = self._next
            self._next += rows
        return [f"{self._prefix}{number:08x}" for number in range(first, first + rows)]


def predict(champion: Champion, body: bytes, ids: PredictionIds) -> tuple[bytes, int]:
    """The answer's JSON and its number of rows.

    Raises ``InputError`` for rows that do not fit the schema, ``PackageError`` where the model gives no number.
    """
    rows = champion.reader.read(body)
    package = champion.package
    scores: list[float] = package.score(package.encode_rows(rows)).tolist()
    if not all(map(math.isfinite, scores)):
        row = next(i for i, score in enumerate(scores) if not math.isfinite(score))
        raise PackageError(f"Version {champion.version} gives no number for row {row}. Roll back, and look at the row's values.")
    threshold = package.manifest.decision_threshold
    said = [Prediction(name, score, score >= threshold) for name, score in zip(ids.take(len(rows)), scores, strict=True)]
    return msgspec.json.encode(Answer(said, champion.version, package.manifest.use_case)), len(rows)
