"""uvicorn as the service runs it: the same for a single process and for each of several workers."""

import asyncio
import gc
import logging
import math
import os
import resource
import signal
import socket
import threading
import time
from types import FrameType
from typing import Any

import uvicorn

from blocks.settings import Settings
from serving.server.accepting import Acceptor
from serving.server.app import create_app
from serving.server.protocol import SPARE_CONNECTIONS, PredictProtocol
from serving.server.supervisor import DRAIN_SECONDS, READY
from serving.service.service import Service

BACKLOG = 2048
_OTHER_FILES = 256
_UNPROBED_SECONDS = 0.5
_PAUSE_SECONDS = 0.05


def allow_files(settings: Settings) -> None:
    """Let the process open a file for each connection, and for all else: the default limit can be
    256 or 1024.
    """
    needed = settings.serving_connections + SPARE_CONNECTIONS + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        logger.warning(
            "the system allows %d open files, but LAUREL_SERVING_CONNECTIONS=%d may need %d: "
            "raise the limit (ulimit -Hn), or allow fewer connections",
            *(most, settings.serving_connections, needed),
        )


def uvicorn_config(settings: Settings, open_path: str | None = None) -> uvicorn.Config:
    """uvicorn's configuration. Raises ``ValueError`` for invalid settings."""
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
        timeout_graceful_shutdown=int(DRAIN_SECONDS),
    )


logger = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """Answers on a socket that is bound already. ``line`` leads to the parent, if there is one."""

    def __init__(self, config: uvicorn.Config, line: socket.socket | None = None) -> None:
        super().__init__(config)
        self._line = line
        self._service: Service = config.app.state.service  # type: ignore[union-attr]
        self._signal_time = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """From now on load balancers are told to send requests elsewhere."""
        super().handle_exit(sig, frame)
        self._service.leaving = True
        self._signal_time = self._signal_time or time.monotonic()

    async def main_loop(self) -> None:
        """Answer until a signal ends it, then for as long as load balancers need to notice and open
        requests to finish.
        """
        await super().main_loop()
        cycles = [
            connection.cycle
            for connection in self._service.connections
            if connection.cycle is not None
        ]
        while not self.force_exit and (self._stays() or self._drains(cycles)):
            await asyncio.sleep(_PAUSE_SECONDS)
        remaining = self._signal_time + DRAIN_SECONDS - time.monotonic()
        self.config.timeout_graceful_shutdown = max(1, math.ceil(remaining))

    def _stays(self) -> bool:
        """Ctrl-C comes from somebody who waits; without probes there is no load balancer."""
        if signal.SIGINT in self._captured_signals:
            return False
        leave_seconds = self._service.settings.serving_leave_seconds
        seconds = (
            leave_seconds if self._service.is_probed() else min(leave_seconds, _UNPROBED_SECONDS)
        )
        return time.monotonic() - self._signal_time < seconds

    def _drains(self, cycles: list[Any]) -> bool:
        return time.monotonic() - self._signal_time < DRAIN_SECONDS and not all(
            call.response_complete or call.disconnected for call in cycles
        )

    def _protocol(self) -> asyncio.Protocol:
        """A connection's protocol, as uvicorn makes it."""
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, and report it to the parent."""
        shared = [] if self._line is None else sockets or []
        await super().startup([] if shared else sockets)
        self.servers += [Acceptor(listener, self._protocol) for listener in shared]  # type: ignore[misc]
        # What is in memory now stays: a garbage collection through it would delay every answer by
        # 17 ms at some swap.
        gc.freeze()
        gc.enable()
        if self._line is not None:
            self._line.send(READY)
            threading.Thread(
                target=_end_with_parent, args=(self._line,), name="parent", daemon=True
            ).start()


def _end_with_parent(line: socket.socket) -> None:
    """End the process in order when its parent is gone: nobody else would end it."""
    line.recv(1)
    os.kill(os.getpid(), signal.SIGTERM)
