"""A hold-out is spent: each try on its days has less left, and new days start anew."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from serving.records.contest import Contest
from serving.records.ledger import Decision
from serving.records.record import decode, encode
from tasks.contest.tries import earlier_contests
from tasks.contest.verdict import hold
from usecases.definition import ROC_AUC, Promotion

RULE = Promotion(suspicious_gain=1, replicates=4_000)
DAYS, A_DAY = 30, 100


def probability(margin: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-margin))


class Month:
    """Labelled rows of some days, and models that see their log-odds through noise."""

    def __init__(self, seed: int = 1, first_day: int = 0) -> None:
        self.chance = np.random.default_rng(seed)
        self.day = np.repeat(np.arange(first_day, first_day + DAYS), A_DAY)
        self.margin = self.chance.normal(0, 1.3, len(self.day))
        self.truth = (self.chance.random(len(self.day)) < probability(self.margin)).astype(int)
        self.champion = self.model(0.9)

    def model(self, noise: float) -> np.ndarray:
        return probability(self.margin + self.chance.normal(0, noise, len(self.day)))

    def try_(self, challenger: np.ndarray, earlier: Any, **more: Any) -> Contest:
        return hold(
            RULE,
            ROC_AUC,
            self.truth,
            self.champion,
            challenger,
            self.day,
            earlier=earlier,
            **more,
        )


def spent(contest: Contest) -> tuple[int, float]:
    assert contest.spending is not None
    return contest.spending.tries, contest.spending.level


def needed(contest: Contest) -> float:
    assert contest.spending is not None
    return contest.spending.standard_errors


def decision(contest: Contest | None, **more: Any) -> Decision:
    values = {"use_case": "toy", "time": "", "kind": "contest", "verdict": "keep", "reasons": []}
    return Decision(**{**values, "by": "", "run": "r", "contest": contest, **more})


def test_each_try_on_a_month_has_less_left_and_a_new_month_starts_anew() -> None:
    month, contests = Month(), list[Contest]()
    for _ in range(3):
        contests.append(month.try_(month.model(0.9), contests))
    levels = [0.05 / 2, 0.05 / 6, 0.05 / 12]
    assert [spent(contest) for contest in contests] == [
        (at + 1, pytest.approx(level)) for at, level in enumerate(levels)
    ]
    first, second, third = map(needed, contests)
    assert first < second < third
    assert "This was the first try on these days" in " ".join(contests[0].reasons)
    told = " ".join(contests[2].reasons)
    assert "try 3 on these days" in told and f"{third:.1f} standard errors" in told
    assert "days that no contest has seen start anew" in told
    other = Month(seed=2, first_day=100)
    assert needed(other.try_(other.model(0.9), contests)) == first
    half = Month(seed=3, first_day=DAYS // 2)
    assert spent(half.try_(half.model(0.9), contests))[0] == 4, "a shared day is enough"


def test_a_gain_that_wins_at_first_may_be_too_small_later() -> None:
    month = Month()
    contests = [month.try_(month.model(0.9), [])]
    worse, good = month.model(1.4), month.model(0.5)
    models = (share * good + (1 - share) * worse for share in np.arange(0, 1, 0.01))
    better = next(model for model in models if month.try_(model, []).promoted)
    for _ in range(3):
        contests.append(month.try_(month.model(0.9), contests))
    assert month.try_(better, contests).verdict == "keep"


def test_the_same_challenger_again_costs_less_than_another_one() -> None:
    month = Month()
    again, other = month.model(0.9), month.model(0.9)
    before = [month.try_(again, [])]
    alike = month.try_(0.9 * again + 0.1 * month.model(0.9), before)
    assert needed(alike) < needed(month.try_(other, before))


def test_a_contest_without_a_hold_out_to_spend_is_at_its_confidence() -> None:
    month = Month()
    contest = month.try_(month.model(0.6), None)
    assert (contest.spending, contest.confidence) == (None, 0.95)
    first = month.try_(month.model(0.6), [])
    assert first.confidence == pytest.approx(0.975)
    assert first.joint_confidence == 0.95


def test_an_inconclusive_contest_has_spent_nothing() -> None:
    month = Month()
    unsure = replace(month.try_(month.model(0.9), []), verdict="inconclusive")
    assert spent(month.try_(month.model(0.9), [unsure]))[0] == 1


def test_the_ledger_names_the_contests_that_may_have_been_on_these_days() -> None:
    month = Month()
    now = month.try_(month.model(0.9), [])
    old = replace(now, days=[], influences=[], spending=None)
    entries = [
        decision(now, holdout="2024-06", run="a", challenger="1"),
        decision(old, holdout="2024-06", run="b", challenger="2"),
        decision(old, holdout="2024-05", run="c", challenger="3"),
        decision(None, holdout="2024-06", run="d", challenger="4"),
        decision(now, holdout="2024-06", run="e", challenger="5"),
    ]
    assert earlier_contests(entries, "2024-06", "e", "5") == [now, old]
    assert len(earlier_contests(entries, "2024-06", None, "5")) == 3
    assert spent(month.try_(month.model(0.9), [now, old]))[0] == 3
    two_months = earlier_contests(entries, "2024-04 + 2024-05", "e", "5")
    assert two_months == [now, old], "an old record counts if one of its periods is here"
    pair = decision(old, holdout="2024-05 + 2024-06", run="f", challenger="6")
    assert earlier_contests([pair], "2024-06", None, "5") == [old]
    assert earlier_contests([pair], "2024-07", None, "5") == []


def test_the_record_of_a_try_reads_back_and_one_from_before_does() -> None:
    month = Month()
    contest = month.try_(month.model(0.9), [], refits=[month.model(0.9), month.model(0.9)])
    assert decode(Contest, encode(contest)) == contest
    assert (len(contest.days), len(contest.influences[0])) == (DAYS, DAYS)
    assert sum(contest.influences[0]) == pytest.approx(0, abs=1e-6)


def test_the_best_of_several_on_these_rows_needs_more() -> None:
    month = Month()
    candidates = [month.model(0.9) for _ in range(5)]
    alone = month.try_(candidates[0], [])
    chosen = month.try_(candidates[0], [], rivals=candidates[1:])
    assert needed(chosen) > 1.2 * needed(alone)
    assert len(chosen.influences) == 5


def test_refits_that_differ_widen_the_bound_by_their_spread() -> None:
    month = Month()
    better = month.model(0.6)
    alone = month.try_(better, None)
    refits = [month.model(noise) for noise in (0.3, 0.6, 0.9)]
    wider = month.try_(better, None, refits=refits)
    assert (wider.refits, wider.main.gain) == (3, alone.main.gain)
    assert wider.refit_error is not None and wider.main.low is not None
    assert alone.main.low is not None and alone.main.gain is not None
    error = (alone.main.gain - alone.main.low) / needed_alone(alone)
    expected = needed_alone(alone) * np.hypot(error, wider.refit_error)
    assert alone.main.gain - wider.main.low == pytest.approx(expected)
    assert f"3 refits of the recipe differ by {wider.refit_error:.4f}" in " ".join(wider.reasons)


def needed_alone(contest: Contest) -> float:
    """Any critical value will do: the ratio of the two margins does not depend on it."""
    from tasks.measures.bounds import critical_value

    return critical_value(np.eye(1), contest.blocks, 0.95, contest.seed, contest.replicates)


def test_a_challenger_is_crowned_by_luck_no_more_often_for_being_tried_again() -> None:
    """40 months with three equal challengers each: 5 % of the months may crown one."""
    crowned = 0
    for seed in range(40):
        month, contests = Month(seed=100 + seed), list[Contest]()
        while len(contests) < 3 and not any(contest.promoted for contest in contests):
            contests.append(month.try_(month.model(0.9), contests))
        crowned += any(contest.promoted for contest in contests)
    assert crowned <= 5
