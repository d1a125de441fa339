"""Images: a PNG or JPEG in base64, or an array of pixels, becomes a block of numbers, 0 to 1."""

import re
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections.abc import Sequence
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
    if isinstance(value, str) and not value.lstrip().startswith("["):
        return pictures.decode(bytes_of(value), size, channels)
    return pictures.fit(array_of(value), size, channels)


def bytes_of(text: str) -> bytes:
    """The bytes of a file in base64: standard or URL-safe, with or without padding, line breaks and
    the head of a ``data:`` URL. Raises ``InputError``."""
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


def array_of(value: str | list[Any]) -> np.ndarray:
    """Pixels ``(height, width, channels)``, uint8, of an array, or of its JSON: ``(height, width)``
    or ``(height, width, 1 or 3)`` of numbers from 0 to 255, which are rounded.

    Raises ``InputError``."""
    try:
        if isinstance(value, str):
            value = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the image is no JSON of an array: {error}") from error
    try:
        numbers = np.array(value)
    except ValueError as error:
        raise InputError("the image is an array with rows of different lengths") from error
    if numbers.dtype.kind not in "iuf":
        raise InputError("the image is an array of something else than numbers")
    if numbers.ndim == 2:
        numbers = numbers[:, :, None]
    if numbers.ndim != 3 or numbers.shape[2] not in (1, 3) or not numbers.size:
        raise InputError(
            f"the image is an array of shape {list(numbers.shape)}: send [height, width] or "
            "[height, width, 1 or 3]"
        )
    if numbers.shape[0] * numbers.shape[1] > MOST_PIXELS:
        raise InputError(f"the image has more than {MOST_PIXELS} pixels: make it smaller")
    low, high = numbers.min(), numbers.max()
    if not (low >= 0 and high <= 255) or (0 < high <= 1 and numbers.dtype.kind == "f"):
        raise InputError(
            f"the image is an array with numbers from {low:g} to {high:g}: a pixel is 0 (black) "
            "to 255"
        )
    return np.rint(numbers).astype(np.uint8)
