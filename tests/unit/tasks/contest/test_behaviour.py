from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError
from usecases.toy import USE_CASE as TOY

from serving.package.model import Package, load
from serving.records.contest import Behaviour
from serving.records.record import decode, encode
from tasks.contest.behaviour import failures, in_words, try_behaviours
from tasks.data.sources import source_of
from tasks.models import modelling
from tasks.packages.packaging import Origin, make_package
from usecases.definition import Direction, Invariance, MinimumFunction, UseCase
from usecases.definition import load as load_case

# ``steady`` decides: the chance of ``won`` rises with it, and ``group`` tells nothing.
ROWS = pl.DataFrame(
    {
        "id": np.arange(4000),
        "at": [datetime(2024, 1, 1, 12) + timedelta(days=at // 100) for at in range(4000)],
        "first": np.random.default_rng(1).normal(0, 1, 4000),
        "second": [None if at % 50 == 0 else 0.5 for at in range(4000)],
        "steady": np.random.default_rng(2).normal(5, 1, 4000),
        "group": np.random.default_rng(3).choice(["a", "b", "c"], 4000),
    }
).with_columns(
    won=(pl.col("steady") + pl.Series(np.random.default_rng(4).normal(0, 0.5, 4000)) > 5).cast(
        pl.Int8
    )
)
ROW = {"first": 0.0, "second": None, "steady": 5.0, "group": "a"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """A logistic regression, whose score rises with ``steady`` everywhere."""
    folder = tmp_path_factory.mktemp("package")
    fitted = modelling.fit(TOY, TOY.candidate("logistic"), {}, ROWS, seed=7)
    make_package(
        folder,
        TOY,
        fitted,
        Origin("logistic", {}, "v", {"2024-01": "0"}, {"roc_auc": 0.9}),
        ROWS,
        ROWS[:300],
        seed=7,
        watched=False,
    )
    return load(folder)


def case(*behaviours: Invariance | Direction | MinimumFunction) -> UseCase:
    return UseCase(**{**dict(TOY), "behaviours": behaviours})


def try_all(
    package: Package,
    *behaviours: Invariance | Direction | MinimumFunction,
    rows: pl.DataFrame = ROWS,
) -> list[Behaviour]:
    return try_behaviours(case(*behaviours), package, rows, seed=0)


def test_a_model_that_behaves_passes_with_the_rows_that_were_tried(package: Package) -> None:
    behaviours = try_all(
        package,
        Direction(name="more is better", column="steady", add=1, moves="up", mean=0.05),
        Invariance(name="no favourites", column="group", to=("a", "c"), tolerance=0.2),
        MinimumFunction(
            name="sure of it", rows=({**ROW, "steady": 9.0}, {**ROW, "steady": 8.0}), low=0.9
        ),
    )
    assert [(behaviour.passed, behaviour.reason) for behaviour in behaviours] == [(True, "")] * 3
    assert [behaviour.kind for behaviour in behaviours] == [
        "direction",
        "invariance",
        "minimum function",
    ]
    assert (behaviours[0].rows, behaviours[0].held, behaviours[2].rows) == (2000, 2000, 2)
    assert 2000 < behaviours[1].rows == behaviours[1].held < 4000, (
        "rows that have the value already are not tried"
    )
    assert failures(behaviours) == []


def test_a_score_that_moves_the_wrong_way_fails_with_the_row_and_both_scores(
    package: Package,
) -> None:
    (behaviour,) = try_all(
        package,
        Direction(name="less is better", column="steady", add=1, moves="down", tolerance=0.01),
    )
    assert not behaviour.passed and behaviour.held < behaviour.rows
    assert (
        "'less is better' fails with steady +1:" in behaviour.reason
        and "'steady': " in behaviour.reason
    )
    before, after = (
        float(behaviour.reason.split(word)[1].split()[0]) for word in ("goes from ", " to ")
    )
    assert after > before + 0.01


def test_the_worst_row_is_the_one_that_is_told(package: Package) -> None:
    (behaviour,) = try_all(
        package, Invariance(name="flat", column="steady", to=(5,), tolerance=0.0)
    )
    rows = ROWS.sample(2000, seed=0)
    change = np.abs(
        package.predict(
            {name: rows.with_columns(steady=pl.lit(5.0))[name].to_list() for name in package.names}
        )
        - package.predict({name: rows[name].to_list() for name in package.names})
    )
    assert f"'steady': {rows['steady'][int(change.argmax())]}" in behaviour.reason


@pytest.mark.parametrize(("share", "passes"), [(0.2, True), (1.0, False)])
def test_it_must_hold_for_the_share_of_the_rows(
    package: Package, share: float, passes: bool
) -> None:
    """The score hardly moves far from the middle, and moves near it."""
    (behaviour,) = try_all(
        package, Invariance(name="steady", column="steady", to=(5.5,), tolerance=0.2, share=share)
    )
    assert 0.2 < behaviour.held / behaviour.rows < 1
    assert behaviour.passed == passes


def test_a_model_that_does_not_look_at_the_column_fails_where_it_must_move(
    package: Package,
) -> None:
    still = Direction(name="first counts", column="first", add=1, moves="up", tolerance=0.1)
    (passed,) = try_all(package, still)
    (behaviour,) = try_all(package, still.model_copy(update={"mean": 0.05}))
    assert passed.passed and not behaviour.passed and behaviour.held == behaviour.rows
    assert (
        "the score moves up by" in behaviour.reason
        and "on average and must move by 0.05" in behaviour.reason
    )


def test_what_is_added_stays_within_the_column_and_nulls_stay_out(package: Package) -> None:
    """``second`` ends at 10 and is null in each fiftieth row: no row is tried that the service
    would refuse."""
    rows = ROWS.with_columns(second=pl.when(pl.col("second").is_null()).then(None).otherwise(10.0))
    (behaviour,) = try_all(
        package, Direction(name="second", column="second", add=5, moves="up"), rows=rows
    )
    assert not behaviour.passed and behaviour.rows == 0
    assert (
        behaviour.reason
        == "'second' cannot be tried: no row of the hold-out changes with second +5."
    )


def test_a_null_and_a_category_can_be_set(package: Package) -> None:
    null, group = try_all(
        package,
        Invariance(name="gap", column="second", to=(None,), tolerance=0.3),
        Direction(name="group", column="group", to="b", moves="down", tolerance=0.3),
    )
    assert null.passed and null.rows < 2000
    assert group.passed and group.rows < 2000


def test_a_row_outside_its_range_fails_with_its_score(package: Package) -> None:
    (behaviour,) = try_all(
        package,
        MinimumFunction(
            name="certain", rows=({**ROW, "steady": 9.0}, {**ROW, "steady": 2.0}), low=0.9
        ),
    )
    assert (behaviour.passed, behaviour.held, behaviour.rows) == (False, 1, 2)
    assert (
        "'certain' fails: row 2 of the test scores 0.0" in behaviour.reason
        and "must score at least 0.9" in behaviour.reason
    )


def test_the_same_seed_tries_the_same_rows(package: Package) -> None:
    test = Invariance(name="flat", column="steady", to=(5,), tolerance=0.05)
    assert try_behaviours(case(test), package, ROWS, 1) == try_behaviours(
        case(test), package, ROWS, 1
    )
    assert try_behaviours(case(test), package, ROWS, 1) != try_behaviours(
        case(test), package, ROWS, 2
    )


def test_the_record_reads_back_from_its_json(package: Package) -> None:
    for behaviour in try_all(
        package, Invariance(name="flat", column="steady", to=(5,), tolerance=0.0)
    ):
        assert decode(Behaviour, encode(behaviour)) == behaviour


WHOLE = {"first": 1.0, "steady": 5.0, "group": "a"}


@pytest.mark.parametrize(
    ("kind", "parts", "message"),
    [
        (
            Invariance,
            {"column": "colour", "to": (1,), "tolerance": 0.1},
            r"\['colour'\] are not input columns",
        ),
        (
            Invariance,
            {"column": "group", "to": (1,), "tolerance": 0.1},
            "'group' is a category, but 1.0 is not",
        ),
        (
            Invariance,
            {"column": "steady", "to": (101,), "tolerance": 0.1},
            "'steady' must be -10.0 to 100.0, not 101",
        ),
        (
            Invariance,
            {"column": "steady", "to": (None,), "tolerance": 0.1},
            "'steady' may not be null",
        ),
        (Invariance, {"column": "steady", "to": (), "tolerance": 0.1}, "to"),
        (
            Direction,
            {"column": "group", "add": 1, "moves": "up"},
            "'group' is not a number, so nothing can be added to it",
        ),
        (Direction, {"column": "steady", "moves": "up"}, "needs either add or to"),
        (
            Direction,
            {"column": "steady", "moves": "up", "add": 1, "to": 2},
            "needs either add or to",
        ),
        (Direction, {"column": "steady", "moves": "sideways", "add": 1}, "moves"),
        (
            MinimumFunction,
            {"rows": ({**WHOLE, "colour": "red"},)},
            r"\['colour'\] are not input columns",
        ),
        (
            MinimumFunction,
            {"rows": ({"first": 1.0},)},
            "'steady' may not be null; behaviour 'x': 'group' may not be null",
        ),
        (
            MinimumFunction,
            {"rows": (WHOLE,), "low": 0.7, "high": 0.2},
            "no answer is within 0.7 to 0.2",
        ),
        (MinimumFunction, {"rows": (WHOLE,), "high": 1.2}, "high"),
    ],
)
def test_a_behaviour_that_does_not_fit_the_columns_is_refused_when_loaded(
    kind: Any, parts: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        case(kind(name="x", **parts))


def test_two_behaviours_of_one_name_are_refused() -> None:
    function = MinimumFunction(name="x", rows=(WHOLE,))
    with pytest.raises(ValidationError, match=r"behaviours named twice: \['x'\]"):
        case(function, function)


def test_a_package_folder_is_not_needed_once_it_is_loaded(package: Package, tmp_path: Path) -> None:
    assert try_all(package, MinimumFunction(name="x", rows=(WHOLE,)))[0].passed


@pytest.mark.slow("fits a model of flights")
@pytest.mark.parametrize(
    "flipped", [False, True], ids=["as they are", "the opposite of every label"]
)
def test_the_flights_boosting_behaves_and_one_that_learned_the_opposite_does_not(
    flipped: bool, tmp_path: Path
) -> None:
    flights = load_case("flights")
    january, march = (
        source_of(flights)
        .read(month)
        .filter(pl.col("late").is_not_null())
        .select([*flights.column_names, "event_time", "late"])
        for month in ("2013-01", "2013-03")
    )
    learned = january.with_columns(late=1 - pl.col("late")) if flipped else january
    boosting = flights.candidate("boosting")
    fitted = modelling.fit(flights, boosting, boosting.params, learned, seed=7)
    saved = make_package(
        tmp_path,
        flights,
        fitted,
        Origin("boosting", {}, "v", {"2013-01": "0"}, {"roc_auc": 0.7}),
        january,
        march[:500],
        seed=7,
        watched=False,
    )
    behaviours = {
        behaviour.name: behaviour
        for behaviour in try_behaviours(flights, load(saved.folder), march, seed=0)
    }
    failed = [name for name, behaviour in behaviours.items() if not behaviour.passed]
    assert {"overdue departures", "a stormy evening"} <= set(failed) if flipped else not failed, (
        failures(list(behaviours.values()))
    )


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (
            Invariance(name="n", column="group", to=("a", None), tolerance=0.02, share=0.95),
            "move by at most 0.02; with group set to a, null, on 95 % of the rows",
        ),
        (
            Direction(name="n", column="steady", add=1.0, moves="up", mean=0.1),
            "go up, against it by at most 0, on average by 0.1 or more; with steady +1, on 100 % "
            "of the rows",
        ),
        (MinimumFunction(name="n", rows=(ROW,), low=0.2, high=0.9), "score 0.2 to 0.9"),
        (MinimumFunction(name="n", rows=(ROW,), high=0.9), "score at most 0.9"),
    ],
)
def test_what_a_behaviour_asks_is_told_with_its_tolerance(
    test: Invariance | Direction | MinimumFunction, words: str
) -> None:
    assert in_words(test) == words
