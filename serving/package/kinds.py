"""The service's rules for each kind of input, from a request's value to the lake's column.

A use case's rules are in ``usecases/definition/kinds.py``, and the flows' rules in
``tasks/data/kinds.py``: the service imports neither."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from serving.package.encoders.encoder import Encoder

# Datatypes of the Open Inference Protocol, as binary tensors hold them.
NUMBERS: Mapping[str, np.dtype | None] = {
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
TEXTS: Mapping[str, np.dtype | None] = {"BYTES": None}


@dataclass(frozen=True)
class Kind:
    """The rules for inputs of one kind.

    msgspec checks a value by ``value_type(low, high, dtype)``; ``json_type`` is its name in JSON
    Schema. ``coded`` values are in the matrix as the number of their category, others unchanged.
    ``encoder`` makes the encoder of a feature of a wide kind, whose values are a block of the
    matrix; wide kinds stand behind the others.
    ``packed`` values are float64, null as NaN: many of them are stored and logged as an array.
    ``parse``, if any, reads texts of CSV that msgspec does not read.

    A tensor has one of ``datatypes``, each with its NumPy type unless it is text; ``datatype`` is
    the one in the model's metadata. An Arrow column is accepted if ``fits_arrow``, and ``arrow``
    describes such columns. In the prediction log a value has ``log_type``, and in the lake the
    Arrow type ``lake_type``."""

    value_type: Callable[[float | None, float | None, str], Any]
    json_type: str
    coded: bool
    packed: bool
    parse: Callable[[Any], Any] | None
    datatype: str
    datatypes: Mapping[str, np.dtype | None]
    arrow: str
    fits_arrow: Callable[[Any], bool]
    log_type: type
    lake_type: str
    encoder: Callable[[Any], Encoder] | None = None


def check_kind(name: str, kind: str) -> None:
    """Raises ``ValueError`` if the input ``name`` is of a kind that this code does not know."""
    if kind not in KINDS:
        known_kinds = " and ".join(KINDS)
        raise ValueError(f"{name!r} is of kind {kind!r}, but this code knows only {known_kinds}")


def parse_number(value: Any) -> Any:
    """The number that Python reads in a text, true as 1; the value itself if there is none."""
    try:
        return (
            float(value)
            if isinstance(value, bool) or (isinstance(value, str) and "_" not in value)
            else value
        )
    except ValueError:
        return value


def is_arrow_text(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return (
        types.is_string(arrow_type)
        or types.is_large_string(arrow_type)
        or types.is_string_view(arrow_type)
        or types.is_null(arrow_type)
    )


def _is_arrow_category(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return is_arrow_text(arrow_type.value_type if types.is_dictionary(arrow_type) else arrow_type)


def _is_arrow_number(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return (
        types.is_integer(arrow_type) or types.is_floating(arrow_type) or types.is_null(arrow_type)
    )


def _number_type(low: float | None, high: float | None, dtype: str) -> Any:
    # A number that overflows the model's own type would become infinite on the way to it.
    largest = float(np.finfo(np.dtype(dtype)).max)
    least, most = (-largest if low is None else low), (largest if high is None else high)
    return Annotated[float, Meta(ge=least, le=most)]


KINDS: dict[str, Kind] = {
    "category": Kind(
        value_type=lambda low, high, dtype: str,
        json_type="string",
        coded=True,
        packed=False,
        parse=None,
        datatype="BYTES",
        datatypes=TEXTS,
        arrow="texts, or a dictionary of texts",
        fits_arrow=_is_arrow_category,
        log_type=str,
        lake_type="string",
    ),
    "number": Kind(
        value_type=_number_type,
        json_type="number",
        coded=False,
        packed=True,
        parse=parse_number,
        datatype="FP64",
        datatypes=NUMBERS,
        arrow="numbers, such as float64",
        fits_arrow=_is_arrow_number,
        log_type=float,
        lake_type="float64",
    ),
}
