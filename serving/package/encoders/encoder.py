"""What an input of a wide kind becomes: a block of the matrix, a place for each of its numbers.

Numbers and categories take one place each (``serving/package/model.py``); a date, an image or a
text takes as many as its encoder is wide. The flows fit on the blocks that these encoders make, so
that a model is served what it has learned."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class Encoder(Protocol):
    """Encodes one input, in ``width`` places. Safe to use from several threads."""

    @property
    def width(self) -> int: ...

    def encode(self, values: Sequence[Any], block: np.ndarray) -> None:
        """Fill ``block`` ``(n_rows, width)`` with ``values``, of which each may be null: every
        place is written.

        Raises ``InputError`` naming the row, counted from 0, for a value that cannot be encoded.
        """
