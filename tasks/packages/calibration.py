"""What the interval of a number and the set of classes are calibrated on: rows of several windows
that were answered by models which had not learned them.

They are the hold-out and as long a window before it, whose rows are answered out of fold
(``tasks/models/cross_fitting.py``); with few rows, also the windows before that. One window alone
promises what holds in its own weather. How much it does in another one is measured by leaving each
window out, and stands in the package and on the model card."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import polars as pl
from msgspec import UNSET

from serving.package.manifest import Coverage, Method
from serving.package.outputs import Output, values_of
from serving.records.performance import Interval
from tasks.measures.conformal import (
    conformal_offsets,
    interval_scores,
    least_chance,
    least_rows,
    share_held,
)
from tasks.measures.intervals import days_of
from tasks.models import modelling
from tasks.packages.error_quantiles import ErrorQuantiles, fit_error_quantiles
from usecases.definition import Classes, Number, UseCase, holdout_named, period_named

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_ENOUGH_ROWS = 1000
_FOLDS = 5


@dataclass(frozen=True)
class Unseen:
    """Labelled rows ``(n_rows,)`` that were answered by models which had not learned them: the
    name of the ``window`` of each, their encoded ``matrix`` ``(n_rows, width)``, the model's
    ``numbers`` ``(n_rows,)`` or ``(n_rows, n_classes)``, and their days.

    ``owners`` ``(width,)`` is the column of each place of the matrix."""

    window: np.ndarray
    matrix: np.ndarray
    numbers: np.ndarray
    truth: np.ndarray
    days: np.ndarray
    owners: np.ndarray

    def __getitem__(self, some: np.ndarray) -> "Unseen":
        return self._each(lambda part, _: part[some], self)

    def __add__(self, other: "Unseen") -> "Unseen":
        return self._each(lambda mine, theirs: np.concatenate([mine, theirs]), other)

    def _each(
        self, make: Callable[[np.ndarray, np.ndarray], np.ndarray], other: "Unseen"
    ) -> "Unseen":
        return replace(
            self,
            window=make(self.window, other.window),
            matrix=make(self.matrix, other.matrix),
            numbers=make(self.numbers, other.numbers),
            truth=make(self.truth, other.truth),
            days=make(self.days, other.days),
        )

    def learn(self, case: UseCase, seed: int) -> ErrorQuantiles | None:
        """What tells the errors of these answers to a number; ``None``: nothing does."""
        return fit_error_quantiles(
            self.matrix, self.owners, self.numbers, self.truth, _promise(case), seed
        )


def promises(case: UseCase) -> bool:
    """Whether answers have an interval or a set."""
    return isinstance(case.target, Number) or (
        isinstance(case.target, Classes) and case.target.coverage is not None
    )


def without_quantiles(case: UseCase, recipe: str) -> UseCase:
    """The use case, with equally wide intervals if ``recipe`` exports a model of its own: of that
    only the ONNX is kept, which must stay the model's."""
    target = case.target
    if not isinstance(target, Number) or case.candidate(recipe).export is None:
        return case
    return case.model_copy(update={"target": target.model_copy(update={"intervals": "split"})})


def answered(
    case: UseCase, fitted: "Pipeline", rows: pl.DataFrame, numbers: np.ndarray, name: str = ""
) -> Unseen:
    """``rows``, all labelled, with the ``numbers`` of models that had not learned them, without
    those that have none. Windows as long as a hold-out are named from the newest period on;
    ``name``: the rows are one window."""
    known = np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
    rows, numbers = rows.filter(pl.Series(known)), numbers[known]
    if name or rows.is_empty():
        windows = np.full(len(rows), name, dtype=object)
    else:
        windows = _windows(case, rows)
    return Unseen(
        windows,
        _matrix(case, fitted, rows),
        numbers,
        modelling.labels(case, rows),
        days_of(rows[case.event_time]),
        modelling.owners(case, fitted),
    )


