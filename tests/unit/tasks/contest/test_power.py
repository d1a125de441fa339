"""What so many rows decide is what contests on them find."""

import numpy as np
import pytest
from scipy.stats import norm

from tasks.contest.power import decidable_gain, expected_gain, in_words, rows_for, useful_gain
from tasks.contest.verdict import hold
from usecases.definition import RMSE, ROC_AUC, Promotion

POLICY = Promotion(replicates=4000)


def world(rows: int, gain: float, seed: int):
    """Labels, and two models whose scores have noise of their own, on 30 days."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(0, 2, rows)
    champion = truth + chance.normal(0, 2.0, rows)
    challenger = truth * (1 + gain) + chance.normal(0, 2.0, rows)
    return truth, champion, challenger, np.arange(rows) % 30


@pytest.mark.parametrize("rows", [600, 6000])
def test_the_gain_that_rows_decide_is_found_by_most_contests_and_less_by_few(rows: int) -> None:
    alike = (world(rows, 0.0, seed) for seed in range(10))
    decidable = np.median(
        [
            expected_gain(POLICY, ROC_AUC, truth, [one, other], block, 0)
            for truth, one, other, block in alike
        ]
    )

    def found(gain: float) -> float:
        # Two normal distributions that are d apart have a ROC AUC of Φ(d / √2).
        apart = norm.ppf(norm.cdf(0.5 / 2**0.5) + gain) * 2**0.5
        worlds = (world(rows, apart / 0.5 - 1, seed) for seed in range(100, 160))
        lows = [hold(POLICY, ROC_AUC, *each, earlier=[]).main.low for each in worlds]
        return float(np.mean([low is not None and low > 0 for low in lows]))

    assert found(float(decidable)) >= 0.7
    assert found(0.4 * float(decidable)) <= 0.35


def test_a_contest_of_too_little_says_which_gain_it_would_find() -> None:
    truth, one, other, block = world(150, 0.0, 3)
    contest = hold(POLICY, ROC_AUC, truth, one, other, block, earlier=[])
    assert contest.verdict == "inconclusive" and contest.decidable is not None
    little, decides = contest.reasons
    assert little.startswith("150 labelled rows in 30 blocks")
    assert decides.startswith("150 rows find a gain in ROC AUC of about 0.")
    assert "; 0.02 takes about " in decides


def test_ten_times_the_rows_decide_a_gain_about_three_times_smaller() -> None:
    few, many = (
        expected_gain(POLICY, ROC_AUC, truth, [one, other], block, 0)
        for truth, one, other, block in (world(600, 0.0, 5), world(6000, 0.0, 5))
    )
    assert few is not None and many is not None and 2 < few / many < 5
    assert rows_for(many, few, 600) == pytest.approx(6000, rel=0.7)


def test_what_cannot_be_known_is_said_and_never_a_number() -> None:
    truth, one, other, _ = world(100, 0.0, 6)
    assert expected_gain(POLICY, ROC_AUC, truth, [one, other], np.zeros(100), 0) is None
    assert expected_gain(POLICY, ROC_AUC, truth, [one, one], np.arange(100) % 30, 0) is None
    assert decidable_gain(float("nan"), 2.0, 30) is None
    assert in_words(ROC_AUC, 100, None, 0.7).endswith("cannot be told from them.")


def test_a_useful_gain_is_in_the_unit_of_the_metric() -> None:
    assert useful_gain(ROC_AUC, 0.7) == 0.02
    assert useful_gain(RMSE, 60.0) == 3.0
    assert in_words(RMSE, 82, 6.0, 60.0) == (
        "82 rows find a gain in RMSE of about 6 in 8 of 10 contests; 3 takes about 330."
    )
    assert in_words(ROC_AUC, 9000, 0.01, 0.7) == (
        "9,000 rows find a gain in ROC AUC of about 0.01 in 8 of 10 contests."
    )
