import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from serving.champions.champion import Champion
from serving.errors import PackageError
from serving.package.model import load
from serving.routes.explain import Score, explain, shapley_values, walks
from tests.fixtures.packages import CARRIERS, expected_score, write_package

ROW = ("AA", 1800.0, 12.0)


@pytest.fixture
def champion(tmp_path: Path) -> Champion:
    digest = write_package(tmp_path, bias=-1.0)
    return Champion.crown("toy", "7", digest, load(tmp_path, digest))


def brute_force(score: Score, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Shapley values by their definition: every subset of the other fields, weighted."""
    fields = len(row)

    def worth(coalition: tuple[int, ...]) -> float:
        mixed = background.copy()
        mixed[:, list(coalition)] = row[list(coalition)]
        return float(score(mixed).mean())

    credits = np.zeros(fields)
    for field in range(fields):
        others = [other for other in range(fields) if other != field]
        for size in range(fields):
            weight = (
                math.factorial(size) * math.factorial(fields - size - 1) / math.factorial(fields)
            )
            credits[field] += weight * sum(
                worth((*coalition, field)) - worth(coalition)
                for coalition in combinations(others, size)
            )
    return credits


def tangled(matrix: np.ndarray) -> np.ndarray:
    """A score with interactions, like a model's; the last field has no part in it."""
    return 1 / (
        1
        + np.exp(
            -(
                matrix[:, 0] * matrix[:, 1]
                + np.sin(matrix[:, 2])
                + matrix[:, 3:-1].sum(axis=1) * 0.3
            )
        )
    )


@pytest.mark.parametrize(
    "row", [ROW, ("UA", 0.0, None), ("unheard of", 5000.0, -3.0), (None, 0.5, 100.0)]
)
def test_base_and_contributions_add_up_to_the_score_that_predict_gives(
    champion: Champion, row: tuple
) -> None:
    explanation = explain(champion, row)
    assert explanation.base + sum(
        item.contribution for item in explanation.contributions
    ) == pytest.approx(explanation.outputs["score"], abs=1e-6)
    fields = dict(zip(("carrier", "distance", "wind"), row, strict=True))
    assert explanation.outputs["score"] == pytest.approx(
        expected_score(fields, bias=-1.0), rel=1e-5
    )
    assert (
        explanation.outputs["score"]
        == champion.package.score(champion.package.encode_rows([row]))[0]
    )
    assert explanation.outputs["decision"] is (explanation.outputs["score"] >= 0.5)
    assert (explanation.model_version, explanation.use_case) == ("7", "toy")


def test_the_base_is_the_mean_score_of_the_smoke_rows(champion: Champion) -> None:
    assert explain(champion, ROW).base == pytest.approx(
        np.mean(champion.package.smoke.scores), abs=1e-6
    )


def test_few_fields_have_exactly_their_shapley_values(champion: Champion) -> None:
    package = champion.package
    background = package.encode(
        {name: [row[name] for row in package.smoke.rows] for name in package.names}
    )
    expected = brute_force(package.score, package.encode_rows([ROW])[0], background)
    credits = {item.field: item.contribution for item in explain(champion, ROW).contributions}
    assert [credits[name] for name in package.names] == pytest.approx(expected.tolist(), abs=1e-6)
    assert min(abs(expected)) > 0.01


def test_the_largest_contribution_comes_first_with_the_value_that_makes_it(
    champion: Champion,
) -> None:
    contributions = explain(champion, ("UA", 5000.0, None)).contributions
    assert [abs(item.contribution) for item in contributions] == sorted(
        (abs(item.contribution) for item in contributions), reverse=True
    )
    assert (contributions[0].field, contributions[0].value) == ("distance", 5000.0)
    assert {item.field: item.value for item in contributions} == {
        "carrier": "UA",
        "distance": 5000.0,
        "wind": None,
    }


def test_a_field_that_differs_from_no_background_row_adds_nothing() -> None:
    background = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    _, _, credits = shapley_values(
        tangled, np.array([1.0, 5.0, 5.0, 5.0, 5.0, 5.0]), background, *walks(6, 2, 6), np.arange(6)
    )
    assert credits[0] == 0 and credits[-1] == 0 and np.abs(credits[1:-1]).min() > 0


def test_many_fields_come_close_to_their_shapley_values_and_add_up_exactly() -> None:
    chance = np.random.default_rng(3)
    row, background = chance.normal(size=9), chance.normal(size=(20, 9))
    score, base, credits = shapley_values(tangled, row, background, *walks(9, 20, 9), np.arange(9))
    assert base + credits.sum() == pytest.approx(score, abs=1e-12)
    expected = brute_force(tangled, row, background)
    assert np.abs(credits - expected).max() < 0.02 < np.abs(expected).max()


def test_where_fields_do_not_act_on_each_other_any_walk_is_exact() -> None:
    chance = np.random.default_rng(4)
    weights, row, background = (
        chance.normal(size=12),
        chance.normal(size=12),
        chance.normal(size=(7, 12)),
    )
    _, _, credits = shapley_values(
        lambda matrix: matrix @ weights, row, background, *walks(12, 7, 12), np.arange(12)
    )
    assert credits == pytest.approx((weights * (row - background.mean(axis=0))).tolist(), abs=1e-9)


@pytest.mark.parametrize(
    ("fields", "examples"), [(1, 3), (3, 20), (5, 1), (30, 20), (30, 100), (30, 1000), (1000, 20)]
)
def test_walks_visit_every_field_once_and_begin_at_each_row_as_often(
    fields: int, examples: int
) -> None:
    orders, begins = walks(fields, examples, fields)
    assert orders.shape == (len(begins), fields)
    assert (np.sort(orders, axis=1) == np.arange(fields)).all()
    assert len(set(np.bincount(begins).tolist())) == 1 and begins.max() < examples
    assert len(orders) * (fields - 1) * fields <= 4_000_000
    if fields > 4:
        assert (orders[::2] == orders[1::2, ::-1]).all() and (begins[::2] == begins[1::2]).all()


def test_the_same_row_has_the_same_explanation() -> None:
    walks.cache_clear()
    first = walks(10, 5, 10)[0].copy()
    walks.cache_clear()
    assert (walks(10, 5, 10)[0] == first).all()


def test_a_model_that_gives_no_number_on_the_way_is_no_explanation() -> None:
    def hole(matrix: np.ndarray) -> np.ndarray:
        return np.where((matrix[:, 0] > 0) & (matrix[:, 1] == 0), np.nan, 0.5)

    with pytest.raises(PackageError, match="no number"):
        shapley_values(hole, np.ones(2), np.zeros((1, 2)), *walks(2, 1, 2), np.arange(2))


def test_an_unknown_carrier_is_told_as_it_was_sent(champion: Champion) -> None:
    assert "ZZ" not in CARRIERS
    assert ("carrier", "ZZ") in [
        (item.field, item.value) for item in explain(champion, ("ZZ", 1.0, 1.0)).contributions
    ]


def test_field_of_several_places_is_changed_and_credited_as_one() -> None:
    owners = np.array([0, 1, 1, 1, 2])
    weights, row = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.arange(5.0)
    background = np.ones((2, 5))
    _, _, credits = shapley_values(
        lambda matrix: matrix @ weights, row, background, *walks(3, 2, 5), owners
    )
    expected = np.bincount(owners, weights * (row - background[0]))
    assert credits == pytest.approx(expected.tolist(), abs=1e-9)


def test_wide_fields_are_explained_from_fewer_rows_within_the_same_memory() -> None:
    orders, begins = walks(2, 100, 100_000)
    assert len(orders) * 100_000 <= 4_000_000 and set(begins) == set(range(begins.max() + 1))
