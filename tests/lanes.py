"""Divides whole modules of tests between processes: the lanes of ``pytest -n 3``.

The first lane has the session's stack and takes the modules that need it. The others take the rest,
and start their own stacks only when nothing else remains. A free lane takes the longest remaining
module, so that all end together; a third lane works while the other two wait."""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

STACK = "stack"
# The longest modules come first (`make test` prints their minutes), then those not listed here.
DEAREST = (
    # It applies again what earlier modules have applied: at first nothing, which is fastest.
    "tests/integration/test_apply.py",
    "tests/integration/guarded",
    "tests/integration/test_command_line.py",
    "tests/integration/test_lost_runs.py",
    "tests/integration/test_approval.py",
    "tests/integration/test_promotion.py",
    "tests/integration/test_page.py",
    "tests/integration/test_broken_stacks.py",
    "tests/integration/test_drift.py",
    "tests/integration/test_changed_definition.py",
    "tests/integration/test_run_from_github.py",
    "tests/integration/test_retrain.py",
    "tests/integration/test_slack_thread.py",
    "tests/integration/test_watchdog.py",  # its run begins while the lane does the others
)
FIRST = "gw0"
FIRST_LANES = ("tests/integration/test_watchdog.py",)  # it alone begins that run
FOLDERS = ("tests/integration/",)  # before all others
# Their modules share a stack, and so a lane.
TOGETHER = ("tests/integration/guarded",)
# A second stack takes half a minute to start, and is worth that only for enough modules. Two of
# them use two cores: a third would only cost.
WORTH_A_STACK, MOST_STACKS = 3, 2


def module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def unit_of(nodeid: str) -> str:
    """What one lane does as a whole: a module, or a folder whose modules share something."""
    module = module_of(nodeid)
    return next((folder for folder in TOGETHER if module.startswith(f"{folder}/")), module)


def write_stack_modules(items: Iterable[pytest.Item], file: Path) -> None:
    """Write down which modules use the session's stack: only a process that collects knows them,
    and the scheduler does not collect.

    With ``--dist loadgroup`` xdist would put this into the tests' ids, but in pytest 9.2 the mark
    has no effect."""
    file.write_text(
        json.dumps(
            sorted(
                {
                    unit_of(item.nodeid)
                    for item in items
                    if STACK in getattr(item, "fixturenames", ())
                }
            )
        )
    )


class Lanes(LoadScopeScheduling):
    """A unit of work is a module or a folder: its fixtures are set up once, and its tests keep
    their order.
    """

    def __init__(self, config: pytest.Config, log: Any, stack_modules: Path) -> None:
        super().__init__(config, log)
        self._folder = stack_modules
        self._on_stack: set[str] = set()
        self._with_stack: set[Any] = set()

    def schedule(self) -> None:
        if self.collection is None:
            self._on_stack = set(json.loads(next(self._folder.iterdir()).read_text()))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        module = self._choose(node)
        if module is None:
            node.shutdown()
            return
        if module in self._on_stack:
            self._with_stack.add(node)
        self.workqueue.move_to_end(module, last=False)
        super()._assign_work_unit(node)

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        """Forget the test: xdist would count all that a lane has done after each one."""
        nodeid = self.registered_collections[node][item_index]
        work, scope = self.assigned_work[node], self._split_scope(nodeid)
        del work[scope][nodeid]
        if not work[scope]:
            del work[scope]
        self._reschedule(node)

    def _choose(self, node: Any) -> str | None:
        modules = sorted(self.workqueue, key=_turn)
        on_stack = [module for module in modules if module in self._on_stack]
        others = [module for module in modules if module not in self._on_stack]
        first = next((lane for lane in self.nodes if lane.gateway.id == FIRST), self.nodes[0])
        with_stack = [lane for lane in self.nodes if lane is first or lane in self._with_stack]
        if node is not first:
            on_stack = [module for module in on_stack if module not in FIRST_LANES]
        if node in with_stack:
            return next(iter(on_stack + others), None)
        if others:
            return others[0]
        is_worth = len(on_stack) > WORTH_A_STACK and len(with_stack) < MOST_STACKS
        return on_stack[0] if is_worth else None


def _turn(scope: str) -> tuple[int, int]:
    return (
        DEAREST.index(scope) if scope in DEAREST else len(DEAREST),
        next((place for place, folder in enumerate(FOLDERS) if scope.startswith(folder)), 1),
    )


@dataclass
class Timetable:
    """The work of each lane, from the reports of its tests: a plugin of the process that receives
    all reports.
    """

    began: float = field(default_factory=time.time)
    ended: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # The report of a crashed lane has no more than its node.
        lane, module = report.node.gateway.id, module_of(report.nodeid)
        modules = self.seconds.setdefault(lane, {})
        modules[module] = modules.get(module, 0.0) + report.duration
        self.ended[lane] = max(self.ended.get(lane, 0.0), report.stop)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("lanes")
        for line in self.lines():
            terminalreporter.write_line(line)

    def lines(self) -> list[str]:
        """Return a line for each lane: when it ended, and its longest modules."""
        lines = []
        for lane, modules in sorted(self.seconds.items()):
            longest = sorted(modules.items(), key=lambda item: -item[1])[:3]
            named = ", ".join(
                f"{module.rpartition('/')[2].removesuffix('.py')} {seconds / 60:.1f}"
                for module, seconds in longest
            )
            lines.append(
                f"{lane}: done after {(self.ended[lane] - self.began) / 60:.1f} min, "
                f"{len(modules)} modules (longest: {named})"
            )
        return lines
