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


def test_of_a_rare_class_as_many_rows_are_drawn_and_the_losses_vary_less() -> None:
    """With 4,000 rows at random the drawn positives are 40: what a column loses is luck."""
    chance = np.random.default_rng(5)
    matrix = chance.normal(size=(60_000, 2))
    odds = 1 / (1 + np.exp(5.3 - 1.5 * matrix[:, 0] - 0.7 * matrix[:, 1]))
    truth = (chance.random(60_000) < odds).astype(int)
    model = LogisticRegression().fit(matrix, truth)

    def losses(rows: int, alike: bool) -> np.ndarray:
        owners = np.arange(2)
        several = [
            permutation_importance(model, matrix, truth, owners, ROC_AUC, seed, rows, alike)
            for seed in range(12)
        ]
        return np.array(several)

    assert truth.mean() < 0.02
    at_random, alike = losses(4000, False), losses(2500, True)
    assert (alike.std(axis=0) < 0.5 * at_random.std(axis=0)).all()
    np.testing.assert_allclose(alike.mean(axis=0), at_random.mean(axis=0), atol=0.03)


@pytest.mark.parametrize(("yes", "rows", "drawn"), [(10, 100, 10), (500, 100, 50), (990, 100, 90)])
def test_of_too_few_of_one_class_all_are_drawn_and_more_of_the_other(
    yes: int, rows: int, drawn: int
) -> None:
    from tasks.models.importance import _alike

    truth = np.repeat([1, 0], [yes, 1000 - yes])
    positions = _alike(np.random.default_rng(1).permutation(1000), truth, rows)
    assert len(set(positions.tolist())) == rows and truth[positions].sum() == drawn
