"""Images of all kinds of clients, and what is no image."""

import io
import json
import re
import tracemalloc
import zlib
from base64 import b64encode, encodebytes, urlsafe_b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from serving.errors import InputError
from serving.package.encoders.images import MOST_LOGGED, ImageEncoder
from serving.package.encoders.pictures import MOST_PIXELS

GREY = ImageEncoder((8, 8), 1)
COLOUR = ImageEncoder((6, 4), 3)
RAMP = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4


def file_of(picture: Image.Image | np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(file, form, **options)
    return file.getvalue()


def text_of(*args: Any, **options: Any) -> str:
    return b64encode(file_of(*args, **options)).decode()


def encoded(value: Any, encoder: ImageEncoder = GREY) -> np.ndarray:
    block = np.empty((1, encoder.width))
    encoder.encode([value], block)
    return block[0]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


PNG = file_of(RAMP)


@pytest.mark.parametrize(
    "value",
    [
        b64encode(PNG).decode(),
        urlsafe_b64encode(PNG).decode().rstrip("="),
        encodebytes(PNG).decode(),
        encodebytes(PNG).decode().replace("\n", "\r\n"),
        "data:image/png;base64," + b64encode(PNG).decode(),
        RAMP.tolist(),
        RAMP[:, :, None].tolist(),
        json.dumps(RAMP.tolist()),
        (RAMP + 0.25).tolist(),
        text_of((RAMP.astype(np.uint16)) << 8),
        text_of(Image.fromarray(RAMP).convert("RGB")),
        text_of(Image.fromarray(RAMP).convert("P")),
        text_of(Image.fromarray(RAMP).convert("LA")),
        text_of(Image.fromarray(RAMP).convert("RGBA")),
    ],
)
def test_the_same_picture_is_the_same_block_in_whatever_form_it_comes(value: Any) -> None:
    np.testing.assert_allclose(encoded(value), RAMP.ravel() / 255, atol=1e-12)


def test_null_is_nan_and_places_are_rows_then_pixels_then_channels() -> None:
    assert np.isnan(encoded(None)).all()
    pixels = noise(6, 4)
    np.testing.assert_array_equal(encoded(text_of(pixels), COLOUR), pixels.ravel() / 255)
    assert COLOUR.width == 6 * 4 * 3


def test_a_photo_of_a_phone_is_turned_upright() -> None:
    """Orientation 6: the camera was turned, so that its first row is the right side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:30, :40] = 255  # at the top left of the sensor
    seen = encoded(text_of(pixels, "JPEG", exif=exif)).reshape(8, 8)
    assert seen[1, 6] > 0.95 and seen[1, 1] < 0.05 and seen[6, 6] < 0.05


def test_a_jpeg_with_a_second_picture_behind_it_is_its_first() -> None:
    first, second = (Image.new("RGB", (20, 20), colour) for colour in ("white", "black"))
    photo = file_of(first, "MPO", save_all=True, append_images=[second])
    assert encoded(b64encode(photo).decode()).min() == 1.0


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_white(mode: str) -> None:
    assert encoded(text_of(Image.new(mode, (5, 5), 0))).min() == 1.0


def test_a_resized_picture_takes_all_pixels_into_account() -> None:
    checks = np.indices((80, 80)).sum(axis=0) % 2 * 255
    seen = encoded(text_of(checks.astype(np.uint8)))
    assert np.abs(seen - 0.5).max() < 0.05


@pytest.mark.parametrize("encoder", [GREY, COLOUR])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_shrunk_picture_is_encoded_alike_and_so_is_a_logged_one(
    encoder: ImageEncoder, form: str
) -> None:
    value = text_of(noise(300, 400), form, **({"quality": 99} if form == "JPEG" else {}))
    assert len(value) > MOST_LOGGED
    logged = encoder.logged(value)
    assert logged == encoder.shrink(value) and len(logged) < 1000
    np.testing.assert_array_equal(encoded(value, encoder), encoded(logged, encoder))
    small = text_of(RAMP)
    assert encoder.logged(small) == small and encoder.logged(None) is None
    array = encoder.logged(RAMP.tolist())
    np.testing.assert_array_equal(encoded(array, encoder), encoded(RAMP.tolist(), encoder))


def animated(form: str) -> str:
    frames = [Image.fromarray(RAMP), Image.fromarray(RAMP.T.copy())]
    return text_of(frames[0], form, save_all=True, append_images=frames[1:])


JPEG = file_of(noise(64, 64), "JPEG", quality=95)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (animated("GIF"), "the file is a GIF: send a PNG or a JPEG"),
        (animated("WEBP"), "the file is a WebP"),
        (animated("PNG"), "the image is animated: send one of its frames"),
        (text_of(RAMP, "TIFF"), "the file is a TIFF"),
        (b64encode(b"\0\0\0\x18ftypheic").decode(), "the file is HEIC"),
        (text_of(Image.new("CMYK", (9, 9)), "JPEG"), "the image is in CMYK, the colours of print"),
        (b64encode(PNG[:-24]).decode(), "damaged or cut off"),
        (b64encode(JPEG[: len(JPEG) // 2]).decode(), "damaged or cut off"),
        (b64encode(PNG[:40] + bytes(9) + PNG[49:]).decode(), "damaged or cut off"),
        (b64encode(b"id,name\n1,a\n").decode(), "the file is no image; it begins with b'id,name"),
        (b64encode(bytes(21 * 2**20)).decode(), "the image has 21.0 MB, at most 20 MB"),
        ("", "the image is empty"),
        ("digit.png", "the name or the address of a file: send the bytes .* got 'digit.png'"),
        ("https://example.org/digit", "the name or the address of a file"),
        (r"C:\scans\digit.png", "the name or the address of a file"),
        ("&&&", "no base64"),
        ("é", "no base64"),
        ([[1, 2], [3]], "rows of different lengths"),
        ("[[1, 2], [3]]", "rows of different lengths"),
        ("[[1, 2", "no JSON"),
        ([["a"]], "something else than numbers"),
        ([[None, 1]], "something else than numbers"),
        ([[True, False]], "something else than numbers"),
        ([1, 2, 3], r"of shape \[3\]: send \[height, width\]"),
        ([[[1, 2]]], r"of shape \[1, 1, 2\]"),
        ([], r"of shape \[0\]"),
        ([[-1, 5]], "numbers from -1 to 5: a pixel is 0 "),
        ([[0, 256]], "numbers from 0 to 256"),
        ([[0.5, 0.25]], "numbers from 0.25 to 0.5: a pixel is 0"),
        ([[float("nan")]], "numbers from nan"),
    ],
)
def test_what_is_no_image_is_refused_by_row_with_the_remedy(value: Any, message: str) -> None:
    block = np.empty((2, 64))
    with pytest.raises(InputError, match=message) as caught:
        GREY.encode([text_of(RAMP), value], block)
    assert caught.value.row == 1


@pytest.mark.parametrize("mode", ["I;16", "1", "RGB"])
def test_the_memory_of_decoding_is_bounded_by_the_pixels(mode: str) -> None:
    """At most 16 bytes for each pixel: 16 bits once took 26."""
    side = 3000
    value = text_of(Image.new(mode, (side, side)))
    encoded(text_of(RAMP))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
    before = resident("VmRSS")
    encoded(value)
    assert resident("VmHWM") - before < 16 * side**2


def resident(name: str) -> int:
    """Bytes of memory, as Linux counts them."""
    (line,) = re.findall(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(line) * 1024


def bomb(side: int, *stated_sides: int) -> str:
    """A PNG of about 1 MB that becomes ``side`` squared black pixels, after headers that state
    others."""
    row = zlib.compressobj()
    data = b"".join(row.compress(bytes(side + 1)) for _ in range(side)) + row.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4, "big")
        return len(content).to_bytes(4, "big") + name + content + checksum

    heads = [
        chunk(b"IHDR", stated.to_bytes(4, "big") * 2 + bytes((8, 0, 0, 0, 0)))
        for stated in (*stated_sides, side)
    ]
    parts = b"".join(heads) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_pixels_are_counted_without_decoding(form: str) -> None:
    assert GREY.count_pixels(text_of(noise(30, 7), form)) == 210
    assert GREY.count_pixels(bomb(3000)) == 9_000_000


def test_a_second_header_cannot_hide_pixels() -> None:
    value = bomb(1000, 1)
    assert GREY.count_pixels(value) == 1
    with pytest.raises(InputError, match="states two sizes"):
        encoded(value)


@pytest.mark.parametrize("length", range(0, 33))
def test_a_png_that_ends_in_its_header_is_no_picture(length: int) -> None:
    with pytest.raises(InputError, match="image"):
        encoded(b64encode(PNG[:length]).decode())
    if length < 24:
        with pytest.raises(InputError, match="image"):
            GREY.count_pixels(b64encode(PNG[:length]).decode())


@pytest.mark.parametrize("side", [6000, 30_000])
def test_a_bomb_of_pixels_is_refused_before_it_is_decoded(side: int) -> None:
    value = bomb(side)
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=f"at most {MOST_PIXELS}|more than {MOST_PIXELS}"):
            encoded(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * len(value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # KB; not 36 MB


@pytest.mark.parametrize("whole", [PNG, JPEG, file_of(noise(20, 20), "PNG")])
def test_a_spoiled_file_is_a_picture_or_is_refused_and_nothing_else(whole: bytes) -> None:
    chance = np.random.default_rng(5)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in chance.integers(0, len(data), chance.integers(1, 6)):
            data[place] = chance.integers(0, 256)
        try:
            seen = encoded(b64encode(bytes(data)).decode())
            assert ((seen >= 0) & (seen <= 1)).all()
        except InputError:
            refused += 1
    assert refused


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 40 + "1" + "]" * 40, "[[1e400]]", "[[1]]x"])
def test_an_array_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the image"):
        encoded(text)
