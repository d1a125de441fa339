"""The service's encoders of wide kinds as scikit-learn's transformers: what a model is fitted on is
what it is served."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from serving.package.encoders.dates import DateEncoder


class DateParts(TransformerMixin, BaseEstimator):
    """The ``parts`` of one column of dates, ``(n_rows, width)``."""

    def __init__(self, parts: Sequence[str] = ()) -> None:
        self.parts = parts

    def fit(self, frame: Any, labels: Any = None) -> Self:
        return self

    def transform(self, frame: Any) -> np.ndarray:
        """``frame`` has one column of local times ``(n_rows, 1)``, null as NaT."""
        encoder = DateEncoder(self.parts)
        block = np.empty((len(frame), encoder.width))
        encoder.encode(np.asarray(frame, dtype="datetime64[us]").ravel().tolist(), block)
        return block

    def __sklearn_is_fitted__(self) -> bool:
        return True
