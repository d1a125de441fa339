"""Separate the unreadable rows of a segment from its readable ones.

A part that fails is halved until one row is left. A row may fail with an error, or end the process
that reads it (pyarrow is C++): if processes have ended, ``careful`` first tries each part in a
separate process."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving.log.segments import Header
from serving.upload.line_halves import halve

_ROWS = re.compile(rb'\{"rows":(\d{1,9}),')
_MOST_HALVES = 20_000  # of a segment: some seconds. After that, a part is set aside whole
_LONGEST_REASON = 200


@dataclass
class SetAside:
    """Unreadable ``lines``, each with its reason, and the number of ``rows`` in them, if known."""

    rows: int = 0
    lines: list[tuple[str, bytes]] = field(default_factory=list)


class Sieve:
    """Sorts lines by ``read``, which makes a table of lines and raises for an unreadable one."""

    def __init__(
        self, header: Header, read: Callable[[bytes | memoryview], Any], careful: bool
    ) -> None:
        self.aside = SetAside()
        self._header = header
        self._read = read
        self._careful = careful
        self._halves = 0

    def tables(self, lines: bytes | memoryview) -> list[Any]:
        """Tables of all readable rows of whole ``lines``, in order."""
        waiting: list[bytes | memoryview] = [lines]
        tables = []
        while waiting:
            part = waiting.pop()
            try:
                if self._careful:
                    self._try_apart(part)
                tables.append(self._read(part))
            except unreadable() as error:
                waiting += reversed(self._halved(bytes(part), error))
        return tables

    def _halved(self, part: bytes, error: Exception) -> list[bytes]:
        """Two halves of ``part``, or nothing if it cannot be halved: then it is set aside."""
        lines = [line + b"\n" for line in part.split(b"\n")[:-1]]
        self._halves += 1
        if self._halves <= _MOST_HALVES:
            if len(lines) > 1:
                middle = len(lines) // 2
                return [b"".join(lines[:middle]), b"".join(lines[middle:])]
            try:
                return list(halve(part, self._header))
            except ValueError:
                pass  # one row, or a foreign line
        reason = str(error).replace("\n", " ")[:_LONGEST_REASON] or type(error).__name__
        self.aside.lines += [(reason, line) for line in lines]
        self.aside.rows += sum(int(match[1]) for line in lines if (match := _ROWS.match(line)))
        return []

    def _try_apart(self, part: bytes | memoryview) -> None:
        """Read ``part`` in a child process. Raises ``ValueError`` if that process ends by it."""
        child = os.fork()
        if child == 0:
            try:
                self._read(part)
            except unreadable():
                pass  # this process meets the same error
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            raise ValueError(
                f"it ends the process that reads it (status {os.waitstatus_to_exitcode(status)})"
            )


def unreadable() -> tuple[type[Exception], ...]:
    """The errors that reading raises for bad lines."""
    import pyarrow as pa

    return (
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
        pa.ArrowException,
    )
