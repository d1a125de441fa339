"""Decodes PNG and JPEG within bounds, by Pillow.

A file says how large it is before anything is decoded, so that too many pixels cost nothing. One
large picture is decoded at a time: 25 million pixels take up to 310 MB for a second.
The pixels of all images of a request are bounded in ``serving/scoring/pixels.py``."""

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

import numpy as np

from serving.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

Channels = Literal[1, 3]
Size = tuple[int, int] | int  # height and width, or the most of both: smaller pictures stay

MOST_BYTES = 20 * 2**20
MOST_PIXELS = 25_000_000  # a photo of 24 megapixels
_LARGE_PIXELS = 2_000_000
_DRAFT = 2  # a JPEG is decoded at no less than this many times the wanted size
_ONE_AT_A_TIME = threading.Lock()
_OTHERS = {
    b"GIF8": "a GIF",
    b"RIFF": "a WebP",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"<svg": "an SVG",
    b"<?xml": "an XML document",
}
# A PNG begins with its signature and the length and the name of its first chunk.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_SIZE = struct.Struct(">II")
_SEND = "send a PNG or a JPEG"


def decode(data: bytes, size: Size, channels: Channels) -> np.ndarray:
    """The picture in a PNG or JPEG file, resized: ``(height, width, channels)``, uint8.

    It is turned as its EXIF orientation says, transparent parts become white, colours become grey
    or grey becomes colours as ``channels`` wants, 16 bits become 8, and Pillow's bilinear filter,
    which takes all pixels into account, stretches it to ``size``.

    Raises ``InputError`` for anything but one whole PNG or JPEG of at most ``MOST_BYTES`` and
    ``MOST_PIXELS``, and for a CMYK one, whose colours need a profile."""
    with _open(data) as picture:
        large = picture.width * picture.height > _LARGE_PIXELS
        with _ONE_AT_A_TIME if large else nullcontext():
            return _resize(picture, size, channels)


def count_pixels(data: bytes) -> int:
    """Width times height of a PNG or JPEG file, as its header states them; nothing is decoded.

    Raises ``InputError`` as ``decode`` does, as far as the header shows the error."""
    # Pillow takes 40 microseconds to open a file, and opens it again to decode it.
    width, height = _stated_size(data) or (0, 0)
    if len(data) <= MOST_BYTES and 0 < width * height <= MOST_PIXELS:
        return width * height
    with _open(data) as picture:
        return picture.width * picture.height


def _stated_size(data: bytes) -> tuple[int, int] | None:
    """Width and height, as the first bytes of a PNG state them."""
    if not data.startswith(_PNG) or len(data) < len(_PNG) + _PNG_SIZE.size:
        return None
    width, height = _PNG_SIZE.unpack_from(data, len(_PNG))
    return width, height


@contextmanager
def _open(data: bytes) -> Iterator["Image"]:
    """The picture of a file, not decoded yet. Raises ``InputError``, also in place of the errors
    of Pillow that occur while the picture is open."""
    from PIL import Image

    if len(data) > MOST_BYTES:
        raise InputError(
            f"the image has {len(data) / 2**20:.1f} MB, at most {MOST_BYTES / 2**20:g} MB are "
            "accepted: make it smaller"
        )
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            _check(picture, _stated_size(data))
            yield picture
    except InputError:
        raise
    except Image.UnidentifiedImageError as error:
        raise InputError(f"{_describe(data)}: {_SEND}") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"the image has more than {MOST_PIXELS} pixels: make it smaller"
        ) from error
    except Exception as error:  # Pillow's decoders raise whatever a broken file provokes
        problem = str(error).rstrip(".")[:100]
        raise InputError(
            f"the image is damaged or cut off ({problem}): {_SEND} that is whole"
        ) from error


def encode(pixels: np.ndarray) -> bytes:
    """A PNG of ``(height, width, channels)``, uint8, from which ``decode`` returns the same."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


def fit(pixels: np.ndarray, size: Size, channels: Channels) -> np.ndarray:
    """Pixels ``(height, width, 1 or 3)``, uint8, as ``decode`` returns those of a file."""
    from PIL import Image

    picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    return _resize(picture, size, channels)


def _check(picture: "Image", stated_size: tuple[int, int] | None) -> None:
    """Raises ``InputError`` by what the file says of itself, before anything is decoded."""
    # Of several headers in a PNG Pillow believes the last; its pixels were counted by the first.
    if stated_size not in (None, picture.size):
        raise InputError(f"the image is damaged (it states two sizes): {_SEND} that is whole")
    if picture.width * picture.height > MOST_PIXELS:
        raise InputError(
            f"the image has {picture.width} x {picture.height} pixels, at most {MOST_PIXELS} are "
            "accepted: make it smaller"
        )
    # Photos of phones are MPO: a JPEG with a depth map or a small copy behind it.
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise InputError("the image is animated: send one of its frames as a PNG")
    if picture.mode in ("CMYK", "YCCK", "LAB"):
        raise InputError(f"the image is in {picture.mode}, the colours of print: save it in RGB")


def _resize(picture: "Image", size: Size, channels: Channels) -> np.ndarray:
    from PIL import Image, ImageOps

    least = _DRAFT * (size if isinstance(size, int) else max(size))
    if picture.format in ("JPEG", "MPO"):
        picture.draft(None, (least, least))
    picture.load()
    if picture.info:  # where orientation and transparency are
        picture = ImageOps.exif_transpose(picture)
    picture = _opaque(picture)
    if picture.mode != (mode := "L" if channels == 1 else "RGB"):
        picture = picture.convert(mode)
    if isinstance(size, int):
        width, height = (min(side, size) for side in picture.size)
    else:
        height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture, dtype=np.uint8).reshape(height, width, channels)


def _opaque(picture: "Image") -> "Image":
    """The picture with 8 bits, and white where it is transparent."""
    from PIL import Image

    if picture.mode.startswith("I"):
        high = np.asarray(picture) >> 8
        return Image.fromarray(np.clip(high, 0, 255, out=high).astype(np.uint8))
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    white = Image.new("RGB", picture.size, "white")
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def _describe(data: bytes) -> str:
    """What the bytes are instead of a picture."""
    if not data:
        return "the image is empty"
    if data.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "the image is damaged or cut off"
    for begin, name in _OTHERS.items():
        if data.startswith(begin):
            return f"the file is {name}"
    if data[4:8] == b"ftyp":
        return "the file is HEIC or AVIF"
    return f"the file is no image; it begins with {data[:12]!r}"
