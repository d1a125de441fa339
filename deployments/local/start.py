"""The start of the local stack: each program starts as soon as the program that it waits for is
ready, and all are watched until the last is ready.
"""

import time
from collections.abc import Callable
from typing import Any
from xmlrpc.client import Fault

from deployments.servers.errors import StackError
from deployments.supervision.programs import Program
from deployments.supervision.signs_of_life import (
    QUIET_SECONDS,
    Sign,
    Vigil,
    cpu_seconds,
    family,
    last_lines,
    log_size,
)
from deployments.supervision.supervisor import Supervisor

POLL_SECONDS = 0.1
ALIVE = ("STARTING", "RUNNING")


class Start:
    """One start of programs under ``supervisor``. ``joins``: some of them run already, and go on
    even if this start fails.

    ``on_ready`` gets each program and its seconds, ``say`` lines for a person."""

    def __init__(
        self,
        supervisor: Supervisor,
        on_ready: Callable[[str, float], None],
        say: Callable[[str], None],
        joins: bool = False,
    ) -> None:
        self._supervisor, self._on_ready, self._say, self._joins = supervisor, on_ready, say, joins
        self._started: dict[str, dict[str, Any]] = {}
        self._vigils: dict[str, Vigil] = {}

    def bring_up(self, to_start: list[Program]) -> None:
        """Start everything, and wait until everything is ready.

        Raises ``StackError`` for a program that dies, or that makes no progress for
        ``QUIET_SECONDS`` before it is ready."""
        waiting = {program.name: program for program in to_start}
        while waiting:
            states = self._supervisor.states()
            for info in self._started.values():
                self._check_alive(info, states)
            for program in list(waiting.values()):
                if program.after not in waiting and self._is_done(program, states):
                    del waiting[program.name]
            time.sleep(POLL_SECONDS)

    def _is_done(self, program: Program, states: dict[str, dict[str, Any]]) -> bool:
        """Start the program if it has not started. Returns whether the wait for it is over."""
        name = program.name
        if name not in self._started:
            if obstacle := program.obstacle():
                self._say(obstacle)
                return True
            info = self._started[name] = self._start(name, states)
            self._vigils[name] = Vigil(
                lambda: self._sign(info), lambda seconds: self._say(self._waits(name, seconds))
            )
        vigil = self._vigils[name]
        if program.ready(self._started[name]["start"]):
            self._on_ready(name, vigil.seconds)
            return True
        if vigil.quiet_seconds() > QUIET_SECONDS:
            raise self._failure(
                name,
                f"is not ready after {vigil.seconds:.0f} s, and has made no progress for "
                f"{QUIET_SECONDS:g} s",
            )
        return False

    def _start(self, name: str, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
        if states[name]["statename"] in ALIVE:
            return states[name]
        try:
            self._supervisor.run(name)
        except Fault as error:
            raise self._failure(name, f"could not be started ({error.faultString})") from error
        return self._supervisor.states()[name]

    def _sign(self, info: dict[str, Any]) -> Sign:
        log = self._supervisor.log(info["name"])
        return Sign(log_size(log), cpu_seconds(family(info["pid"])))

    def _waits(self, name: str, seconds: float) -> str:
        lines = [
            line for line in last_lines(self._supervisor.log(name)).splitlines() if line.strip()
        ]
        return f"{name} is not ready after {seconds:.0f} s, but is working. {lines[-1].strip()}"

    def _check_alive(self, then: dict[str, Any], states: dict[str, dict[str, Any]]) -> None:
        """A program with another process than ``then`` died as well: supervisord restarts it at
        once.
        """
        name = then["name"]
        if name not in states:
            raise self._failure("supervisord", "died")
        if states[name]["statename"] not in ALIVE or states[name]["pid"] != then["pid"]:
            raise self._failure(name, "died")

    def _failure(self, name: str, event: str) -> StackError:
        consequence = "the other programs keep running" if self._joins else "everything was stopped"
        return StackError(
            f"{name} {event}; {consequence}. {last_lines(self._supervisor.log(name))}"
        )
