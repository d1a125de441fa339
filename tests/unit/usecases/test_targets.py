"""What a use case may predict, and what is refused when its file is loaded."""

from typing import Any

import pytest
from pydantic import ValidationError
from usecases.toy import USE_CASE as TOY
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_number import USE_CASE as PRICE

from usecases.definition import (
    LOG_LOSS,
    RMSE,
    ROC_AUC,
    Binary,
    Classes,
    Direction,
    Gate,
    Guard,
    Invariance,
    MinimumFunction,
    Number,
    UseCase,
)


def changed(case: UseCase, **fields: Any) -> UseCase:
    return UseCase(**{**dict(case), **fields})


def without_target(case: UseCase) -> dict[str, Any]:
    return {name: value for name, value in dict(case).items() if name != "target"}


def test_label_is_short_for_a_yes_or_no() -> None:
    fields = {"label": "won", "decision_threshold": 0.3}
    short = UseCase(**{**without_target(TOY), **fields})
    assert short.target == Binary(label="won", decision_threshold=0.3)
    assert (short.label, short.decision_threshold) == ("won", 0.3)
    assert (PRICE.decision_threshold, WEATHER.decision_threshold) == (None, None)


def test_label_beside_a_target_is_refused() -> None:
    with pytest.raises(ValidationError, match="label beside target: they belong to the target"):
        UseCase(**{**dict(TOY), "label": "won"})
    with pytest.raises(ValidationError, match="decision_threshold beside target"):
        UseCase(**{**dict(PRICE), "decision_threshold": 0.5})


def test_use_case_without_a_label_is_refused() -> None:
    with pytest.raises(ValidationError, match="target"):
        UseCase(**without_target(TOY))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("no", "yes")}, r"Binary\(label=..., positive='yes'\)"),
        ({"classes": ("a", "b", "a")}, r"classes named twice: \['a'\]"),
        ({"classes": ("a", "b", "")}, "a name is empty"),
        ({"classes": ("a", "b", '6" pipe')}, "quotation mark.*rename it in the source"),
        ({"classes": ("a", "b", "c\\d")}, "backslash"),
        ({"classes": ("a", "b", "c\n")}, "control character"),
        ({"classes": tuple(map(str, range(10_000)))}, "at most 200"),
    ],
)
def test_impossible_classes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Classes(label="kind", **fields)


def test_number_without_room_is_refused() -> None:
    with pytest.raises(ValidationError, match="low is 5 and high is 5: low comes first"):
        Number(label="price", low=5, high=5)
    with pytest.raises(ValidationError, match="coverage"):
        Number(label="price", coverage=1.0)


@pytest.mark.parametrize(
    ("case", "metric", "others"),
    [
        (TOY, RMSE, "ROC_AUC, LOG_LOSS, BRIER"),
        (PRICE, ROC_AUC, "RMSE, MAE"),
        (WEATHER, RMSE, "ACC"),
    ],
    ids=["binary", "number", "classes"],
)
def test_metric_of_another_target_is_refused_with_those_that_fit(
    case: UseCase, metric: Any, others: str
) -> None:
    with pytest.raises(ValidationError, match=f"cannot judge.*choose from .*{others}"):
        changed(case, gate=Gate(metric=metric, threshold=0.9))
    guarded = case.promotion.model_copy(update={"guards": (Guard(metric=metric, tolerance=1),)})
    with pytest.raises(ValidationError, match="cannot judge"):
        changed(case, promotion=guarded)


@pytest.mark.parametrize(
    ("case", "behaviour", "message"),
    [
        (
            WEATHER,
            MinimumFunction(name="x", rows=({"pressure": 1.0, "place": "hill"},), low=0.5),
            "of= must name the class",
        ),
        (WEATHER, Direction(name="x", column="wind", moves="up", add=1, of="hail"), "is no class"),
        (
            WEATHER,
            Invariance(name="x", column="place", to=("hill",), tolerance=3),
            "tolerance is 3, and a probability lies in 0-1",
        ),
        (PRICE, Direction(name="x", column="size", moves="up", add=1, of="south"), "has none"),
        (TOY, Direction(name="x", column="first", moves="up", add=1, mean=5), "mean is 5"),
    ],
)
def test_behaviour_that_does_not_fit_the_target_is_refused(
    case: UseCase, behaviour: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        changed(case, behaviours=(behaviour,))


def test_input_with_the_name_of_an_output_is_refused() -> None:
    for case, name in ((PRICE, "value"), (PRICE, "score"), (WEATHER, "score_storm")):
        column = case.columns[0].model_copy(update={"name": name})
        with pytest.raises(
            ValidationError, match="the prediction log itself uses the column names"
        ):
            changed(case, columns=(column, *case.columns[1:]), behaviours=())


def test_log_loss_judges_classes_as_it_does_a_yes_or_no() -> None:
    assert changed(WEATHER, gate=Gate(metric=LOG_LOSS, threshold=0.4)).gate.passes(0.3)
