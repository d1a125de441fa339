"""A fake of MLflow's registry, as far as a ledger needs it: the model's tags, and runs with heads.

A parameter is written once, as in MLflow; ``tests/unit/blocks/test_registry.py`` shows that with
MLflow itself."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from blocks.clients.heads import HeadRun, up_to_latest
from blocks.registry import RegistryAway, RegistryError


class HeadRegistry:
    """``tags`` are the model's; ``runs`` the runs with heads, the oldest first. Without
    ``has_model`` there is nothing to tag. ``break_at`` names a method that fails once, as MLflow
    does when the caller is killed."""

    def __init__(self, has_model: bool = True) -> None:
        self.has_model = has_model
        self.tags: dict[str, str] = {}
        self.runs: dict[str, HeadRun] = {}
        self.break_at = ""
        self._writing = threading.Lock()

    def model_tags(self, use_case: str) -> Mapping[str, str]:
        return dict(self.tags)

    def tag_model(self, use_case: str, tags: Mapping[str, str]) -> bool:
        self._work("tag")
        if self.has_model:
            self.tags |= tags
        return self.has_model

    def head_runs(
        self, use_case: str, latest: int | None = None, *, deleted: bool = False
    ) -> list[HeadRun]:
        with self._writing:
            runs = [run for run in reversed(self.runs.values()) if run.is_deleted == deleted]
        return up_to_latest(runs, latest)

    def open_head_run(self, use_case: str, generation: int, base: str) -> str:
        with self._writing:
            run_id = f"run {len(self.runs) + 1}"
            self.runs[run_id] = HeadRun(run_id, generation, base, {})
        return run_id

    def log_head(self, run_id: str, key: str, value: str) -> None:
        self._work("announcement" if "/" in key else "head")
        with self._writing:
            run = self.runs[run_id]
            if run.is_deleted:
                raise RegistryError(f"MLflow refused: the run {run_id} was deleted")
            if run.params.get(key, value) != value:
                raise RegistryError(f"MLflow refused: changing the parameter {key} is not allowed")
            self.runs[run_id] = replace(run, params={**run.params, key: value})

    def delete_run(self, run_id: str) -> None:
        self.runs[run_id] = replace(self.runs[run_id], is_deleted=True)

    def versions(self, use_case: str) -> list[Any]:
        return []

    def at(self, use_case: str, alias: str) -> Any:
        return None

    def _work(self, part: str) -> None:
        if self.break_at == part:
            self.break_at = ""
            raise RegistryAway("killed")
