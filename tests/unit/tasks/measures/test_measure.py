"""A metric that Laurel does not know goes all the way, once it is registered and measured.

Two of them play that part: one is a mean over rows, the other has to be computed anew."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error
from usecases.toy import toy_rows

from serving.records.contest import Contest
from tasks.contest.decide import judge_rows
from tasks.measures.estimate import estimate
from tasks.measures.measure import measure_again, measure_rows
from tasks.measures.metrics import MEASURES, metrics_of, reweighted, score
from tasks.messages.wording import CATALOGUES, Say
from tasks.models import modelling
from tasks.packages import judging
from tasks.steps import challenger
from usecases.definition import (
    CALIBRATION_ERROR,
    LOG_LOSS,
    METRICS,
    RMSE,
    Gate,
    Guard,
    Metric,
    Promotion,
    UseCase,
)

ERROR = Metric(
    name="absolute_error",
    higher_is_better=False,
    words={"en": "absolute error", "ko": "절대 오차"},
)
ACCURACY = Metric(name="share_right", higher_is_better=True)
ROWS, BLOCKS = 400, 7


def mean_error(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(mean_absolute_error(truth, predicted))


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(accuracy_score(truth, predicted >= 0.5))


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    measures = (
        measure_rows(ERROR, lambda truth, predicted: np.abs(truth - predicted)),
        measure_again(ACCURACY, accuracy),
    )
    for measure in measures:
        monkeypatch.setitem(METRICS, measure.metric.name, measure.metric)
        monkeypatch.setitem(MEASURES["binary"], measure.metric.name, measure)


@pytest.fixture
def own(case: UseCase) -> UseCase:
    """The use case with a gate and a guard of metrics of its own."""
    return UseCase(
        **{
            **dict(case),
            "gate": Gate(metric=ERROR, threshold=0.45),
            "promotion": Promotion(
                guards=(Guard(metric=ACCURACY, tolerance=0.02),),
                slices=("group",),
                suspicious_share=1,
            ),
        }
    )


def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and blocks."""
    chance = np.random.default_rng(0)
    truth = (chance.random(ROWS) < 0.4).astype(int)
    predicted = np.clip(0.3 * truth + 0.7 * chance.random(ROWS), 0, 1)
    return truth, predicted, chance.integers(0, BLOCKS, ROWS)


def test_whatever_is_registered_is_measured() -> None:
    for kind, measures in MEASURES.items():
        assert set(measures) == {
            metric.name for metric in METRICS.values() if kind in metric.targets
        }
        assert all(METRICS[name] == measure.metric for name, measure in measures.items())


@pytest.mark.parametrize("metric", [ERROR, ACCURACY], ids=lambda metric: metric.name)
def test_reweighted_blocks_score_as_their_repeated_rows_do(metric: Metric) -> None:
    truth, predicted, block = sample()
    by_hand = mean_error if metric == ERROR else accuracy
    counts = np.random.default_rng(1).multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=20)
    expected = []
    for times in counts:
        rows = np.repeat(np.arange(ROWS), times[block])
        expected.append(by_hand(truth[rows], predicted[rows]))
    scores = reweighted(metric, truth, predicted, block, BLOCKS)(counts.astype(float))
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-12)
    assert score(metric, truth, predicted) == pytest.approx(by_hand(truth, predicted))


def test_both_ways_of_measuring_are_alike() -> None:
    truth, predicted, block = sample()
    counts = np.random.default_rng(1).multinomial(BLOCKS, np.full(BLOCKS, 1 / BLOCKS), size=20)
    again = measure_again(ERROR, mean_error).reweight(truth, predicted, block, BLOCKS)
    np.testing.assert_allclose(
        again(counts.astype(float)), reweighted(ERROR, truth, predicted, block, BLOCKS)(counts)
    )


@pytest.mark.parametrize("metric", [ERROR, ACCURACY], ids=lambda metric: metric.name)
def test_no_rows_and_no_number_have_no_score(metric: Metric) -> None:
    assert np.isnan(score(metric, np.array([], dtype=int), np.array([])))
    assert np.isnan(score(metric, np.array([0, 1]), np.array([0.5, np.nan])))
    scores = reweighted(metric, np.array([0, 1]), np.array([0.2, 0.9]), np.array([0, 0]), 2)
    assert np.isnan(scores(np.array([[0.0, 2.0]]))[0]), "a replicate without rows"


def test_a_mean_over_rows_has_an_expectation_before_labels_come() -> None:
    chance = np.random.default_rng(2)
    chances = chance.random(200_000)
    truth = (chance.random(200_000) < chances).astype(int)
    expected = score(ERROR, truth, chances)
    assert estimate(ERROR, chances, chances) == pytest.approx(expected, abs=0.005)
    assert np.isnan(estimate(ACCURACY, chances, chances))
    assert np.isnan(estimate(CALIBRATION_ERROR, chances, chances))


