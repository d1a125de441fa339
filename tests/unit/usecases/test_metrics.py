"""Metrics are found by their name: an unknown one is answered with those that there are."""

import math

import pytest
from pydantic import ValidationError

from usecases.definition import METRICS, ROC_AUC, Gate, Guard, Metric, Promotion

ERROR = Metric(name="mean_absolute_error", higher_is_better=False, words={"en": "absolute error"})


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Metric:
    monkeypatch.setitem(METRICS, ERROR.name, ERROR)
    return ERROR


@pytest.mark.parametrize(
    ("name", "hint"),
    [("roc_acu", "; did you mean ROC_AUC?"), ("mean_squared_error", "MEDIAN_ABSOLUTE_ERROR")],
)
def test_an_unknown_name_is_refused_with_the_known_ones_and_the_nearest(
    name: str, hint: str
) -> None:
    metric = Metric(name=name, higher_is_better=True)
    names = "there are ROC_AUC, LOG_LOSS, BRIER, CALIBRATION_ERROR, ACCURACY"
    for refused in (
        lambda: Gate(metric=metric, threshold=0.5),
        lambda: Guard(metric=metric, tolerance=0.1),
    ):
        with pytest.raises(ValidationError) as error:
            refused()
        assert f"no metric is named {name!r}; {names}" in str(error.value)
        assert hint in str(error.value)


def test_a_metric_of_one_s_own_is_a_gate_and_a_guard_once_it_is_registered(
    registered: Metric,
) -> None:
    gate = Gate(metric=registered, threshold=0.3)
    assert (gate.passes(0.3), gate.passes(0.31)) == (True, False)
    assert Guard(metric=registered, tolerance=0.1).metric == registered
    with pytest.raises(ValidationError, match="a lower mean_absolute_error is better"):
        Gate(metric=Metric(name=registered.name, higher_is_better=True), threshold=0.3)


def test_a_metric_that_is_written_out_is_the_registered_one() -> None:
    """Its bounds and words come with it."""
    metric = Metric(name="roc_auc", higher_is_better=True)
    assert Gate(metric=metric, threshold=0.7).metric == ROC_AUC


def test_a_gate_lies_within_the_bounds_of_its_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    explained = Metric(name="r_squared", higher_is_better=True, lowest=-math.inf)
    monkeypatch.setitem(METRICS, explained.name, explained)
    assert Gate(metric=explained, threshold=-0.5).passes(-0.4)
    with pytest.raises(ValidationError, match="r_squared lies between -inf and 1"):
        Gate(metric=explained, threshold=1.5)


def test_only_a_metric_that_says_so_is_too_good_near_perfection() -> None:
    policy = Promotion(suspicious_score=0.97)
    assert policy.too_good(ROC_AUC, 0.98)
    assert not policy.too_good(ROC_AUC, 0.97)
    assert not policy.too_good(ROC_AUC, float("nan"))
    assert not any(
        policy.too_good(METRICS[name], 0.98) for name in METRICS if name not in ("roc_auc", "r2")
    )


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_words_in_every_language(name: str, language: str) -> None:
    assert METRICS[name].words[language].strip()
