"""What a use case may say of its rollouts, and what a promotion may ask for instead."""

from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.usecases.test_definition import use_case
from usecases.definition import (
    AB,
    LOG_LOSS,
    RMSE,
    Canary,
    Immediate,
    Number,
    Reward,
    Shadow,
)
from usecases.definition.rollouts import misfits, rollout_named


def test_a_winner_is_crowned_at_once_unless_the_file_says_otherwise() -> None:
    assert use_case().rollout == Immediate() and use_case().stages == ()
    chain = (Shadow(), Canary(steps=(0.1, 0.5)))
    assert use_case(rollout=chain).stages == chain
    assert use_case(rollout=AB()).stages == (AB(),)


@pytest.mark.parametrize(
    ("rollout", "message"),
    [
        ((), "empty chain"),
        ((Canary(), Canary()), "twice"),
        ((Immediate(), Canary()), "nothing to roll out"),
        ((Canary(), Shadow()), "put it first"),
        (Shadow(metric=RMSE), "rmse, which cannot judge 'late'"),
        (Canary(field="shops"), "'shops', which is no input column"),
    ],
)
def test_a_chain_that_makes_no_sense_is_refused(rollout: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        use_case(rollout=rollout)


def test_only_a_yes_or_no_that_is_missing_may_be_a_no() -> None:
    assert use_case(rollout=AB(missing_label="negative")).stages
    target = Number(label="late")
    assert misfits(AB(metric=RMSE), RMSE, "number", "late", []) == []
    (problem,) = misfits(AB(missing_label="negative"), RMSE, target.kind, "late", [])
    assert "missing_label" in problem


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Canary(steps=(0.5, 0.1)), "larger than the one before"),
        (lambda: Canary(steps=(0.0, 0.1)), "greater than 0"),
        (lambda: Canary(steps=(0.5, 2)), "less than or equal to 1"),
        (lambda: Canary(header="X-User"), "pattern"),
        (lambda: Canary(minimum_minutes=1e5), "patience_days"),
        (lambda: AB(share=1), "less than 1"),
        (lambda: AB(share=0.2, reward=Reward(cap=9)), "with a reward it must be 0.5"),
        (lambda: AB(metric=LOG_LOSS, reward=Reward(cap=9)), "judges without labels"),
        (lambda: AB(missing_label="negative", reward=Reward(cap=9)), "judges without labels"),
        (lambda: Reward(cap=0), "greater than 0"),
        (lambda: Reward(cap=float("inf")), "finite"),
        (lambda: Canary(largest_shift=0), "greater than 0"),
        (lambda: Shadow(days=60), "less than or equal to 56"),
        (lambda: Shadow(**{"day": 20}), "day"),
    ],
)
def test_a_stage_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make()


def test_a_promotion_asks_by_names_or_by_json() -> None:
    written = (Shadow(days=56), Canary(steps=(0.5, 1.0)))
    assert rollout_named("immediate", written) == ()
    assert rollout_named("shadow, ab", written) == (Shadow(days=56), AB())
    asked = rollout_named('[{"kind": "ab", "metric": "log_loss", "share": 0.2}]', Immediate())
    assert asked == (AB(metric=LOG_LOSS, share=0.2),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shadows", "'shadows': write immediate, shadow, canary, ab"),
        ("canary,shadow", "put it first"),
        ('{"kind": "canary", "steps": "x"}', "steps"),
        ('{"steps": [1]}', "None: write"),
        ("{", "names such as shadow,canary"),
        ("[1]", "names such as shadow,canary"),
        ("", "'': write"),
    ],
)
def test_a_promotion_that_asks_for_something_else_is_told_what_to_write(
    text: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        rollout_named(text, Immediate())
