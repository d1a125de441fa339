"""Refits of a recipe differ by their days, and are made where they cost little."""

import numpy as np
import pytest
from usecases.toy import toy_rows

from tasks.models.refits import CELLS, refit_scores, refits_of
from usecases.definition import Promotion, UseCase


def test_refits_differ_and_are_the_same_again(case: UseCase) -> None:
    training, holdout = toy_rows("2024-01"), toy_rows("2024-02")

    def scores() -> list[np.ndarray]:
        return refit_scores(case, "boosting", {"max_iter": 20}, training, holdout, 2, seed=3)

    first, second = scores()
    assert first.shape == (len(holdout),)
    assert 0.001 < np.abs(first - second).mean() < 0.2
    np.testing.assert_array_equal(scores(), [first, second])


@pytest.mark.parametrize(
    ("refits", "rows", "expected"),
    [(None, 1_000, 3), (None, CELLS, 0), (0, 1_000, 0), (5, CELLS, 5)],
)
def test_their_number_follows_from_the_rule_or_from_their_cost(
    case: UseCase, refits: int | None, rows: int, expected: int
) -> None:
    own = case.model_copy(update={"promotion": Promotion(refits=refits)})
    assert refits_of(own, rows) == expected


def test_a_single_refit_is_refused() -> None:
    with pytest.raises(ValueError, match="one fit does not differ from itself"):
        Promotion(refits=1)
