from typing import Any

import pytest
from pydantic import ValidationError

from usecases.definition import LOG_COLUMNS, Column, PredictionLogPolicy, UseCase, load

NAMES = ["first", "second", "steady", "group"]


def with_policy(**policy: Any) -> UseCase:
    case = load("toy")
    parts = {name: getattr(case, name) for name in UseCase.model_fields}
    return UseCase(**parts | {"prediction_log": PredictionLogPolicy(**policy)})


def test_everything_is_logged_unless_the_use_case_says_otherwise() -> None:
    assert load("toy").prediction_log == PredictionLogPolicy(sample_rate=1.0, leave_out=())


@pytest.mark.parametrize("rate", [0, -0.1, 1.01, float("nan"), 10])
def test_a_sample_rate_is_above_zero_and_at_most_one(rate: float) -> None:
    with pytest.raises(ValidationError, match="sample_rate"):
        PredictionLogPolicy(sample_rate=rate)


def test_only_input_columns_can_be_left_out_and_the_error_names_them() -> None:
    with pytest.raises(
        ValidationError,
        match=r"leave_out names \['frist'\], which are not input columns; those are \['first', ",
    ):
        with_policy(leave_out=("frist", "group"))
    assert with_policy(leave_out=("group",), sample_rate=0.5).prediction_log.leave_out == ("group",)


def test_something_must_be_left_to_watch() -> None:
    with pytest.raises(ValidationError, match="names every input column"):
        with_policy(leave_out=tuple(NAMES))


@pytest.mark.parametrize("name", [*sorted(LOG_COLUMNS), "score", "decision"])
def test_an_input_cannot_have_the_name_of_a_column_that_the_log_adds(name: str) -> None:
    case = load("toy")
    parts = {field: getattr(case, field) for field in UseCase.model_fields}
    with pytest.raises(
        ValidationError, match=rf"the prediction log itself uses the column names \['{name}'\]"
    ):
        UseCase(**parts | {"columns": (*case.columns, Column(name=name, kind="number"))})
