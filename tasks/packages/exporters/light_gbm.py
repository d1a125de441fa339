"""LightGBM, read from the text that it saves: gbdt and dart, whatever they do with nulls and zeros.

How it compares: ``Tree::NumericalDecision`` and ``CategoricalDecision`` of LightGBM's
include/LightGBM/tree.h; a value near zero is zero (``kZeroThreshold``)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tasks.models.libraries import is_of
from tasks.packages.exporters.exporter import NotConvertible
from tasks.packages.exporters.tree_writer import exporter_of_trees
from tasks.packages.exporters.trees import LEAF, Forest, Link, Tree

_ZERO = float(np.float32(1e-35))  # a value of at most this magnitude is taken as 0
_WITH_CODES, _NULL_LEFT = 1, 2  # bits of a decision's type; the two above say what null is
_NULL_IS_ZERO, _ZERO_IS_NULL = 0, 1
_LINKS: Mapping[str, Link] = {
    "binary": "sigmoid",
    "multiclass": "softmax",
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(
        ("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "identity"
    ),
}


def _read(model: Any) -> Forest:
    head, *blocks = model.booster_.model_to_string().partition("end of trees")[0].split("\nTree=")
    fields = _fields(head)
    if "average_output" in head.splitlines():
        raise _refusal(model, "boosting_type='rf'")
    link, scale = _link(model, fields)
    outputs = int(fields["num_tree_per_iteration"])
    zero_is_null: dict[int, bool] = {}
    trees = [
        _tree(model, _fields(block), place % outputs, scale, zero_is_null)
        for place, block in enumerate(blocks)
    ]
    limits = {feature: _ZERO for feature, is_null in zero_is_null.items() if is_null}
    return Forest(trees, np.zeros(outputs), link, limits)


def _fields(block: str) -> dict[str, str]:
    lines = (line.partition("=") for line in block.splitlines())
    return {name: value for name, equals, value in lines if equals}


def _link(model: Any, fields: Mapping[str, str]) -> tuple[Link, float]:
    """Return the link of the objective, and by what its sums are multiplied before it."""
    name, *words = (fields.get("objective") or "none").split()
    options = dict(word.split(":") for word in words if ":" in word)
    if name not in _LINKS or "sqrt" in words:
        raise _refusal(model, f"the objective {' '.join([name, *words])!r}")
    return _LINKS[name], float(options.get("sigmoid", 1)) if name == "binary" else 1.0


def _tree(
    model: Any, fields: Mapping[str, str], output: int, scale: float, zero_is_null: dict[int, bool]
) -> Tree:
    """Splits come first, then leaves: LightGBM names a leaf by ``-1 - place``."""
    if fields.get("is_linear", "0") != "0":
        raise _refusal(model, "linear trees")
    leaves = _numbers(fields, "leaf_value", float) * scale
    inner = len(leaves) - 1
    kinds = _numbers(fields, "decision_type", int)
    thresholds = _numbers(fields, "threshold", float)
    features = _numbers(fields, "split_feature", int)
    null_is, with_codes = kinds >> 2 & 3, kinds & _WITH_CODES > 0
    for feature, kind in zip(features[~with_codes].tolist(), null_is[~with_codes], strict=True):
        near_zero = bool(kind == _ZERO_IS_NULL)
        if zero_is_null.setdefault(feature, near_zero) != near_zero:
            raise _refusal(model, "trees that disagree whether zero is null")
    as_zero = null_is == _NULL_IS_ZERO
    null_left = np.where(as_zero, thresholds >= 0, kinds & _NULL_LEFT > 0) & ~with_codes

    def with_leaves(values: np.ndarray, fill: Any) -> np.ndarray:
        return np.concatenate([values, np.full(len(leaves), fill, values.dtype)])

    def children(name: str) -> np.ndarray:
        child = _numbers(fields, name, int)
        return with_leaves(np.where(child < 0, inner - 1 - child, child), 0)

    return Tree(
        with_leaves(features, LEAF),
        with_leaves(_around_zero(thresholds), 0.0),
        with_leaves(null_left, False),
        children("left_child"),
        children("right_child"),
        np.concatenate([np.zeros(inner), leaves])[:, None],
        output,
        {
            node: _codes(fields, int(thresholds[node]))
            for node in np.flatnonzero(with_codes).tolist()
        },
    )


def _numbers(fields: Mapping[str, str], name: str, kind: type) -> np.ndarray:
    return np.array(fields.get(name, "").split(), dtype=kind)


def _around_zero(thresholds: np.ndarray) -> np.ndarray:
    """Return thresholds that have all values near zero on the side of zero itself."""
    near = (np.abs(thresholds) < _ZERO) | (thresholds == -_ZERO)
    beside = np.where(thresholds < 0, np.nextafter(-_ZERO, -np.inf), _ZERO)
    return np.where(near, beside, thresholds)


def _codes(fields: Mapping[str, str], place: int) -> list[int]:
    """Return the codes of a set: bits of 32-bit words, all sets one after another."""
    first, end = _numbers(fields, "cat_boundaries", int)[place : place + 2]
    words = _numbers(fields, "cat_threshold", np.int64)[first:end]
    return [
        32 * number + bit
        for number, word in enumerate(words.tolist())
        for bit in range(32)
        if word >> bit & 1
    ]


def _refusal(model: Any, what: str) -> NotConvertible:
    return NotConvertible(
        f"{type(model).__name__} with {what} cannot become ONNX. Supported are gbdt and dart with "
        f"the objectives {', '.join(_LINKS)}."
    )


LIGHTGBM = exporter_of_trees("LightGBM", lambda model: is_of(model, "lightgbm"), _read)
