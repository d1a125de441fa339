"""Who scores what, when and on which thread.

Small requests that arrive in the same turn of the event loop are scored together at its end: one call of the model, one write
of the prediction log, and nobody waits for a request that has not come. A request of many rows goes to a thread, so that it
holds up nobody; while it is the only one there, its rows are divided among the cores. More than ``queue_limit`` such requests
at once are refused: a caller that is told to come back is better off than one that waits without end.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np

from serving.champion import Champion
from serving.errors import Overloaded
from serving.formats import read_json
from serving.log_columns import column_line
from serving.log_policy import is_chosen
from serving.metrics import Metrics
from serving.package import Package
from serving.prediction_log import PredictionLog
from serving.predictions import PredictionIds, Scored, answer_json, predict
from serving.rows import Asked
from serving.segments import line_of

# About 32 rows of 30 features: for one row a thread doubles the CPU time, for 1000 it is what keeps the others from waiting.
LOOP_BODY_BYTES = 32 * 1024
_LOOP_ROWS = 64
_DIVIDED_ROWS = 200
_COLUMN_ROWS = 4  # from here on one line of the log by column costs less than one for each request

T = TypeVar("T")


class Call(Protocol):
    """A request that waits for a native answer. ``succeed`` or ``fail`` is called once, on the event loop."""

    champion: Champion
    body: bytes
    asked: Asked | None

    def succeed(self, answer: bytes, rows: int) -> None: ...

    def fail(self, error: Exception) -> None: ...


Outcome = tuple[Call, bytes | Exception, int]


class Scorer:
    """One for each process. ``submit``, ``score`` and ``run`` are called on the event loop."""

    def __init__(self, log: PredictionLog, metrics: Metrics, threads: int, queue_limit: int, max_rows: int) -> None:
        self.large = 0
        self._log = log
        self._metrics = metrics
        self._ids = PredictionIds()
        self._queue_limit = queue_limit
        self._max_rows = max_rows
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._parts = ThreadPoolExecutor(threads, thread_name_prefix="score-part")
        self._batch: list[Call] = []
        self._batch_rows = 0
        self._syncing = False

    def stop(self) -> None:
        self._pool.shutdown()
        self._parts.shutdown()

    def submit(self, call: Call) -> None:
        """Answer ``call`` soon. Raises ``InputError`` for rows that do not fit the schema, ``Overloaded``."""
        if len(call.body) > LOOP_BODY_BYTES:
            self._submit_large(call)
            return
        call.asked = _read(call, self._max_rows)
        self._batch.append(call)
        self._batch_rows += len(call.asked.rows)
        if self._batch_rows > _LOOP_ROWS:
            self._flush()
        elif len(self._batch) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    async def score(self, champion: Champion, size: int, read: Callable[[Champion], Asked], *, logged: bool) -> Scored:
        """Rows of any form, scored and logged. Raises ``InputError``, ``PackageError``, ``Overloaded``."""

        def work() -> Scored:
            asked = read(champion)
            champion.events.check_rows(asked.rows)
            scored = predict(champion, asked.rows, self._ids, self._divide)
            if logged:
                self._keep(scored, [asked], [answer_json(scored)])
            return scored

        scored = await self.run(work) if size > LOOP_BODY_BYTES or self._log.blocking else work()
        self._metrics.rows[scored.use_case] += len(scored.ids)
        return scored

    async def run(self, work: Callable[[], T]) -> T:
        """On a thread. Raises ``Overloaded`` where too many wait already, and what ``work`` raises."""
        self._enter()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self.large -= 1

    def _enter(self) -> None:
        if self.large >= self._queue_limit:
            raise Overloaded(f"{self.large} large requests are waiting already. Try again later, or send fewer rows at a time.")
        self.large += 1

    def _submit_large(self, call: Call) -> None:
        self._enter()

        def done(future: "asyncio.Future[list[Outcome]]") -> None:
            self.large -= 1
            self._tell(future.result())

        asyncio.get_running_loop().run_in_executor(self._pool, self._work, [call]).add_done_callback(done)

    def _flush(self) -> None:
        """Score what has gathered. While a batch is being synced to the disk, the next one gathers behind it."""
        if self._syncing or not self._batch:
            return
        batch, self._batch, self._batch_rows = self._batch, [], 0
        if not self._log.blocking:
            self._tell(self._work(batch))
            return
        self._syncing = True

        def done(future: "asyncio.Future[list[Outcome]]") -> None:
            self._syncing = False
            self._tell(future.result())
            self._flush()

        asyncio.get_running_loop().run_in_executor(self._pool, self._work, batch).add_done_callback(done)

    def _work(self, calls: list[Call]) -> list[Outcome]:
        """Score and log ``calls``. Where they fail together each is tried alone, so that nobody pays for another's row."""
        champion = calls[0].champion
        if any(call.champion is not champion for call in calls):  # other use cases, or a swap between two of them
            kinds = {id(call.champion): call.champion for call in calls}
            return [outcome for kind in kinds.values() for outcome in self._work([call for call in calls if call.champion is kind])]
        try:
            return self._score(champion, calls)
        except Exception as error:  # noqa: BLE001 - handed to the caller's ``fail``
            return [(calls[0], error, 0)] if len(calls) == 1 else [outcome for call in calls for outcome in self._work([call])]

    def _score(self, champion: Champion, calls: list[Call]) -> list[Outcome]:
        asked = [call.asked or _read(call, self._max_rows) for call in calls]
        rows = asked[0].rows if len(asked) == 1 else [row for one in asked for row in one.rows]
        scored = predict(champion, rows, self._ids, self._divide)
        answers = list(map(answer_json, _parts(scored, asked)))
        self._keep(scored, asked, answers)
        return [(call, answer, len(one.rows)) for call, answer, one in zip(calls, answers, asked, strict=True)]

    def _keep(self, scored: Scored, asked: Sequence[Asked], answers: Sequence[bytes]) -> None:
        """One write for all of them, without what the use case leaves out. Where it cannot be kept it is counted, and answered."""
        champion, use_case, count = scored.champion, scored.use_case, len(scored.ids)
        manifest = champion.package.manifest
        if count >= _COLUMN_ROWS and (len(asked) == 1 or manifest.log_sample_rate >= 1):
            if is_chosen(manifest):
                rows = asked[0].rows if len(asked) == 1 else [row for one in asked for row in one.rows]
                self._log.append(champion.column_header, use_case, column_line(scored, rows), count)
            return
        lines, kept = [], 0
        for one, answer in zip(asked, answers, strict=True):
            request = champion.log_request(one.request)
            if request is not None:
                lines.append(line_of(request, answer, len(one.rows)))
                kept += len(one.rows)
        if lines:
            self._log.append(champion.log_header, use_case, b"".join(lines), kept)

    def _tell(self, outcomes: list[Outcome]) -> None:
        self._metrics.batches.observe(len(outcomes))
        for call, said, count in outcomes:
            if isinstance(said, bytes):
                self._metrics.rows[call.champion.package.manifest.use_case] += count
                call.succeed(said, count)
            else:
                call.fail(said)

    def _divide(self, package: Package, matrix: np.ndarray) -> np.ndarray:
        """Scores of a matrix, its rows divided among the cores where there are many and nobody else wants them."""
        if self.large > 1 or self._threads == 1 or len(matrix) < _DIVIDED_ROWS:
            return package.score(matrix)
        parts = np.array_split(matrix, self._threads)
        others = [self._parts.submit(package.score, part) for part in parts[1:]]
        return np.concatenate([package.score(parts[0]), *[other.result() for other in others]])


def _read(call: Call, max_rows: int) -> Asked:
    asked = read_json(call.champion.reader, call.body, max_rows)
    call.champion.events.check_rows(asked.rows)
    return asked


def _parts(scored: Scored, asked: Sequence[Asked]) -> list[Scored]:
    """What was scored together, for each of those who asked."""
    if len(asked) == 1:
        return [scored]
    parts, start = [], 0
    for one in asked:
        end = start + len(one.rows)
        parts.append(
            Scored(scored.champion, scored.ids[start:end], scored.scores[start:end], scored.decisions[start:end], scored.matrix[start:end])
        )
        start = end
    return parts