def test_a_registered_metric_that_nothing_measures_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(MEASURES["binary"], ACCURACY.name)
    with pytest.raises(LookupError, match="Nothing measures 'share_right'.*tasks/measures"):
        score(ACCURACY, *sample()[:2])


def test_a_use_case_is_measured_by_its_own_metrics_and_by_what_always_is(own: UseCase) -> None:
    assert metrics_of(own) == [ERROR, ACCURACY, LOG_LOSS]


def test_metric_of_another_kind_of_target_is_refused_with_those_that_fit(own: UseCase) -> None:
    of_numbers = Gate(metric=RMSE, threshold=0.5)
    with pytest.raises(
        ValueError, match=r"\['rmse'\] cannot judge 'won', which is a Binary.*ROC_AUC"
    ):
        UseCase(**{**dict(own), "gate": of_numbers})


def test_candidates_are_evaluated_by_it(own: UseCase) -> None:
    training, holdout = toy_rows("2024-01"), toy_rows("2024-02")
    fitted = modelling.fit(own, own.candidate("boosting"), {"max_iter": 20}, training, seed=1)
    truth, predicted = modelling.labels(own, holdout), modelling.predict(fitted, own, holdout)
    scores = judging.score_holdout(own, fitted, holdout)
    assert scores == {
        "absolute_error": pytest.approx(mean_error(truth, predicted)),
        "share_right": pytest.approx(accuracy(truth, predicted)),
        "log_loss": score(LOG_LOSS, truth, predicted),
    }
    assert own.gate.passes(scores["absolute_error"])
    bounds = judging.judge_holdout(own, fitted, "2024-02", holdout, seed=1).intervals
    for name in ("absolute_error", "share_right"):
        low, high = bounds[name]
        assert low < scores[name] < high
    pictures = challenger.draw(own, fitted, holdout, seed=1)
    label = pictures["plots/importance.png"].axes[0].get_xlabel()
    assert label == "absolute error lost when the column is shuffled"


def contest(own: UseCase, challenger: np.ndarray, champion: np.ndarray) -> Contest:
    return judge_rows(own, toy_rows("2024-02"), champion, challenger, seed=1)


def answers(right: float, sure: float) -> np.ndarray:
    """Scores that lie on the label's side of one half in a share ``right`` of the rows, and are
    ``sure`` of it.
    """
    truth = toy_rows("2024-02")["won"].to_numpy()
    wrong = np.random.default_rng(3).random(len(truth)) > right
    return np.where((truth == 1) ^ wrong, 0.5 + sure / 2, 0.5 - sure / 2)


def test_a_contest_is_won_by_it(own: UseCase) -> None:
    verdict = contest(own, answers(0.9, 0.6), answers(0.7, 0.6))
    assert (verdict.verdict, verdict.main.metric) == ("promote", "absolute_error")
    assert verdict.main.gain == pytest.approx(verdict.main.champion - verdict.main.challenger)  # type: ignore[operator]
    assert [guard.metric for guard in verdict.guards] == ["share_right"]
    assert verdict.guards[0].gain == pytest.approx(0.2, abs=0.03)
    assert {slice.metric for slice in verdict.slices.values()} <= {"absolute_error"}


def test_its_guard_keeps_a_champion_whom_the_gate_s_metric_alone_would_depose(
    own: UseCase,
) -> None:
    """Surer and more often wrong: the absolute error falls, and so does the accuracy."""
    verdict = contest(own, answers(0.8, 0.9), answers(0.9, 0.1))
    assert verdict.main.low is not None and verdict.main.low > 0
    assert verdict.verdict == "keep"
    assert any("share right may get worse" in reason for reason in verdict.reasons)


@pytest.mark.slow("fits and packages models")
def test_its_perfect_score_is_no_leak_unless_it_says_so(
    own: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    perfect = (answers(1.0, 1.0), answers(0.9, 0.9))
    by_accuracy = own.model_copy(update={"gate": Gate(metric=ACCURACY, threshold=0.5)})
    assert contest(by_accuracy, *perfect).verdict == "promote"
    wary = ACCURACY.model_copy(update={"near_perfect_is_suspicious": True})
    monkeypatch.setitem(METRICS, wary.name, wary)
    by_accuracy = own.model_copy(update={"gate": Gate(metric=wary, threshold=0.5)})
    assert contest(by_accuracy, *perfect).verdict == "suspicious"


def test_it_has_its_own_words_in_messages() -> None:
    assert [Say(language).metric(ERROR.name) for language in CATALOGUES] == [
        "absolute error",
        "절대 오차",
    ]
    assert Say("ko").metric(ACCURACY.name) == "share right"
