"""Plays the year: each day its files, a drift check and ``tidy``, each month a retrain."""

import json
import shutil
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.soak.files import Writer
from benchmarks.soak.filled import Filler
from benchmarks.soak.plan import Day, Plan, at
from benchmarks.soak.rooms import read_sizes
from benchmarks.soak.stack import Stack, running
from blocks.lake import Lake
from blocks.registry import ModelRegistry

YEAR, MONTH, MONTHS = "year", "month-1", "months.json"


@dataclass(frozen=True)
class Month:
    """Median CPU seconds of each flow in the month, and bytes and files of each kind at its end."""

    cpu: dict[str, float]
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)


def play(plan: Plan, folder: Path, lake: str, port: int, say: Callable[[str], None]) -> list[Month]:
    """Play the months in ``folder``, and keep a copy of the stack after the first. It is stopped
    then, as at the end: what was written is on the disk."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with running(folder / YEAR, lake, port) as stack:
        stack.turn(at(plan.prelude[0].date, 1))
        stack.flow("retrain", through=plan.learned_first, reason="the first champion")
        writer = _writer(stack, scratch)
        for day in plan.prelude:
            _play_day(stack, writer, day)
        months = [_play_month(stack, writer, plan, 1, say)]
    shutil.copytree(folder / YEAR, folder / MONTH, symlinks=True)
    with running(folder / YEAR, lake, port) as stack:
        writer = _writer(stack, scratch)
        for month in range(2, plan.months + 1):
            months.append(_play_month(stack, writer, plan, month, say))
    return months


def keep(months: list[Month], folder: Path) -> None:
    (folder / MONTHS).write_text(json.dumps([asdict(month) for month in months]))


def kept(folder: Path) -> list[Month]:
    """The months of a year that was played in this folder."""
    return [Month(**month) for month in json.loads((folder / MONTHS).read_text())]


def _writer(stack: Stack, scratch: Path) -> Writer:
    settings = stack.settings
    return Writer(Lake.of(settings), ModelRegistry.of(settings), stack.service, scratch)


def _play_month(
    stack: Stack, writer: Writer, plan: Plan, month: int, say: Callable[[str], None]
) -> Month:
    start, cpu = time.perf_counter(), defaultdict[str, list[float]](list)
    if days := plan.filled(month):
        settings = stack.settings
        lake, registry = Lake.of(settings), ModelRegistry.of(settings)
        filler = Filler(stack, lake, registry, plan.prelude[0].date)
        for date in days:
            filler.fill(date)
            writer.note_traffic(date)
    for day in plan.of_month(month):
        for name, seconds in _play_day(stack, writer, day).items():
            cpu[name].append(seconds)
    stack.end_month()
    medians = {name: statistics.median(seconds) for name, seconds in cpu.items()}
    words = ", ".join(f"{name} {seconds:.2f}" for name, seconds in medians.items())
    say(f"month {month}: {time.perf_counter() - start:.0f} s; CPU s of a run: {words}")
    return Month(medians, read_sizes(stack.settings))


def _play_day(stack: Stack, writer: Writer, day: Day) -> dict[str, float]:
    began, cpu = time.time(), dict[str, float]()
    stack.turn(at(day.date, 3, 30))
    cpu["tidy"] = stack.flow("tidy").cpu
    stack.turn(at(day.date, 6))
    cpu["drift_check"] = stack.flow("drift_check").cpu
    if day.retrains:
        stack.turn(at(day.date, 7))
        cpu["retrain"] = stack.flow("retrain", through=day.retrains).cpu
    stack.turn(at(day.date, 12))
    writer.write(day)
    stack.end_day(day.date, began)
    return cpu
