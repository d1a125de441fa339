"""The stories that the demo can play: a module for each use case, with a constant ``PLAY``."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Protocol

from blocks.settings import Settings
from deployments.demo.runs import DemoFailed
from deployments.demo.steps import Demo
from deployments.demo.story import Story


class Play(Protocol):
    """How the story of a use case is played. ``brings_servers``: what it needs beside Laurel's
    servers is part of the demo's own stack, so that it cannot be played elsewhere.
    """

    brings_servers: bool

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """Return the settings of the demo's own stack, with what the use case needs beside Laurel's
        servers. Raises ``DemoFailed`` if that is missing.
        """

    def play(self, demo: Demo) -> Story:
        """Play the story on a running stack. Raises ``DemoFailed`` if a step does not end as
        expected.
        """


def told() -> list[str]:
    """Names of the use cases that have a story, sorted. Nothing is imported."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if not name.startswith("_"))


def story_of(use_case: str) -> Play:
    """The story of a use case. Raises ``DemoFailed`` naming those that have one."""
    if use_case not in told():
        raise DemoFailed(
            f"The demo has no story of {use_case!r}. It has those of {', '.join(told())}: "
            "make demo USE_CASE=diabetes"
        )
    play: Play = importlib.import_module(f"{__name__}.{use_case}").PLAY
    return play
