"""Where the CPU of a run goes: the seconds of its process inside named functions, by part."""

import threading
import time
from collections.abc import Callable
from typing import Any


class Spent:
    """CPU seconds and calls by part. The CPU is that of the process, since a part may use several
    threads; of these only the one that came into a part is watched.

    ``work`` is what a run is for: all that happens inside such a part is its own. Inside of another
    part, a part is taken out of it."""

    def __init__(self, work: frozenset[str]) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._work = work
        self._inside: list[str] = []
        self._thread = 0
        self._mark = self._begun = time.process_time()

    @property
    def whole(self) -> float:
        return time.process_time() - self._begun

    @property
    def rest(self) -> float:
        """Seconds in no part."""
        return self.whole - sum(self.seconds.values())

    @property
    def outside(self) -> float:
        """The share of the CPU that is not ``work`` (0-1)."""
        return 1 - sum(self.seconds.get(part, 0.0) for part in self._work) / self.whole

    def watch(self, part: str, owner: Any, *functions: str) -> None:
        """Replace these functions of ``owner`` by ones that add their CPU seconds to ``part``."""
        for function in functions:
            setattr(owner, function, self._timed(part, getattr(owner, function)))

    def _timed(self, part: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            theirs = self._inside and self._inside[-1] in self._work
            thread = threading.get_ident()
            if theirs or (self._inside and thread != self._thread):
                return original(*args, **kwargs)
            self._thread = thread
            self._pass_on()
            self._inside.append(part)
            self.calls[part] = self.calls.get(part, 0) + 1
            try:
                return original(*args, **kwargs)
            finally:
                self._pass_on()
                self._inside.pop()

        return timed

    def _pass_on(self) -> None:
        """Give what was spent since the last change to the part that it was spent in."""
        now = time.process_time()
        if self._inside:
            part = self._inside[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._mark
        self._mark = now
