"""Days that are not played: their records are written as a played day has left them, so that a
short run has as many windows, entries and compacted days as its year."""

import time
from dataclasses import replace
from datetime import date
from uuid import uuid4

from prefect.states import Completed

from benchmarks.soak.plan import USE_CASE, at
from benchmarks.soak.stack import Stack
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from tasks.ledger.entries import add_entry, decision_of, read
from tasks.log.compacted import folder_of
from tasks.log.compaction import KINDS


class Filler:
    """Writes again what came of the day ``model``: its verdict, the ledger's entry, MLflow's run,
    its compacted files, and two of Prefect's runs."""

    def __init__(self, stack: Stack, lake: Lake, registry: ModelRegistry, model: date) -> None:
        self._stack, self._lake, self._registry = stack, lake, registry
        self._model = f"{model}"
        self._objects = {
            path: lake.read(path)
            for folder in (
                f"reports/{USE_CASE}/{model}",
                *(folder_of(kind, USE_CASE, f"{model}") for kind in KINDS),
            )
            for path in lake.list(folder)
        }
        (self._check,) = [
            decision_of(entry) for entry in read(lake, USE_CASE) if entry.window == self._model
        ][-1:]
        (self._run,) = registry.runs(f"{USE_CASE}-drift", {"laurel.window": self._model})[:1]
        self._deployments = [
            stack.prefect.read_deployment_by_name(f"{flow}/{USE_CASE}").id
            for flow in ("tidy", "drift_check")
        ]

    def fill(self, day: date) -> None:
        began, moment = time.time(), at(day, 6)
        self._stack.turn(moment)
        for path, data in self._objects.items():
            self._lake.write(path.replace(self._model, f"{day}"), self._named(data, day))
        check = replace(
            self._check,
            time=moment.isoformat(timespec="milliseconds"),
            window=f"{day}",
            run=str(uuid4()),
        )
        add_entry(self._lake, self._registry, check)
        self._registry.log_run(
            f"{USE_CASE}-drift",
            self._run.name,
            params={**self._run.params, "window": f"{day}"},
            metrics=self._run.metrics,
            tags={"laurel.window": f"{day}", "laurel.verdict": "stable"},
        )
        for deployment in self._deployments:
            self._stack.prefect.create_flow_run_from_deployment(deployment, state=Completed())
        self._stack.end_day(day, began)

    def _named(self, data: bytes, day: date) -> bytes:
        """A record has the day inside; Parquet has not."""
        return (
            data if data[:4] == b"PAR1" else data.replace(self._model.encode(), f"{day}".encode())
        )
