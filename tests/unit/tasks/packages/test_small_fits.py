"""The small fits of a package keep to one core: OpenMP's threads wait for one another at each
split, which takes a minute where other programs use the cores."""

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads

from tasks.models.executors import one_core
from tasks.packages.error_quantiles import fit_error_quantiles
from tasks.packages.expected_losses import fit_losses
from tests.unit.tasks.packages.test_expected_losses import case

ROWS = 600


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of threads that each fit of boosted trees may have."""
    numbers, fit = list[int](), HistGradientBoostingRegressor.fit

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        numbers.append(_openmp_effective_n_threads())
        return fit(self, *arguments, **named)

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", counted)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return numbers


def test_models_of_losses_and_of_errors_are_fitted_on_one_core(threads: list[int]) -> None:
    chance = np.random.default_rng(0)
    wide = np.where(np.arange(ROWS) % 2, 5.0, 1.0)
    truth, days = chance.normal(0, wide), np.arange(ROWS) // 4 % 28
    owners, answers = np.zeros(1, int), np.zeros(ROWS)
    before = _openmp_effective_n_threads()
    assert fit_losses(case(), wide[:, None], owners, answers, truth, days) != b"{}"
    assert fit_error_quantiles(wide[:, None], owners, answers, truth, 0.9, 0) is not None
    assert len(threads) > 2 and set(threads) == {1}
    assert _openmp_effective_n_threads() == before


def test_what_follows_has_all_cores_again() -> None:
    before = _openmp_effective_n_threads()
    with pytest.raises(ValueError, match="a fault"), one_core():
        assert _openmp_effective_n_threads() == 1
        raise ValueError("a fault")
    assert _openmp_effective_n_threads() == before
