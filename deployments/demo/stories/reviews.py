"""The story of the reviews: a shop begins to sell robot vacuums, whose reviews praise and scold in
words that no model has read.

In the first such month there is nothing to learn them from: the challenger is below the gate. A
month later there is."""

from collections.abc import Callable

from blocks.settings import Settings
from deployments.demo.steps import Demo
from deployments.demo.story import Story
from usecases._reviews_source import NEW_PRODUCTS_FROM

FIRST, STABLE, NEW, LATER, AFTER = "2024-05", "2024-06", NEW_PRODUCTS_FROM, "2024-10", "2024-11"


class Reviews:
    """Months of 2024, each of 420 reviews."""

    brings_servers = False

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """The reviews are invented by the use case: nothing is needed."""
        return settings

    def play(self, demo: Demo) -> Story:
        """Play the story. Raises ``DemoFailed`` if a step does not end as expected."""
        demo.crown_first(through=FIRST)
        demo.live(STABLE, "stable")
        demo.story.lines.append(f"From {NEW} on, half of the reviews are about robot vacuums.")
        demo.live_through_drift(NEW, "new products", "Below the gate")
        demo.send(LATER, demo.rows_of(LATER))
        demo.retrain_by_hand(LATER, "a month later", "promote")
        demo.live(AFTER, "stable")
        return demo.end()


PLAY = Reviews()
