"""Symmetric trees, as CatBoost grows them, scored in numpy: all nodes of a level have one split, so
that a leaf's number is made of one bit a level, for many rows and trees at once.

Many rows take a quarter of the time that ONNX Runtime takes, few rows longer: they stay there
(docs/decisions/0037-tree-engines.md). The answers are the same to the last bit: leaves are added in
double precision in the order of the trees, and ONNX Runtime makes the answer of the sum.
``tasks/packages/exporters/symmetry.py`` makes the trees of a ``Forest``."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from serving.errors import PackageError

Split = tuple[int, float]  # the place of the matrix, and the threshold
DEEPEST = 10
_NEVER_ABOVE_SMALL, _NEVER_ABOVE = 2**8 - 1, 2**16 - 1  # no place of a value among the cuts is
_MOST_CUTS = _NEVER_ABOVE - 1
# So many walks from root to leaf, and so many more for each feature, take as long as in ONNX
# Runtime: measured once, with 20 to 1,000 trees of depths 6 and 8 on 30 features.
_FEWEST_WALKS, _WALKS_OF_FEATURE = 1500, 40
_WALKS_AT_ONCE = 2**18  # 2 MB of leaf values: at four times as many each call gets new memory


class SymmetricTree(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row's leaf has the number whose lowest bit is that of the first of ``splits``: 1 where the
    value is above the threshold. ``leaves`` are all values of the first leaf, then those of the
    next."""

    splits: list[Split]
    leaves: list[float]


