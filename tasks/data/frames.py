"""The rows of periods that this process has just read: the steps of a retrain need the same."""

from collections.abc import Callable

import polars as pl

_MOST_BYTES = 200_000_000  # of all that are kept
_kept: dict[tuple[str, str], pl.DataFrame] = {}


def keep_frame(lake: str, sha256: str, read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of the file with that content, or of a sample by its name, in the ``lake``:
    those that are kept, or what ``read`` returns. The ones that were used longest ago make room."""
    key = lake, sha256
    frame = _kept.pop(key, None)
    if frame is None:
        frame = read()
    _kept[key] = frame
    size = sum(each.estimated_size() for each in _kept.values())
    for oldest in list(_kept):
        if size <= _MOST_BYTES:
            break
        size -= _kept.pop(oldest).estimated_size()
    return frame
