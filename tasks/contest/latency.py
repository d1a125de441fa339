"""How long a package takes to answer, compared with the champion's: both in this process, in turns,
so that what slows one slows the other.

The time is the processor time of this thread, in which ONNX Runtime answers as well
(``serving/package/model.py``): a busy machine does not count."""

import statistics
import time

import numpy as np
import polars as pl

from serving.package.model import Package
from serving.records.contest import Latency
from serving.records.reasons import Reason, because
from usecases.definition import Promotion

CALLS = {1: 40, 100: 20}  # of each round, by the rows of a request
ROUNDS = 7
QUANTILE = 0.9


def time_packages(
    champion: Package, challenger: Package, rows: pl.DataFrame, theirs: pl.DataFrame | None = None
) -> list[Latency]:
    """Time requests of one row and of a hundred of ``rows``: the slow calls (``QUANTILE``) of a
    round, and the median round.

    ``theirs``: the same rows with the champion's own columns, if those differ. A machine that is
    busy for a while spoils a round for both, and the median ignores it."""
    timings = []
    theirs = rows if theirs is None else theirs
    for size, calls in CALLS.items():
        requests = (
            [_request(champion, theirs, at * size, size) for at in range(calls)],
            [_request(challenger, rows, at * size, size) for at in range(calls)],
        )
        _round(champion, challenger, *requests)  # the first calls are slow and do not count
        rounds = [_round(champion, challenger, *requests) for _ in range(ROUNDS)]
        first, second = (statistics.median(times[side] for times in rounds) for side in (0, 1))
        timings.append(
            Latency(rows=size, champion_milliseconds=first, challenger_milliseconds=second)
        )
    return timings


def too_slow(policy: Promotion, timings: list[Latency]) -> list[Reason]:
    """Return why the challenger is too slow: by the ratio and by the floor, both wide because
    machines are noisy."""
    slow = [
        timing
        for timing in timings
        if timing.challenger_milliseconds > policy.latency_ratio * timing.champion_milliseconds
        and timing.challenger_milliseconds - timing.champion_milliseconds
        > policy.latency_floor_milliseconds
    ]
    return [
        because(
            "too_slow",
            challenger=timing.challenger_milliseconds,
            rows=timing.rows,
            champion=timing.champion_milliseconds,
            times=policy.latency_ratio,
        )
        for timing in slow
    ]


def _request(package: Package, rows: pl.DataFrame, first: int, size: int) -> list[tuple]:
    """Return ``size`` rows from ``first`` on, wrapping around, in the package's own order of
    columns."""
    places = [(first + at) % len(rows) for at in range(size)]
    return rows.select(package.names)[places].rows()


def _round(
    champion: Package, challenger: Package, theirs: list[list[tuple]], ours: list[list[tuple]]
) -> tuple[float, float]:
    """Return milliseconds at the quantile of both; calls alternate between the two."""
    spent: tuple[list[float], list[float]] = ([], [])
    for pair in zip(theirs, ours, strict=True):
        for package, request, times in zip((champion, challenger), pair, spent, strict=True):
            start = time.thread_time()
            package.score(package.encode_rows(request))
            times.append(1000 * (time.thread_time() - start))
    return float(np.quantile(spent[0], QUANTILE)), float(np.quantile(spent[1], QUANTILE))
