"""A file as a stream of bytes, decompressed; errors of reading name it."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from usecases.definition import SourceError

_BUFFER_BYTES = 1 << 20


@contextmanager
def opened(path: Path, name: str, compression: str | None, encoding: str) -> Iterator[IO[bytes]]:
    """The bytes of the file ``name`` at ``path``. What reads them inside of the ``with`` raises
    ``SourceError`` for a broken file, and for bytes that are not in ``encoding``.
    """
    import pyarrow as pa

    try:
        with pa.OSFile(str(path)) as file:
            stream = pa.CompressedInputStream(file, compression) if compression else file
            yield io.BufferedReader(stream, _BUFFER_BYTES)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{name} is not in {encoding}: {error}. State the encoding, such as FileSource(..., "
            "encoding='cp1252')."
        ) from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error}") from error
