"""The exporters in order: the first that takes a model exports it."""

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.package.symmetric_trees import SymmetricTrees
from tasks.packages.exporters.boosting import BOOSTING
from tasks.packages.exporters.cat_boost import CATBOOST
from tasks.packages.exporters.exporter import Exporter, NotConvertible, package_of
from tasks.packages.exporters.forests import FORESTS
from tasks.packages.exporters.light_gbm import LIGHTGBM
from tasks.packages.exporters.own import OWN
from tasks.packages.exporters.scikit_learn import SCIKIT_LEARN
from tasks.packages.exporters.xg_boost import XGBOOST

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

EXPORTERS: list[Exporter] = [OWN, BOOSTING, FORESTS, LIGHTGBM, XGBOOST, CATBOOST, SCIKIT_LEARN]


def forms_of(model: "BaseEstimator", n_features: int) -> Iterator[tuple[bytes, str]]:
    """Yield the forms in which ``model`` can be served, the fastest first: what ``export`` returns,
    and then the same in doubles, where there is that. Raises ``NotConvertible`` as ``export`` does.
    """
    yield (first := export(model, n_features))
    in_doubles = _exporter_of(model).export_in_doubles
    if in_doubles and first[1] != "float64":
        with suppress(NotConvertible):
            yield in_doubles(model, n_features)


def export(model: "BaseEstimator", n_features: int) -> tuple[bytes, str]:
    """Return the ONNX bytes of ``model`` and the dtype of its matrix (``float64`` or ``float32``).

    Raises ``NotConvertible``, also for a model that no exporter takes."""
    exporter = _exporter_of(model)
    classes = list(getattr(model, "classes_", ()))
    if classes != list(range(len(classes))):
        raise NotConvertible(
            f"{type(model).__name__} was fitted on the classes {classes}, expected 0, 1, ..."
        )
    return exporter.export(model, n_features)


def thresholds(model: "BaseEstimator") -> dict[int, np.ndarray]:
    """Return the values, by feature position, beside which the conversion of ``model`` would go
    wrong first."""
    return _exporter_of(model).thresholds(model)


def symmetric_trees(model: "BaseEstimator", n_features: int) -> SymmetricTrees | None:
    """Return ``model`` in the form that scores many rows faster; ``None`` if it has none."""
    return _exporter_of(model).symmetric_trees(model, n_features)


def _exporter_of(model: Any) -> Exporter:
    for exporter in EXPORTERS:
        if exporter.takes(model):
            return exporter
    supported = ", ".join(exporter.supports for exporter in EXPORTERS)
    raise NotConvertible(
        f"{type(model).__name__} of the library {package_of(model)!r} cannot become ONNX: no "
        f"exporter takes it. Supported: {supported}. Replace that step, bring its ONNX "
        "(Candidate.export), or add an exporter to tasks/packages/exporters/registry.py."
    )
