"""uvicorn as the service runs it: the same for a single process and for each of several workers."""

import gc
import math
import os
import signal
import socket
import threading

import uvicorn

from blocks.settings import Settings
from serving.app import create_app
from serving.protocol import PredictProtocol
from serving.supervisor import READY

BACKLOG = 2048
_DRAIN_SECONDS = 8


def uvicorn_config(settings: Settings, open_path: str | None = None) -> uvicorn.Config:
    """Raises ``ValueError`` for settings that cannot be."""
    return uvicorn.Config(
        create_app(settings, open_path),
        host=settings.host,
        port=settings.serving_port,
        http=PredictProtocol,
        ws="none",
        lifespan="on",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=math.ceil(settings.serving_idle_seconds),
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


class Server(uvicorn.Server):
    """Answers on a socket that is bound already. ``line`` leads to the parent, where there is one."""

    def __init__(self, config: uvicorn.Config, line: socket.socket | None = None) -> None:
        super().__init__(config)
        self._line = line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and say so."""
        await super().startup(sockets)
        # What is in memory now stays: looking through it for garbage would hold up every answer for 17 ms at some swap.
        gc.freeze()
        gc.enable()
        if self._line is not None:
            self._line.send(READY)
            threading.Thread(target=_end_with_parent, args=(self._line,), name="parent", daemon=True).start()


def _end_with_parent(line: socket.socket) -> None:
    """Let the process end in order when its parent is gone: nobody else would end it."""
    line.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
