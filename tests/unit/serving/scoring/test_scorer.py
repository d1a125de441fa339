"""Requests that arrive together are scored together, and none fails because of another."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.champions.champion import Champion
from serving.errors import InputError, Overloaded, PackageError
from serving.formats.rows import CheckedRows
from serving.log.prediction_log import PredictionLog
from serving.metrics.counters import Metrics
from serving.package.manifest import Smoke
from serving.package.model import Package, load
from serving.scoring.scorer import LOOP_BODY_BYTES, Scorer
from tests.fixtures.answers import Answer
from tests.fixtures.packages import expected_score, model, write_package

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}


class Asking:
    """A caller that keeps its answer."""

    def __init__(self, champion: Champion, *rows: dict[str, Any]) -> None:
        self.champion = champion
        self.body = msgspec.json.encode({"rows": rows})
        self.checked_rows: CheckedRows | None = None
        self.canary = self.stand_in = self.pace = self.place = None
        self.challenged = False
        self.answer: Answer | None = None
        self.error: Exception | None = None
        self.told = asyncio.Event()

    def succeed(self, answer: bytes, rows: int) -> None:
        self.answer = msgspec.json.decode(answer, type=Answer)
        assert len(self.answer.predictions) == rows
        self.told.set()

    def fail(self, error: Exception) -> None:
        self.error = error
        self.told.set()

    @property
    def scores(self) -> list[float]:
        assert self.answer is not None, self.error
        return [prediction.score for prediction in self.answer.predictions]


class Gate(Package):
    """A package that counts its runs and waits for permission to score."""

    def __init__(self, package: Package) -> None:
        self.__dict__.update(package.__dict__)
        self.batches: list[int] = []
        self.open = threading.Event()
        self.open.set()

    def score(self, matrix: np.ndarray) -> np.ndarray:
        self.open.wait(10)
        self.batches.append(len(matrix))
        return super().score(matrix)


def crown(folder: Path, version: str = "1", bias: float = 0.0, use_case: str = "toy") -> Champion:
    digest = write_package(folder / f"{use_case}-{version}", use_case=use_case, bias=bias)
    return Champion.crown(
        use_case, version, digest, Gate(load(folder / f"{use_case}-{version}", digest))
    )


def scorer(folder: Path, queue_limit: int = 4, max_rows: int = 100_000) -> Scorer:
    log = PredictionLog(folder / "log", flush_seconds=3600, flush_rows=10**6, backlog_bytes=10**9)
    log.start()
    return Scorer(log, Metrics(), threads=2, queue_limit=queue_limit, max_rows=max_rows)


async def wait_for_answers(calls: Sequence[Asking]) -> None:
    async with asyncio.timeout(20):
        for call in calls:
            await call.told.wait()


def batches(champion: Champion) -> list[int]:
    assert isinstance(champion.package, Gate)
    return champion.package.batches


def test_requests_of_one_turn_are_scored_in_one_run_and_each_gets_its_own_rows(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        champion, works = crown(tmp_path), scorer(tmp_path)
        rows = [{**ROW, "distance": float(number)} for number in range(7)]
        calls = [
            Asking(champion, rows[0]),
            Asking(champion, *rows[1:4]),
            Asking(champion, *rows[4:]),
        ]
        for call in calls:
            works.submit(call)
        await wait_for_answers(calls)
        assert batches(champion) == [7]
        assert [score for call in calls for score in call.scores] == pytest.approx(
            [expected_score(row) for row in rows], rel=1e-5
        )
        ids = [
            prediction.id for call in calls if call.answer for prediction in call.answer.predictions
        ]
        assert len(set(ids)) == 7 and ids == sorted(ids)
        lines = next((tmp_path / "log").rglob("*.jsonl")).read_bytes().splitlines()[1:]
        assert [msgspec.json.decode(line)["rows"] for line in lines] == [7]
        assert msgspec.json.decode(lines[0])["predictions"]["id"] == ids

    asyncio.run(run())


def test_a_request_that_came_before_a_swap_is_answered_by_the_champion_that_it_met(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        old, new, other = (
            crown(tmp_path, "1"),
            crown(tmp_path, "2", bias=1.0),
            crown(tmp_path, "1", bias=2.0, use_case="other"),
        )
        works = scorer(tmp_path)
        calls = [Asking(old, ROW), Asking(new, ROW), Asking(other, ROW), Asking(old, ROW)]
        for call in calls:
            works.submit(call)
        await wait_for_answers(calls)
        expected = [expected_score(ROW, bias) for bias in (0.0, 1.0, 2.0, 0.0)]
        assert [call.scores[0] for call in calls] == pytest.approx(expected, rel=1e-5)
        assert [
            (call.answer.use_case, call.answer.model_version) for call in calls if call.answer
        ] == [
            ("toy", "1"),
            ("toy", "2"),
            ("other", "1"),
            ("toy", "1"),
        ]

    asyncio.run(run())


def test_a_row_that_the_model_cannot_score_fails_its_own_request_only(tmp_path: Path) -> None:
    async def run() -> None:
        champion, works = crown(tmp_path), scorer(tmp_path)
        broken = Package(
            champion.package.manifest, model(bias=0.0, last="Log"), Smoke([], [])
        )  # the log of a negative margin
        champion = Champion.crown("toy", "3", "0", broken)
        good, bad = (
            Asking(champion, {"distance": 900.0, "carrier": "AA"}),
            Asking(champion, {"distance": 0.0, "wind": -100.0}),
        )
        works.submit(good)
        works.submit(bad)
        await wait_for_answers([good, bad])
        assert good.scores and isinstance(bad.error, PackageError) and "row 0" in str(bad.error)
        lines = next((tmp_path / "log").rglob("*.jsonl")).read_bytes().splitlines()[1:]
        assert len(lines) == 1, "what was not answered must not be logged"

    asyncio.run(run())


def test_a_large_request_is_divided_and_comes_back_in_order(tmp_path: Path) -> None:
    async def run() -> None:
        champion, works = crown(tmp_path), scorer(tmp_path)
        rows = [{**ROW, "distance": float(number)} for number in range(2000)]
        call = Asking(champion, *rows)
        assert len(call.body) > LOOP_BODY_BYTES
        works.submit(call)
        await wait_for_answers([call])
        assert sorted(batches(champion)) == [1000, 1000]
        assert call.scores == pytest.approx([expected_score(row) for row in rows], rel=1e-5)

    asyncio.run(run())


def test_more_large_requests_than_may_wait_are_refused_and_those_that_wait_are_answered(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        champion, works = crown(tmp_path), scorer(tmp_path, queue_limit=3)
        assert isinstance(champion.package, Gate)
        champion.package.open.clear()
        calls = [Asking(champion, *[ROW] * 1000) for _ in range(3)]
        for call in calls:
            works.submit(call)
        with pytest.raises(Overloaded, match="3 large requests"):
            works.submit(Asking(champion, *[ROW] * 1000))
        small = Asking(champion, ROW)
        champion.package.open.set()
        works.submit(small)
        await wait_for_answers([*calls, small])
        assert [len(call.scores) for call in calls] == [1000] * 3
        assert works.large == 0
        works.submit(again := Asking(champion, *[ROW] * 1000))
        await wait_for_answers([again])

    asyncio.run(run())


def test_a_refused_row_reaches_the_caller_before_anything_is_scored(tmp_path: Path) -> None:
    async def run() -> None:
        champion, works = crown(tmp_path), scorer(tmp_path, max_rows=3)
        with pytest.raises(InputError, match="Row 0, field 'distance'"):
            works.submit(Asking(champion, {"distance": -1.0}))
        large = Asking(champion, *[ROW] * 999, {"distance": -1.0})
        works.submit(large)
        with pytest.raises(InputError, match="at most 3 rows"):
            works.submit(Asking(champion, ROW, ROW, ROW, ROW))
        await wait_for_answers([large])
        assert isinstance(large.error, InputError)
        assert batches(champion) == []

    asyncio.run(run())
