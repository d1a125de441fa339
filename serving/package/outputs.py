"""The outputs of a package: a row's answer has a value for each of them.

The model gives numbers, one for each output of kind "number". The other kinds follow from them: a
"decision" is whether the only number reaches the package's threshold, a "bound" is the only number
and an offset, a "category" names the largest number, and a "set" those that are large enough. A
model with quantiles gives two further numbers, to which the offsets of the bounds are added. An
answer has the outputs in the order of the manifest, in every form."""

import itertools
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from serving.errors import PackageError

KINDS = ("number", "decision", "bound", "category", "set")
# Names of a row's other values in answers, explanations and the prediction log.
RESERVED = frozenset(
    {"id", "prediction_id", "time", "event_time", "model_version", "sample_rate", "role"}
    | {"caller_hash", "use_case", "base", "contributions", "explains", "method"}
)

Values = Sequence[list[Any]]  # a list for each output, with a value for each row


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value of a row's answer: a "number" in ``low``-``high``, a "decision" (true or false), a
    "bound" that is ``offset`` from the number or from the model's ``quantile`` and within
    ``low``-``high`` unless the number is outside, a "category", one of ``categories``, which are in
    the order of the numbers, or a "set" of those whose number is at least ``least``, and of the
    largest.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    description: str = ""
    categories: list[str] | UnsetType = UNSET
    offset: float | UnsetType = UNSET
    quantile: Literal["low", "high"] | UnsetType = UNSET
    least: float | UnsetType = UNSET


def check_outputs(
    outputs: Sequence[Output], features: Sequence[str], threshold: float | None
) -> None:
    """Raises ``PackageError`` for outputs that cannot be answered or logged beside ``features``."""
    names = [output.name for output in outputs]
    numbers = number_places(outputs)
    if not numbers:
        raise PackageError("The package has no output of kind 'number': there is no answer.")
    if invalid_names := sorted({name for name in names if names.count(name) > 1 or not name}):
        raise PackageError(
            f"The package has outputs with a repeated or missing name: {invalid_names}."
        )
    if reserved_names := sorted((RESERVED | {*features}) & {*names}):
        raise PackageError(
            "Outputs of the package have names of columns of the prediction log: "
            f"{reserved_names}. Rename them."
        )
    for output in outputs:
        if problem := _problem(output, len(numbers), threshold):
            raise PackageError(f"Output {output.name!r} of the package {problem}.")


def _problem(output: Output, numbers: int, threshold: float | None) -> str:
    if output.kind not in KINDS:
        return f"is of kind {output.kind!r}; the known kinds are {', '.join(KINDS)}"
    if output.kind == "decision" and (numbers != 1 or threshold is None):
        return f"needs one number and a threshold: got {numbers} numbers, threshold {threshold}"
    if output.kind == "bound" and (numbers != 1 or output.offset is UNSET):
        return f"needs one number and an offset: got {numbers} numbers, offset {output.offset}"
    if output.kind == "set" and output.least is UNSET:
        return "has no least number"
    if output.kind in ("category", "set") and len(output.categories or ()) != max(numbers, 2):
        return f"names {len(output.categories or ())} categories for {numbers} numbers"
    return ""


class Label(NamedTuple):
    """What a late label of the outputs is: a ``kind`` of output, and for "category" one of
    ``categories``; ``None``: any."""

    kind: str
    categories: frozenset[str] | None = None


YES_OR_NO = Label("decision")


def label_of(outputs: Sequence[Output]) -> Label:
    """The label of a yes or no, of classes, or of a number."""
    for output in outputs:
        if output.kind == "decision":
            return YES_OR_NO
        if output.kind == "category":
            return Label("category", frozenset(output.categories or ()))
    return Label("number")


def number_places(outputs: Sequence[Output]) -> list[int]:
    """The positions of the model's numbers among the outputs."""
    return [place for place, output in enumerate(outputs) if output.kind == "number"]


def numbers_of_model(outputs: Sequence[Output]) -> int:
    """The count of numbers that the model must give for each row, with those of its quantiles."""
    return len(number_places(outputs)) + 2 * has_quantiles(outputs)


def has_quantiles(outputs: Sequence[Output]) -> bool:
    """Whether the model gives the quantiles of a number beside it."""
    return any(output.quantile is not UNSET for output in outputs)


def count_numbers(numbers: np.ndarray) -> int:
    """The count of numbers for each row in a model's result."""
    return 1 if numbers.ndim == 1 else int(numbers.shape[1])


def values_of(outputs: Sequence[Output], threshold: float | None) -> Callable[[np.ndarray], Values]:
    """A function that makes the values of all outputs from the model's numbers ``(n_rows,)`` or
    ``(n_rows, n_numbers)``. It costs a microsecond and the lists.
    """
    places = number_places(outputs)
    takes = [_take(output, place, places, threshold) for place, output in enumerate(outputs)]

    def values(numbers: np.ndarray) -> Values:
        columns = [numbers.tolist()] if numbers.ndim == 1 else numbers.T.tolist()
        return [take(columns, numbers) for take in takes]

    return values


def _take(
    output: Output, place: int, places: Sequence[int], threshold: float | None
) -> Callable[[list[list[float]], np.ndarray], list[Any]]:
    if output.kind == "decision":
        assert threshold is not None
        limit = threshold
        # Python compares in full precision; numpy would round the limit to the model's.
        return lambda columns, numbers: [number >= limit for number in columns[0]]
    if output.kind == "bound":
        return _bound(output)
    if output.kind == "set":
        return _set(output)
    if output.kind == "category":
        names = np.array(output.categories or [], dtype=object)
        return lambda columns, numbers: names[numbers.argmax(axis=1)].tolist()
    take = itemgetter(places.index(place))
    return lambda columns, numbers: take(columns)


def _bound(output: Output) -> Callable[[list[list[float]], np.ndarray], list[Any]]:
    """The end of an interval is never on the other side of the number."""
    offset = float(output.offset or 0)
    column = {"low": 1, "high": 2}[output.quantile] if output.quantile else 0
    outer = min if (output.quantile == "low" if output.quantile else offset < 0) else max
    low, high = output.low, output.high
    if low is None and high is None:
        return lambda columns, numbers: [
            outer(number, end + offset)
            for number, end in zip(columns[0], columns[column], strict=True)
        ]
    least, most = (-np.inf if low is None else low), (np.inf if high is None else high)
    return lambda columns, numbers: [
        outer(number, min(max(end + offset, least), most))
        for number, end in zip(columns[0], columns[column], strict=True)
    ]


def _set(output: Output) -> Callable[[list[list[float]], np.ndarray], list[Any]]:
    names, least = output.categories or [], float(output.least or 0)

    def sets(columns: list[list[float]], numbers: np.ndarray) -> list[list[str]]:
        limits = map(min, numbers.max(axis=1).tolist(), itertools.repeat(least))
        return [
            [name for name, chance in zip(names, chances, strict=True) if chance >= limit]
            for chances, limit in zip(numbers.tolist(), limits, strict=True)
        ]

    return sets
