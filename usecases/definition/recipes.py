"""What may be fitted: candidates, and how they are tuned."""

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from usecases.definition.columns import Frozen, Layout


class Range(Frozen):
    """One dimension of a search space, both ends included."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low comes first")
        smallest = 1 if self.integer else 0
        if self.log and (self.low <= 0 or self.low < smallest):
            least = "at 1 or above" if self.integer else "above 0"
            raise ValueError(f"low is {self.low:g}, but a logarithmic range begins {least}")
        if self.integer and (self.low % 1 or self.high % 1):
            raise ValueError(
                f"{self.low:g} to {self.high:g} is an integer range: both ends must be integers"
            )
        return self


class Search(Frozen):
    """How to tune an estimator: Optuna's TPE over ``space``, halved at each rung of ``resource``.

    ``resource`` is the parameter that grows (``max_iter``) and its rungs; the last one is what is
    kept. ``at_once`` trials climb at a time, if there are workers for so many: a trial knows the
    same of the others on every machine."""

    space: Mapping[str, Range] = Field(min_length=1)
    resource: tuple[str, tuple[int, ...]]
    trials: int = Field(20, ge=1)
    at_once: int = Field(4, ge=1, le=1000)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        name, rungs = self.resource
        if (
            not rungs
            or rungs[0] < 1
            or any(low >= high for low, high in zip(rungs, rungs[1:], strict=False))
        ):
            raise ValueError(
                f"the rungs of {name!r} are {rungs}: they must be one or more whole numbers "
                "above 0 that grow, such as (20, 50, 100)"
            )
        if name in self.space:
            raise ValueError(f"{name!r} is the resource that grows: remove it from space")
        return self


class Candidate(Frozen):
    """A recipe: ``build(params, layout, seed)`` returns an unfitted classifier (for a number a
    regressor) of scikit-learn, LightGBM, XGBoost or CatBoost on the encoded matrix.

    With ``export``, it may return any object with ``fit`` and ``predict_proba`` (for a number
    ``predict``): ``export(model, n_features)`` returns the fitted object as the bytes of an ONNX
    model, which must answer as the object does (docs/use-cases.md#a-model-of-your-own).

    ``vectorizers`` make terms of the columns of kind "text", by their names: each is a function of
    parameters that returns an unfitted ``TfidfVectorizer`` or ``CountVectorizer`` of scikit-learn.
    A text without one gets ``TfidfVectorizer(**parameters)``. Its parameters are those of
    ``params`` and of the search that begin with the name of the text and two underscores, such as
    ``review__min_df``; the rest are for ``build``.

    With ``batch_rows`` the model learns so many rows at a time, by its ``partial_fit``, in
    ``passes`` over all of them: the whole matrix is never made.

    ``baseline`` candidates are fitted by every ``train``; the others are reached by HPO or as the
    champion's recipe."""

    name: str = Field(min_length=1)
    build: Callable[[Mapping[str, Any], Layout, int], Any]
    export: Callable[[Any, int], bytes] | None = None
    params: Mapping[str, Any] = {}
    vectorizers: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {}
    baseline: bool = True
    search: Search | None = None
    batch_rows: int | None = Field(None, ge=100)
    passes: int = Field(1, ge=1, le=1000)

    @model_validator(mode="after")
    def _can_be_built_and_recorded(self) -> Self:
        self._check_call("build", ("params", "layout", "seed"), "an unfitted classifier")
        self._check_call("export", ("model", "n_features"), "the bytes of an ONNX model")
        try:
            json.dumps(dict(self.params), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"params of candidate {self.name!r} are recorded as JSON: {error}. Keep "
                "text, numbers, "
                "lists and None there, and create other objects in build"
            ) from error
        return self

    @model_validator(mode="after")
    def _batches_stand_alone(self) -> Self:
        if self.batch_rows is None:
            if self.passes > 1:
                raise ValueError(
                    f"candidate {self.name!r} has passes without batch_rows: write batch_rows=..., "
                    "or leave passes out"
                )
            return self
        if in_use := [name for name in ("export", "search", "vectorizers") if getattr(self, name)]:
            raise ValueError(
                f"candidate {self.name!r} has batch_rows beside {' and '.join(in_use)}, which need "
                "all rows at once: leave one of them out"
            )
        return self

    def _check_call(self, name: str, arguments: tuple[str, ...], returns: str) -> None:
        function, listed = getattr(self, name), ", ".join(arguments)
        if function is None:
            return
        try:
            inspect.signature(function).bind(*arguments)
        except TypeError as error:
            raise ValueError(
                f"{name} of candidate {self.name!r} does not take ({listed}): {error}. "
                f"Write def {name}({listed}), which returns {returns}"
            ) from error
        except ValueError:  # a callable of C has no signature to look at
            pass
