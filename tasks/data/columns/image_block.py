"""The encoder of a column of images in a pipeline: the service's own, as scikit-learn calls it."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from serving.errors import InputError
from serving.package.encoders.images import ImageEncoder
from serving.package.encoders.pictures import Channels

MOST_PLACES = 250_000_000  # 2 GB: 300,000 images of 28 x 28, or 1,600 of 224 x 224 x 3


class ImageBlock(TransformerMixin, BaseEstimator):
    """Images of one column to their places in the matrix, ``(n_rows, height * width * channels)``.

    Nothing is learned. ``transform`` raises ``ValueError`` for a value that is no image, by row."""

    def __init__(self, height: int, width: int, channels: Channels) -> None:
        self.height, self.width, self.channels = height, width, channels

    def fit(self, images: Any, labels: Any = None) -> "ImageBlock":
        self.n_features_in_ = 1
        return self

    def transform(self, images: Any) -> np.ndarray:
        """``images`` are a frame or an array with one column, a null of which is NaN."""
        encoder = ImageEncoder((self.height, self.width), self.channels)
        values = np.asarray(images, dtype=object)[:, 0]
        self.check_room(len(values))
        block = np.empty((len(values), encoder.width))
        try:
            encoder.encode([None if value != value else value for value in values], block)
        except InputError as error:
            raise ValueError(f"Row {error.row}: {error}") from error
        return block

    def check_room(self, count: int) -> None:
        """Raises ``ValueError`` if a matrix of so many images is not held."""
        places = count * ImageEncoder((self.height, self.width), self.channels).width
        if places > MOST_PLACES:
            raise ValueError(
                f"{count} images of {self.height} x {self.width} x {self.channels} numbers are "
                f"{places * 8 / 1e9:.1f} GB, at most {MOST_PLACES * 8 / 1e9:g} GB are held: make "
                "the column's size smaller, or train on fewer periods (train_periods)."
            )
