"""What drift is watched by on images: five numbers that describe one, at most 32 pixels wide and
high, as most models see it.

A camera that is dirty, moved, badly lit or set otherwise moves one of them. What an image shows,
such as a digit that is turned, moves none: the model's answers show that."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import polars as pl

from serving.errors import InputError
from serving.package.encoders.images import pixels_of

_SIDE = 32
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
_KEPT = 8  # series whose traits are remembered: each is described by five of them
_FLAT = 1e-3  # of the contrast: an image of one colour has no edges

_latest: "OrderedDict[bytes, np.ndarray]" = OrderedDict()


def _describe(pixels: np.ndarray) -> tuple[float, ...]:
    """The traits of an image ``(height, width, 3)``, uint8.

    Brightness and contrast are the mean and the standard deviation of the light, 0-1. Sharpness is
    the mean difference of neighbours, in contrasts. Noise is the standard deviation of what no edge
    explains (Immerkaer 1996, *Fast Noise Variance Estimation*). Colour is the mean distance of the
    weakest from the strongest channel, 0-1."""
    colours = pixels / 255
    light = colours @ _LUMA
    contrast = float(light.std())
    steps = [np.abs(np.diff(light, axis=axis)).ravel() for axis in (0, 1)]
    second = light[:, :-2] - 2 * light[:, 1:-1] + light[:, 2:]
    mask = second[:-2] - 2 * second[1:-1] + second[2:]
    return (
        float(light.mean()),
        contrast,
        float(np.concatenate(steps).mean()) / contrast if contrast > _FLAT else 0.0,
        float(np.sqrt(np.pi / 2) / 6 * np.abs(mask).mean()) if mask.size else 0.0,
        float((colours.max(axis=2) - colours.min(axis=2)).mean()),
    )


def _trait(place: int, values: pl.Series) -> pl.Series:
    """One trait of each image; null for a null and for what is no image."""
    return pl.Series(values.name, _table(values)[:, place]).fill_nan(None)


def _table(values: pl.Series) -> np.ndarray:
    """All traits ``(n_rows, n_traits)``, NaN without an image."""
    key = hashlib.blake2b(values.hash().to_numpy().tobytes()).digest()
    if key not in _latest:
        table = np.full((len(values), len(_NAMES)), np.nan)
        for row, value in enumerate(values):
            try:
                if value is not None:
                    table[row] = _describe(pixels_of(value, _SIDE, 3))
            except InputError:
                continue
        _latest[key] = table
        while len(_latest) > _KEPT:
            _latest.popitem(last=False)
    return _latest[key]


_NAMES = ("brightness", "contrast", "sharpness", "noise", "colour")
TRAITS: Mapping[str, Callable[[pl.Series], pl.Series]] = {
    name: partial(_trait, place) for place, name in enumerate(_NAMES)
}
