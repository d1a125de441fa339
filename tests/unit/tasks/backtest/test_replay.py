"""The backtest replays what the loop would have done: a toy whose world changes for good in May."""

import numpy as np
import polars as pl
import pytest

from tasks.backtest.fits import History
from tasks.backtest.replay import POLICY, Backtest, first_champion, replay, run, with_policy
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import ROC_AUC, SCORE, Gate, UseCase, UseCaseError, load

START = "2024-03"
PERIODS = ["2024-04", "2024-05", "2024-06", "2024-07", "2024-08"]


def history(case: UseCase, last: int = 8) -> History:
    return History(
        case, {period: case.source.read(period) for period in case.source.periods()[:last]}, seed=0
    )  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def case() -> UseCase:
    """The toy with one recipe and no search, so that a replay takes seconds. In May the gain is as
    large as refits of that recipe differ, so they are left out."""
    toy = load("toy")
    boosting = next(candidate for candidate in toy.candidates if candidate.name == "boosting")
    fitted_always = boosting.model_copy(update={"baseline": True, "search": None})
    return toy.model_copy(
        update={
            "candidates": (fitted_always,),
            "gate": Gate(metric=ROC_AUC, threshold=0.6),
            "promotion": toy.promotion.model_copy(update={"refits": 0}),
        }
    )


@pytest.fixture(scope="module")
def backtest(case: UseCase, one_thread: None) -> Backtest:
    return run(case, history(case), START, "test", {})


def outcomes(backtest: Backtest, strategy: str) -> dict[str, str]:
    return {month.period: month.outcome for month in backtest.replays[strategy].periods}


@pytest.mark.slow("replays months of contests")
def test_the_policy_retrains_when_the_world_changed_and_not_before(backtest: Backtest) -> None:
    assert outcomes(backtest, "policy") == dict(
        zip(PERIODS, ["quiet", "promoted", "quiet", "quiet", "quiet"], strict=True)
    )
    drift = {month.period: month.drift for month in backtest.replays["policy"].periods}
    assert drift["2024-04"] == "stable" and drift["2024-05"] == "drifted"


def test_never_does_nothing_and_monthly_retrains_each_month(backtest: Backtest) -> None:
    assert set(outcomes(backtest, "never").values()) == {"quiet"}
    assert backtest.replays["never"].fit_seconds == 0
    assert backtest.replays["monthly"].retrains == 5
    assert backtest.replays["monthly"].fit_seconds > backtest.replays["policy"].fit_seconds > 0


def test_the_gain_is_that_of_the_champions_of_the_moment_on_all_rows(
    case: UseCase, backtest: Backtest
) -> None:
    policy, never = backtest.replays["policy"], backtest.replays["never"]
    assert policy.pooled is not None and never.pooled is not None
    gain = backtest.gains["never"]
    assert gain.gain == pytest.approx(policy.pooled - never.pooled)
    assert gain.low is not None and gain.low > 0
    assert gain.rows == sum(month.rows for month in policy.periods)


def test_a_month_is_answered_by_who_was_champion_before_its_labels_came(
    case: UseCase, backtest: Backtest
) -> None:
    """May promotes, but the first champion still scored May: no strategy profits from rows it
    judged on."""
    past = history(case)
    first = first_champion(case, past, START)
    rows = past.labelled("2024-05")
    expected = score(
        case.gate.metric, modelling.labels(case, rows), modelling.predict(first.fitted, case, rows)
    )
    for strategy in ("policy", "never", "monthly"):
        may = next(
            month for month in backtest.replays[strategy].periods if month.period == "2024-05"
        )
        assert may.score == pytest.approx(expected) or strategy == "monthly"
    assert first.trained_on == ("2024-01", "2024-02", "2024-03")


@pytest.mark.slow("replays months of contests")
@pytest.mark.nightly("months of a loop")
def test_another_policy_gives_another_history(case: UseCase, one_thread: None) -> None:
    deaf = with_policy(
        case,
        {
            "drift": {
                "share": 1.0,
                "thresholds": dict.fromkeys([*(c.name for c in case.columns), SCORE], 1e6),
            }
        },
    )
    backtest = run(deaf, history(deaf, 6), START, "test", {"drift": {"share": 1.0}})
    assert backtest.replays["policy"].retrains == 0
    assert backtest.policy["drift"]["share"] == 1.0


@pytest.mark.slow("replays months of contests")
def test_the_governor_refuses_in_a_replay_as_it_does_in_life(
    case: UseCase, one_thread: None
) -> None:
    slow = with_policy(
        case,
        {
            "retrain": {"cooldown_hours": 24 * 365},
            "drift": {"share": 1e-6, "thresholds": {"first": 1e-9}},
        },
    )
    past = history(slow, 6)
    policy, _ = replay(slow, past, first_champion(slow, past, START), POLICY, past.after(START))
    assert policy.periods[0].outcome in ("promoted", "kept", "below the gate")
    assert [month.outcome for month in policy.periods[1:]] == ["refused", "refused"]
    assert "the next may start 8760 h after it" in " ".join(policy.periods[1].reasons)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"drifts": {"share": 0.2}}, "no part 'drifts'"),
        ({"drift": {"shares": 0.2}}, "shares"),
        ({"retrain": {"runs_per_day": 0}}, "runs_per_day"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_name(
    case: UseCase, changed: dict, message: str
) -> None:
    with pytest.raises(UseCaseError, match=message):
        with_policy(case, changed)


@pytest.mark.parametrize("start", ["2024-01", "2024-08", "2023-12"])
def test_a_start_without_a_past_or_a_future_is_refused(case: UseCase, start: str) -> None:
    with pytest.raises(ValueError, match="needs a period before its start"):
        run(case, history(case), start, "test", {})


def test_a_history_in_which_nobody_passes_the_gate_is_refused(
    case: UseCase, one_thread: None
) -> None:
    noise = {}
    for period in ("2024-01", "2024-02", "2024-03"):
        rows = case.source.read(period)  # type: ignore[union-attr]
        labels = np.random.default_rng(3).integers(0, 2, len(rows))
        noise[period] = rows.with_columns(pl.Series(case.label, labels, dtype=pl.Int8))
    with pytest.raises(ValueError, match="No candidate passes the gate"):
        run(case, History(case, noise, seed=0), "2024-02", "test", {})
