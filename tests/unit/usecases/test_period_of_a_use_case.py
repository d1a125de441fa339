"""A use case whose period, hold-out, contest, training window and drift windows cannot work
together is refused when its file is loaded, with what to write."""

import pytest
from pydantic import ValidationError

from tests.unit.usecases.test_definition import use_case
from usecases.definition import DriftPolicy, Promotion
from usecases.definition.period_kinds import DAYS, HOURS, MONTHS, QUARTERS, WEEKS


def test_a_period_is_a_month_unless_it_is_said() -> None:
    case = use_case()
    assert case.period_kind is MONTHS is case.drift_window
    assert case.train_periods is None and case.training_window(["a", "b"]) == ("a", "b")
    assert case.drift_days == 7


@pytest.mark.parametrize(
    ("period", "promotion", "kind", "days"),
    [
        ("quarter", Promotion(), QUARTERS, 7),
        ("week", Promotion(holdout_periods=2), WEEKS, 7),
        ("day", Promotion(holdout_periods=10), DAYS, 1),
        ("day", Promotion(block="hour"), DAYS, 1),
        ("hour", Promotion(block="hour", holdout_periods=10), HOURS, 1),
    ],
)
def test_each_period_is_accepted_with_a_hold_out_that_is_long_enough(
    period, promotion, kind, days
) -> None:
    case = use_case(period=period, promotion=promotion)
    assert case.period_kind is kind is case.drift_window
    assert case.drift_days == days


@pytest.mark.parametrize("period", ["year", "months", "7d", "", None, "Day"])
def test_another_period_is_refused_with_those_that_there_are(period) -> None:
    with pytest.raises(ValidationError, match="'hour', 'day', 'week', 'month' or 'quarter'"):
        use_case(period=period)


@pytest.mark.parametrize(
    ("period", "promotion", "has", "ways"),
    [
        ("week", {}, "a week has 7 of the 10 blocks of a day", ["holdout_periods=2", "hour"]),
        ("day", {}, "a day has 1 of the 10 blocks of a day", ["holdout_periods=10", "hour"]),
        ("hour", {}, "an hour has 1 of the 10 blocks of a day", ["holdout_periods=240"]),
        (
            "hour",
            {"holdout_periods": 10},
            "10 hours has 2 of the 10 blocks of a day",
            ["holdout_periods=240", "hour"],
        ),
        ("hour", {"block": "hour"}, "an hour has 1 of the 10 blocks", ["holdout_periods=10"]),
        (
            "day",
            {"block": "week", "holdout_periods": 20},
            "20 days has 4 of the 5 blocks of a week",
            ["holdout_periods=35", "day"],
        ),
        (
            "month",
            {"minimum_blocks": 40},
            "a month has 31 of the 40",
            ["holdout_periods=2", "hour"],
        ),
    ],
)
def test_a_hold_out_without_blocks_enough_is_refused_with_what_to_write(
    period, promotion, has, ways
) -> None:
    with pytest.raises(ValidationError) as refused:
        use_case(period=period, promotion=Promotion(**promotion))
    text = str(refused.value)
    assert f"promotion: a hold-out of {has}" in text, text
    first, *blocks = ways
    assert f"write Promotion({first})" in text
    assert [f'Promotion(block="{block}")' in text for block in ("day", "hour")] == [
        block in blocks for block in ("day", "hour")
    ]
    number = int(first.partition("=")[2])
    use_case(period=period, promotion=Promotion(**promotion | {"holdout_periods": number}))
    for block in blocks:
        use_case(period=period, promotion=Promotion(**promotion | {"block": block}))


def test_a_training_window_shorter_than_the_hold_out_is_refused() -> None:
    promotion = Promotion(holdout_periods=2)
    case = use_case(train_periods=2, promotion=promotion)
    assert case.training_window(["a", "b", "c"]) == ("b", "c") == case.training_window(("b", "c"))
    with pytest.raises(ValidationError, match="write train_periods=2 or more"):
        use_case(train_periods=1, promotion=promotion)
    with pytest.raises(ValidationError, match="train_periods"):
        use_case(train_periods=0)


def test_drift_has_windows_of_its_own() -> None:
    daily = {"period": "day", "promotion": Promotion(holdout_periods=10)}
    case = use_case(**daily, drift=DriftPolicy(window="7d"))
    assert (case.drift_window, case.drift_days) == (WEEKS, 7)
    assert use_case(**daily, drift=DriftPolicy(window="3d")).drift_days == 3
    assert use_case(**daily, drift=DriftPolicy(window="12h")).drift_days == 1
    assert use_case(**daily, drift=DriftPolicy(window="month", minimum_days=20)).drift_days == 20
    with pytest.raises(ValidationError, match="write hours, days or weeks such as '12h'"):
        DriftPolicy(window="fortnight")
    with pytest.raises(ValidationError, match="a week has 7: none could be judged") as refused:
        use_case(drift=DriftPolicy(window="7d", minimum_days=28))
    assert "DriftPolicy(window='28d')" in str(refused.value)
    use_case(drift=DriftPolicy(window="28d", minimum_days=28))
