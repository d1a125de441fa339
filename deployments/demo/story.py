"""What happened in a story of the demo, and the summary at the end."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console

from blocks.registry import ModelRegistry
from blocks.settings import Settings


@dataclass
class Story:
    """What happened, as saved in ``demo.json`` of the state folder. ``lines`` are its sentences in
    the summary, and ``unexpected`` names where the data contradicted it.
    """

    use_case: str
    stages: dict[str, float] = field(default_factory=dict)
    champions: list[dict[str, Any]] = field(default_factory=list)
    drift: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    requests: int = 0
    failed_requests: int = 0
    seconds: float = 0.0

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note ``otherwise`` as a departure from the story unless the condition holds."""
        if not holds:
            self.unexpected.append(otherwise)

    def departures(self) -> list[str]:
        """Where the data contradicted the story; empty if everything went as expected."""
        failed = [f"{self.failed_requests} requests failed"] if self.failed_requests else []
        return self.unexpected + failed

    def sentences(self) -> list[str]:
        """What happened, in order."""
        return [
            *self.lines,
            f"{self.requests:,} requests, {self.failed_requests} failed. "
            f"{self.seconds:.0f} s in all.",
        ]


def number(value: float | None, sign: str = "") -> str:
    """Four decimals; None, as in the records, is "not known"."""
    return "not known" if value is None else f"{value:{sign}.4f}"


def scores(contest: dict[str, Any]) -> str:
    """Both models on the hold-out."""
    return f"challenger {number(contest['challenger'])}, champion {number(contest['champion'])}"


def gain(contest: dict[str, Any]) -> str:
    """What the challenger gains, with its bounds and the confidence of each."""
    value, low, high = (number(contest[name], "+") for name in ("difference", "low", "high"))
    sure = 100 * (contest.get("confidence") or 0.95)
    return f"gain {value}, interval {low} – {high}, each bound at {sure:.4g} %"


def labels_of(checked: dict[str, Any], metric: str) -> str:
    """What late labels say of a window: the gate's metric beside its interval on the hold-out,
    and, of a model that answers with intervals, the share of the labels that these held.
    """
    performance = checked["performance"]
    metrics = performance["metrics"]
    now, then = (of.get(metric, {}) for of in (metrics, performance["holdout"]))
    told = (
        f"{performance['labels']:,} labels later: {metric} {number(now.get('value'))}, on the "
        f"hold-out {number(then.get('low'))} – {number(then.get('high'))}"
    )
    held = metrics.get("interval coverage", {}).get("value")
    return f"{told}." if held is None else f"{told}; the interval held {held:.0%} of them."


def tell(story: Story, settings: Settings, console: Console) -> None:
    """Print what happened, and where to look."""
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    say()
    for sentence in story.sentences():
        say(sentence)
    for departure in story.departures():
        say(f"Not as expected: {departure}.", style="red")
    say(f"\nRuns       {settings.prefect_pages}/runs")
    say(f"Artifacts  {settings.prefect_pages}/artifacts")
    say(f"Models     {ModelRegistry.of(settings).model_url(story.use_case)}")
    say(f"Service    {settings.serving_pages}")
