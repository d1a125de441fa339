"""Accept connections one at a time, so that each goes to a worker that is free to take it.

uvloop accepts all that wait at once: the worker that wakes first would serve every connection of a
client that opens several, for as long as they live, and the others none."""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

_PAUSE_SECONDS = 0.1  # where the system has no more files
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

logger = logging.getLogger(__name__)


class Acceptor:
    """Accepts on a socket that listens, which the workers share, until it is closed. To uvicorn it
    is one of its servers.
    """

    def __init__(self, listener: socket.socket, protocol: Callable[[], asyncio.Protocol]) -> None:
        self._listener = listener
        self._protocol = protocol
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[object]] = set()
        self._closed = False
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more."""
        self._closed = True
        self._loop.remove_reader(self._listener)

    async def wait_closed(self) -> None:
        """Wait until the last connection that was accepted has its protocol."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """One connection in a turn of the event loop: meanwhile another worker takes the next."""
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was first, or the caller left
        except OSError as error:
            if error.errno not in _FULL:
                raise
            logger.error("no connection can be accepted for a moment: %s", error)
            self._loop.remove_reader(self._listener)
            self._loop.call_later(_PAUSE_SECONDS, self._listen)
            return
        connection.setblocking(False)
        task = self._loop.create_task(
            self._loop.connect_accepted_socket(self._protocol, connection)
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