def _matrix(case: UseCase, fitted: "Pipeline", rows: pl.DataFrame) -> np.ndarray:
    """What the quantiles of a number's errors see; without places where texts would fill the memory
    for nothing."""
    if case.texts and not isinstance(case.target, Number):
        return np.empty((len(rows), 0))
    if rows.is_empty():  # scikit-learn's encoders refuse to encode none
        return np.empty((0, len(modelling.owners(case, fitted))))
    return modelling.dense(modelling.encode(fitted, case, rows))


def learn_quantiles(
    case: UseCase, fitted: "Pipeline", training: pl.DataFrame, scores: np.ndarray, seed: int
) -> ErrorQuantiles:
    """The quantiles of the errors of a package that has them. ``scores`` ``(n_rows,)`` of the
    ``training`` rows are out of fold. Raises ``ValueError`` if they tell nothing."""
    unseen = answered(case, fitted, training, scores)
    quantiles = unseen.learn(case, seed)
    if quantiles is None:
        raise ValueError(
            f"The interval of {case.name!r} was calibrated with quantiles of the errors, and none "
            f"can be learned from {len(unseen.truth)} rows. Train again, or write "
            'Number(..., intervals="split").'
        )
    return quantiles


def _windows(case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    periods = rows.select(case.period_of_rows).to_series()
    newest_first = sorted(periods.unique(), key=period_named, reverse=True)
    length, names = case.promotion.holdout_periods, dict[str, str]()
    for start in range(0, len(newest_first), length):
        inside = newest_first[start : start + length]
        names |= dict.fromkeys(inside, holdout_named(inside[::-1]))
    return periods.replace_strict(names, return_dtype=pl.String).to_numpy()


@dataclass(frozen=True)
class Calibrated:
    """The outputs of a package, and what they promise; ``None``: nothing."""

    outputs: list[Output]
    coverage: Coverage | None = None


def declared_outputs(case: UseCase) -> list[Output]:
    """The outputs of the use case as a package has them, not calibrated."""
    return [
        Output(
            output.name,
            output.kind,
            output.low,
            output.high,
            output.description,
            list(output.categories) or UNSET,
            0.0 if output.kind == "bound" else UNSET,
            least=0.0 if output.kind == "set" else UNSET,
        )
        for output in case.outputs
    ]


def calibrate_answers(
    case: UseCase, holdout: Unseen, earlier: Unseen | None, seed: int
) -> Calibrated:
    """Calibrate the interval or the set on the ``holdout`` and on the latest windows of
    ``earlier``, rows that the model learned, answered out of fold (``None``: nobody did).

    An interval follows the quantiles of the errors if its score is better so on windows, or days,
    that were left out, and is the same for all rows otherwise."""
    if not promises(case):
        return Calibrated(declared_outputs(case))
    used = _latest(holdout, earlier)
    methods: dict[Method, Unseen] = {"split" if _is_number(case) else "set": used}
    adaptive = isinstance(case.target, Number) and case.target.intervals == "quantiles"
    if (
        adaptive
        and earlier is not None
        and (beside := _with_ends(case, used, earlier, seed)) is not None
    ):
        methods["quantiles"] = beside
    folds = _folds(used)
    tried = {method: _try(case, method, rows, folds, seed) for method, rows in methods.items()}
    best = min(tried, key=lambda method: tried[method].score)
    outputs = _calibrated(case, best, methods[best])
    held = tried[best].held
    return Calibrated(
        outputs,
        Coverage(
            promise=_promise(case),
            method=best,
            rows=len(used.truth),
            needed=least_rows(_promise(case), 2 if _is_number(case) else 1),
            windows=sorted(set(used.window.tolist())),
            held=held.value,
            low=held.low,
            high=held.high,
        ),
    )


def _is_number(case: UseCase) -> bool:
    return isinstance(case.target, Number)


def _promise(case: UseCase) -> float:
    assert isinstance(case.target, Number | Classes)
    return float(case.target.coverage or 0)


def _latest(holdout: Unseen, earlier: Unseen | None) -> Unseen:
    """The hold-out and the latest windows before it: one, or more until there are a thousand
    rows."""
    used = holdout
    if earlier is None:
        return used
    last_day = {name: earlier.days[earlier.window == name].max() for name in earlier.window}
    newest_first = sorted(last_day, key=last_day.__getitem__, reverse=True)
    for count, name in enumerate(newest_first):
        if count and len(used.truth) >= _ENOUGH_ROWS:
            break
        used = used + earlier[earlier.window == name]
    return used


def _with_ends(case: UseCase, used: Unseen, earlier: Unseen, seed: int) -> Unseen | None:
    """``used`` with the ends of the interval as further numbers, by quantiles that were learned
    without the row's window; ``None`` if they cannot be."""
    numbers = np.empty((len(used.truth), 3))
    for name in set(used.window.tolist()):
        inside = used.window == name
        quantiles = earlier[earlier.window != name].learn(case, seed)
        if quantiles is None:
            return None
        numbers[inside] = quantiles.beside(used.matrix[inside], used.numbers[inside])
    return replace(used, numbers=numbers)


def _folds(rows: Unseen) -> np.ndarray:
    """The fold of each row ``(n_rows,)``: its window, or of one window five parts of its days."""
    windows, home = np.unique(rows.window.astype(str), return_inverse=True)
    if len(windows) > 1:
        return home
    days, home = np.unique(rows.days, return_inverse=True)
    return home * min(_FOLDS, len(days)) // len(days)


@dataclass(frozen=True)
class _Tried:
    """The mean score of a method's intervals (0 of sets) and the share that they held, on rows
    that were left out."""

    score: float
    held: Interval


def _try(case: UseCase, method: Method, rows: Unseen, folds: np.ndarray, seed: int) -> _Tried:
    inside, scores = np.zeros(len(folds), dtype=bool), np.zeros(len(folds))
    if folds.max() == 0:  # one day: nothing can be left out
        return _Tried(0.0, Interval())
    for fold in range(folds.max() + 1):
        left_out = rows[folds == fold]
        outputs = _calibrated(case, method, rows[folds != fold])
        values = values_of(outputs, None)(left_out.numbers)
        here = folds == fold
        if isinstance(case.target, Classes):
            labels = np.array(case.target.classes, dtype=object)[left_out.truth]
            inside[here] = [
                label in members for label, members in zip(labels, values[-1], strict=True)
            ]
        else:
            low, high = (np.array(values[place]) for place in (1, 2))
            inside[here] = (low <= left_out.truth) & (left_out.truth <= high)
            scores[here] = interval_scores(left_out.truth, low, high, _promise(case))
    return _Tried(float(scores.mean()), share_held(inside, rows.days, seed))


def _calibrated(case: UseCase, method: Method, rows: Unseen) -> list[Output]:
    """The outputs with what ``rows`` say of them."""
    outputs, coverage = declared_outputs(case), _promise(case)
    if method == "set":
        *others, members = outputs
        least = least_chance(rows.truth, rows.numbers, coverage)
        return [*others, msgspec.structs.replace(members, least=least)]
    number, low, high = outputs
    if method == "split":
        below, above = conformal_offsets(rows.truth, rows.numbers, rows.numbers, coverage)
        low = msgspec.structs.replace(low, offset=min(below, 0.0))
        high = msgspec.structs.replace(high, offset=max(above, 0.0))
        return [number, low, high]
    below, above = conformal_offsets(rows.truth, rows.numbers[:, 1], rows.numbers[:, 2], coverage)
    low = msgspec.structs.replace(low, offset=below, quantile="low")
    high = msgspec.structs.replace(high, offset=above, quantile="high")
    return [number, low, high]
