"""A live view of stages and their times; one line per stage if the output is not a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass
class Stage:
    """One step: ``result`` is its outcome, ``seconds`` its duration once it is over."""

    name: str
    started: float
    result: str = ""
    seconds: float | None = None
    failed: bool = False

    def note(self, result: str) -> None:
        self.result = result


class Stages:
    """Stages in order, shown while they run. ``below`` returns the line under the table, and may be
    set at any time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.below: Callable[[], str] = lambda: ""
        self._begun = time.monotonic()
        self._all: list[Stage] = []
        self._live = Live(
            get_renderable=self._render, console=console, refresh_per_second=5, transient=False
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    @contextmanager
    def stage(self, name: str, since: float | None = None) -> Iterator[Stage]:
        """Show ``name`` as running, and then how long it took. An exception marks it as failed and
        propagates.

        ``since`` (``time.monotonic``) is the start, if it was before the call.
        """
        stage = Stage(name, time.monotonic() if since is None else since)
        self._all.append(stage)
        try:
            yield stage
        except BaseException:
            stage.failed = True
            raise
        finally:
            stage.seconds = time.monotonic() - stage.started
            self._print(stage)

    def add(self, name: str, seconds: float, result: str = "") -> None:
        """A stage that was timed elsewhere, such as a subflow."""
        self._all.append(Stage(name, 0.0, result, seconds))
        self._print(self._all[-1])

    def tell(self, line: str) -> None:
        """Print a line while a stage runs; it stays above the live view."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    @property
    def seconds(self) -> dict[str, float]:
        return {
            stage.name: round(stage.seconds, 2) for stage in self._all if stage.seconds is not None
        }

    @property
    def total_seconds(self) -> float:
        return time.monotonic() - self._begun

    def _print(self, stage: Stage) -> None:
        if not self._console.is_terminal:
            mark = "failed" if stage.failed else "done"
            self._console.print(
                f"{mark:7}{stage.seconds:7.1f} s  {stage.name}  {stage.result}",
                highlight=False,
                soft_wrap=True,
            )

    def _render(self) -> Group:
        table = Table(box=None, show_header=False, pad_edge=False)
        for stage in self._all:
            if stage.seconds is None:
                mark: Text | Spinner = Spinner("dots")
                seconds = time.monotonic() - stage.started
            else:
                mark = Text("✗", style="red") if stage.failed else Text("✓", style="green")
                seconds = stage.seconds
            table.add_row(
                mark, stage.name, Text(f"{seconds:6.1f} s", style="dim"), Text(stage.result)
            )
        return Group(table, Text(self.below(), style="dim"))
