"""The digits' year: a scanner that is badly lit, then noisy, then turns the paper. Each is drift
that starts a retrain."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blocks.lake import Lake
from serving.records.drift import DriftVerdict
from tasks.data.dataset import read_periods, write_version
from tasks.data.ingestion import ingest_period
from tasks.drift.drivers import starts_retrain
from tasks.models.modelling import fit
from tasks.outside import blocks_of_run
from tasks.packages.packaging import Origin, make_package
from tasks.scores.batch import score_batch
from tasks.scores.request import Request
from tests.unit.tasks.scores.conftest import FolderRegistry
from usecases.definition import load

LEARNED, PROOF = [f"2024-0{month}" for month in (1, 2, 3)], "2024-04"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion that has learned three healthy months."""
    folder, case = tmp_path_factory.mktemp("digits"), load("digits")
    lake = Lake(url=f"file://{folder / 'lake'}", credentials=None)
    ingested = [ingest_period(lake, case, month) for month in (*LEARNED, PROOF)]
    dataset, _ = write_version(lake, case, ingested)
    training = read_periods(lake, dataset, LEARNED, case.label)
    proof = read_periods(lake, dataset, [PROOF], case.label)
    recipe = case.candidate("logistic")
    fitted = fit(case, recipe, dict(recipe.params), training, 7)
    origin = Origin("logistic", {}, dataset.version, dataset.digests(LEARNED), {"log_loss": 0.3})
    make_package(folder / "package", case, fitted, origin, training, proof, 7)
    return folder / "package"


def verdict_on(package: Path, month: str, folder: Path) -> DriftVerdict:
    registry: Any = FolderRegistry(package)
    version = replace(registry.version(), use_case="digits")
    lake = Lake(url=f"file://{folder / 'lake'}", credentials=None)
    with blocks_of_run.given(lake):
        request = Request(use_case="digits", period=month)
        (verdict,) = score_batch(request, version, lake, registry).record.drift
    return verdict


def beyond(verdict: DriftVerdict) -> set[str]:
    return {
        name.removeprefix("picture.")
        for name, distance in verdict.distances.items()
        if distance > verdict.thresholds[name]
    }


def test_a_healthy_month_is_stable(package: Path, tmp_path: Path) -> None:
    verdict = verdict_on(package, "2024-05", tmp_path)
    assert verdict.outcome == "stable" and not starts_retrain(verdict)


@pytest.mark.parametrize(
    ("month", "traits"),
    [
        ("2024-06", {"brightness", "contrast"}),
        ("2024-07", {"noise", "sharpness"}),
        ("2024-08", {"contrast", "score"}),
    ],
    ids=["dark", "noisy", "turned"],
)
def test_light_noise_and_turning_are_drift_that_starts_a_retrain(
    package: Path, tmp_path: Path, month: str, traits: set[str]
) -> None:
    verdict = verdict_on(package, month, tmp_path)
    assert verdict.outcome == "drifted" and starts_retrain(verdict), verdict.reasons
    assert traits <= beyond(verdict)
