"""What the flows do with columns of images, which are texts: a PNG or JPEG in base64."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from serving.errors import InputError
from serving.package.encoders import pictures
from serving.package.encoders.images import ImageEncoder, array_of, pixels_of
from usecases.definition import Column

if TYPE_CHECKING:
    from tasks.data.columns.image_block import ImageBlock


def holds_images(dtype: pl.DataType) -> bool:
    """Whether a column of a batch may be one of images: files, base64, or arrays of numbers."""
    depth = 0
    while isinstance(dtype, pl.List | pl.Array):
        dtype, depth = dtype.inner, depth + 1  # type: ignore[assignment]
    return dtype.is_numeric() if depth else dtype in (pl.String, pl.Binary)


def normalize(name: str) -> pl.Expr:
    """The images of a batch in base64; arrays as PNG."""
    return pl.col(name).map_batches(_in_base64, return_dtype=pl.String)


def _in_base64(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Binary:
        return values.bin.encode("base64")
    if values.dtype.is_nested():
        texts = [None if value is None else _png_of(value) for value in values.to_list()]
        return pl.Series(values.name, texts, dtype=pl.String)
    return values.cast(pl.String)


def _png_of(array: list[Any]) -> str:
    """A PNG of an array; one that is no picture stays an array, and is refused by its row."""
    try:
        return b64encode(pictures.encode(array_of(array))).decode()
    except InputError:
        return str(array)


def image_faults(values: pl.Series) -> Mapping[str, pl.Series]:
    """The rows whose images cannot be decoded, by what is wrong with them."""
    problems = pl.Series([_problem(value) for value in values], dtype=pl.String)
    return {
        problem: (problems == problem).fill_null(False)
        for problem in problems.drop_nulls().unique()
    }


def _problem(value: str | None) -> str | None:
    try:
        if value is not None:
            pixels_of(value, 1, 1)
    except InputError as error:
        return str(error)
    return None


def image_block(columns: Sequence[Column]) -> "ImageBlock":
    """The unfitted transformer of one column."""
    from tasks.data.columns.image_block import ImageBlock

    (column,) = columns
    assert column.size is not None and column.channels is not None
    return ImageBlock(*column.size, column.channels)


def shrunk(column: Column, values: pl.Series) -> pl.Series:
    """The images as the model sees them: small PNGs, which are encoded alike."""
    assert column.size is not None and column.channels is not None
    encoder = ImageEncoder(column.size, column.channels)
    texts = [None if value is None else encoder.shrink(value) for value in values]
    return pl.Series(values.name, texts, dtype=pl.String)


def grey(values: pl.Series) -> str:
    """An image of one grey pixel, which says nothing of ``values``."""
    return b64encode(pictures.encode(np.full((1, 1, 1), 128, dtype=np.uint8))).decode()
