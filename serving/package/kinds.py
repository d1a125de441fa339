"""The service's rules for each kind of input, from a request's value to the lake's column.

A use case's rules are in ``usecases/definition/kinds.py``, and the flows' rules in
``tasks/data/kinds.py``: the service imports neither."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from serving.errors import PackageError
from serving.package.encoders.dates import DateEncoder
from serving.package.encoders.encoder import Encoder
from serving.package.encoders.images import ImageEncoder
from serving.package.encoders.texts import Vocabulary, text_encoder
from serving.package.times import LOCAL_DATE, PATTERN, LocalTime, local_time_type

# Datatypes of the Open Inference Protocol, as binary tensors hold them.
NUMBERS: Mapping[str, np.dtype | None] = {
    **{f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
TEXTS: Mapping[str, np.dtype | None] = {"BYTES": None}
# In lower case. pandas writes 1.0 and 0.0 where a column has nulls, and PostgreSQL t and f.
BOOLEANS: Mapping[str | float, bool] = {
    **dict.fromkeys(("true", "t", "1", "1.0", 1), True),
    **dict.fromkeys(("false", "f", "0", "0.0", 0), False),
}


@dataclass(frozen=True)
class Kind:
    """The rules for inputs of one kind.

    msgspec checks a value of a feature by ``value_type(feature, dtype)``, and ``expected`` says
    what one is where msgspec's words do not; ``json_type`` is its name in JSON Schema, and
    ``json_schema`` what else stands there. ``coded`` values are in the matrix as the number of
    their category, others unchanged.
    ``encoder`` makes the encoder of a feature of a wide kind, whose values are a block of the
    matrix, from the feature and the vocabularies of the package; wide kinds stand behind the
    others.
    ``packed`` values are float64, null as NaN: many of them are stored and logged as an array.
    ``parse``, if any, reads texts of CSV that msgspec does not read.

    A tensor has one of ``datatypes``, each with its NumPy type unless it is text; ``datatype`` is
    the one in the model's metadata. An Arrow column is accepted if ``fits_arrow``, and ``arrow``
    describes such columns. In the prediction log a value has ``log_type``, and in the lake the
    Arrow type ``lake_type``; ``logged``, if any, gets a feature and returns a function that turns a
    value into the one to log. A feature that ``takes_files`` accepts bytes, which become base64,
    and arrays of numbers, ``(height, width)`` or ``(height, width, channels)``."""

    value_type: Callable[[Any, str], Any]
    json_type: str | list[str]
    coded: bool
    packed: bool
    parse: Callable[[Any], Any] | None
    datatype: str
    datatypes: Mapping[str, np.dtype | None]
    arrow: str
    fits_arrow: Callable[[Any], bool]
    log_type: type
    lake_type: str
    encoder: Callable[[Any, Mapping[str, Vocabulary]], Encoder] | None = None
    expected: str = ""
    json_schema: Mapping[str, str] = field(default_factory=dict)
    takes_files: bool = False
    logged: Callable[[Any], Callable[[Any], Any]] | None = None


def check_kind(name: str, kind: str) -> None:
    """Raises ``ValueError`` if the input ``name`` is of a kind that this code does not know."""
    if kind not in KINDS:
        known_kinds = ", ".join(KINDS)
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


def parse_boolean(value: Any) -> Any:
    """The boolean that Python, pandas, R or a database writes as a text, or as 1 and 0; the value
    itself if there is none.
    """
    word = value.lower() if isinstance(value, str) else value
    return BOOLEANS.get(word, value) if isinstance(word, str | int | float) else value


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


def _is_arrow_boolean(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return types.is_boolean(arrow_type) or types.is_null(arrow_type)


def _is_arrow_date(arrow_type: Any) -> bool:
    import pyarrow.types as types

    is_local = types.is_timestamp(arrow_type) and arrow_type.tz is None
    return is_local or types.is_date(arrow_type) or is_arrow_text(arrow_type)


def _is_arrow_image(arrow_type: Any) -> bool:
    return is_arrow_binary(arrow_type) or is_arrow_text(arrow_type)


def is_arrow_binary(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return types.is_binary(arrow_type) or types.is_large_binary(arrow_type)


def _image_encoder(feature: Any) -> ImageEncoder:
    if not (feature.size and feature.channels):
        raise PackageError(f"{feature.name!r} is an image without size or channels.")
    return ImageEncoder(feature.size, feature.channels)


def number_bounds(feature: Any, dtype: str) -> tuple[float, float]:
    """The least and the greatest value of a feature of kind "number"."""
    # A number that overflows the model's own type would become infinite on the way to it.
    largest = float(np.finfo(np.dtype(dtype)).max)
    return (
        -largest if feature.low is None else feature.low,
        largest if feature.high is None else feature.high,
    )


def _number_type(feature: Any, dtype: str) -> Any:
    least, most = number_bounds(feature, dtype)
    return Annotated[float, Meta(ge=least, le=most)]


KINDS: dict[str, Kind] = {
    "category": Kind(
        value_type=lambda feature, dtype: str,
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
    "boolean": Kind(
        value_type=lambda feature, dtype: bool,
        json_type="boolean",
        coded=False,
        packed=False,
        parse=parse_boolean,
        datatype="BOOL",
        datatypes={"BOOL": np.dtype("?")},
        arrow="booleans",
        fits_arrow=_is_arrow_boolean,
        log_type=bool,
        lake_type="bool",
        expected="true or false",
    ),
    "datetime": Kind(
        value_type=lambda feature, dtype: local_time_type(feature.earliest, feature.latest),
        json_type="string",
        json_schema={"pattern": PATTERN, "description": LOCAL_DATE},
        coded=False,
        packed=False,
        parse=None,
        datatype="BYTES",
        datatypes=TEXTS,
        arrow="timestamps without a zone, dates or texts",
        fits_arrow=_is_arrow_date,
        log_type=LocalTime,
        lake_type="timestamp[us]",
        encoder=lambda feature, vocabularies: DateEncoder(feature.parts or ()),
    ),
    "image": Kind(
        value_type=lambda feature, dtype: str | list[Any],
        json_type=["string", "array"],
        coded=False,
        packed=False,
        parse=None,
        datatype="BYTES",
        datatypes={**TEXTS, **NUMBERS},
        arrow="binary, the bytes of a PNG or JPEG, or texts, which are these in base64",
        fits_arrow=_is_arrow_image,
        log_type=str,
        lake_type="string",
        encoder=lambda feature, vocabularies: _image_encoder(feature),
        takes_files=True,
        logged=lambda feature: _image_encoder(feature).logged,
    ),
    "text": Kind(
        value_type=lambda feature, dtype: str,
        json_type="string",
        coded=False,
        packed=False,
        parse=None,
        datatype="BYTES",
        datatypes=TEXTS,
        arrow="texts, or a dictionary of texts",
        fits_arrow=_is_arrow_category,
        log_type=str,
        lake_type="string",
        encoder=text_encoder,
    ),
}


def expected_values(features: Iterable[Any]) -> dict[str, str]:
    """What a value of each feature is, in words, where msgspec's words do not say it."""
    return {one.name: KINDS[one.kind].expected for one in features if KINDS[one.kind].expected}
