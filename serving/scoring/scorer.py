"""Schedule the scoring of requests on the event loop and on threads.

Small requests that arrive in the same turn of the event loop are scored together at its end: one
call of the model, one write of the prediction log, and no request waits for one that has not come.
A request with many rows goes to a thread, so that it delays no other; while it is the only one
there, its rows are divided among the cores. A request with very many rows is scored in pieces
(``serving/scoring/large_requests.py``). More than ``queue_limit`` large requests at once, or more
than ``queue_cells`` values in them, are refused: a refusal is better than an endless wait."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from serving.champions.canary import Canary
from serving.champions.champion import Champion
from serving.errors import InputError, Overloaded
from serving.formats.bodies import JSON, read_json, read_pieces
from serving.formats.rows import CheckedRows
from serving.log.policy import is_chosen
from serving.log.prediction_log import PredictionLog
from serving.log.segments import line_of
from serving.metrics.counters import Metrics
from serving.package.model import Package
from serving.rollouts.shadow import Shadow
from serving.scoring.column_lines import column_line
from serving.scoring.large_requests import (
    WHOLE_CELLS,
    Cells,
    count_cells,
    giving_way,
    piece_rows,
    score_pieces,
)
from serving.scoring.pixels import check_pixels
from serving.scoring.predictions import (
    NO_MATRIX,
    PredictionIds,
    Scored,
    answer_json,
    predict,
    slice_values,
)
from serving.scoring.remarks import UnknownCategory

# About 32 rows of 30 features: for one row a thread doubles the CPU time, for 1000 rows it keeps
# other requests from waiting.
LOOP_BODY_BYTES = 32 * 1024
_LOOP_FILE_BYTES = 1024
_LOOP_PIXELS = 256 * 256  # decoded in half a millisecond; 1 KB of PNG may be 8 million pixels
_LOOP_ANSWER_ROWS = 1000
_QUEUE_CELLS = 10_000_000
_GLANCE_BYTES = (
    4096  # three bytes can be a row: above this size, values are counted, not only bytes
)
_LOOP_CELLS = 4000
_LOOP_ROWS = 64
_DIVIDED_ROWS = 200
_COLUMN_ROWS = 4  # from this size on, one log line by column costs less than one for each request

T = TypeVar("T")
Read = Callable[[Champion, int | None], Iterable[CheckedRows]]


class Call(Protocol):
    """A request that waits for a native answer. ``succeed`` or ``fail`` is called once, on the
    event loop. ``canary`` is set while a challenger answers some callers, and this one has a
    ``place`` among them; if that is on its side (``challenged``), ``stand_in`` answers what it
    fails, the champion. ``pace`` has the rows and the seconds of the batch whose first call this
    is.
    """

    champion: Champion
    canary: Canary | None
    challenged: bool
    place: int | None
    pace: tuple[int, float] | None
    stand_in: Champion | None
    body: bytes
    checked_rows: CheckedRows | None

    def succeed(self, answer: bytes, rows: int) -> None: ...

    def fail(self, error: Exception) -> None: ...


Outcome = tuple[Call, bytes | Exception, int, Sequence[UnknownCategory]]


class Scorer:
    """One for each process. ``submit``, ``score`` and ``run`` are called on the event loop.

    ``shadows`` are fed what is answered and logged, by use case."""

    def __init__(
        self,
        log: PredictionLog,
        metrics: Metrics,
        threads: int,
        queue_limit: int,
        max_rows: int,
        queue_cells: int = _QUEUE_CELLS,
        shadows: Mapping[str, Shadow] = MappingProxyType({}),
    ) -> None:
        self.large = 0
        self.cells = Cells(queue_cells)
        self._log = log
        self._metrics = metrics
        self._shadows = shadows
        self._ids = PredictionIds()
        self._queue_limit = queue_limit
        self._max_rows = max_rows
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="score")
        self._parts = ThreadPoolExecutor(threads, thread_name_prefix="score-part")
        self._pieces = ThreadPoolExecutor(1, thread_name_prefix="score-pieces")
        self._answered = 0
        self._batch: list[Call] = []
        self._batch_rows = 0
        self._syncing = False

    def stop(self) -> None:
        self._pool.shutdown()
        self._parts.shutdown()
        self._pieces.shutdown()

    def submit(self, call: Call) -> None:
        """Answer ``call`` soon. Raises ``InputError`` for rows that do not match the schema,
        ``Overloaded``.
        """
        size = len(call.body)
        if size > _GLANCE_BYTES or (call.champion.package.takes_files and size > _LOOP_FILE_BYTES):
            cells = self._cells(call.champion, call.body, JSON)
            if cells > _LOOP_CELLS or size > _loop_bytes(call.champion):
                self._submit_large(call, cells)
                return
        call.checked_rows, pixels = _read(call, self._max_rows)
        if pixels > _LOOP_PIXELS:
            self._submit_large(call, 0)
            return
        self._batch.append(call)
        self._batch_rows += len(call.checked_rows.rows)
        if self._batch_rows > _LOOP_ROWS:
            self._flush()
        elif len(self._batch) == 1:
            asyncio.get_running_loop().call_soon(self._flush)

    async def score(
        self,
        champion: Champion,
        body: bytes,
        kind: str,
        read: Read,
        *,
        logged: bool,
        place: int | None = None,
    ) -> Scored:
        """Score and log rows of any form. ``read`` returns them in pieces of about the given size;
        ``kind`` is the body's media type; ``place`` is the caller's, while a rollout splits them.

        Raises ``InputError``, ``PackageError``, ``Overloaded``.
        """
        cells = self._cells(champion, body, kind)

        def work() -> Scored:
            if cells > WHOLE_CELLS:
                return self._score_pieces(
                    champion,
                    read(champion, piece_rows(champion.package.row_cells)),
                    logged=logged,
                )
            (request,) = read(champion, None)
            champion.events.check_rows(request.rows)
            check_pixels(champion.package, request.rows)
            scored = predict(champion, request.rows, self._ids, self._divide)
            if logged:
                # more rows are logged by column
                answers = [answer_json(scored)] if len(scored.ids) < _COLUMN_ROWS else [b""]
                self._keep(scored, [request], answers, [place])
            return scored

        is_large = cells > _LOOP_CELLS or len(body) > _loop_bytes(champion)
        if is_large or champion.package.takes_files or self._log.blocking:
            scored = await self.run(work, cells)
        else:
            scored = work()
        self._answered += 1
        self._metrics.rows[scored.use_case] += len(scored.ids)
        self._count_unknown(scored.use_case, scored.unknown)
        return scored

    async def run(self, work: Callable[[], T], cells: int = 0) -> T:
        """Run ``work`` on a thread. Raises ``Overloaded`` if too many wait already, and the errors
        of ``work``.
        """
        self._enter(cells)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread(cells), work)
        finally:
            self._leave(cells)

    async def write(self, scored: Scored, work: Callable[[], T]) -> T:
        """Run ``work``, which writes the answer of ``scored``: on the thread that scores requests
        of this size, unless the rows are few.
        """
        if len(scored.ids) <= _LOOP_ANSWER_ROWS:
            return work()
        cells = len(scored.ids) * scored.champion.package.row_cells

        def write() -> T:
            with giving_way():
                return work()

        return await asyncio.get_running_loop().run_in_executor(
            self._thread(cells), write if cells > WHOLE_CELLS else work
        )

    def _cells(self, champion: Champion, body: bytes, kind: str) -> int:
        """The number of values in a body; 0 for one that is small in any case."""
        return (
            count_cells(body, kind, champion.package.row_cells, self._max_rows)
            if len(body) > _GLANCE_BYTES
            else 0
        )

    def _thread(self, cells: int) -> ThreadPoolExecutor:
        return self._pieces if cells > WHOLE_CELLS else self._pool

    def _enter(self, cells: int) -> None:
        if self.large >= self._queue_limit:
            raise Overloaded(
                f"{self.large} large requests are already waiting. Try again later, or send "
                "fewer rows at a time."
            )
        self.cells.take(cells)
        self.large += 1

    def _leave(self, cells: int) -> None:
        self.cells.give(cells)
        self.large -= 1

    def _submit_large(self, call: Call, cells: int) -> None:
        self._enter(cells)

        def finish(future: "asyncio.Future[list[Outcome]]") -> None:
            self._leave(cells)
            self._deliver(future.result())

        work = self._work_pieces if cells > WHOLE_CELLS else self._work
        asyncio.get_running_loop().run_in_executor(
            self._thread(cells), work, [call]
        ).add_done_callback(finish)

    def _work_pieces(self, calls: list[Call]) -> list[Outcome]:
        """One large request of plain JSON."""
        (call,) = calls
        try:
            size = piece_rows(call.champion.package.row_cells)
            scored = self._score_pieces(
                call.champion,
                read_pieces(call.champion.reader, JSON, call.body, self._max_rows, size),
                logged=True,
            )
            return [(call, answer_json(scored), len(scored.ids), scored.unknown)]
        except Exception as error:  # noqa: BLE001 - handed to the caller's ``fail``
            return self._work_pieces(calls) if fall_back(call) else [(call, error, 0, ())]

    def _score_pieces(
        self, champion: Champion, pieces: Iterable[CheckedRows], *, logged: bool
    ) -> Scored:
        """Score a request and keep all of it in the log, or nothing."""
        use_case = champion.package.manifest.use_case
        logged = logged and is_chosen(champion.package.manifest)
        draft = self._log.draft(champion.column_header, use_case) if logged else None
        try:
            with giving_way():
                scored = score_pieces(
                    champion, pieces, self._ids, Package.score, lambda: self._answered, draft
                )
        except BaseException:
            if draft is not None:
                draft.discard()
            raise
        if draft is not None:
            draft.keep(len(scored.ids))
            if (shadow := self._shadow_of(champion)) is not None:
                shadow.drop()  # too large for a datagram
        return scored

    def _flush(self) -> None:
        """Score the waiting requests. While one batch is synced to the disk, the next one fills."""
        if self._syncing or not self._batch:
            return
        batch, self._batch, self._batch_rows = self._batch, [], 0
        if not self._log.blocking:
            self._deliver(self._work(batch))
            return
        self._syncing = True

        def finish(future: "asyncio.Future[list[Outcome]]") -> None:
            self._syncing = False
            self._deliver(future.result())
            self._flush()

        asyncio.get_running_loop().run_in_executor(self._pool, self._work, batch).add_done_callback(
            finish
        )

    def _work(self, calls: list[Call]) -> list[Outcome]:
        """Score and log ``calls``. If they fail together, each is tried alone, so that no call
        fails because of another's row.
        """
        champion = calls[0].champion
        # other use cases, or a swap between two calls
        if any(call.champion is not champion for call in calls):
            champions = {id(call.champion): call.champion for call in calls}
            return [
                outcome
                for each in champions.values()
                for outcome in self._work([call for call in calls if call.champion is each])
            ]
        try:
            return self._score(champion, calls)
        except Exception as error:  # noqa: BLE001 - handed to the caller's ``fail``
            if len(calls) > 1:
                return [outcome for call in calls for outcome in self._work([call])]
            (call,) = calls
            if fall_back(call):
                return self._work([call])
            return [(call, error, 0, ())]

    def _score(self, champion: Champion, calls: list[Call]) -> list[Outcome]:
        requests = [call.checked_rows or _read(call, self._max_rows)[0] for call in calls]
        rows = (
            requests[0].rows
            if len(requests) == 1
            else [row for request in requests for row in request.rows]
        )
        began = time.perf_counter()
        scored = predict(champion, rows, self._ids, self._divide)
        if calls[0].canary is not None:
            calls[0].pace = (len(rows), time.perf_counter() - began)
        parts = _parts(scored, requests)
        answers = list(map(answer_json, parts))
        self._keep(scored, requests, answers, [call.place for call in calls])
        return [
            (call, answer, len(part.ids), part.unknown)
            for call, answer, part in zip(calls, answers, parts, strict=True)
        ]

    def _keep(
        self,
        scored: Scored,
        requests: Sequence[CheckedRows],
        answers: Sequence[bytes],
        places: Sequence[int | None],
    ) -> None:
        """Log all requests with one write, without the columns to leave out. ``places`` are those
        of their callers. Rows that cannot be logged are counted, and still answered.
        """
        champion, use_case, count = scored.champion, scored.use_case, len(scored.ids)
        manifest = champion.package.manifest
        if count >= _COLUMN_ROWS and (len(requests) == 1 or manifest.log_sample_rate >= 1):
            if is_chosen(manifest):
                rows = (
                    requests[0].rows
                    if len(requests) == 1
                    else [row for request in requests for row in request.rows]
                )
                line = column_line(scored, rows, _by_row(places, requests))
                self._log.append(champion.column_header, use_case, line, count)
                self._feed(scored, requests)
            return
        lines, row_count, at, shadow = [], 0, 0, self._shadow_of(champion)
        for request, answer, place in zip(requests, answers, places, strict=True):
            body = champion.log_request(request.json)
            if body is not None:
                lines.append(line_of(body, answer, len(request.rows), place))
                row_count += len(request.rows)
                if shadow is not None:
                    shadow.feed(request.json, scored.ids[at : at + len(request.rows)])
            at += len(request.rows)
        if lines:
            self._log.append(champion.log_header, use_case, b"".join(lines), row_count)

    def _feed(self, scored: Scored, requests: Sequence[CheckedRows]) -> None:
        """Give all requests to the shadow, if there is one."""
        shadow, at = self._shadow_of(scored.champion), 0
        if shadow is not None:
            for request in requests:
                shadow.feed(request.json, scored.ids[at : at + len(request.rows)])
                at += len(request.rows)

    def _shadow_of(self, champion: Champion) -> Shadow | None:
        """The shadow beside a champion; ``None`` if there is none, or it has been crowned."""
        shadow = self._shadows.get(champion.package.manifest.use_case)
        return shadow if shadow is not None and shadow.version != champion.version else None

    def _deliver(self, outcomes: list[Outcome]) -> None:
        self._metrics.batches.observe(len(outcomes))
        self._answered += len(outcomes)
        for call, answer, count, unknown in outcomes:
            if isinstance(answer, bytes):
                if call.canary is not None:
                    _note(call, call.canary)
                self._metrics.rows[call.champion.package.manifest.use_case] += count
                if unknown:
                    self._count_unknown(call.champion.package.manifest.use_case, unknown)
                call.succeed(answer, count)
            else:
                if call.canary is not None and not isinstance(answer, InputError):
                    call.canary.note_failure(call.champion)
                call.fail(answer)

    def _count_unknown(self, use_case: str, unknown: Sequence[UnknownCategory]) -> None:
        for category in unknown:
            self._metrics.unknown_categories[use_case, category.field] += category.rows

    def _divide(self, package: Package, matrix: np.ndarray) -> np.ndarray:
        """Scores of a matrix; many rows are divided among cores that no other request needs."""
        if self.large > 1 or self._threads == 1 or len(matrix) < _DIVIDED_ROWS:
            return package.score(matrix)
        parts = np.array_split(matrix, self._threads)
        others = [self._parts.submit(package.score, part) for part in parts[1:]]
        return np.concatenate([package.score(parts[0]), *[other.result() for other in others]])


def fall_back(call: Call) -> bool:
    """Let the champion answer a call that the challenger failed; whether it had not yet."""
    if call.stand_in is None:
        return False
    call.champion, call.stand_in, call.checked_rows = call.stand_in, None, None
    return True


def _by_row(
    places: Sequence[int | None], requests: Sequence[CheckedRows]
) -> list[int | None] | None:
    """The caller's place for each row; ``None`` if no rollout splits callers."""
    if all(place is None for place in places):
        return None
    return [
        place
        for place, request in zip(places, requests, strict=True)
        for _ in range(len(request.rows))
    ]


