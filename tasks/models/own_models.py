"""Models of a use case's own, which bring their ONNX (``Candidate.export``): any object with
``fit`` and ``predict_proba``, for a number ``predict``."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if

from serving.package.model import open_session
from tasks.models.weights import fit_arguments
from tasks.outside.user_code import WrongAnswers, calling
from usecases.definition import Candidate, Layout

_ROUNDING = 1e-3  # of the sum of a row's probabilities in single precision


class OwnModel(BaseEstimator):
    """What ``candidate`` builds with ``params``, ``layout`` and ``seed``, as scikit-learn's
    pipelines, clones and searches need it: each fit builds anew.

    ``classes`` is their number; 0 for a number. The fitted object is ``model_``. The methods raise
    ``UseCaseFailed`` if the object's own do, and ``WrongAnswers``."""

    def __init__(
        self,
        use_case: str,
        candidate: Candidate,
        params: Mapping[str, Any],
        layout: Layout,
        seed: int,
        classes: int,
    ) -> None:
        self.use_case = use_case
        self.candidate = candidate
        self.params = params
        self.layout = layout
        self.seed = seed
        self.classes = classes

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.classes)

    def with_param(self, name: str, value: Any) -> "OwnModel":
        """Return the unfitted model with one more parameter for ``build``."""
        params = {**self.params, name: value}
        return OwnModel(self.use_case, self.candidate, params, self.layout, self.seed, self.classes)

    def fit(
        self, matrix: np.ndarray, labels: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> "OwnModel":
        """Fit on ``matrix`` ``(n_rows, n_features)`` of doubles and ``labels`` ``(n_rows,)``: the
        number, or 0, 1, ... for the classes."""
        with calling(self.use_case, self.call("build or fit"), "It is fitted on NumPy arrays."):
            model = self.candidate.build(self.params, self.layout, self.seed)
            model.fit(_copied(matrix), labels, **fit_arguments(model, sample_weight))
        self.model_ = model
        return self

    @available_if(lambda self: self.classes > 0)
    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of each class ``(n_rows, n_classes)``."""
        chances = self._answers("predict_proba", matrix)
        expected = (len(matrix), self.classes)
        if chances.shape != expected:
            raise self._wrong(
                "predict_proba",
                f"returned an array of shape {chances.shape} for {expected[0]} rows and "
                f"{expected[1]} classes, expected {expected}: a column for each class, in the "
                "order 0, 1, ...",
            )
        known = chances[np.isfinite(chances).all(axis=1)]
        outside = (known < -_ROUNDING) | (known > 1 + _ROUNDING)
        if outside.any() or (np.abs(known.sum(axis=1) - 1) > _ROUNDING).any():
            raise self._wrong(
                "predict_proba",
                f"returned {known.min():.3g} to {known.max():.3g}, and rows that add up to "
                f"{known.sum(axis=1).min():.3g} to {known.sum(axis=1).max():.3g}: probabilities "
                "lie within 0 and 1 and add up to 1. Is the softmax or sigmoid missing?",
            )
        return chances

    @available_if(lambda self: self.classes == 0)
    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the number of each row ``(n_rows,)``."""
        numbers = self._answers("predict", matrix)
        if numbers.shape not in ((len(matrix),), (len(matrix), 1)):
            raise self._wrong(
                "predict",
                f"returned an array of shape {numbers.shape} for {len(matrix)} rows, expected one "
                "number for each row",
            )
        return numbers.reshape(-1)

    def call(self, method: str) -> str:
        """Name a call of the use case's code, for an error."""
        return f"{method} of candidate {self.candidate.name!r}"

    def _answers(self, method: str, matrix: np.ndarray) -> np.ndarray:
        expectation = "It must return a NumPy array, such as tensor.detach().numpy()."
        with calling(self.use_case, self.call(method), expectation):
            answers = getattr(self.model_, method)(_copied(matrix))
            return np.asarray(answers, dtype=np.float64)

    def _wrong(self, method: str, problem: str) -> WrongAnswers:
        return WrongAnswers(f"{self.use_case}: {self.call(method)} {problem}")


class KeptModel(BaseEstimator):
    """An ``OwnModel`` as MLflow keeps it: the ONNX that answers as it does, and the ``parity`` (the
    values of ``Parity``) that was measured where it was fitted. No code of the use case is needed
    to load it (docs/decisions/0027-own-onnx.md)."""

    def __init__(
        self, onnx: bytes, dtype: str, classes: int, parity: tuple[int, float, int]
    ) -> None:
        self.onnx = onnx
        self.dtype = dtype
        self.classes = classes
        self.parity = parity

    @property
    def classes_(self) -> np.ndarray:
        return np.arange(self.classes)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, matrix: np.ndarray, labels: np.ndarray) -> "KeptModel":
        """Raises ``TypeError``: scikit-learn's pipelines want the method."""
        raise TypeError("A kept model cannot be fitted: fit its recipe anew.")

    @available_if(lambda self: self.classes > 0)
    def predict_proba(self, matrix: np.ndarray) -> np.ndarray:
        """Return the probability of each class ``(n_rows, n_classes)``."""
        chances = self._answers(matrix)
        return np.column_stack([1 - chances, chances]) if chances.ndim == 1 else chances

    @available_if(lambda self: self.classes == 0)
    def predict(self, matrix: np.ndarray) -> np.ndarray:
        """Return the number of each row ``(n_rows,)``."""
        return self._answers(matrix)

    def _answers(self, matrix: np.ndarray) -> np.ndarray:
        numbers = _session(self.onnx).run(None, {"matrix": np.asarray(matrix, dtype=self.dtype)})
        return np.asarray(numbers[0], dtype=np.float64)


def _copied(matrix: np.ndarray) -> np.ndarray:
    """A copy: what the use case's code writes into it, such as means for nulls, must not reach the
    rows that the ONNX is compared on."""
    return np.array(matrix, dtype=np.float64, order="C")


@lru_cache(maxsize=4)
def _session(onnx: bytes) -> Any:
    return open_session(onnx)
