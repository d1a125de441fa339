"""A sample of the training rows, and the weights by which it stands for all of them."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from tasks.data import frames
from tasks.data.dataset import DatasetVersion, write_period, write_version
from tasks.data.sampling import draw_rows, even_rows
from tasks.data.validation import Validated
from tasks.models import modelling
from usecases.definition import Sample, UseCase, load
from usecases.definition.sampling import WEIGHT

COUNTS = {"2024-01": 6000, "2024-02": 3000, "2024-03": 9000}
PERIODS = [*COUNTS]
RARE = 0.03


def rows_of(period: str, count: int) -> pl.DataFrame:
    """``won`` is rare, and ``first`` tells something of it."""
    chance = np.random.default_rng([int(period[-2:]), count])
    first = chance.normal(size=count)
    won = chance.random(count) < RARE * np.exp(first - 0.5)
    start = datetime.fromisoformat(f"{period}-01")
    return pl.DataFrame(
        {
            "id": [f"{period}-{row}" for row in range(count)],
            "at": [start + timedelta(minutes=row) for row in range(count)],
            "first": first,
            "second": chance.normal(size=count),
            "steady": np.full(count, 5.0),
            "group": chance.choice(["a", "b", "c"], count),
            "won": pl.Series(won.astype(int)).set(pl.Series(chance.random(count) < 0.01), None),
        }
    )


def sampled(by: Any, rows: int = 2000) -> UseCase:
    return TOY.model_copy(update={"sample": Sample(rows=rows, by=by)})


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    frames._kept.clear()
    return Lake(url=f"file://{tmp_path}", credentials=None)


@pytest.fixture
def dataset(lake: Lake) -> DatasetVersion:
    files = []
    for period, count in COUNTS.items():
        rows = rows_of(period, count).select(
            [*TOY.key, TOY.event_time, *TOY.column_names, TOY.label]
        )
        bad = rows.clear().with_columns(pl.lit("").alias("quarantine_reason"))
        files.append(write_period(lake, TOY, period, Validated(rows, bad)))
    return write_version(lake, TOY, files)[0]


@pytest.mark.parametrize("by", [None, "class", "period"])
def test_weights_of_a_sample_add_up_to_all_rows(
    lake: Lake, dataset: DatasetVersion, by: Any
) -> None:
    case = sampled(by)
    drawn = draw_rows(lake, dataset, PERIODS, case, seed=0)
    labelled = {file.period: file.labelled for file in dataset.periods}
    assert abs(len(drawn.rows) - 2000) <= 6 and drawn.whole == sum(labelled.values())
    by_period = drawn.rows.group_by(case.period_of_rows.alias("period")).agg(pl.col(WEIGHT).sum())
    assert dict(by_period.iter_rows()) == pytest.approx(labelled)
    assert drawn.rows[case.event_time].is_sorted()
    assert f"{len(drawn.rows):,} of {drawn.whole:,} labelled rows" in drawn.how


def test_a_rare_class_is_whole_and_each_row_of_it_stands_for_itself(
    lake: Lake, dataset: DatasetVersion
) -> None:
    whole = pl.concat([rows_of(*item) for item in COUNTS.items()])
    drawn = draw_rows(lake, dataset, PERIODS, sampled("class"), seed=0).rows
    assert (drawn["won"] == 1).sum() == (whole["won"] == 1).sum()
    assert drawn.filter(pl.col("won") == 1)[WEIGHT].unique().to_list() == [1.0]
    assert drawn.filter(pl.col("won") == 0)[WEIGHT].min() > 5


def test_each_period_gets_as_many_rows(lake: Lake, dataset: DatasetVersion) -> None:
    case = sampled("period")
    drawn = draw_rows(lake, dataset, PERIODS, case, seed=0).rows
    sizes = drawn.select(case.period_of_rows.alias("period")).to_series().value_counts()["count"]
    assert sizes.max() - sizes.min() <= 1


def test_the_same_seed_and_files_give_the_same_rows_and_others_do_not(
    lake: Lake, dataset: DatasetVersion
) -> None:
    def drawn(seed: int, periods: list[str] = PERIODS) -> pl.DataFrame:
        frames._kept.clear()
        return draw_rows(lake, dataset, periods, sampled(None), seed).rows

    assert drawn(0).equals(drawn(0))
    assert not drawn(0).equals(drawn(1))


def test_fewer_rows_than_the_sample_has_are_all_learned(
    lake: Lake, dataset: DatasetVersion
) -> None:
    drawn = draw_rows(lake, dataset, PERIODS, sampled("class", rows=100_000), seed=0)
    assert (len(drawn.rows), drawn.how) == (drawn.whole, "")
    assert WEIGHT not in drawn.rows.columns


def test_no_more_than_a_period_is_read_at_once(
    lake: Lake, dataset: DatasetVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.data import sampling

    asked: list[int] = []
    read = sampling.read_periods

    def counted(lake: Lake, dataset: DatasetVersion, periods: Any, *label: str) -> pl.DataFrame:
        asked.append(len(periods))
        return read(lake, dataset, periods, *label)

    monkeypatch.setattr(sampling, "read_periods", counted)
    draw_rows(lake, dataset, PERIODS, sampled("class"), seed=0)
    assert {*asked} == {1}


def logistic(params: Any, layout: Any, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression())


def test_a_fit_on_a_sample_by_class_says_how_often_the_rare_class_is(
    lake: Lake, dataset: DatasetVersion
) -> None:
    """Half of the sampled rows won, and three in a hundred of all."""
    (recipe,) = [TOY.candidates[0].model_copy(update={"build": logistic, "params": {}})]
    case = sampled("class").model_copy(update={"candidates": (recipe,)})
    whole = pl.concat([rows_of(*item) for item in COUNTS.items()]).drop_nulls("won")
    drawn = draw_rows(lake, dataset, PERIODS, case, seed=0).rows
    truth = float(whole["won"].mean())  # type: ignore[arg-type]
    fitted = modelling.fit(case, recipe, {}, drawn, seed=0)
    all_rows = modelling.fit(case, recipe, {}, whole, seed=0)
    answers = modelling.predict(fitted, case, whole)
    assert answers.mean() == pytest.approx(truth, rel=0.08)
    for low, high in ((0, 50), (50, 90), (90, 100)):
        edges = np.percentile(whole["first"], [low, high])
        inside = whole["first"].is_between(*edges).to_numpy()
        there = modelling.predict(all_rows, case, whole)[inside].mean()
        assert answers[inside].mean() == pytest.approx(there, rel=0.12)
    unweighted = modelling.fit(case, recipe, {}, drawn.drop(WEIGHT), seed=0)
    assert modelling.predict(unweighted, case, whole).mean() > 5 * truth


def test_thinned_by_their_weights_the_rows_are_as_all_of_them(
    lake: Lake, dataset: DatasetVersion
) -> None:
    whole = pl.concat([rows_of(*item) for item in COUNTS.items()]).drop_nulls("won")
    drawn = draw_rows(lake, dataset, PERIODS, sampled("class"), seed=0).rows
    even, stands_for = even_rows(drawn, seed=0)
    assert WEIGHT not in even.columns
    assert len(even) * stands_for == pytest.approx(len(whole), rel=0.1)
    assert even["won"].mean() == pytest.approx(whole["won"].mean(), rel=0.5)
    assert even_rows(whole, seed=0) == (whole, 1.0) or even_rows(whole, 0)[0] is whole


def test_model_that_takes_no_weights_is_refused_where_rows_need_them() -> None:
    from tasks.outside.user_code import UseCaseFailed

    def neighbours(params: Any, layout: Any, seed: int) -> Any:
        from sklearn.neighbors import KNeighborsClassifier

        return KNeighborsClassifier()

    recipe = TOY.candidates[0].model_copy(update={"build": neighbours, "params": {}})
    with pytest.raises(UseCaseFailed, match="by which sample weighs rows"):
        modelling.build(sampled("class"), recipe, {}, 0)
    modelling.build(sampled(None), recipe, {}, 0)


def test_sample_that_cannot_be_drawn_is_refused() -> None:
    by_class = {"sample": Sample(rows=2000, by="class")}
    with pytest.raises(ValidationError, match="sample is by class, and .* is a number"):
        UseCase(**dict(load("toy_number")) | by_class)
    with pytest.raises(ValidationError, match="minimum_training_rows is 5000"):
        UseCase(**dict(TOY) | by_class | {"minimum_training_rows": 5000})
