"""The digits' scanner fails in three ways, and the loop reacts."""

import numpy as np
import pytest

from tasks.backtest.fits import History
from tasks.backtest.replay import NEVER, POLICY, first_champion, replay
from tests.fixtures.digits import digits_of
from usecases.digits import USE_CASE, Scanner


def test_each_digit_comes_once_and_a_month_is_always_the_same() -> None:
    rows = [row for period in Scanner().periods() for row in Scanner().read(period)["scan"]]
    assert sorted(rows) == list(range(1797))
    assert Scanner().read("2024-07").equals(Scanner().read("2024-07"))


@pytest.mark.slow("replays months of contests")
@pytest.mark.nightly("months of a loop")
def test_the_loop_notices_each_fault_and_learns_the_turned_digits(one_thread: None) -> None:
    """With the logistic regression alone, which is fitted in a tenth of a second."""
    fast = tuple(one for one in USE_CASE.candidates if one.name == "logistic")
    once = USE_CASE.promotion.model_copy(update={"refits": 0})
    case = USE_CASE.model_copy(update={"candidates": fast, "promotion": once})
    months = {f"2024-{number:02d}": digits_of(number) for number in range(1, 12)}
    history, start = History(case, months, seed=0), "2024-04"
    champion = first_champion(case, history, start)
    policy, never = (
        replay(case, history, champion, strategy, history.after(start))[0]
        for strategy in (POLICY, NEVER)
    )
    drift = {month.period: month.drift for month in policy.periods}
    assert [drift[f"2024-0{month}"] for month in (5, 6, 7, 8)] == ["stable"] + 3 * ["drifted"]
    assert policy.count("promoted") == 1 and policy.pooled is not None and never.pooled is not None
    assert policy.pooled < never.pooled - 0.05
    assert np.argmax([month.outcome == "promoted" for month in policy.periods]) >= 3
