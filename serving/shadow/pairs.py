"""Score copies of requests with the challenger, and log its answers under the champion's ids, so
that late labels judge the pair."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from serving.champions.champion import Champion
from serving.errors import ServingError
from serving.formats.bodies import read_json
from serving.log.prediction_log import PredictionLog
from serving.package.model import Package
from serving.rollouts.copies import Copy, Report, unpack
from serving.scoring.column_lines import column_line
from serving.scoring.predictions import predict

_BATCH_ROWS = 64

Rows = Sequence[tuple[Any, ...]]


class GivenIds:
    """The ids that the champion's answers have already."""

    def __init__(self, ids: list[str]) -> None:
        self._ids = ids

    def take(self, rows: int) -> list[str]:
        return self._ids[:rows]


class Pairs:
    """The challenger's half of each pair. ``report`` counts what became of the copies."""

    def __init__(self, challenger: Champion, log: PredictionLog, max_rows: int) -> None:
        self.report = Report()
        self._challenger = challenger
        self._log = log
        self._max_rows = max_rows

    def add(self, datagrams: Iterable[bytes]) -> None:
        """Score and log the copies in ``datagrams``; a copy that fails is counted."""
        batch: list[tuple[Rows, list[str]]] = []
        rows = 0
        for datagram in datagrams:
            for copy in unpack(datagram):
                if (read := self._read(copy)) is not None:
                    batch.append((read, copy.ids))
                    rows += len(read)
                if rows >= _BATCH_ROWS:
                    self._score(batch)
                    batch, rows = [], 0
        if batch:
            self._score(batch)

    def _read(self, copy: Copy) -> Rows | None:
        """The rows of a copy; ``None`` if the challenger's schema has no place for them."""
        try:
            return read_json(self._challenger.reader, copy.body, self._max_rows).rows
        except ServingError:
            self._count(1, 0, failures=1)
            return None

    def _score(self, batch: list[tuple[Rows, list[str]]]) -> None:
        """Score requests together; if they fail, each alone."""
        began = time.perf_counter()
        rows = [row for request, _ in batch for row in request]
        ids = [name for _, names in batch for name in names]
        try:
            scored = predict(self._challenger, rows, GivenIds(ids), _score)
        except Exception:  # noqa: BLE001 - counted; a sick challenger may raise anything
            if len(batch) == 1:
                self._count(1, 0, failures=1)
                return
            for request in batch:
                self._score([request])
            return
        self.report.seconds += time.perf_counter() - began
        self._count(len(batch), len(rows))
        line = column_line(scored, rows)
        self._log.append(self._challenger.column_header, scored.use_case, line, len(rows))

    def _count(self, requests: int, rows: int, failures: int = 0) -> None:
        self.report.requests += requests
        self.report.rows += rows
        self.report.failures += failures


def _score(package: Package, matrix: np.ndarray) -> np.ndarray:
    return package.score(matrix)
