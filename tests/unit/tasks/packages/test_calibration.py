"""Intervals and sets in hard worlds: calibrated on several windows, as wide as rows are hard,
proven in the package, and honest about too few rows."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from serving.errors import PackageError
from serving.package.manifest import Coverage
from serving.package.model import Package
from serving.package.model import load as load_package
from serving.package.outputs import Output, check_outputs, values_of
from tasks.models import modelling
from tasks.models.cross_fitting import CrossFit, cross_fit
from tasks.packages.calibration import answered
from tasks.packages.judging import judge_holdout
from tasks.packages.packaging import Holdout, Origin, make_package
from usecases.definition import (
    LOG_LOSS,
    RMSE,
    Candidate,
    Classes,
    Column,
    FileSource,
    Gate,
    Number,
    UseCase,
)

ROWS = 1200  # of a month


def boosting(params: dict[str, Any], layout: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    codes = list(layout.categories) if params.get("codes") else None
    return HistGradientBoostingRegressor(
        max_iter=30, categorical_features=codes, early_stopping=False, random_state=seed
    )


def linear(params: dict[str, Any], layout: Any, seed: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def constant(params: dict[str, Any], layout: Any, seed: int) -> Any:
    from sklearn.tree import DecisionTreeRegressor

    return DecisionTreeRegressor(min_samples_leaf=10**9)


def logistic(params: dict[str, Any], layout: Any, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=200)


def case(**fields: Any) -> UseCase:
    given: dict[str, Any] = {
        "name": "spread",
        "title": "Spread",
        "question": "How much?",
        "source": FileSource(path="none.csv"),
        "columns": (
            Column(name="size", kind="number"),
            Column(name="kind", kind="category", categories=("calm", "wild")),
        ),
        "target": Number(label="price"),
        "event_time": "at",
        "key": ("id",),
        "candidates": (
            Candidate(name="boosting", build=boosting),
            Candidate(name="codes", build=boosting, params={"codes": True}),
            Candidate(name="linear", build=linear),
            Candidate(name="constant", build=constant),
        ),
        "gate": Gate(metric=RMSE, threshold=50.0),
        "minimum_training_rows": 50,
    }
    return UseCase(**{**given, **fields})


def month(number: int, rows: int = ROWS, wild: float = 0.3, tails: float = 1.0) -> pl.DataFrame:
    """Prices whose errors are five times as large for wild rows, with a long tail above."""
    chance = np.random.default_rng(number)
    size, is_wild = chance.normal(10, 2, rows), chance.random(rows) < wild
    errors = tails * chance.gamma(1, 1, rows) * np.where(is_wild, 10, 2)
    return pl.DataFrame(
        {
            "id": [f"{number}-{row}" for row in range(rows)],
            "at": pl.datetime_range(
                pl.datetime(2024, number, 1), pl.datetime(2024, number, 28), "1d", eager=True
            )[np.arange(rows) % 28],
            "size": size,
            "kind": np.where(is_wild, "wild", "calm"),
            "price": 3 * size + errors,
        }
    )


class Champion:
    """A package that was judged on the month after its training, and calibrated."""

    def __init__(
        self,
        folder: Path,
        case: UseCase,
        recipe: str,
        training: pl.DataFrame,
        holdout: pl.DataFrame,
        with_earlier: bool = True,
    ) -> None:
        candidate = case.candidate(recipe)
        fitted = modelling.fit(case, candidate, dict(candidate.params), training, 0)
        unseen: CrossFit | None = cross_fit(case, fitted, training, 0) if with_earlier else None
        earlier = answered(case, fitted, training, unseen.scores) if unseen else None
        judged = judge_holdout(case, fitted, "2024-04", holdout, 0, earlier)
        origin = Origin(recipe, {}, "v", {"2024-03": "a"}, {"rmse": 1.0}, judged)
        saved = make_package(
            folder, case, fitted, origin, training, holdout, 0, watched=False, unseen=unseen
        )
        self.package: Package = load_package(folder, saved.sha256)
        assert isinstance(self.package.manifest.coverage, Coverage)
        self.coverage = self.package.manifest.coverage

    def answers(self, rows: pl.DataFrame) -> dict[str, Any]:
        columns = {name: rows[name].to_list() for name in self.package.names}
        values = self.package.values_of(self.package.score(self.package.encode(columns)))
        return {
            output.name: np.array(column, dtype=object if output.kind == "set" else None)
            if output.kind != "set"
            else column
            for output, column in zip(self.package.manifest.outputs, values, strict=True)
        }


@pytest.fixture(scope="module")
def training() -> pl.DataFrame:
    return pl.concat([month(number) for number in (1, 2, 3)])


@pytest.mark.parametrize("recipe", ["boosting", "codes", "linear"])
def test_interval_is_as_wide_as_the_row_is_hard_whatever_the_library(
    tmp_path: Path, training: pl.DataFrame, recipe: str
) -> None:
    """A graph of ONNX-ML 3, one of 5 with sets of codes, and one of skl2onnx in single precision:
    each package is proven when it is made."""
    champion = Champion(tmp_path, case(), recipe, training, month(4))
    coverage = champion.coverage
    assert (coverage.method, coverage.windows) == ("quantiles", ["2024-03", "2024-04"])
    assert coverage.held is not None and abs(coverage.held - 0.9) < 0.03
    later = month(6, rows=4000)
    answers = champion.answers(later)
    price, wild = later["price"].to_numpy(), (later["kind"] == "wild").to_numpy()
    inside = (answers["low"] <= price) & (price <= answers["high"])
    width = answers["high"] - answers["low"]
    for some in (wild, ~wild):
        assert inside[some].mean() == pytest.approx(0.9, abs=0.07)
    assert width[wild].mean() > 3 * width[~wild].mean()
    assert np.all((answers["low"] <= answers["value"]) & (answers["value"] <= answers["high"]))


def test_equally_hard_rows_have_one_width(tmp_path: Path) -> None:
    """Quantiles that learn noise have worse scores than constants, so that they are not used."""
    months = [month(number, wild=0.0, tails=0.05) for number in (1, 2, 3)]
    champion = Champion(
        tmp_path, case(), "linear", pl.concat(months), month(4, wild=0.0, tails=0.05)
    )
    answers = champion.answers(month(5))
    widths = np.unique(np.round(answers["high"] - answers["low"], 4))
    assert champion.coverage.method == "split" and len(widths) == 1


def test_one_word_keeps_intervals_equally_wide(tmp_path: Path, training: pl.DataFrame) -> None:
    same = case(target=Number(label="price", intervals="split"))
    champion = Champion(tmp_path, same, "boosting", training, month(4))
    assert champion.coverage.method == "split"
    assert not [output for output in champion.package.manifest.outputs if output.quantile]


def test_few_rows_are_calibrated_on_all_windows_and_too_few_say_so(tmp_path: Path) -> None:
    """Forty rows a month, and 99 %: at least 199 rows are needed."""
    few = case(target=Number(label="price", coverage=0.99))
    months = pl.concat([month(number, rows=40) for number in (1, 2, 3)])
    champion = Champion(tmp_path, few, "linear", months, month(4, rows=40))
    coverage = champion.coverage
    assert coverage.windows == ["2024-01", "2024-02", "2024-03", "2024-04"]
    assert (coverage.rows, coverage.needed, coverage.method) == (160, 199, "split")


@pytest.mark.parametrize("intervals", ["quantiles", "split"])
def test_training_too_small_to_leave_any_row_out_is_calibrated_on_the_holdout(
    tmp_path: Path, intervals: str
) -> None:
    target = Number(label="price", intervals=intervals)
    few = case(target=target, minimum_training_rows=100)
    training = pl.concat([month(number, rows=60) for number in (1, 2)])
    coverage = Champion(tmp_path, few, "linear", training, month(4, rows=200)).coverage
    assert (coverage.windows, coverage.rows) == (["2024-04"], 200)


def test_constant_model_holds_whole_labels_on_the_ends(tmp_path: Path) -> None:
    def whole(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col("price").round(0).clip(20, 40))

    training = pl.concat([whole(month(number)) for number in (1, 2, 3)])
    champion = Champion(tmp_path, case(), "constant", training, whole(month(4)))
    later = whole(month(5))
    answers, price = champion.answers(later), later["price"].to_numpy()
    inside = (answers["low"] <= price) & (price <= answers["high"])
    assert inside.mean() > 0.88


def test_without_other_windows_days_of_the_holdout_are_left_out(
    tmp_path: Path, training: pl.DataFrame
) -> None:
    champion = Champion(tmp_path, case(), "linear", training, month(4), with_earlier=False)
    coverage = champion.coverage
    assert (coverage.method, coverage.windows) == ("split", ["2024-04"])
    assert coverage.held == pytest.approx(0.9, abs=0.03) and coverage.low is not None


def test_drifted_window_shows_in_what_was_held(tmp_path: Path, training: pl.DataFrame) -> None:
    """The hold-out is wilder than what was learned: each of the two windows misjudges the other."""
    same = case(target=Number(label="price", intervals="split"))
    champion = Champion(tmp_path, same, "linear", training, month(4, wild=0.9, tails=3.0))
    assert champion.coverage.held is not None and champion.coverage.held < 0.85


def test_ends_stay_within_the_target_and_never_cross_the_number() -> None:
    outputs = [
        Output("value", "number"),
        Output("low", "bound", 0.0, 10.0, offset=1.0, quantile="low"),
        Output("high", "bound", 0.0, 10.0, offset=-1.0, quantile="high"),
    ]
    numbers = np.array([[5, 3, 9], [5, 8, 2], [-3, -9, -1], [12, 9, 20], [5, 5, 5]], np.float32)
    value, low, high = values_of(outputs, None)(numbers)
    assert list(zip(low, value, high, strict=True)) == [
        (4, 5, 8),
        (5, 5, 5),  # crossing quantiles
        (-3, -3, 0),
        (10, 12, 12),
        (5, 5, 5),
    ]


@pytest.mark.parametrize(
    "outputs",
    [
        [Output("value", "number"), Output("low", "bound", quantile="low")],
        [Output("class", "category", categories=["a", "b"]), Output("score", "number")]
        + [Output("set", "set", categories=["a", "b"])],
    ],
)
def test_output_without_its_number_is_refused(outputs: list[Output]) -> None:
    with pytest.raises(PackageError, match=r"offset|least"):
        check_outputs(outputs, [], None)


def weather(number: int, rows: int = ROWS) -> pl.DataFrame:
    """Three skies, of which two look alike where it is wild."""
    chance = np.random.default_rng(number)
    rows_of = month(number, rows)
    calm = (rows_of["kind"] == "calm").to_numpy()
    place = chance.integers(0, 3, rows)
    size = 4.0 * place + chance.normal(0, np.where(calm, 0.5, 4.0))
    sky = np.array(["clear|sky", "gr'ey", "rain, heavy"])[place]
    return rows_of.with_columns(pl.Series("size", size), pl.Series("price", sky))


def test_sets_hold_what_they_promise_and_are_small_where_it_is_clear(tmp_path: Path) -> None:
    skies = Classes(label="price", classes=("clear|sky", "gr'ey", "rain, heavy"), coverage=0.9)
    of_skies = case(
        target=skies,
        candidates=(Candidate(name="logistic", build=logistic),),
        gate=Gate(metric=LOG_LOSS, threshold=2),
    )
    training = pl.concat([weather(number) for number in (1, 2, 3)])
    champion = Champion(tmp_path, of_skies, "logistic", training, weather(4))
    assert champion.coverage.method == "set"
    later = weather(6, rows=4000)
    answers = champion.answers(later)
    sets, truth = answers["class_set"], later["price"].to_list()
    inside = [label in members for label, members in zip(truth, sets, strict=True)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
    assert all(
        likeliest in members for likeliest, members in zip(answers["class"], sets, strict=True)
    )
    sizes, calm = np.array([len(members) for members in sets]), (later["kind"] == "calm").to_numpy()
    assert 1 <= sizes[calm].mean() < sizes[~calm].mean()


def test_package_from_before_has_no_coverage_and_its_bounds_keep_their_offsets(
    tmp_path: Path, training: pl.DataFrame
) -> None:
    """Their outputs know no quantile: the manifest of an older package reads as it always did."""
    own = case()
    fitted = modelling.fit(own, own.candidate("linear"), {}, training, 0)
    origin = Origin("linear", {}, "v", {"2024-03": "a"}, {"rmse": 1.0}, Holdout())
    saved = make_package(tmp_path, own, fitted, origin, training, month(4), 0, watched=False)
    text = (tmp_path / "package.json").read_bytes()
    assert b'"coverage"' not in text and b'"quantile"' not in text
    assert saved.manifest.coverage is msgspec.UNSET


def test_nothing_is_promised_where_nothing_was_asked() -> None:
    skies = Classes(label="price", classes=("a", "b", "c"))
    assert [output.name for output in skies.outputs][-1] == "score_c"
