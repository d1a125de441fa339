"""A shop sells something new, and the loop reacts once a month of it can be learned."""

import pytest

from tasks.backtest.fits import History
from tasks.backtest.replay import POLICY, first_champion, replay
from tasks.data.validation import validate
from usecases.reviews import USE_CASE


@pytest.mark.nightly("months of a loop")
def test_the_loop_notices_new_products_and_learns_them_a_month_later(one_thread: None) -> None:
    """With the recipe of words alone, and no refits."""
    fast = tuple(one for one in USE_CASE.candidates if one.name == "words")
    once = USE_CASE.promotion.model_copy(update={"refits": 0})
    case = USE_CASE.model_copy(update={"candidates": fast, "promotion": once})
    names = [f"2024-{number:02d}" for number in range(1, 12)]
    months = {name: validate(case, name, case.source.read(name)).good for name in names}
    history = History(case, months, seed=0)
    champion = first_champion(case, history, "2024-05")
    policy, _ = replay(case, history, champion, POLICY, history.after("2024-05"))
    lived = {period.period: (period.drift, period.outcome) for period in policy.periods}
    assert {lived[name] for name in ("2024-06", "2024-07", "2024-08")} == {("stable", "quiet")}
    assert lived["2024-09"] == ("drifted", "below the gate")
    assert lived["2024-10"] == ("drifted", "promoted")
    assert lived["2024-11"] == ("stable", "quiet")
