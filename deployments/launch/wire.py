"""What the launcher of a run and the warm parent say to each other, through a Unix socket with an
abstract name: there is no file to protect, and no limit by the length of a folder's path.

    launcher                                  keeper, forked from the parent for this run
                                        <-    HELLO
    order, with stdin, stdout, stderr   ->
                                        <-    READY, or the end: start a fresh interpreter
    numbers of signals, as they come    ->
                                        <-    the exit code

The order waits for HELLO: stdout would stay open in a socket that a parent never reads.
Both ends check that the other one belongs to the same user. The launcher imports this module, so it
imports little."""

import marshal
import os
import socket
import struct
from typing import NamedTuple

# The variable with the parent's name, which the worker passes on to its runs.
PARENT = "LAUREL_WARM_PARENT"
HELLO, READY = b"h", b"r"
# A parent that is stopped, or a machine that is very busy: a fresh interpreter is faster.
ANSWER_SECONDS = 10.0
# A parent that still imports is ahead of a fresh interpreter, which would import the same.
IMPORT_SECONDS = 60.0
STDIO = (0, 1, 2)
_LENGTH, _CODE, _CREDENTIALS = struct.Struct("I"), struct.Struct("i"), struct.Struct("3i")


class Order(NamedTuple):
    """What a process gets from the one that starts it. ``interpreter`` is the folder of Python's
    executable.
    """

    interpreter: str
    arguments: list[str]
    folder: str
    umask: int
    environment: dict[str, str]


def address(name: str) -> bytes:
    return b"\0laurel-runs-" + name.encode()


def importing(name: str) -> bytes:
    """Where a parent can be reached only as long as it imports."""
    return address(f"{name}-imports")


def is_same_user(connection: socket.socket) -> bool:
    """Whether this user owns the process at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(credentials)[1] == os.getuid())


def send_order(connection: socket.socket, order: Order) -> None:
    content = marshal.dumps(tuple(order))
    message = _LENGTH.pack(len(content)) + content
    connection.sendall(message[socket.send_fds(connection, [message], STDIO) :])


def receive_order(connection: socket.socket) -> tuple[Order, list[int]]:
    """The order, and descriptors of the launcher's stdin, stdout and stderr. Raises ``EOFError`` if
    the launcher has gone.
    """
    message, descriptors, _, _ = socket.recv_fds(connection, 2**16, len(STDIO))
    while (
        len(message) < _LENGTH.size or len(message) < _LENGTH.size + _LENGTH.unpack_from(message)[0]
    ):
        part = connection.recv(2**16)
        if not part:
            raise EOFError("The launcher has gone.")
        message += part
    return Order(*marshal.loads(message[_LENGTH.size :])), descriptors  # noqa: S302 - the user's own


def send_code(connection: socket.socket, code: int) -> None:
    connection.sendall(_CODE.pack(code))


def receive_code(connection: socket.socket) -> int | None:
    """The exit code; ``None`` if the keeper was killed."""
    answer = connection.recv(_CODE.size)
    return _CODE.unpack(answer)[0] if len(answer) == _CODE.size else None
