"""Symmetric trees in numpy answer as ONNX Runtime does, to the last bit, and as the trees are
walked by hand; trees that are not symmetric stay with ONNX Runtime."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.errors import PackageError
from serving.package.model import open_session
from serving.package.symmetric_trees import (
    DEEPEST,
    SymmetricKernel,
    SymmetricTree,
    SymmetricTrees,
    read_trees,
)
from tasks.packages.exporters.symmetry import symmetric_trees
from tasks.packages.exporters.tree_writer import link_to_onnx, to_onnx
from tasks.packages.exporters.trees import LEAF, Forest, Tree

WIDTH = 4
EXTREMES = [0.0, -0.0, 5e-324, -5e-324, 1e-35, -1e-36, 1e300, -1e300, 2.0**128, -(2.0**128)]


def tree_of(splits: list[tuple[int, float]], null_left: list[bool], values: np.ndarray) -> Tree:
    """The full tree of ``splits``, level by level."""
    levels = [level for level in range(len(splits)) for _ in range(2**level)]
    left = [2 ** (level + 1) - 1 + place - (2**level - 1) for place, level in enumerate(levels)]
    right = [node + 2**level for node, level in zip(left, levels, strict=True)]
    rest = [0] * len(values)
    return Tree(
        np.array([*(splits[level][0] for level in levels), *[LEAF] * len(values)]),
        np.array([*(splits[level][1] for level in levels), *rest], float),
        np.array([*(null_left[splits[level][0]] for level in levels), *rest], bool),
        np.array([*left, *rest]),
        np.array([*right, *rest]),
        np.concatenate([np.zeros((len(levels), values.shape[1])), values]),
    )


@st.composite
def forests(draw: st.DrawFn) -> tuple[Forest, int]:
    """A forest of symmetric trees of any depths, and its number of classes."""
    link, outputs, classes = draw(
        st.sampled_from(
            [
                ("identity", 1, 0),
                ("exp", 1, 0),
                ("sigmoid", 1, 2),
                ("softmax", 2, 2),
                ("softmax", 3, 3),
                ("identity", 4, 4),
            ]
        )
    )
    numbers = st.floats(-1e6, 1e6) | st.sampled_from(EXTREMES)
    null_left = draw(st.lists(st.booleans(), min_size=WIDTH, max_size=WIDTH))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    trees = []
    for depth in draw(st.lists(st.integers(0, DEEPEST - 1), min_size=1, max_size=9)):
        splits = draw(
            st.lists(st.tuples(st.integers(0, WIDTH - 1), numbers), min_size=depth, max_size=depth)
        )
        trees.append(tree_of(splits, null_left, chance.normal(0, 1, (2**depth, outputs))))
    return Forest(trees, chance.normal(0, 1, outputs), link), classes


def rows_beside(forest: Forest, count: int, seed: int) -> np.ndarray:
    """Rows of values on and beside the thresholds of any column, of nulls and of extremes."""
    at = np.concatenate([tree.threshold for tree in forest.trees])
    near = [at, np.nextafter(at, np.inf), np.nextafter(at, -np.inf)]
    values = np.concatenate([*near, EXTREMES, [np.nan, np.inf, -np.inf]])
    return np.random.default_rng(seed).choice(values, (count, WIDTH))


def walked(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """The sums of ``forest``, by hand."""
    sums = np.tile(forest.base, (len(rows), 1))
    for row, out in zip(rows, sums, strict=True):
        for tree in forest.trees:
            node = 0
            while tree.feature[node] != LEAF:
                value = row[tree.feature[node]]
                is_null = np.isnan(value)
                left = tree.null_left[node] if is_null else value <= tree.threshold[node]
                node = (tree.left if left else tree.right)[node]
            out += tree.values[node]
    return sums


def kernel_of(forest: Forest, classes: int) -> SymmetricKernel | None:
    trees = symmetric_trees(forest, WIDTH, link_to_onnx(forest, classes))
    if trees is None:
        return None
    return SymmetricKernel(read_trees(msgspec.json.encode(trees)), WIDTH, open_session)


@settings(max_examples=150, deadline=None)
@given(forests(), st.sampled_from([1, 2, 3, 30, 257]), st.integers(0, 1000))
def test_the_answers_are_those_of_onnx_runtime_to_the_last_bit(
    drawn: tuple[Forest, int], count: int, seed: int
) -> None:
    forest, classes = drawn
    kernel = kernel_of(forest, classes)
    assert (kernel is None) == all(tree.is_leaf.all() for tree in forest.trees)
    if kernel is None:
        return
    rows = rows_beside(forest, count, seed)
    session = open_session(to_onnx(forest, WIDTH, classes))
    expected = session.run(None, {"matrix": rows})[0]
    got = kernel.score(rows)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, expected)
    if forest.link == "identity" and classes == 0:
        by_hand = walked(forest, rows[:30])[:, 0]
        np.testing.assert_allclose(got[:30], by_hand, rtol=1e-6, atol=1e-6)


def test_many_rows_are_scored_in_pieces_as_few_are() -> None:
    """Also a piece of a single row, which numpy would add in another order."""
    chance = np.random.default_rng(0)
    trees = [
        tree_of(
            list(zip(chance.integers(0, WIDTH, 3).tolist(), chance.normal(0, 1, 3), strict=True)),
            [True, False, True, False],
            chance.normal(0, 1, (8, 1)) * 10.0 ** chance.integers(-8, 8),
        )
        for _ in range(3000)
    ]
    forest = Forest(trees, np.zeros(1), "identity")
    kernel = kernel_of(forest, 0)
    assert kernel is not None
    at_once = kernel._rows_at_once
    assert at_once < 100
    rows = chance.normal(0, 1, (2 * at_once + 1, WIDTH))
    session = open_session(to_onnx(forest, WIDTH, 0))
    expected = session.run(None, {"matrix": rows})[0]
    np.testing.assert_array_equal(kernel.score(rows), expected)
    np.testing.assert_array_equal(kernel.score(rows[-1:]), expected[-1:])


def stump(**changes: Any) -> Tree:
    tree = tree_of([(0, 1.0), (1, 2.0)], [True] * WIDTH, np.arange(4.0)[:, None])
    for name, (place, value) in changes.items():
        getattr(tree, name)[place] = value
    return tree


@pytest.mark.parametrize(
    "trees",
    [
        [stump(threshold=(2, 2.5))],  # the second level has two thresholds
        [stump(feature=(2, 3))],  # or two columns
        [stump(null_left=(2, False))],  # or sends nulls both ways
        [stump(), stump(null_left=(slice(3), False))],  # as two trees do
        [stump(feature=(2, LEAF))],  # one side is a leaf already
        [stump(threshold=(slice(3), np.inf))],
    ],
)
def test_other_trees_have_no_symmetric_form(trees: list[Tree]) -> None:
    assert kernel_of(Forest([stump()], np.zeros(1), "identity"), 0) is not None
    assert kernel_of(Forest(trees, np.zeros(1), "identity"), 0) is None


def test_trees_with_sets_of_codes_or_zeros_as_nulls_have_no_symmetric_form() -> None:
    tree = stump()
    coded = Tree(**{**vars(tree), "codes": {0: [1, 2]}})
    assert kernel_of(Forest([coded], np.zeros(1), "identity"), 0) is None
    assert kernel_of(Forest([tree], np.zeros(1), "identity", {0: 1e-35}), 0) is None
    assert kernel_of(Forest([tree], np.zeros(3), "softmax"), 3) is None


def trees(**changes: Any) -> SymmetricTrees:
    forest = Forest([stump()], np.zeros(1), "identity")
    own = {
        "base": [0.5],
        "link": link_to_onnx(forest, 0),
        "null_left": [0],
        "trees": [SymmetricTree([(0, 1.0), (3, 2.0)], [1.0, 2.0, 3.0, 4.0])],
    }
    return SymmetricTrees(**{**own, **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"trees": []}, "no split"),
        ({"base": []}, "no output"),
        ({"trees": [SymmetricTree([(4, 1.0)], [1.0, 2.0])]}, "outside of the 4"),
        ({"trees": [SymmetricTree([(-1, 1.0)], [1.0, 2.0])]}, "outside of the 4"),
        ({"trees": [SymmetricTree([(0, np.nan)], [1.0, 2.0])]}, "infinite"),
        ({"trees": [SymmetricTree([(0, 1.0)], [1.0, np.inf])]}, "infinite"),
        ({"trees": [SymmetricTree([(0, 1.0)], [1.0])]}, "leaf values"),
        ({"trees": [SymmetricTree([(0, 1.0)] * 11, [1.0] * 2**11)]}, "deeper than 10"),
        ({"link": b"no onnx"}, "does not load"),
    ],
)
def test_trees_that_do_not_fit_together_are_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PackageError, match=problem):
        SymmetricKernel(trees(**changes), WIDTH, open_session)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"base": [1e999]}'])
def test_another_form_of_trees_is_refused(data: bytes) -> None:
    with pytest.raises(PackageError, match="cannot be read"):
        read_trees(data)
