"""A drift policy that contradicts itself or names columns that there are not is refused when the
use case is loaded.
"""

from typing import Any

import pytest
from pydantic import ValidationError

from usecases.definition import Column, DriftPolicy, UseCase, load


def with_policy(**policy: Any) -> UseCase:
    toy = load("toy")
    return UseCase(
        **{name: getattr(toy, name) for name in UseCase.model_fields}
        | {"drift": DriftPolicy(**policy)}
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"thresholds": {"frist": 0.2}},
            "drift.thresholds names ['frist'], which are not columns; known: first, second, "
            "steady, group, score",
        ),
        (
            {"methods": {"numbers": "psi"}},
            "drift.methods names ['numbers'], which are not columns; known: first,",
        ),
        (
            {"described": ("weekday",)},
            "drift.described names ['weekday'], which are not columns; known: first,",
        ),
        (
            {"methods": {"group": "wasserstein"}},
            "drift.methods gives 'group' wasserstein, which needs numbers, but it is a category",
        ),
        ({"methods": {"category": "wasserstein"}}, "drift.methods gives 'group' wasserstein"),
        (
            {"described": ("first", "second", "steady", "group")},
            "drift.described names every monitored column: none would count",
        ),
        ({"methods": {"first": "ks"}}, "Input should be 'wasserstein', 'jensenshannon' or 'psi'"),
        ({"thresholds": {"first": 0.0}}, "greater than 0"),
        ({"thresholds": {"first": float("nan")}}, "Input should be"),
        ({"k_of_n": (3, 2)}, "k_of_n is (3, 2): it must be (k, n) with 1 <= k <= n"),
        ({"k_of_n": (0, 2)}, "k_of_n is (0, 2)"),
        ({"share": 0.0}, "greater than 0"),
        ({"share": 30}, "less than or equal to 1"),
        ({"score_weight": 1.0}, "less than 1"),
        ({"silent_hours": 0}, "greater than or equal to 0.01"),
        ({"k_off_n": (1, 2)}, "Extra inputs are not permitted"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_what_is_wrong(
    policy: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        with_policy(**policy)
    assert message in str(caught.value)


def test_a_policy_may_name_columns_kinds_and_the_score() -> None:
    policy = with_policy(
        thresholds={"first": 0.2, "score": 0.3},
        methods={"number": "psi", "steady": "wasserstein", "score": "jensenshannon"},
        described=("group",),
    ).drift
    methods = {
        name: policy.method(Column(name=name, kind="number"))
        for name in ("first", "steady", "score")
    }
    assert methods == {"first": "psi", "steady": "wasserstein", "score": "jensenshannon"}
    assert policy.method(Column(name="group", kind="category")) == "jensenshannon"


def test_what_flights_only_describes_is_the_calendar() -> None:
    assert load("flights").drift.described == ("day_of_week",)