class SymmetricTrees(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The answer is ``link(base + the leaves of all trees)``, with a ``base`` for each output.
    ``link`` is an ONNX model with the sums ``raw`` ``(n_rows, n_outputs)``, in single precision, as
    its input. Null is below all thresholds of the places ``null_left``, and above those of others.
    """

    base: list[float]
    link: bytes
    null_left: list[int]
    trees: list[SymmetricTree]


# Made at import, by one thread (docs/decisions/0012-hot-path.md).
_TREES = msgspec.json.Decoder(SymmetricTrees)


def read_trees(data: bytes) -> SymmetricTrees:
    """Raises ``PackageError`` for another form of trees than this one."""
    try:
        return _TREES.decode(data)
    except msgspec.DecodeError as error:
        raise PackageError(f"The symmetric trees cannot be read: {error}.") from error


class SymmetricKernel:
    """Scores a double matrix ``(n_rows, width)``. Safe to use from several threads.

    From ``fewest_rows`` on it is faster than ONNX Runtime. ``open_session`` opens the model of the
    link. Raises ``PackageError`` for trees that do not fit together or that matrix."""

    def __init__(
        self, trees: SymmetricTrees, width: int, open_session: Callable[[bytes], Any]
    ) -> None:
        _check(trees, width)
        self._link = open_session(trees.link)
        self._base = np.array(trees.base)
        depth = max(len(tree.splits) for tree in trees.trees)
        split_on = np.full((depth, len(trees.trees)), -1)
        thresholds = np.full((depth, len(trees.trees)), np.inf)
        for number, tree in enumerate(trees.trees):
            for level, (feature, threshold) in enumerate(tree.splits):
                split_on[level, number], thresholds[level, number] = feature, threshold
        self._features = np.unique(split_on[split_on >= 0])
        # In these a null is put below all thresholds; in others it stays behind them, as NaN.
        self._below = np.where(np.isin(self._features, trees.null_left), -np.inf, np.nan)[:, None]
        self._cuts = [np.unique(thresholds[split_on == feature]) for feature in self._features]
        most = max(map(len, self._cuts))
        is_small = most < _NEVER_ABOVE_SMALL
        self._place_type = np.dtype(np.uint8 if is_small else np.uint16)
        # A level that a tree does not have is one that no value is above.
        self._rows = np.zeros(split_on.shape, np.intp)
        never_above = _NEVER_ABOVE_SMALL if is_small else _NEVER_ABOVE
        self._limits = np.full(split_on.shape, never_above, self._place_type)
        for row, (feature, cuts) in enumerate(zip(self._features, self._cuts, strict=True)):
            at = split_on == feature
            self._rows[at] = row
            self._limits[at] = np.searchsorted(cuts, thresholds[at])
        self._limits = self._limits[:, :, None]
        self._leaf_type = np.dtype(np.uint8 if depth <= 8 else np.uint16)
        self._first_leaf = (np.arange(len(trees.trees)) << depth)[:, None]
        self._leaves = _leaves(trees, depth)
        self._rows_at_once = max(1, _WALKS_AT_ONCE // len(trees.trees))
        walks = _FEWEST_WALKS + _WALKS_OF_FEATURE * len(self._features)
        self.fewest_rows = max(2, -(-walks // len(trees.trees)))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """The answers: ``(n_rows,)``, of several outputs ``(n_rows, n_outputs)``."""
        raw = np.empty((len(matrix), len(self._base)), np.float32)
        with np.errstate(over="ignore"):
            for start in range(0, len(matrix), self._rows_at_once):
                rows = slice(start, start + self._rows_at_once)
                leaves = self._reach(matrix[rows])
                for output, values in enumerate(self._leaves):
                    raw[rows, output] = _add(values.take(leaves)) + self._base[output]
        answers: np.ndarray = self._link.run(None, {"raw": raw})[0]
        return answers

    def _reach(self, matrix: np.ndarray) -> np.ndarray:
        """The leaf of each tree and row, among all leaves ``(n_trees, n_rows)``."""
        columns = np.fmax(matrix.T[self._features], self._below)
        places = np.empty(columns.shape, self._place_type)
        for row, cuts in enumerate(self._cuts):
            # The cuts below a value: it is above the one of number k where they are more than k.
            places[row] = cuts.searchsorted(columns[row])
        leaves = np.zeros((self._rows.shape[1], len(matrix)), self._leaf_type)
        for rows, limits in zip(self._rows[::-1], self._limits[::-1], strict=True):
            leaves += leaves
            leaves |= (places.take(rows, axis=0) > limits).view(np.uint8)
        reached: np.ndarray = leaves + self._first_leaf
        return reached


def _add(values: np.ndarray) -> np.ndarray:
    """The sums ``(n_rows,)`` of ``(n_trees, n_rows)``, one tree after another as ONNX Runtime adds
    them. Of a single row numpy would add pairs."""
    sums: np.ndarray = values.sum(axis=0) if values.shape[1] > 1 else values.cumsum(axis=0)[-1]
    return sums


def _check(trees: SymmetricTrees, width: int) -> None:
    outputs = len(trees.base)
    splits = [split for tree in trees.trees for split in tree.splits]
    numbers = [*trees.base, *(threshold for _, threshold in splits)]
    numbers += [value for tree in trees.trees for value in tree.leaves]
    cuts: dict[int, set[float]] = {}
    for feature, threshold in splits:
        cuts.setdefault(feature, set()).add(threshold)
    problem = ""
    if not outputs or not splits:
        problem = "they have no output, or no split"
    elif not np.isfinite(numbers).all():
        problem = "a number is infinite"
    elif any(not 0 <= feature < width for feature in cuts):
        problem = f"a split is on a place outside of the {width} of the matrix"
    elif any(len(tree.splits) > DEEPEST for tree in trees.trees):
        problem = f"a tree is deeper than {DEEPEST} levels"
    elif any(len(tree.leaves) != outputs << len(tree.splits) for tree in trees.trees):
        problem = f"a tree has another number of leaf values than {outputs} for each leaf"
    elif max(map(len, cuts.values())) > _MOST_CUTS:
        problem = f"a place has more than {_MOST_CUTS} thresholds"
    if problem:
        raise PackageError(f"The symmetric trees are not valid: {problem}.")


def _leaves(trees: SymmetricTrees, depth: int) -> Sequence[np.ndarray]:
    """The values of all leaves ``(n_trees << depth,)`` for each output."""
    outputs = len(trees.base)
    values = np.zeros((outputs, len(trees.trees), 1 << depth))
    for number, tree in enumerate(trees.trees):
        values[:, number, : 1 << len(tree.splits)] = np.reshape(tree.leaves, (-1, outputs)).T
    return [output.ravel() for output in values]
