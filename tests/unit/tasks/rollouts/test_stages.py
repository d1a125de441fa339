"""What a rollout can find is said before it begins, from the days of the contest that was won."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from usecases.toy import USE_CASE as TOY

from serving.records.contest import Comparison, Contest
from tasks.rollouts.stages import (
    horizon_of,
    metric_of,
    plan_in_words,
    planned,
    spread_of_contest,
)
from usecases.definition import AB, LOG_LOSS, RMSE, Canary, Shadow

MAIN: dict[str, Any] = dict.fromkeys(("champion", "challenger", "gain", "low", "high"))


def contest(gains: np.ndarray, every: int = 1) -> Contest:
    """A contest with such gains by day, ``every`` so many days."""
    days = [(date(2026, 5, 1) + timedelta(days=every * place)) for place in range(len(gains))]
    return Contest(
        verdict="promote",
        reasons=[],
        blocks=len(gains),
        replicates=400,
        confidence=0.95,
        seed=0,
        main=Comparison(metric="roc_auc", rows=9, **MAIN),
        days=[f"{day}T00" for day in days],
        influences=[list((gains - gains.mean()) / len(gains))],
    )


def test_the_spread_of_two_days_comes_from_the_days_of_the_contest() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.01, 60)
    spread = spread_of_contest(contest(gains))
    assert spread is not None
    assert spread.deviation == pytest.approx(gains.reshape(-1, 2).mean(axis=1).std(ddof=1))
    whole = contest(gains)
    halves = replace(
        whole,
        days=[name for day in whole.days for name in (day, f"{day[:10]}T12")],
        influences=[[part for each in whole.influences[0] for part in (each / 2, each / 2)]],
    )
    assert spread_of_contest(halves) == spread, "what the hours of a day add is that of the day"


def test_too_few_days_and_weeks_tell_nothing() -> None:
    gains = np.random.default_rng(0).normal(0.02, 0.01, 60)
    assert spread_of_contest(None) is None
    assert spread_of_contest(contest(gains[:6])) is None
    assert spread_of_contest(contest(gains, every=7)) is None


def test_the_plan_says_what_is_found_and_what_is_not() -> None:
    spread = spread_of_contest(contest(np.random.default_rng(0).normal(0.02, 0.01, 60)))
    shadow = planned(TOY, Shadow(smallest_gain=0.02), spread)
    found, takes = plan_in_words(TOY, [shadow], spread, "roc_auc")
    assert "over 28 days, 14 blocks of 2 days" in found and "ROC AUC" in found
    assert takes.endswith("days") and "takes" in takes
    tiny = planned(TOY, Shadow(smallest_gain=1e-5), spread)
    assert "will hardly find it" in plan_in_words(TOY, [tiny], spread, "roc_auc")[1]
    arms = [planned(TOY, stage, spread) for stage in (Canary(), AB())]
    assert "other callers" in plan_in_words(TOY, arms, spread, "roc_auc")[-1]
    other = planned(TOY, Shadow(metric=LOG_LOSS), spread)
    assert "not known" in plan_in_words(TOY, [other], spread, "roc_auc")[0]
    assert "not known" in plan_in_words(TOY, [shadow], None, "roc_auc")[0]


def test_without_days_the_smallest_gain_plans_them() -> None:
    spread = spread_of_contest(contest(np.random.default_rng(0).normal(0.02, 0.01, 60)))
    open_end = planned(TOY, Shadow(days=None), spread)
    assert (open_end.days, horizon_of(open_end)) == (None, None)
    stage = planned(TOY, Shadow(days=None, smallest_gain=0.01), spread)
    assert stage.days is not None and horizon_of(stage) == stage.days // 2 >= 4
    hopeless = planned(TOY, Shadow(days=None, smallest_gain=1e-5), spread)
    assert hopeless.days is None


def test_a_metric_that_the_use_case_has_lost_is_told() -> None:
    stage = planned(TOY, Shadow(), None)
    assert metric_of(TOY, stage).name == "roc_auc"
    with pytest.raises(LookupError, match="do=revert"):
        metric_of(TOY, replace(stage, metric="own_cost"))
    assert metric_of(TOY, replace(stage, metric="rmse")) == RMSE
