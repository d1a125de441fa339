"""Average precision, the losses of quantiles and claims, and metrics of a use case's own."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks.measures.influence import influence
from tasks.measures.intervals import intervals
from tasks.measures.metrics import reweighted, score
from tasks.outside.user_code import UseCaseFailed
from usecases.definition import (
    AVERAGE_PRECISION,
    Candidate,
    Column,
    FileSource,
    Gate,
    Metric,
    Number,
    UseCase,
    pinball,
    tweedie_deviance,
)

ROWS, BLOCKS = 2000, 10
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def binary() -> Arrays:
    chance = np.random.default_rng(1)
    predicted = chance.random(ROWS).round(2)
    truth = (chance.random(ROWS) < predicted**2).astype(int)
    return truth, predicted, chance.integers(0, BLOCKS, ROWS)


def own(function: Callable[..., Any], **fields: Any) -> Metric:
    return Metric(
        **{
            "name": "cost",
            "higher_is_better": False,
            "highest": math.inf,
            "function": function,
            **fields,
        }
    )


def test_average_precision_is_that_of_scikit_learn_for_each_weight(binary: Arrays) -> None:
    from sklearn.metrics import average_precision_score

    truth, predicted, block = binary
    counts = np.random.default_rng(2).multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=20)
    expected = [
        average_precision_score(truth, predicted, sample_weight=times[block]) for times in counts
    ]
    measured = reweighted(AVERAGE_PRECISION, truth, predicted, block, BLOCKS)(counts)
    np.testing.assert_allclose(measured, expected, atol=1e-12)
    assert math.isnan(score(AVERAGE_PRECISION, np.zeros(3, dtype=int), np.arange(3) / 3))
    assert math.isnan(score(AVERAGE_PRECISION, truth[:0], predicted[:0]))


def test_average_precision_has_an_interval_by_days(binary: Arrays) -> None:
    truth, predicted, block = binary
    days = np.array("2024-01-01", dtype="datetime64[D]") + block
    bounds = intervals([AVERAGE_PRECISION], truth, predicted, days, seed=0)["average_precision"]
    assert bounds.bounds is not None and bounds.value is not None
    assert bounds.bounds[0] < bounds.value < bounds.bounds[1]


@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_pinball_is_that_of_scikit_learn(level: float) -> None:
    from sklearn.metrics import mean_pinball_loss

    chance = np.random.default_rng(3)
    truth, predicted = chance.normal(0, 5, ROWS), chance.normal(0, 5, ROWS)
    expected = mean_pinball_loss(truth, predicted, alpha=level)
    assert score(pinball(level), truth, predicted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("power", [1.1, 1.5, 1.9])
def test_tweedie_deviance_is_that_of_scikit_learn(power: float) -> None:
    from sklearn.metrics import mean_tweedie_deviance

    chance = np.random.default_rng(4)
    truth = np.where(chance.random(ROWS) < 0.6, 0, chance.gamma(2, 3, ROWS))
    predicted = chance.gamma(2, 2, ROWS) + 0.01
    expected = mean_tweedie_deviance(truth, predicted, power=power)
    assert score(tweedie_deviance(power), truth, predicted) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "argument"), [(pinball, 0), (pinball, 1), (tweedie_deviance, 1), (tweedie_deviance, 2)]
)
def test_impossible_parameters(make: Callable[[float], Metric], argument: float) -> None:
    with pytest.raises(ValueError, match="lies between"):
        make(argument)


def test_metric_of_each_row_and_the_same_of_all_rows_agree(binary: Arrays) -> None:
    def cost(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return np.where(truth == 1, 5 * (predicted < 0.5), predicted >= 0.5)

    truth, predicted, block = binary
    by_row = own(cost)
    of_all = own(lambda truth, predicted: float(cost(truth, predicted).mean()), by_row=False)
    assert score(by_row, truth, predicted) == pytest.approx(cost(truth, predicted).mean())
    assert score(by_row, truth, predicted) == score(of_all, truth, predicted)
    first, second = (influence(one, truth, predicted, block, BLOCKS) for one in (by_row, of_all))
    np.testing.assert_allclose(first.by_block, second.by_block, atol=2e-3)
    assert first.is_known and second.is_known


def test_metric_of_classes_gets_places_by_which_it_can_index() -> None:
    def chance_of_truth(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        return predicted[np.arange(len(truth)), truth]

    predicted = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    metric = own(chance_of_truth, targets=("classes",), higher_is_better=True)
    assert score(metric, np.array([1, 2]), predicted) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("function", "fields", "message"),
    [
        (lambda truth, predicted: 1.0, {}, "returned .*must return one number for each row"),
        (lambda truth, predicted: truth[:-1], {}, "must return one number for each row"),
        (lambda truth, predicted: truth, {"by_row": False}, "must return one number"),
        (lambda truth, predicted: None, {"by_row": False}, "must return one number"),
        (lambda truth: truth, {}, "'cost': its function failed.*TypeError"),
    ],
)
def test_function_with_another_answer_is_named(
    binary: Arrays, function: Callable[..., Any], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UseCaseFailed, match=message):
        score(own(function, **fields), *binary[:2])


def test_unknown_score_of_a_row_is_an_unknown_score(binary: Arrays) -> None:
    metric = own(lambda truth, predicted: np.where(predicted > 0.99, np.nan, 1.0))
    assert math.isnan(score(metric, *binary[:2]))
    assert not Gate(metric=metric, threshold=2).passes(score(metric, *binary[:2]))


@pytest.mark.parametrize(
    ("name", "message"),
    [("roc_auc", "is a metric of Laurel's"), ("Cost €", "is no name of a metric")],
)
def test_name_of_an_own_metric(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gate(metric=own(lambda truth, predicted: truth, name=name), threshold=1)


def test_own_metric_judges_the_targets_that_it_names() -> None:
    fields: dict[str, Any] = {
        "name": "delay",
        "title": "Delay",
        "question": "How late?",
        "source": FileSource(path="delays.csv"),
        "columns": (Column(name="distance", kind="number"),),
        "target": Number(label="minutes"),
        "event_time": "at",
        "key": ("id",),
        "candidates": (Candidate(name="none", build=lambda params, layout, seed: None),),
    }
    assert UseCase(**fields, gate=Gate(metric=pinball(0.9), threshold=5)).gate.metric.name
    with pytest.raises(ValueError, match=r"\['cost'\] cannot judge 'minutes'"):
        metric = own(lambda truth, predicted: truth)
        UseCase(**fields, gate=Gate(metric=metric, threshold=5))


def test_metric_without_a_function_needs_a_known_name() -> None:
    with pytest.raises(ValueError, match="no metric is named 'cost'.*needs a function"):
        Gate(metric=Metric(name="cost", higher_is_better=False), threshold=0.5)
