"""The run: which servers and cases, round by round, and what is told at the end."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import Unavailable, install
from benchmarks.serving import figures, load, mixed, profile, report, targets, trees
from benchmarks.serving import rows as many_rows
from benchmarks.serving.model import FLIGHTS, Model, prepare, read_rows
from benchmarks.serving.process import BenchmarkFailed
from benchmarks.serving.registry import RegistryProcess, free_port
from benchmarks.serving.servers import (
    FLIGHTS_ONLY,
    PEERS,
    SERVERS,
    WITH_REGISTRY,
    WITHOUT_MODEL,
    Place,
)
from benchmarks.serving.swap import swap
from benchmarks.serving.visit import Case, LoadPlan, Visit, visit
from blocks.settings import Settings

FULL: list[Case] = [(rows, connections) for rows in (1, 100, 1000) for connections in (1, 32)]
QUICK: list[Case] = [(1, 32), (1, 1), (100, 32), (1000, 32)]
QUICK_SERVERS = ["laurel", "mlflow", "plain-fastapi", "floor-asgi"]
SWAPS = {
    "swap": ("laurel", False),
    "swap_by_webhook": ("laurel", True),
    "swap_2_workers": ("laurel-2-workers", False),
}
OWN_ENVIRONMENT = ("mlserver", "bentoml")


@dataclass(frozen=True)
class Plan:
    """What is done with each server."""

    use_case: str
    names: list[str]
    cases: Sequence[Case]
    rounds: int
    seconds: float
    warm_up_seconds: float
    generator: str
    swap: bool

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "Plan":
        use_case = arguments.use_case
        names = arguments.only or (QUICK_SERVERS if arguments.quick else list(SERVERS))
        if use_case != FLIGHTS:
            if impossible := set(arguments.only or ()) & set(FLIGHTS_ONLY):
                raise SystemExit(f"Only flights: {', '.join(sorted(impossible))}.")
            if arguments.what or arguments.swap:
                raise SystemExit("A profile, mixed requests and a swap are those of flights.")
            names = [name for name in names if name not in FLIGHTS_ONLY]
        if unknown := [name for name in names if name not in SERVERS]:
            raise SystemExit(
                f"Unknown server {', '.join(unknown)}. There are: {', '.join(SERVERS)}."
            )
        return cls(
            use_case,
            names,
            QUICK if arguments.quick else FULL,
            arguments.rounds,
            arguments.seconds or (1.0 if arguments.quick else 5.0),
            0.0
            if arguments.quick
            else 1.0,  # the checked answers before each case warm a server up as well
            arguments.generator or load.find_generator(),
            arguments.swap
            if arguments.swap is not None
            else use_case == FLIGHTS and not arguments.quick,
        )


def run(arguments: argparse.Namespace) -> int:
    """The exit status: 1 where a server failed."""
    plan = Plan.of(arguments)
    if arguments.what == "profile":
        return profile.run(Settings.read().state, plan.seconds, plan.generator, arguments.picture)
    if arguments.what == "rows":
        return many_rows.run(Settings.read().state)
    if arguments.what == "mixed":
        return mixed.run(Settings.read().state, plan.seconds, arguments.json)
    if arguments.what == "targets":
        return targets.run(plan.seconds, plan.rounds, plan.generator, arguments.json)
    if arguments.what == "trees":
        return trees.run(plan.seconds, plan.rounds, plan.generator, arguments.json)
    document: dict[str, Any] = {"machine": figures.machine(), "use_case": plan.use_case}
    document |= {"generator": plan.generator, "rounds": plan.rounds, "seconds": plan.seconds}
    document |= Bench(plan, Settings.read().state).run()
    document["ratios"] = figures.ratios(document["results"])
    print(report.report(document))
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 1 if document["failed"] else 0


class Bench:
    """The servers of a plan, what was seen of them, and who dropped out."""

    def __init__(self, plan: Plan, state: Path) -> None:
        self._plan = plan
        self._state = state
        self._environments = state / "benchmarks" / "venvs"
        self._visits: dict[str, list[Visit]] = {name: [] for name in plan.names}
        self._skipped: list[dict[str, str]] = []
        self._failed: list[dict[str, str]] = []

    def run(self) -> dict[str, Any]:
        self._install()
        with_model = bool(set(self._visits) - set(WITHOUT_MODEL))
        model = prepare(self._state, self._plan.use_case) if with_model else None
        with (
            self._registry(model) as registry,
            tempfile.TemporaryDirectory(prefix="laurel-serving-") as folder,
        ):
            for number in range(self._plan.rounds):
                names = list(self._visits)
                for name in [*names[number % len(names) :], *names[: number % len(names)]]:
                    self._visit(name, self._place(Path(folder), name, model, registry), number)
            swaps = self._swaps(Path(folder), model, registry) if self._plan.swap else {}
        results = [
            result
            for name, visits in self._visits.items()
            if visits
            for result in figures.results_of(name, visits)
        ]
        logs = {
            name: [visit.log for visit in visits]
            for name, visits in self._visits.items()
            if visits and visits[0].log
        }
        return {
            "results": results,
            "skipped": self._skipped,
            "failed": self._failed,
            "prediction_log": logs,
            **swaps,
        }

    def _install(self) -> None:
        for name in set(OWN_ENVIRONMENT) & set(self._visits):
            try:
                install(name, self._environments, PEERS)
            except Unavailable as error:
                print(f"Skipped {name}: {error}", file=sys.stderr)
                self._skipped.append({"server": name, "why": str(error)})
                del self._visits[name]

    @contextmanager
    def _registry(self, model: Model | None) -> Iterator[RegistryProcess | None]:
        if model is None or not set(WITH_REGISTRY) & set(self._visits):
            yield None
            return
        with RegistryProcess(model.registry) as registry:
            registry.crown(model.use_case, "1")
            yield registry

    def _place(
        self, folder: Path, name: str, model: Model | None, registry: RegistryProcess | None
    ) -> Place:
        own = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder))
        return Place(model, own, free_port(), registry.url if registry else "", self._environments)

    def _load_plan(self, place: Place) -> LoadPlan:
        rows = place.model.rows if place.model else read_rows()
        scores = place.model.scores if place.model else [0.0] * len(rows)
        return LoadPlan(
            rows,
            scores,
            place.folder,
            self._plan.generator,
            self._plan.seconds,
            self._plan.warm_up_seconds,
        )

    def _visit(self, name: str, place: Place, number: int) -> None:
        if name not in self._visits:
            return  # it failed in a round before
        start = time.monotonic()
        try:
            self._visits[name].append(
                visit(SERVERS[name](place), self._load_plan(place), self._plan.cases)
            )
            print(
                f"round {number + 1} of {self._plan.rounds}: {name}, "
                f"{time.monotonic() - start:.0f} s",
                file=sys.stderr,
            )
        except BenchmarkFailed as error:
            print(f"FAILED {name}: {error}", file=sys.stderr)
            self._failed.append({"server": name, "why": str(error)})
            del self._visits[name]
        finally:
            shutil.rmtree(place.folder, ignore_errors=True)

    def _swaps(
        self, folder: Path, model: Model | None, registry: RegistryProcess | None
    ) -> dict[str, Any]:
        """A figure a way: ``swap`` is of one worker that looks for itself."""
        swaps: dict[str, Any] = {}
        for title, (name, webhook) in SWAPS.items():
            if name not in self._visits or registry is None:
                continue
            place = self._place(folder, name, model, registry)
            print(f"{title}: {name} under load ...", file=sys.stderr)
            try:
                swaps[title] = swap(
                    SERVERS[name](place), self._load_plan(place), registry, webhook=webhook
                )
                if failed := swaps[title]["failed"]:
                    raise BenchmarkFailed(
                        f"{failed} requests failed while the champion was swapped"
                    )
            except BenchmarkFailed as error:
                print(f"FAILED {name}: {error}", file=sys.stderr)
                self._failed.append({"server": name, "why": str(error)})
        return swaps
