"""What the service and a shadow's process tell each other.

Datagrams lead to the shadow: copies of requests that the champion answered, some in each. A line of
JSON on its standard output leads back, each second: what it did since its start. Its first argument
is ``Task``; its standard input says nothing, and ends with the service."""

from typing import NamedTuple

import msgspec

MOST_DATAGRAM_BYTES = 2**20


class Copy(NamedTuple):
    """A request as native JSON, and the prediction ids of its rows."""

    body: bytes
    ids: list[str]


class Task(msgspec.Struct, frozen=True):
    """The version that a shadow's process scores with in a rollout, and the folder of its package;
    ``socket`` is the number of the inherited socket that the copies come from."""

    rollout: str
    use_case: str
    version: str
    sha256: str
    package: str
    socket: int = -1


class Report(msgspec.Struct):
    """Counts since the start of the process. ``failures`` are requests that the version could not
    score; ``seconds`` were spent on the others; ``uploaded`` rows have reached the lake;
    ``memory_bytes`` is the most that it ever held."""

    requests: int = 0
    rows: int = 0
    failures: int = 0
    seconds: float = 0.0
    uploaded: int = 0
    memory_bytes: int = 0


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_ENCODER = msgspec.msgpack.Encoder()
_COPIES = msgspec.msgpack.Decoder(list[Copy])
_REPORT = msgspec.json.Decoder(Report)
_TASK = msgspec.json.Decoder(Task)


def pack(copies: list[Copy]) -> bytes:
    return _ENCODER.encode(copies)


def unpack(datagram: bytes) -> list[Copy]:
    """Raises ``msgspec.DecodeError``."""
    return _COPIES.decode(datagram)


def read_report(line: bytes) -> Report:
    """Raises ``msgspec.DecodeError``."""
    return _REPORT.decode(line)


def read_task(argument: str) -> Task:
    """Raises ``msgspec.DecodeError``."""
    return _TASK.decode(argument)
