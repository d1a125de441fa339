"""Whatever happens in a shadow's process: its feeder does not wait, and it is started again."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from serving.metrics.variants import ShadowStats
from serving.rollouts.copies import Task
from serving.rollouts.shadow import Patience, Shadow
from tests.fixtures.processes import wait_until

BODY = b'{"rows":[{"distance":800.0}]}'
SHORT = Patience(start_seconds=3.0, silent_seconds=1.0, end_seconds=2.0, first_pause_seconds=0.05)


@contextmanager
def shadow(ailment: str, told: list[str] | None = None) -> Iterator[Shadow]:
    task = Task("first", ailment, "2", "0", "nowhere")
    troubles = [] if told is None else told
    process = Shadow(task, ShadowStats(), troubles.append, SHORT, program="tests.fakes.sick_shadow")
    process.start()
    try:
        yield process
    finally:
        process.end()
        process.join(10.0)


def test_each_copy_reaches_a_healthy_one() -> None:
    with shadow("healthy") as process:
        wait_until(lambda: process.pid > 0, "it lives")
        for number in range(100):
            process.feed(BODY, [f"id-{number}"])
        wait_until(lambda: process.stats.requests == 100, "all copies arrived")
        assert process.stats.dropped == process.stats.restarts == 0


@pytest.mark.parametrize(
    ("ailment", "trouble"),
    [
        ("crashes", "ended by itself (status 7)"),
        ("hangs", "gave no sign of life"),
        ("leaks", "grew to"),
        ("babbles", "gave no readable report"),
    ],
)
def test_a_sick_one_is_started_again_and_told_once(ailment: str, trouble: str) -> None:
    told: list[str] = []
    with shadow(ailment, told) as process:

        def restarts(count: int) -> bool:
            process.feed(BODY, ["id"])
            return process.stats.restarts >= count

        wait_until(lambda: restarts(2), "it was started a third time")
        assert len(told) == 1 and trouble in told[0]


def test_what_a_slow_one_does_not_take_is_dropped_and_nobody_waits() -> None:
    with shadow("slow") as process:
        wait_until(lambda: process.pid > 0, "it lives")
        began, copies = time.perf_counter(), 20_000
        for _ in range(copies):
            process.feed(BODY + b" " * 1000, ["id"])
        assert time.perf_counter() - began < 5.0
        assert 0 < process.stats.dropped < copies
        assert process.stats.restarts == 0


def test_a_request_larger_than_a_datagram_is_dropped() -> None:
    with shadow("healthy") as process:
        wait_until(lambda: process.pid > 0, "it lives")
        process.feed(b" " * 2**21, ["id"])
        process.feed(BODY, ["id"])
        wait_until(lambda: process.stats.requests == 1, "the next one arrived")
        assert process.stats.dropped == 1


def test_without_a_process_copies_are_dropped() -> None:
    with shadow("healthy") as process:
        process.end()
        process.join(10.0)
        assert process.pid == 0
        for _ in range(100):
            process.feed(BODY, ["id"])
        assert process.stats.dropped >= 90
