"""Score requests with many rows within limits, and without delaying small requests.

Python runs one thread at a time. A large request is read, scored and logged in pieces of some
thousand values, each a few milliseconds, after which the thread yields to the event loop; one such
request runs at a time, and the others wait. So a request keeps its body and its answer in memory,
but not all of its rows as Python objects; the prediction log gets them piece by piece.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from serving.champions.champion import Champion
from serving.errors import InputError, Overloaded
from serving.formats.rows import CheckedRows, shift_row, spans
from serving.log.prediction_log import Draft
from serving.scoring.column_lines import column_line
from serving.scoring.pixels import check_pixels
from serving.scoring.predictions import NO_MATRIX, PredictionIds, Score, Scored, predict
from serving.scoring.remarks import UnknownCategory, merge

PIECE_CELLS = 4000
# up to this size a request is one piece: 1300 rows of 30 columns take some 15 ms
WHOLE_CELLS = 40_000
_SWITCH_SECONDS = 0.001
_SAMPLES = 16
_SAMPLE_BYTES = 1024


def count_cells(body: bytes, kind: str, row_cells: int, max_rows: int) -> int:
    """The estimated number of values in a body, without reading it: columns that are left out count
    as well. A row has ``row_cells`` (``Package.row_cells``).
    """
    if "csv" in kind:
        rows, values = _count(body, b"\n"), _count(body, b",")
    elif "json" in kind:
        rows, values = _count(body, b"{"), _count(body, b",")
    elif "form" in kind:
        return _count(body, b"form-data")
    else:
        rows, values = 0, len(body) // 8
    return max(values, row_cells * min(rows, max_rows))


def _count(body: bytes, letter: bytes) -> int:
    """The count of ``letter`` in ``body``; of a large body in samples, since a full count would
    delay the event loop.
    """
    if len(body) <= _SAMPLES * _SAMPLE_BYTES:
        return body.count(letter)
    step = (len(body) - _SAMPLE_BYTES) // (_SAMPLES - 1)
    letters = sum(
        body.count(letter, at, at + _SAMPLE_BYTES) for at in range(0, _SAMPLES * step, step)
    )
    return letters * len(body) // (_SAMPLES * _SAMPLE_BYTES)


@contextmanager
def giving_way() -> Iterator[None]:
    """Let other threads wait a millisecond for the interpreter at each step, not the default five.

    For one thread at a time. It is not always on: it slows a busy service without large requests.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def piece_rows(row_cells: int) -> int:
    return max(32, PIECE_CELLS // max(1, row_cells))


class Cells:
    """Counts the values of large requests that wait or are scored, at most ``limit``; a single
    request may have more.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    def take(self, cells: int) -> None:
        """Raises ``Overloaded``."""
        if self.held and self.held + cells > self._limit:
            raise Overloaded(
                f"Large requests with {self.held:,} values are already waiting, and this one has "
                f"about {cells:,}; at most {self._limit:,} may wait. Try again later, or send "
                "fewer rows at a time."
            )
        self.held += cells

    def give(self, cells: int) -> None:
        self.held -= cells


@dataclass
class ScoredPieces:
    """The results of the pieces of one request."""

    champion: Champion
    ids: list[str] = field(default_factory=list)
    values: list[list[Any]] = field(default_factory=list)
    unknown: list[UnknownCategory] = field(default_factory=list)

    def add(self, scored: Scored) -> None:
        self.unknown = merge(self.unknown, scored.unknown, len(self.ids))
        self.ids += scored.ids
        self.values = self.values or [[] for _ in scored.values]
        for column, more in zip(self.values, scored.values, strict=True):
            column += more

    @property
    def scored(self) -> Scored:
        return Scored(self.champion, self.ids, self.values, NO_MATRIX, self.unknown)


def score_pieces(
    champion: Champion,
    pieces: Iterable[CheckedRows],
    ids: PredictionIds,
    score: Score,
    others: Callable[[], int],
    draft: Draft | None,
) -> Scored:
    """Score all rows of ``pieces`` and write them to ``draft``. ``others`` counts answers: other
    requests go first.

    Raises the errors of reading and ``predict``; then nothing of the request may be kept.
    """
    scored_pieces, days, pixels = ScoredPieces(champion), set[date](), 0
    answers_before = others()
    for rows in _cut(pieces, piece_rows(champion.package.row_cells)):
        start = time.perf_counter()
        try:
            champion.events.check_rows(rows, days)
            pixels = check_pixels(champion.package, rows, pixels)
            scored = predict(champion, rows, ids, score)
        except InputError as error:
            raise shift_row(error, len(scored_pieces.ids)) from error
        scored_pieces.add(scored)
        if draft is not None:
            draft.add(column_line(scored, rows), len(rows))
        answers_now = others()
        # While asleep, this thread needs no interpreter. Without others it only yields once.
        time.sleep(time.perf_counter() - start if answers_now != answers_before else 0)
        answers_before = answers_now
    return scored_pieces.scored


def _cut(pieces: Iterable[CheckedRows], size: int) -> Iterator[Sequence[tuple[object, ...]]]:
    for piece in pieces:
        if len(piece.rows) <= size:
            yield piece.rows
        else:
            yield from (piece.rows[at:end] for at, end in spans(len(piece.rows), size))
