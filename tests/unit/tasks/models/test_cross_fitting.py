"""Scores of rows that a model has not learned, and what it uses."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.pipeline import Pipeline
from usecases.toy import toy_rows

from tasks.measures.metrics import score
from tasks.models import cross_fitting
from tasks.models.cross_fitting import Judged, cross_fit
from tasks.models.modelling import fit, labels, predict
from usecases.definition import ROC_AUC, UseCase

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow("fits dozens of models")]
# Deep and unregularised: it learns its training rows nearly by heart.
BY_HEART: dict[str, Any] = {
    "max_iter": 150,
    "min_samples_leaf": 2,
    "max_leaf_nodes": 63,
    "learning_rate": 0.3,
}


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([toy_rows(f"2024-0{month}", 30) for month in (1, 2, 3)])


@pytest.fixture(scope="module")
def fitted(case: UseCase, training: pl.DataFrame) -> Pipeline:
    return fit(case, case.candidate("boosting"), BY_HEART, training, 7)


def test_the_scores_are_those_of_models_that_have_not_seen_the_rows(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline
) -> None:
    """As good as on a new month, where the model's own scores of its training rows are nearly
    perfect.
    """
    unseen = cross_fit(case, fitted, training, 7).answers
    new = toy_rows("2024-04")
    auc = {
        "own": score(ROC_AUC, labels(case, training), predict(fitted, case, training)),
        "unseen": score(ROC_AUC, labels(case, training), unseen.to_numpy()),
        "new": score(ROC_AUC, labels(case, new), predict(fitted, case, new)),
    }
    assert (
        auc["own"] > 0.999
        and auc["unseen"] == pytest.approx(auc["new"], abs=0.03)
        and auc["unseen"] < 0.98
    )
    assert unseen.null_count() == 0


def test_a_row_s_own_label_does_not_reach_its_score(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline
) -> None:
    march = pl.col("at").dt.month() == 3
    flipped = training.with_columns(won=pl.when(march).then(1 - pl.col("won")).otherwise("won"))
    before, after = (cross_fit(case, fitted, rows, 7).answers for rows in (training, flipped))
    is_march = training.select(march).to_series()
    assert before.filter(is_march).equals(after.filter(is_march))
    assert not before.filter(~is_march).equals(after.filter(~is_march))


def test_what_the_model_uses_sums_to_one_and_what_it_cannot_use_is_nearly_nothing(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline
) -> None:
    used = cross_fit(case, fitted, training, 7).importance
    assert (
        set(used) == set(case.column_names)
        and sum(used.values()) == pytest.approx(1)
        and min(used.values()) >= 0
    )
    assert used["first"] + used["second"] > 0.9 and used["steady"] < 0.05


def test_a_column_of_one_value_weighs_nothing(case: UseCase, training: pl.DataFrame) -> None:
    flat = training.with_columns(steady=pl.lit(5.0))
    assert (
        cross_fit(
            case, fit(case, case.candidate("boosting"), {"max_iter": 20}, flat, 7), flat, 7
        ).importance["steady"]
        == 0
    )


def test_a_single_month_is_cut_in_two_halves(case: UseCase, fitted: Pipeline) -> None:
    result = cross_fit(case, fitted, toy_rows("2024-01"), 7)
    assert result.answers.null_count() == 0 and result.importance["first"] > 0.3


def test_many_months_take_at_most_three_fits(case: UseCase) -> None:
    from tasks.models.cross_fitting import _folds

    months = pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2022, 3, 31), "1d", eager=True)
    fold = _folds(case, pl.DataFrame({"at": months}))
    assert sorted(set(fold.tolist())) == list(range(3)) and (np.diff(fold) >= 0).all()


def test_too_few_rows_to_fit_without_a_month_give_no_scores_and_no_weights(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline
) -> None:
    strict = case.model_copy(update={"minimum_training_rows": len(training)})
    result = cross_fit(strict, fitted, training, 7)
    assert result.answers.null_count() == len(training) and result.importance == {}


def test_the_same_seed_gives_the_same_scores_and_weights(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline
) -> None:
    first, again = (cross_fit(case, fitted, training, 7) for _ in range(2))
    assert first.answers.equals(again.answers) and first.importance == again.importance


@pytest.fixture(scope="module")
def winner(case: UseCase, training: pl.DataFrame) -> Judged:
    """The model that was judged on March, and has not learned it."""
    earlier = training.filter(pl.col("at").dt.month() < 3)
    return Judged(fit(case, case.candidate("boosting"), BY_HEART, earlier, 7), ("2024-03",))


def test_the_winner_s_own_scores_of_its_hold_out_stand_in_for_a_clone(
    case: UseCase,
    training: pl.DataFrame,
    fitted: Pipeline,
    winner: Judged,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = cross_fit(case, fitted, training, 7)
    fits, without = list[int](), cross_fitting._without

    def counted(case: UseCase, fitted: Pipeline, rows: pl.DataFrame, others: np.ndarray) -> Any:
        fits.append(len(others))
        return without(case, fitted, rows, others)

    monkeypatch.setattr(cross_fitting, "_without", counted)
    result = cross_fit(case, fitted, training, 7, winner)
    march = training.select(pl.col("at").dt.month() == 3).to_series()
    assert len(fits) == 2
    own = predict(winner.model, case, training.filter(march))
    np.testing.assert_array_equal(result.answers.filter(march).to_numpy(), own)
    assert result.answers.filter(~march).equals(alone.answers.filter(~march))
    assert result.importance["first"] == pytest.approx(alone.importance["first"], abs=0.1)


def test_a_winner_that_has_learned_a_part_of_each_block_stands_in_for_none(case: UseCase) -> None:
    """Of four months the first block has two, the winner has not learned the second: scores of a
    month are further from those of others where its neighbour is left out as well."""
    months = [toy_rows(f"2024-{month:02d}", 12) for month in range(1, 5)]
    rows, params = pl.concat(months), {"max_iter": 10}
    model = fit(case, case.candidate("boosting"), params, pl.concat([months[0], *months[2:]]), 7)
    fitted = fit(case, case.candidate("boosting"), params, rows, 7)
    judged = Judged(model, ("2024-02",))
    with_it, alone = (cross_fit(case, fitted, rows, 7, some) for some in (judged, None))
    assert with_it.answers.equals(alone.answers) and with_it.importance == alone.importance


def test_a_winner_of_periods_that_are_not_there_stands_in_for_none(
    case: UseCase, training: pl.DataFrame, fitted: Pipeline, winner: Judged
) -> None:
    elsewhere = Judged(winner.model, ("2024-07",))
    result = cross_fit(case, fitted, training, 7, elsewhere)
    assert result.answers.equals(cross_fit(case, fitted, training, 7).answers)
