"""What the figures of the first and the last month say: which are flat, which grow by intent, and
which must not."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LIMIT = 1.5
# What may double within these without anything being wrong: a tick of the clock, a file.
SMALLEST = {"CPU s": 0.05, "CPU ms": 2.0, "ms": 5.0, "s": 0.3, "KB": 5.0, "MB": 30.0}
# Wall time on a machine that others use says little: the CPU decides.
DECIDING = ("CPU s", "CPU ms", "MB")
# What grows by intent, and why.
BY_INTENT = {
    "ingest": "it reads each month that the source has, to find what has changed",
    "page": "it shows up to 400 windows",
}
# What has a bound of its own that a year may not reach: bytes.
BOUNDED = {"state: logs": 250_000_000}  # 20 MB for each program, and as much before
KEPT = ("datasets", "compacted", "reports", "decisions", "traffic", "mlflow", "slack", "rollouts")


@dataclass(frozen=True)
class Figure:
    """What was measured, after the first month and after the last."""

    name: str
    first: Sequence[float] = field(default_factory=list)
    last: Sequence[float] = field(default_factory=list)

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.first), statistics.median(self.last)

    @property
    def ratio(self) -> float:
        first, last = self.medians
        return last / first if first else float("inf")

    @property
    def decides(self) -> bool:
        return any(self.name.endswith(f", {unit}") for unit in DECIDING) or (
            "CPU ms of" in self.name
        )

    @property
    def is_flat(self) -> bool:
        first, last = self.medians
        unit = next((unit for unit in SMALLEST if self.name.endswith(unit)), "")
        return self.ratio <= LIMIT or last - first <= SMALLEST.get(unit, 0.0)

    @property
    def intent(self) -> str:
        return next((why for name, why in BY_INTENT.items() if self.name.startswith(name)), "")


@dataclass(frozen=True)
class Grown:
    """Bytes and files of a kind at the end of each month."""

    kind: str
    bytes: Sequence[int]
    files: Sequence[int]

    @property
    def is_kept(self) -> bool:
        place, _, name = self.kind.partition(": ")
        return (place == "lake" and name in KEPT) or self.kind == "database: mlflow"

    def problem(self, settled: int) -> str:
        """Why it grows as it should not; empty if it does not. What is removed after some time is
        the same from the month ``settled`` on (counted from 1)."""
        if self.is_kept:
            early, late = self.bytes[settled - 1] - self.bytes[settled - 2], self._last_growth
            if late > LIMIT * max(early, _SMALL_BYTES):
                return f"{late / 1e6:.2f} MB in the last month, {early / 1e6:.2f} in an early one"
            return ""
        if self.bytes[-1] < BOUNDED.get(self.kind, 0):
            return ""
        for name, values, small in (
            ("bytes", self.bytes, _SMALL_BYTES),
            ("files", self.files, _SMALL_FILES),
        ):
            then, now = values[settled - 1], values[-1]
            if now > LIMIT * then and now - then > small:
                return f"{then:,} {name} after month {settled}, {now:,} after the last"
        return ""

    @property
    def _last_growth(self) -> int:
        return self.bytes[-1] - self.bytes[-2]


_SMALL_BYTES, _SMALL_FILES = 300_000, 20


def grown_of(months: Sequence[Mapping[str, tuple[int, int]]]) -> list[Grown]:
    kinds = dict.fromkeys(kind for month in months for kind in month)
    nothing = (0, 0)
    return [
        Grown(
            kind,
            [month.get(kind, nothing)[0] for month in months],
            [month.get(kind, nothing)[1] for month in months],
        )
        for kind in kinds
    ]


def table(figures: Sequence[Figure], months: int) -> list[str]:
    head = f"| | month 1 | month {months} | ratio | |"
    lines = [head, "|---|---:|---:|---:|---|"]
    for figure in figures:
        first, last = figure.medians
        word = "" if figure.is_flat else figure.intent or "GROWS"
        word = word if figure.decides or figure.intent else ""
        lines.append(f"| {figure.name} | {first:.3g} | {last:.3g} | {figure.ratio:.2f} | {word} |")
    return lines


def sizes_table(grown: Sequence[Grown], settled: int) -> list[str]:
    lines = [
        f"| | MB after month 1 | {settled} | {len(grown[0].bytes)} | files, last | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for each in grown:
        sizes = (each.bytes[0], each.bytes[settled - 1], each.bytes[-1])
        words = " | ".join(f"{size / 1e6:.1f}" for size in sizes)
        why = "kept" if each.is_kept else ""
        problem = each.problem(settled)
        lines.append(
            f"| {each.kind} | {words} | {each.files[-1]:,} | "
            f"{f'GROWS: {problem}' if problem else why} |"
        )
    return lines


def problems(figures: Sequence[Figure], grown: Sequence[Grown], settled: int) -> list[str]:
    """What grows and should not."""
    found = [
        f"{figure.name}: {figure.ratio:.2f} times as much as after the first month"
        for figure in figures
        if figure.decides and not figure.is_flat and not figure.intent
    ]
    return found + [f"{each.kind}: {why}" for each in grown if (why := each.problem(settled))]
