"""Images: a PNG or JPEG in base64, or an array of pixels, becomes a block of numbers, 0 to 1."""

import re
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import numpy as np

from serving.errors import InputError
from serving.package.encoders import pictures
from serving.package.encoders.pictures import MOST_PIXELS, Channels, Size

Value = str | list[Any] | None

MOST_LOGGED = 64 * 1024  # characters of a logged image; a larger one is logged as the model sees it
_SHARES = np.arange(256) / 255
_DATA_URL = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")
_ADDRESS = re.compile(r"\w{2,5}:/|[A-Za-z]:\\|\.{0,2}/.{0,300}\.|~/|[^/]{1,300}\.\w{3,4}$")
_BLANKS = re.compile(r"\s+")
_ARRAYS: Mapping[int, Any] = {2: list[list[int | float]], 3: list[list[list[int | float]]]}
_MOST_DIMENSIONS = 8  # shown in a refusal


class ImageEncoder:
    """Encodes images of a column: ``height * width * channels`` places, the pixels row by row, the
    channels of a pixel beside each other, 0 for black and 1 for full light. Null is NaN in all
    places."""

    def __init__(self, size: tuple[int, int], channels: Channels) -> None:
        self._size, self._channels = size, channels

    @property
    def width(self) -> int:
        height, width = self._size
        return height * width * self._channels

    def encode(self, values: Sequence[Value], block: np.ndarray) -> None:
        """Fill ``block`` ``(n_rows, width)``. Raises ``InputError`` naming the row."""
        for row, value in enumerate(values):
            try:
                block[row] = np.nan if value is None else _SHARES[self._pixels(value).ravel()]
            except InputError as error:
                raise InputError(str(error), row) from error

    def count_pixels(self, value: Value) -> int:
        """The pixels that decoding ``value`` takes: those of a file, as its header states them. An
        array counts as none: the body already holds all of its numbers. Raises ``InputError``."""
        if not isinstance(value, str) or _is_array(value):
            return 0
        return pictures.count_pixels(bytes_of(value))

    def shrink(self, value: str | list[Any]) -> str:
        """The PNG in base64, of the size and the channels of the column, that is encoded as
        ``value`` is. Raises ``InputError``."""
        return b64encode(pictures.encode(self._pixels(value))).decode()

    def logged(self, value: Value) -> str | None:
        """The text of ``value`` in the prediction log: a small one as it was sent."""
        if isinstance(value, list):
            value = msgspec.json.encode(value).decode()
        return value if value is None or len(value) <= MOST_LOGGED else self.shrink(value)

    def _pixels(self, value: str | list[Any]) -> np.ndarray:
        return pixels_of(value, self._size, self._channels)


def pixels_of(value: str | list[Any], size: Size, channels: Channels) -> np.ndarray:
    """``(height, width, channels)``, uint8. Raises ``InputError``."""
    if isinstance(value, str) and not _is_array(value):
        return pictures.decode(bytes_of(value), size, channels)
    return pictures.fit(array_of(value), size, channels)


def _is_array(text: str) -> bool:
    return text.lstrip().startswith("[")


def bytes_of(text: str) -> bytes:
    """The bytes of a file in base64: standard or URL-safe, with or without padding, line breaks and
    the head of a ``data:`` URL. Raises ``InputError``."""
    with suppress(NoBase64, ValueError):
        return b64decode(text, validate=True)
    text = text.strip()
    if head := _DATA_URL.match(text):
        text = text[head.end() :]
    letters = _BLANKS.sub("", text).translate(_URL_SAFE).rstrip("=")
    try:
        return b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (NoBase64, ValueError) as error:
        name = "the name or the address of a file" if _ADDRESS.match(text) else "no base64"
        start = text if len(text) <= 40 else f"{text[:37]}..."
        raise InputError(
            f"the image is {name}: send the bytes of a PNG or JPEG in base64; got {start!r}"
        ) from error


def _shape_of(value: Any) -> list[int]:
    """The lengths of nested lists, as their first entries have them."""
    shape: list[int] = []
    while isinstance(value, list) and len(shape) < _MOST_DIMENSIONS:
        shape.append(len(value))
        value = value[0] if value else None
    return shape


def _numbers_of(value: Any, dimensions: int) -> np.ndarray:
    """The array of nested lists of numbers. Raises ``InputError``.

    Types are checked first: NumPy would give each entry the room of the longest text among them,
    so that a megabyte of text and some thousand numbers would fill the memory."""
    try:
        numbers = np.array(msgspec.convert(value, _ARRAYS[dimensions]))
    except msgspec.ValidationError as error:
        if "array" not in str(error):
            raise InputError("the image is an array of something else than numbers") from error
        raise InputError("the image is an array with rows of different lengths") from error
    except ValueError as error:
        raise InputError("the image is an array with rows of different lengths") from error
    if numbers.dtype.kind not in "iuf":  # integers that are too large for NumPy
        raise InputError("the image is an array with numbers of more than 64 bits")
    return numbers


def array_of(value: str | list[Any]) -> np.ndarray:
    """Pixels ``(height, width, channels)``, uint8, of an array, or of its JSON: ``(height, width)``
    or ``(height, width, 1 or 3)`` of numbers from 0 to 255, which are rounded.

    Raises ``InputError``."""
    try:
        if isinstance(value, str):
            value = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the image is no JSON of an array: {error}") from error
    shape = _shape_of(value)
    if len(shape) not in (2, 3) or shape[2:] not in ([], [1], [3]) or 0 in shape:
        raise InputError(
            f"the image is an array of shape {shape}: send [height, width] or "
            "[height, width, 1 or 3]"
        )
    if shape[0] * shape[1] > MOST_PIXELS:
        raise InputError(f"the image has more than {MOST_PIXELS} pixels: make it smaller")
    numbers = _numbers_of(value, len(shape)).reshape(*shape[:2], -1)
    low, high = numbers.min(), numbers.max()
    if not (low >= 0 and high <= 255) or (0 < high <= 1 and numbers.dtype.kind == "f"):
        raise InputError(
            f"the image is an array with numbers from {low:g} to {high:g}: a pixel is 0 (black) "
            "to 255"
        )
    return np.rint(numbers).astype(np.uint8)
