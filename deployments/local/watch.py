"""A watch on the local stack: a program that dies is reported at once, with the end of its log."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from deployments.local.start import ALIVE
from deployments.servers.errors import StackError
from deployments.supervision.signs_of_life import last_lines
from deployments.supervision.supervisor import Supervisor

LOOK_SECONDS = 1.0
GIVEN_UP = "FATAL"


class StackWatch:
    """Checks each program once a second, from a thread, while the context is open. ``say`` gets a
    line about a program that died.

    supervisord restarts such a program. ``check`` raises once supervisord has given up, or the
    stack is gone."""

    def __init__(self, supervisor: Supervisor, say: Callable[[str], None]) -> None:
        self._supervisor, self._say = supervisor, say
        self._pids: dict[str, int] = {}
        self._end: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stack-watch", daemon=True)

    def __enter__(self) -> Self:
        self._pids = {
            name: info["pid"] for name, info in self._supervisor.states().items() if info["pid"]
        }
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def check(self) -> None:
        """Raises ``StackError`` with the last lines of its log if a program is dead for good."""
        if self._end is not None:
            raise StackError(self._end)

    def pid(self, name: str) -> int | None:
        return self._pids.get(name)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS) and self._end is None:
            self._look()

    def _look(self) -> None:
        states = self._supervisor.states()
        if not states:
            log = self._supervisor.log("supervisord")
            self._end = (
                f"The stack in {self._supervisor.state} was stopped, or its "
                "supervisord died. "
                f"{last_lines(log)}"
            )
            return
        for name, before in list(self._pids.items()):
            info = states[name]
            if info["statename"] == GIVEN_UP:
                self._end = f"{name} keeps dying. {last_lines(self._supervisor.log(name))}"
            elif before and (info["pid"] != before or info["statename"] not in ALIVE):
                self._say(
                    f"{name} died, and is restarting. {last_lines(self._supervisor.log(name))}"
                )
            self._pids[name] = info["pid"]
