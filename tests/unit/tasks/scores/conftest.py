"""Batch scoring of a tiny package, whose lake is a folder."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.lake import Lake
from blocks.registry import ModelVersion
from serving.package.manifest import MANIFEST, digest
from tasks.outside import blocks_of_run
from tasks.scores import batch
from tasks.scores.batch import Outcome, score_batch
from tasks.scores.request import Request
from tests.fixtures.packages import FEATURES
from usecases.definition import LOG_LOSS, Candidate, Column, Gate, UseCase


class FolderRegistry:
    """A registry that gives out copies of one package, as MLflow does."""

    def __init__(self, package: Path) -> None:
        self.package = package

    def download_package(self, version: ModelVersion, folder: Path) -> Path:
        return Path(shutil.copytree(self.package, folder / "package"))

    def version(self, number: str = "3") -> ModelVersion:
        sha256 = digest((self.package / MANIFEST).read_bytes())
        tags = {"laurel.package": "somewhere", "laurel.package_sha256": sha256}
        return ModelVersion("parcels", number, "run", tags)


class Noted:
    """A source that no test reads."""

    def periods(self) -> list[str]:
        return []

    def read(self, period: str) -> Any:
        raise AssertionError


def columns_of(features: Any) -> tuple[Column, ...]:
    """The columns that packages of these features are made of."""
    return tuple(
        Column(
            name=feature.name,
            kind=feature.kind,
            nullable=feature.nullable,
            **({"size": feature.size, "channels": 1} if feature.kind == "image" else {}),
            **({"parts": tuple(feature.parts)} if feature.parts else {}),
        )
        for feature in features
    )


def parcels(features: Any = FEATURES, **fields: Any) -> UseCase:
    whole = {
        "name": "parcels",
        "title": "Parcels",
        "question": "Is it late?",
        "source": Noted(),
        "key": ("parcel",),
        "event_time": "time_hour",
        "label": "late",
        "columns": columns_of(features),
        "candidates": (Candidate(name="none", build=lambda params, layout, seed: None),),
        "gate": Gate(metric=LOG_LOSS, threshold=0.5),
    }
    return UseCase(**(whole | fields))


class World:
    """``score`` scores what a request says with the package in ``folder``."""

    def __init__(self, folder: Path, use: Callable[[UseCase], None]) -> None:
        self.folder, self.use = folder, use
        self.lake = Lake(url=f"file://{folder / 'lake'}", credentials=None)
        self.registry: Any = FolderRegistry(folder / "package")

    def score(self, rows: Any = None, **fields: Any) -> Outcome:
        asked = {"check_drift": False} | fields
        request = Request(use_case="parcels", rows=str(rows) if rows else None, **asked)
        return score_batch(request, self.registry.version(), self.lake, self.registry)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    def use(case: UseCase) -> None:
        monkeypatch.setattr(batch, "load", lambda name: case)

    use(parcels())
    world = World(tmp_path, use)
    with blocks_of_run.given(world.lake):
        yield world
