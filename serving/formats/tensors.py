"""Read requests of the Open Inference Protocol, version 2: JSON, or JSON and binary tensors.

A tensor for each feature, of shape [n] or [n, 1]: numbers of any numeric type, categories and the
event time as BYTES (UTF-8). Images are BYTES, the files themselves or in base64, or numbers of
shape [n, height, width] or [n, height, width, channels]. A tensor of a nullable feature may be left
out. Null is JSON's null; in binary it is NaN for a number, and an empty text for a category that
may be null or for the event time. No memory is allocated for declared sizes: sizes and shapes are
compared with the data."""

import math
import re
import struct
from base64 import b64encode
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType

from serving.errors import InputError, MalformedBody
from serving.formats.columns import ColumnReader, list_numbers
from serving.formats.rows import CheckedRows, check_count, shift_row
from serving.package.kinds import TEXTS
from serving.package.values import shorten

# Triton supports these: a silent omission would mislead callers.
_UNSUPPORTED = {"shared_memory_region", "classification"}

_Value = float | int | str | bool | None
_FLAT: Any = msgspec.json.Decoder(list[_Value])
_NESTED: Any = msgspec.json.Decoder(list[Annotated[list[_Value], Meta(min_length=1, max_length=1)]])
_NUMBERS: Mapping[int, Any] = {
    1: msgspec.json.Decoder(list[int | float]),
    3: msgspec.json.Decoder(list[list[list[int | float]]]),
    4: msgspec.json.Decoder(list[list[list[list[int | float]]]]),
}
_OPENS_NESTED = re.compile(rb"\s*\[\s*\[")
LENGTH = struct.Struct("<I")


class Tensor(msgspec.Struct):
    """An input. Either ``parameters`` has ``binary_data_size``, or there is ``data``."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw | UnsetType = UNSET


class Output(msgspec.Struct):
    """A requested output."""

    name: str
    parameters: dict[str, Any] | None = None


class Inference(msgspec.Struct):
    """A request without its binary tensors. Optional members may be null: generated clients write
    them so.
    """

    inputs: list[Tensor]
    outputs: list[Output] | None = None
    parameters: dict[str, Any] | None = None
    id: str | None = None


_INFERENCE = msgspec.json.Decoder(Inference)


def read_inference(head: bytes, outputs: Collection[str]) -> Inference:
    """The JSON part of a request to a model with ``outputs``. Raises ``InputError``,
    ``MalformedBody`` if it is not JSON.
    """
    try:
        inference = _INFERENCE.decode(head)
    except msgspec.ValidationError as error:
        raise InputError(
            f"The request does not follow the Open Inference Protocol: {str(error)[:300]}."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        hint = "; send null for a missing number" if b"NaN" in head else ""
        raise MalformedBody(f"The request's JSON cannot be read: {error}{hint}.") from error
    for output in inference.outputs or ():
        if output.name not in outputs:
            raise InputError(
                f"Output {shorten(output.name)} is unknown; the outputs are {', '.join(outputs)}."
            )
        if not _UNSUPPORTED.isdisjoint(output.parameters or ()):
            raise InputError(
                f"Output {output.name!r}: shared memory and classification are not supported."
            )
    return inference


def read_tensors(
    reader: ColumnReader, inference: Inference, tail: memoryview, max_rows: int
) -> CheckedRows:
    """The rows of a request; ``tail`` are its binary tensors, in the order of the inputs. Raises
    ``InputError``.
    """
    (request,) = read_tensor_pieces(reader, inference, tail, max_rows, max_rows)
    return request


def read_tensor_pieces(
    reader: ColumnReader, inference: Inference, tail: memoryview, max_rows: int, size: int
) -> Iterator[CheckedRows]:
    """The same, ``size`` rows at a time. Raises as ``read_tensors`` does, perhaps late."""
    columns = _columns(reader, inference, tail, max_rows)
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1 or max(lengths.values()) <= size:
        yield reader.convert(
            {name: _values(reader, name, values) for name, values in columns.items()}, max_rows
        )
        return
    for at in range(0, max(lengths.values()), size):
        try:
            yield reader.convert(
                {
                    name: _values(reader, name, values[at : at + size])
                    for name, values in columns.items()
                },
                max_rows,
            )
        except InputError as error:
            raise shift_row(error, at) from error


def _values(reader: ColumnReader, name: str, values: Any) -> list[Any]:
    return list_numbers(values, reader.nullable[name]) if isinstance(values, np.ndarray) else values


def _columns(
    reader: ColumnReader, inference: Inference, tail: memoryview, max_rows: int
) -> dict[str, Any]:
    """Lists, or arrays of numbers, of the declared lengths. Raises ``InputError``."""
    columns: dict[str, Any] = {}
    for tensor in inference.inputs:
        _check(reader, tensor, max_rows)
        if tensor.name in columns:
            raise InputError(f"Tensor {tensor.name!r} appears twice.", field=tensor.name)
        if "binary_data_size" in (tensor.parameters or ()):
            size = _size(tensor, len(tail))
            columns[tensor.name] = _from_bytes(reader, tensor, tail[:size])
            tail = tail[size:]
        elif _has_arrays(reader, tensor):
            columns[tensor.name] = _numbers_from_json(tensor)
        else:
            columns[tensor.name] = _from_json(tensor)
        if _has_arrays(reader, tensor):
            columns[tensor.name] = np.reshape(columns[tensor.name], tensor.shape)
    if len(tail):
        raise InputError(f"{len(tail)} bytes at the end of the body belong to no tensor.")
    return columns


def _check(reader: ColumnReader, tensor: Tensor, max_rows: int) -> None:
    """Raises ``InputError`` for a wrong name, shape or type, and for too many rows."""
    name, shape = tensor.name, tensor.shape
    if name not in reader.kinds and name != reader.event_time:
        raise InputError(f"Tensor {shorten(name)} is not a known feature.", field=name[:100])
    datatypes = _datatypes(reader, name)
    if tensor.datatype not in datatypes:
        raise InputError(
            f"Tensor {name!r}: expected datatype {', '.join(datatypes)}, "
            f"got {shorten(tensor.datatype)}.",
            field=name,
        )
    if _has_arrays(reader, tensor):
        expected, fits = "[n, height, width] or [n, height, width, channels]", len(shape) in (3, 4)
    else:
        expected, fits = "[n] or [n, 1]", len(shape) in (1, 2) and shape[1:] in ([], [1])
    if not fits or min(shape) < 0:
        raise InputError(
            f"Tensor {name!r}: expected shape {expected}, got {shorten(shape)}.", field=name
        )
    check_count(shape[0], max_rows)


def _has_arrays(reader: ColumnReader, tensor: Tensor) -> bool:
    """Whether the tensor has an array of numbers for each row."""
    return (
        tensor.datatype != "BYTES"
        and tensor.name in reader.kinds
        and reader.kinds[tensor.name].takes_files
    )


def _datatypes(reader: ColumnReader, name: str) -> Mapping[str, np.dtype | None]:
    return TEXTS if name == reader.event_time else reader.kinds[name].datatypes


def _size(tensor: Tensor, bytes_left: int) -> int:
    size = (tensor.parameters or {})["binary_data_size"]
    if tensor.data is not UNSET:
        raise InputError(
            f"Tensor {tensor.name!r} has both data and binary data.", field=tensor.name
        )
    if type(size) is not int or not 0 <= size <= bytes_left:
        raise InputError(
            f"Tensor {tensor.name!r}: binary_data_size is {shorten(size)}, but {bytes_left} bytes "
            "are left.",
            field=tensor.name,
        )
    return size


def _from_json(tensor: Tensor) -> list[Any]:
    if tensor.data is UNSET:
        raise InputError(f"Tensor {tensor.name!r} has no data.", field=tensor.name)
    raw = bytes(tensor.data)
    if tensor.datatype != "BYTES":  # numbers have no commas, so their count is known beforehand
        _check_length(tensor, raw.count(b",") + 1)
    with _refusing(tensor):
        values = (
            [value for (value,) in _NESTED.decode(raw)]
            if _OPENS_NESTED.match(raw)
            else _FLAT.decode(raw)
        )
    _check_length(tensor, len(values))
    return values


def _numbers_from_json(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, in its data flat or nested as its shape."""
    if tensor.data is UNSET:
        raise InputError(f"Tensor {tensor.name!r} has no data.", field=tensor.name)
    raw = bytes(tensor.data)
    _check_length(tensor, raw.count(b",") + 1)
    nested = len(tensor.shape) if _OPENS_NESTED.match(raw) else 1
    with _refusing(tensor):
        numbers = np.array(_NUMBERS[nested].decode(raw)).ravel()
    _check_length(tensor, len(numbers))
    return numbers


