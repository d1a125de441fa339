"""Workers that share a socket take connections one at a time."""

import asyncio
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack

import pytest
import uvloop

from serving.server.accepting import Acceptor


class Counted(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counted.made += 1


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    Counted.made = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connect(stack: ExitStack, listener: socket.socket) -> None:
    stack.enter_context(socket.create_connection(listener.getsockname()))


def run(work: Callable[[], Awaitable[None]], loop: str) -> None:
    with asyncio.Runner(loop_factory={"uvloop": uvloop.new_event_loop}.get(loop)) as runner:
        runner.run(work())  # type: ignore[arg-type]


async def turns_until(count: int) -> list[int]:
    """How many connections there were after each turn of the event loop."""
    seen = [Counted.made]
    async with asyncio.timeout(20):
        while seen[-1] < count:
            await asyncio.sleep(0)
            seen.append(Counted.made)
    return seen


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_each_turn_of_the_event_loop_takes_one_connection(
    listener: socket.socket, loop: str
) -> None:
    async def work() -> None:
        with ExitStack() as stack:
            for _ in range(8):
                connect(stack, listener)
            acceptor = Acceptor(listener, Counted)
            seen = await turns_until(8)
            assert max(after - before for before, after in zip(seen, seen[1:], strict=False)) == 1
            acceptor.close()
            connect(stack, listener)
            await asyncio.sleep(0.05)
            assert Counted.made == 8

    run(work, loop)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_without_a_file_for_it_a_connection_waits(listener: socket.socket, loop: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def work() -> None:
        with ExitStack() as stack:
            connect(stack, listener)
            with socket.socket() as free:
                lowest = free.fileno()
            acceptor = Acceptor(listener, Counted)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                await asyncio.sleep(0.05)
                assert Counted.made == 0
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await turns_until(1)
            acceptor.close()

    run(work, loop)
