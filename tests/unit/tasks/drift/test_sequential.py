"""The day-by-day note: bets that are fair under chance, an alarm at most about once a year of
ordinary days, and soon after days moved.
"""

import numpy as np
import pytest

from tasks.drift.profile.sequential import ALARM, add_days, bets, conformal


def test_a_bet_on_chance_wins_one_on_average() -> None:
    """The chance below 0.001, where the bet wins most, is added by hand: its integral is known."""
    chances = 0.001 + 0.999 * (np.arange(200_000) + 0.5) / 200_000
    below = (0.001 - 1) / np.log(0.001)
    assert 0.999 * bets(chances).mean() + below == pytest.approx(1, abs=0.001)
    assert (np.diff(bets(chances)) < 0).all()


def test_p_values_are_of_the_day_among_the_references_days() -> None:
    reference = [0.0, 1.0, 1.0, 2.0]
    assert conformal(np.array([3.0, 2.0, 1.0, -1.0]), reference) == pytest.approx(
        [0.2, 0.4, 0.8, 1.0]
    )


def test_of_years_of_ordinary_days_few_have_an_alarm_and_moved_days_are_seen_within_two_weeks() -> (
    None
):
    chance, years, days = np.random.default_rng(11), 300, 365
    alarms, delays = 0, []
    for _ in range(years):
        reference = chance.normal(0, 1, 180)
        calm = conformal(chance.normal(0, 1, days), reference.tolist())
        alarms += bool((add_days(0.0, [calm]) >= ALARM).any())
        moved = conformal(chance.normal(3, 1, 30), reference.tolist())
        delays.append(int(np.argmax(add_days(0.0, [moved]) >= ALARM)))
    assert alarms / years < 0.5
    assert np.median(delays) < 14


def test_a_window_goes_on_where_the_last_one_ended() -> None:
    chances = np.random.default_rng(2).random(60)
    whole = add_days(0.0, [chances])
    assert add_days(float(whole[29]), [chances[30:]])[-1] == pytest.approx(whole[-1])


def test_one_stream_that_moves_is_seen_beside_another_that_does_not() -> None:
    moved, calm = np.full(14, 0.005), np.ones(14)
    assert add_days(0.0, [moved, calm]).max() >= ALARM > add_days(0.0, [calm, calm]).max()