@contextmanager
def _refusing(tensor: Tensor) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Tensor {tensor.name!r}: data must be a list of values: {str(error)[:200]}.",
            field=tensor.name,
        ) from error


def _from_bytes(reader: ColumnReader, tensor: Tensor, data: memoryview) -> Any:
    dtype, count = _datatypes(reader, tensor.name)[tensor.datatype], math.prod(tensor.shape)
    if dtype is not None:
        if len(data) != count * dtype.itemsize:
            expected = f"{count} values of {tensor.datatype} have {count * dtype.itemsize} bytes"
            raise InputError(
                f"Tensor {tensor.name!r}: {expected}, got {len(data)}.", field=tensor.name
            )
        return np.frombuffer(data, dtype)
    kind = reader.kinds.get(tensor.name)
    texts = _texts(tensor, bytes(data), files=kind is not None and kind.takes_files)
    return [text or None for text in texts] if reader.nullable.get(tensor.name, True) else texts


def _texts(tensor: Tensor, data: bytes, *, files: bool) -> list[str]:
    """Texts, each after its length in four bytes; ``files`` that are not UTF-8 become base64."""
    texts: list[str] = []
    at = 0
    while at < len(data) and len(texts) <= tensor.shape[0]:
        start = at + LENGTH.size
        at = start + (LENGTH.unpack_from(data, at)[0] if start <= len(data) else 1)
        if at > len(data):
            raise InputError(
                f"Tensor {tensor.name!r}: the text of row {len(texts)} is cut off.",
                len(texts),
                tensor.name,
            )
        try:
            texts.append(data[start:at].decode())
        except UnicodeDecodeError as error:
            if files:
                texts.append(b64encode(data[start:at]).decode())
                continue
            raise InputError(
                f"Tensor {tensor.name!r}: the text of row {len(texts)} is not UTF-8.",
                len(texts),
                tensor.name,
            ) from error
    _check_length(tensor, len(texts))
    return texts


def _check_length(tensor: Tensor, length: int) -> None:
    count = math.prod(tensor.shape)
    if length != count:
        raise InputError(
            f"Tensor {tensor.name!r}: its shape declares {count} values, but its data "
            "has a different number.",
            field=tensor.name,
        )
