"""The division of whole modules between the lanes of ``make test``."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from xdist.scheduler import loadscope

from blocks.settings import REPOSITORY
from tests.lanes import DEAREST, FIRST_LANES, TOGETHER, Lanes, Timetable

STACK = [
    f"tests/integration/test_{name}.py"
    for name in ("approval", "drift", "flows", "reign", "rollback")
]
WATCHDOG = FIRST_LANES[0]
MORE_ON_STACK = [f"tests/integration/test_{name}.py" for name in ("targets", "windows")]
OTHERS = [
    "tests/integration/test_lost_runs.py",
    "tests/integration/test_swap.py",
    "tests/unit/test_a.py",
    "tests/unit/test_b.py",
]

LANE = SimpleNamespace(gateway=SimpleNamespace(id="gw0"))


class Lane:
    """A process that runs each test that it gets at once, and reports it."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.sent: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.sent += indices

    def shutdown(self) -> None:
        self.shutting_down = True


@pytest.fixture
def lanes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """``lanes(modules)``: two lanes, or ``count``, and a scheduler that has assigned the first
    work. A module has three tests.
    """
    (tmp_path / "gw0").write_text(json.dumps([*STACK, *MORE_ON_STACK, WATCHDOG]))

    def start(modules: list[str], count: int = 2) -> tuple[Any, list[Lane], list[str]]:
        monkeypatch.setattr(loadscope, "parse_tx_spec_config", lambda config: [1] * count)
        scheduler: Any = Lanes(
            SimpleNamespace(option=SimpleNamespace(loadscopereorder=False)),
            SimpleNamespace(loadscopesched=print),
            tmp_path,
        )
        tests = [f"{module}::test_{number}" for module in modules for number in range(3)]
        nodes = [Lane(f"gw{number}") for number in range(count)]
        for node in nodes:
            scheduler.add_node(node)
        for node in nodes:
            scheduler.add_node_collection(node, tests)
        scheduler.schedule()
        return scheduler, nodes, tests

    return start


def work(scheduler: Any, node: Lane, tests: list[str]) -> list[str]:
    """Let the lane do all of its work; return its modules in their order."""
    count = 0
    while count < len(node.sent):
        scheduler.mark_test_complete(node, node.sent[count])
        count += 1
    return list(dict.fromkeys(tests[index].partition("::")[0] for index in node.sent))


def test_one_lane_takes_the_stack_s_modules_and_the_other_the_rest_dearest_first(
    lanes: Any,
) -> None:
    mixed = [OTHERS[2], *reversed(STACK), OTHERS[3], OTHERS[1], OTHERS[0]]
    scheduler, (first, second), tests = lanes(mixed)
    assert tests[first.sent[0]].startswith(STACK[0])
    assert tests[second.sent[0]].startswith(OTHERS[0])
    assert work(scheduler, second, tests)[:4] == OTHERS


def test_what_is_not_named_among_the_dearest_keeps_its_place_after_them(lanes: Any) -> None:
    scheduler, (first, _), tests = lanes([*reversed(STACK), *OTHERS])
    assert work(scheduler, first, tests)[:5] == [STACK[0], STACK[1], STACK[4], STACK[3], STACK[2]]


def test_a_lane_whose_own_work_is_done_helps_the_other(lanes: Any) -> None:
    scheduler, (first, second), tests = lanes([*STACK, *OTHERS])
    assert work(scheduler, first, tests) == [*STACK, *OTHERS[1:]]
    assert work(scheduler, second, tests) == OTHERS[:1]
    assert scheduler.tests_finished and first.shutting_down


def test_a_lane_without_a_stack_starts_one_only_while_there_is_enough_to_do_on_it(
    lanes: Any,
) -> None:
    scheduler, (first, second), tests = lanes([*STACK, *OTHERS])
    assert work(scheduler, second, tests) == [*OTHERS, *STACK[1:]]
    assert work(scheduler, first, tests) == STACK[:1]
    scheduler, (first, second), tests = lanes([*STACK[:3], *OTHERS])
    assert work(scheduler, second, tests) == OTHERS and second.shutting_down
    assert work(scheduler, first, tests) == STACK[:3]


