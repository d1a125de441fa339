import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tasks.models.importance import permutation_importance
from usecases.definition import LOG_LOSS, ROC_AUC, Metric

OWNERS = np.arange(3)


@pytest.mark.parametrize("metric", [ROC_AUC, LOG_LOSS], ids=lambda metric: metric.name)
def test_the_column_that_decides_is_the_most_important_whatever_the_direction(
    metric: Metric,
) -> None:
    chance = np.random.default_rng(3)
    matrix = chance.normal(size=(3000, 3))
    truth = (matrix[:, 1] * 2 + matrix[:, 2] * 0.5 + chance.normal(size=3000) > 0).astype(int)
    copy = matrix.copy()
    losses = permutation_importance(
        LogisticRegression().fit(matrix, truth), matrix, truth, OWNERS, metric, seed=1
    )
    assert losses[1] > losses[2] > 0.005
    assert abs(losses[0]) < 0.005
    np.testing.assert_array_equal(matrix, copy)
    again = permutation_importance(
        LogisticRegression().fit(matrix, truth), matrix, truth, OWNERS, metric, seed=1
    )
    np.testing.assert_array_equal(losses, again)


def test_places_of_one_column_are_shuffled_together() -> None:
    chance = np.random.default_rng(3)
    half = chance.normal(size=3000)
    matrix = np.column_stack([chance.normal(size=3000), half, -half + chance.normal(size=3000)])
    truth = (matrix[:, 1] + matrix[:, 2] > 0).astype(int)
    model = LogisticRegression().fit(matrix, truth)
    together = permutation_importance(model, matrix, truth, np.array([0, 1, 1]), ROC_AUC, seed=1)
    assert together.shape == (2,)
    assert together[1] == pytest.approx(0.5, abs=0.03) and abs(together[0]) < 0.005
