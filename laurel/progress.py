"""A run while it lasts: one line that changes on a terminal, a line for each change elsewhere."""

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

WAITS_SECONDS = 15
GLYPHS = {
    "COMPLETED": "✓",
    "FAILED": "✗",
    "CRASHED": "✗",
    "CANCELLED": "✗",
    "RUNNING": "●",
    "PAUSED": "‖",
}
Parts = Sequence[tuple[str, "FlowRun"]]


class Progress:
    """Shows what ``look`` sees. ``say`` takes a plain line; ``live`` uses the terminal's line."""

    def __init__(self, flow: str, live: bool, say: Callable[[str], None]) -> None:
        self._flow, self._say = flow, say
        self._told: set[str] = set()
        self._begun = time.monotonic()
        self._live: Any = None
        if live:
            from rich.console import Console
            from rich.live import Live

            console = Console(file=sys.stderr, highlight=False)
            self._live = Live("", console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def look(self, run: "FlowRun", parts: Parts) -> None:
        """Show the run as it is now."""
        shown = [*parts] or [(self._flow, run)]
        if self._live:
            from rich.text import Text

            words = "  ".join(in_words(name, part) for name, part in shown)
            self._live.update(Text(f"{words}{self._waiting(run)}"), refresh=True)
            return
        for name, part in shown:
            state = part.state.name if part.state else "unknown"
            if f"{name} {state}" not in self._told:
                self._told.add(f"{name} {state}")
                self._say(f"{in_words(name, part)}  {(state or '').lower()}")
        if (waiting := self._waiting(run)) and waiting not in self._told:
            self._told.add(waiting)
            self._say(waiting.strip())

    def _waiting(self, run: "FlowRun") -> str:
        waits = run.state is not None and (run.state.is_scheduled() or run.state.is_pending())
        if not waits or time.monotonic() - self._begun < WAITS_SECONDS:
            return ""
        return "  waits for a worker: laurel logs worker"


def in_words(name: str, run: "FlowRun") -> str:
    """``✓ train 9 s``."""
    kind = run.state.type.value if run.state else ""
    seconds = run.total_run_time.total_seconds()
    if run.state and run.state.is_running():
        seconds = max(seconds, run.estimated_run_time.total_seconds())
    took = f" {seconds:.0f} s" if seconds >= 0.5 else ""
    return f"{GLYPHS.get(kind, '·')} {name.replace('_', '-')}{took}"
