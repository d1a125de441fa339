"""The story of the digits: the feeder of a scanner turns the paper.

In October two turned months are there to be learned, so that a retrain helps."""

from collections.abc import Callable

from blocks.settings import Settings
from deployments.demo.steps import Demo
from deployments.demo.story import Story

FIRST, STABLE, TURNED, AFTER = "2024-04", "2024-05", "2024-10", "2024-11"


class Digits:
    """Months of 2024, each of 150 images."""

    brings_servers = False

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """The digits come with scikit-learn: nothing is needed."""
        return settings

    def play(self, demo: Demo) -> Story:
        """Play the story. Raises ``DemoFailed`` if a step does not end as expected."""
        demo.crown_first(through=FIRST)
        demo.live(STABLE, "stable")
        demo.story.lines.append(
            "Then the scanner fails: from August on its feeder turns the paper."
        )
        demo.live_through_drift(TURNED, "turned images", "promote")
        demo.live(AFTER, "stable")
        return demo.end()


PLAY = Digits()
