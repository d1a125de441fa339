"""What the flows do with each kind of column, from its first batch to its last drift check.

What a use case says of a kind is in ``usecases/definition/kinds.py``, and what the service does is
in ``serving/package/kinds.py``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl

from serving.records.reasons import because
from tasks.data.columns import image_traits, images
from tasks.data.columns.booleans import as_boolean, misfit_of_booleans
from tasks.data.columns.dates import (
    as_local_times,
    date_faults,
    holds_dates,
    hours,
    middle_date,
    misfit_of_dates,
    weekdays,
)
from tasks.data.columns.texts import TEXT_TRAITS
from usecases.definition import Column, DriftPolicy

# As Evidently does: a number with no more values than this is compared value by value.
_FEW_VALUES = 20
_LEAK_BINS = 50
# A unit jump multiplies small and large values alike: the ratios of these quantiles agree within
# this.
_QUANTILES = (0.25, 0.5, 0.75)
_AGREE = 1.5
_ENOUGH_VALUES = 100

Shares = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Kind:
    """How columns of one kind are handled. Series have no nulls unless stated otherwise.

    A batch comes in any type that it ``holds``, unless ``misfit`` says what is wrong with the
    values. It becomes the ``dtype`` by ``normalize``, and a row with one of ``row_faults`` goes to
    quarantine. scikit-learn gets ``pandas_dtype``, null as NaN,
    and the fitted ``encoder`` of all columns of the kind, or of one column of a ``wide`` kind
    (if it is ``vectorized``, the candidate's own vectoriser, for which null is an empty text), has
    the ``known_values`` of each, where values have codes. ``unknown_values`` are those that it has
    never seen, and the service lets through. ``stand_in`` is shown in place of values that nobody
    may see, and a package's smoke rows have the ``example`` of each value, which is encoded alike
    and no larger than it needs to be.

    The prediction log has the ``log_type``; where its values are ``counted`` each has its number of
    requests, and otherwise the least and the largest are known. ``groups`` puts values (null too)
    into few groups, numbered from 0: rows of a group are compared for leaks. ``shares`` of two
    sides are what distances are measured on, ``find_oddities`` says what was broken from one side
    to the other. ``traits``, in the order of the definition's, get a series with its nulls, and
    give ``Float64``."""

    dtype: pl.DataType | type[pl.DataType]
    holds: Callable[[pl.DataType], bool]
    normalize: Callable[[str], pl.Expr]
    row_faults: Callable[[pl.Series], Mapping[str, pl.Series]]
    pandas_dtype: type | np.dtype
    encoder: Callable[[Sequence[Column]], Any]
    known_values: Callable[[Any, int], list[str] | None]
    unknown_values: tuple[Any, ...]
    stand_in: Callable[[pl.Series], Any]
    log_type: Literal["number", "text", "truth value", "time"]
    counted: bool
    groups: Callable[[pl.Series], np.ndarray]
    evidently: Literal["numerical", "categorical"]
    shares: Callable[[pl.Series, pl.Series], Shares]
    find_oddities: Callable[[DriftPolicy, Column, pl.Series, pl.Series, int], list[str]]
    wide: bool = False
    traits: Mapping[str, Callable[[pl.Series], pl.Series]] = field(default_factory=dict)
    misfit: Callable[[pl.Series], str | None] = lambda values: None
    vectorized: bool = False
    example: Callable[[Column, pl.Series], pl.Series] = lambda column, values: values


def count_values(before: pl.Series, now: pl.Series) -> Shares:
    """The share of each value that either side has."""
    counts = [dict(side.value_counts().iter_rows()) for side in (before, now)]
    names = sorted({*counts[0], *counts[1]})
    return tuple(
        np.array([side.get(name, 0) for name in names]) / sum(side.values()) for side in counts
    )  # type: ignore[return-value]


def group_values(values: pl.Series) -> np.ndarray:
    """A group for each value, and the first for null."""
    return values.rank("dense").fill_null(0).to_numpy().astype(np.int64)


def _category_encoder(columns: Sequence[Column]) -> Any:
    from sklearn.preprocessing import OrdinalEncoder

    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1
    )


def _date_encoder(columns: Sequence[Column]) -> Any:
    from tasks.data.columns.transformers import DateParts

    (column,) = columns
    return DateParts(column.parts or ())


def _find_strangers(
    policy: DriftPolicy, column: Column, before: pl.Series, now: pl.Series, rows: int
) -> list[str]:
    if now.is_empty():
        return []
    strangers = (~now.is_in(before.unique().to_list())).sum() / rows
    if strangers <= policy.new_category_tolerance:
        return []
    return [because("column_strangers", column=column.name, share=strangers)]


def _group_numbers(values: pl.Series) -> np.ndarray:
    """A group for each quantile, and the first for null."""
    numbers = values.cast(pl.Float64).fill_null(np.nan).to_numpy()
    present = numbers[~np.isnan(numbers)]
    quantiles = np.linspace(0, 1, _LEAK_BINS + 1)[1:]
    edges = np.unique(np.quantile(present, quantiles)) if len(present) else np.empty(0)
    return np.where(np.isnan(numbers), 0, 1 + np.searchsorted(edges, numbers, side="left"))


def _bin_numbers(before: pl.Series, now: pl.Series) -> Shares:
    """The share of each bin; of bins of equal width over both sides, if there are many values."""
    if before.n_unique() <= _FEW_VALUES:
        return count_values(before, now)
    sides = before.to_numpy(), now.to_numpy()
    edges = np.histogram_bin_edges(np.concatenate(sides), bins="sturges")
    return tuple(np.histogram(side, edges)[0] / len(side) for side in sides)  # type: ignore[return-value]


def _find_unit_change(
    policy: DriftPolicy, column: Column, before: pl.Series, now: pl.Series, rows: int
) -> list[str]:
    times = _unit_jump(before, now, policy.unit_factor)
    if times is None:
        return []
    return [because("column_unit", column=column.name, times=times)]


def _unit_jump(before: pl.Series, now: pl.Series, factor: float) -> float | None:
    """By what all values were multiplied; None if that is less than ``factor`` either way, or
    nothing that multiplies them all.

    Told from the sizes of the values that are not zero: it works for rain, whose median is zero.
    Celsius for Fahrenheit is no multiple, and miles for kilometres too near to what weather and
    traffic do: the column's ``typical`` range tells those."""
    sizes = [side.cast(pl.Float64).abs() for side in (before, now)]
    sizes = [side.filter(side > 0) for side in sizes]
    if min(map(len, sizes)) < _ENOUGH_VALUES:
        return None
    ratios = [
        float(sizes[1].quantile(q) or 0) / float(sizes[0].quantile(q) or 1) for q in _QUANTILES
    ]
    alike = min(ratios) > 0 and max(ratios) / min(ratios) <= _AGREE
    return ratios[1] if alike and (min(ratios) >= factor or max(ratios) <= 1 / factor) else None


KINDS: dict[str, Kind] = {
    "category": Kind(
        dtype=pl.String,
        holds=lambda dtype: dtype in (pl.String, pl.Categorical, pl.Enum),
        normalize=lambda name: pl.col(name).cast(pl.String),
        row_faults=lambda values: {},
        pandas_dtype=object,
        encoder=_category_encoder,
        # NaN is the last category of a column that had nulls in training; it has no code of its
        # own.
        known_values=lambda encoder, column: [
            value for value in encoder.categories_[column] if isinstance(value, str)
        ],
        unknown_values=("no such category",),
        stand_in=lambda values: "unknown",
        log_type="text",
        counted=True,
        groups=group_values,
        evidently="categorical",
        shares=count_values,
        find_oddities=_find_strangers,
    ),
    "number": Kind(
        dtype=pl.Float64,
        holds=lambda dtype: dtype.is_numeric() or dtype == pl.Boolean,
        # Sources that use pandas say NaN for null.
        normalize=lambda name: pl.col(name).cast(pl.Float64).fill_nan(None),
        row_faults=lambda values: {"infinite": values.is_infinite().fill_null(False)},
        pandas_dtype=float,
        encoder=lambda columns: "passthrough",
        known_values=lambda encoder, column: None,
        unknown_values=(),
        stand_in=lambda values: values.median(),
        log_type="number",
        counted=False,
        groups=_group_numbers,
        evidently="numerical",
        shares=_bin_numbers,
        find_oddities=_find_unit_change,
    ),
    "boolean": Kind(
        dtype=pl.Boolean,
        holds=lambda dtype: dtype == pl.Boolean or dtype.is_numeric(),
        misfit=misfit_of_booleans,
        normalize=as_boolean,
        row_faults=lambda values: {},
        pandas_dtype=float,
        encoder=lambda columns: "passthrough",
        known_values=lambda encoder, column: None,
        unknown_values=(),
        stand_in=lambda values: False,
        log_type="truth value",
        counted=True,
        groups=lambda values: group_values(values.cast(pl.Int8)),
        evidently="categorical",
        shares=count_values,
        find_oddities=lambda policy, column, before, now, rows: [],
    ),
    "datetime": Kind(
        dtype=pl.Datetime("us"),
        holds=holds_dates,
        misfit=misfit_of_dates,
        normalize=as_local_times,
        row_faults=date_faults,
        pandas_dtype=np.dtype("datetime64[us]"),
        encoder=_date_encoder,
        wide=True,
        known_values=lambda encoder, column: None,
        unknown_values=(),
        stand_in=middle_date,
        log_type="time",
        counted=False,
        groups=lambda values: _group_numbers(values.to_physical()),
        evidently="numerical",
        shares=_bin_numbers,
        find_oddities=lambda policy, column, before, now, rows: [],
        traits={"weekday": weekdays, "hour": hours},
    ),
    "image": Kind(
        dtype=pl.String,
        holds=images.holds_images,
        normalize=images.normalize,
        row_faults=images.image_faults,
        pandas_dtype=object,
        encoder=images.image_block,
        known_values=lambda encoder, column: None,
        unknown_values=(),
        stand_in=images.grey,
        log_type="text",
        counted=False,
        groups=group_values,
        evidently="categorical",
        shares=count_values,
        find_oddities=lambda policy, column, before, now, rows: [],
        wide=True,
        example=images.shrunk,
        traits=image_traits.TRAITS,
    ),
    "text": Kind(
        dtype=pl.String,
        holds=lambda dtype: dtype == pl.String,
        normalize=pl.col,
        row_faults=lambda values: {},
        pandas_dtype=object,
        encoder=lambda columns: None,
        known_values=lambda encoder, column: None,
        unknown_values=("", "ｑ́zx 모르는말 🙂🏽 ﷺ ß"),
        stand_in=lambda values: "",
        log_type="text",
        counted=False,
        groups=lambda values: _group_numbers(TEXT_TRAITS["characters"](values)),
        evidently="categorical",
        shares=count_values,
        find_oddities=lambda policy, column, before, now, rows: [],
        wide=True,
        vectorized=True,
        traits=TEXT_TRAITS,
    ),
}
