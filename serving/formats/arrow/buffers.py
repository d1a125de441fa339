"""Arrow's arrays to NumPy's and back by their buffers: pyarrow's own ways import pandas if it is
installed, 45 MB."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

# By the names that pyarrow gives the types.
_NUMBERS: dict[str, np.dtype] = {
    "halffloat": np.dtype("<f2"),
    "float": np.dtype("<f4"),
    "double": np.dtype("<f8"),
    **{f"int{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}


TIME = np.dtype("M8[us]")


def number_type(arrow_type: "pa.DataType") -> np.dtype:
    """NumPy's type for one of numbers. Raises ``KeyError`` for another."""
    return _NUMBERS[str(arrow_type)]


def values_in(array: "pa.Array", kind: np.dtype) -> np.ndarray:
    """The numbers or times of an array, whatever stands where it has null."""
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def truths_in(array: "pa.Array") -> np.ndarray:
    """1 and 0 for true and false, whatever stands where the array has null."""
    return _bits(array.buffers()[1], array)


def known_in(array: "pa.Array") -> np.ndarray:
    """Whether each value of an array that has nulls is none."""
    return _bits(array.buffers()[0], array).view(bool)


def view_bytes(array: "pa.Array") -> int:
    """The bytes of all texts of an array of views, which may share them. A view has 16 bytes, of
    which the first four are its text's length."""
    lengths = np.frombuffer(array.buffers()[1], "<i4")[::4]
    lengths = lengths[array.offset : array.offset + len(array)]
    if array.null_count:
        lengths = lengths[known_in(array)]
    return int(lengths.sum(dtype=np.int64))


def _bits(buffer: "pa.Buffer", array: "pa.Array") -> np.ndarray:
    end = array.offset + len(array)
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=end, bitorder="little")
    return bits[array.offset :]


def number_array(values: Sequence[float]) -> "pa.Array":
    import pyarrow as pa

    data = pa.py_buffer(np.array(values, dtype=np.float64))
    return pa.Array.from_buffers(pa.float64(), len(values), [None, data])


def truth_array(values: Sequence[bool]) -> "pa.Array":
    import pyarrow as pa

    data = pa.py_buffer(np.packbits(np.array(values, dtype=bool), bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, data])


def text_array(values: Sequence[str]) -> "pa.Array":
    import pyarrow as pa

    whole = "".join(values)
    texts: Sequence[str | bytes] = values
    data = whole.encode()
    if len(data) != len(whole):  # a character is not always a byte
        texts = [text.encode() for text in values]
    ends = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(list(map(len, texts)), out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)
