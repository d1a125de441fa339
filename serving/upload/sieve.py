"""Lines of a segment that cannot be read are kept apart from those that can, down to single rows.

What fails is halved until one row is left. A row may fail with an error, or end the process that
reads it (pyarrow is C++): where processes have ended, ``careful`` tries each part in a process of
its own first."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from serving.log.segments import Header
from serving.upload.line_halves import halve

_ROWS = re.compile(rb'\{"rows":(\d{1,9}),')
_MOST_HALVES = 20_000  # of a segment: some seconds. Beyond it a part is set aside as large as it is
_LONGEST_REASON = 200


@dataclass
class SetAside:
    """``lines`` that cannot be read, each with why, and the ``rows`` in them as far as that can be
    told.
    """

    rows: int = 0
    lines: list[tuple[str, bytes]] = field(default_factory=list)


class Sieve:
    """``read`` makes a table of lines, and raises for any that it cannot read."""

    def __init__(
        self, header: Header, read: Callable[[bytes | memoryview], Any], careful: bool
    ) -> None:
        self.aside = SetAside()
        self._header = header
        self._read = read
        self._careful = careful
        self._halves = 0

    def tables(self, lines: bytes | memoryview) -> list[Any]:
        """Of all rows of whole ``lines`` that can be read, in their order."""
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
        """Nothing where it cannot be halved: then it is set aside."""
        lines = [line + b"\n" for line in part.split(b"\n")[:-1]]
        self._halves += 1
        if self._halves <= _MOST_HALVES:
            if len(lines) > 1:
                middle = len(lines) // 2
                return [b"".join(lines[:middle]), b"".join(lines[middle:])]
            try:
                return list(halve(part, self._header))
            except ValueError:
                pass  # one row, or no line of ours
        reason = str(error).replace("\n", " ")[:_LONGEST_REASON] or type(error).__name__
        self.aside.lines += [(reason, line) for line in lines]
        self.aside.rows += sum(int(match[1]) for line in lines if (match := _ROWS.match(line)))
        return []

    def _try_apart(self, part: bytes | memoryview) -> None:
        """Raises ``ValueError`` where reading ``part`` ends the process that does it."""
        child = os.fork()
        if child == 0:
            try:
                self._read(part)
            except unreadable():
                pass  # this process will hear of it as well
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            raise ValueError(
                f"it ends the process that reads it (status {os.waitstatus_to_exitcode(status)})"
            )


def unreadable() -> tuple[type[Exception], ...]:
    """What reading raises for lines that are not what they should be."""
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
