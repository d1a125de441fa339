"""Bound the pixels of all images of a request.

A kilobyte of PNG may be millions of pixels, so neither the size of a body nor the bound on one
image bounds the time that a request with many images takes. Files state their size in their
headers, which are read before any image is decoded."""

from collections.abc import Sequence
from typing import Any

from serving.errors import InputError
from serving.package.encoders.images import ImageEncoder
from serving.package.model import Package

MOST_PIXELS = 100_000_000  # four photos of the largest accepted size; some seconds of decoding


def check_pixels(package: Package, rows: Sequence[tuple[Any, ...]], before: int = 0) -> int:
    """The pixels of the images of a request: those of ``rows``, and the ``before`` pixels of its
    earlier rows.

    Raises ``InputError`` naming row and field for the first image that is one too many, and for a
    file whose header shows that it is not an acceptable image."""
    if not package.takes_files:
        return before
    images = [
        (position, encoder)
        for position, _, encoder in package.blocks
        if isinstance(encoder, ImageEncoder)
    ]
    total = before
    for row, values in enumerate(rows):
        for position, encoder in images:
            try:
                total += encoder.count_pixels(values[position])
                if total > MOST_PIXELS:
                    raise InputError(
                        f"with this image the request has {total:,} pixels, at most "
                        f"{MOST_PIXELS:,} are accepted: send fewer images at a time, or smaller "
                        "ones"
                    )
            except InputError as error:
                name = package.names[position]
                raise InputError(f"Row {row}, field {name!r}: {error}", row, name) from error
    return total