def test_a_third_lane_starts_no_stack(lanes: Any) -> None:
    scheduler, (_, second, third), tests = lanes([*STACK, *MORE_ON_STACK, *OTHERS[:2]], count=3)
    for index in list(second.sent):  # the lane gets its next module with the last test
        scheduler.mark_test_complete(second, index)
    assert tests[second.sent[-1]].startswith(STACK[1])
    assert work(scheduler, third, tests) == [OTHERS[1]] and third.shutting_down
    assert not second.shutting_down


def test_only_the_first_lane_takes_the_module_whose_run_it_began(lanes: Any) -> None:
    scheduler, (first, second), tests = lanes([*STACK, WATCHDOG, OTHERS[0]])
    assert work(scheduler, second, tests) == [OTHERS[0], *STACK[1:]] and second.shutting_down
    assert work(scheduler, first, tests) == [STACK[0], WATCHDOG]


def test_the_dearest_modules_are_there() -> None:
    assert [unit for unit in (*DEAREST, *TOGETHER) if not (REPOSITORY / unit).exists()] == []


def test_a_folder_whose_modules_share_a_stack_is_one_lane_s_work_in_its_order(lanes: Any) -> None:
    shared = [f"{TOGETHER[0]}/test_{name}.py" for name in ("a", "b")]
    scheduler, (first, second), tests = lanes([*STACK, *shared, *OTHERS])
    assert tests[second.sent[0]].startswith(shared[0])
    assert work(scheduler, second, tests)[:2] == shared
    work(scheduler, first, tests)
    assert sorted(first.sent + second.sent) == list(range(len(tests)))


def test_every_test_is_run_once(lanes: Any) -> None:
    scheduler, nodes, tests = lanes([*STACK, *OTHERS])
    for node in nodes:
        work(scheduler, node, tests)
    assert sorted(nodes[0].sent + nodes[1].sent) == list(range(len(tests)))


def test_the_timetable_says_until_when_each_lane_worked_and_what_took_longest() -> None:
    table = Timetable(began=1000.0)
    for module, seconds, stop in (
        ("tests/a/test_short.py", 3.0, 1003.0),
        ("tests/a/test_long.py", 60.0, 1063.0),
    ):
        report: Any = SimpleNamespace(
            nodeid=f"{module}::test_one", node=LANE, duration=seconds, stop=stop
        )
        table.pytest_runtest_logreport(report)
    assert table.lines() == [
        "gw0: done after 1.1 min, 2 modules (longest: test_long 1.0, test_short 0.1)"
    ]


def test_a_lane_that_crashed_is_told_like_the_others() -> None:
    crashed: Any = pytest.TestReport(
        "tests/a/test_short.py::test_one", ("", None, ""), {}, "failed", "crashed", "call"
    )
    crashed.node = LANE  # all that xdist tells of its lane
    table = Timetable(began=1000.0)
    table.pytest_runtest_logreport(crashed)
    assert table.lines()[0].startswith("gw0: done")


def test_what_a_lane_has_done_is_forgotten_and_what_it_was_at_is_given_to_another(
    lanes: Any,
) -> None:
    scheduler, (first, second), tests = lanes([*STACK, *OTHERS])
    scheduler.mark_test_complete(first, first.sent[0])
    left = {f"{STACK[0]}::test_1": False, f"{STACK[0]}::test_2": False}
    assert scheduler.assigned_work[first][STACK[0]] == left
    work(scheduler, second, tests)
    assert scheduler.assigned_work[second] == {}
    assert scheduler.remove_node(first) == f"{STACK[0]}::test_1"
    assert f"{STACK[0]}::test_2" in scheduler.workqueue[STACK[0]]