def _note(call: Call, canary: Canary) -> None:
    """Tell the rollout of an answer."""
    canary.note(call.champion, challenged=call.challenged)
    if call.pace is not None:
        canary.note_pace(call.champion, *call.pace)


def _loop_bytes(champion: Champion) -> int:
    """The size of a body that the event loop may score: a byte of a text or an image costs more
    than one of a number."""
    package = champion.package
    if package.takes_files:
        return _LOOP_FILE_BYTES
    return LOOP_BODY_BYTES if package.row_cells == len(package.names) else _GLANCE_BYTES


def _read(call: Call, max_rows: int) -> tuple[CheckedRows, int]:
    """The rows of a call, and the pixels of their images."""
    request = read_json(call.champion.reader, call.body, max_rows)
    call.champion.events.check_rows(request.rows)
    return request, check_pixels(call.champion.package, request.rows)


def _parts(scored: Scored, requests: Sequence[CheckedRows]) -> list[Scored]:
    """The part of a batch for each of its requests."""
    if len(requests) == 1:
        return [scored]
    parts, start = [], 0
    for request in requests:
        end = start + len(request.rows)
        values = slice_values(scored.values, start, end)
        unknown = _within(scored.unknown, start, end) if scored.unknown else ()
        parts.append(Scored(scored.champion, scored.ids[start:end], values, NO_MATRIX, unknown))
        start = end
    return parts


def _within(unknown: Sequence[UnknownCategory], start: int, end: int) -> Sequence[UnknownCategory]:
    """The unknown categories of the rows from ``start`` to ``end``, counted from 0 again."""
    return [
        msgspec.structs.replace(category, row=category.row - start)
        for category in unknown
        if start <= category.row < end
    ]
