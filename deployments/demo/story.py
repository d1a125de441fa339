"""What the demo's story is about, what happened in it, and the summary at the end."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rich.console import Console

from blocks.registry import ModelRegistry
from blocks.settings import Settings

USE_CASE = "flights"
FIRST, WATCHED, LATER = "2013-03", ("2013-04", "2013-05", "2013-06"), "2013-07"


@dataclass
class Story:
    """What happened, as saved in ``.laurel/demo.json``."""

    stages: dict[str, float] = field(default_factory=dict)
    champions: list[dict[str, Any]] = field(default_factory=list)
    rejection: dict[str, Any] = field(default_factory=dict)
    contest: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    failed_requests: int = 0
    swap_gap_ms: float = math.nan
    later_rows: dict[str, Any] = field(default_factory=dict)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def departures(self) -> list[str]:
        """Where the data contradicted the story; empty if the loop closed as expected."""
        quiet = [
            month for month in WATCHED[:-1] if self.drift.get(month, {}).get("verdict") != "stable"
        ]
        departures = [
            f"{month} was {self.drift.get(month, {}).get('verdict', 'not checked')}, not stable"
            for month in quiet
        ]
        if self.drift.get(WATCHED[-1], {}).get("verdict") != "drifted":
            departures.append(f"{WATCHED[-1]} did not drift")
        if len(self.champions) != 2:
            departures.append(f"{len(self.champions)} champions, not two")
        if self.contest.get("verdict") != "promote":
            departures.append(f"the contest ended with {self.contest.get('verdict')}")
        if (self.rejection.get("holdout"), self.rejection.get("verdict")) != (WATCHED[0], "keep"):
            departures.append(
                f"the retrain by hand held a contest on {self.rejection.get('holdout')}: "
                f"{self.rejection.get('verdict')}"
            )
        if len(self.rollbacks) != 2:
            departures.append("the crown did not go back and forth")
        if self.failed_requests:
            departures.append(f"{self.failed_requests} requests failed")
        if not self.later_rows:
            departures.append("the later rows were not scored")
        return departures


def number(value: float | None, sign: str = "") -> str:
    """Four decimals; None, as in the records, is "not known"."""
    return "not known" if value is None else f"{value:{sign}.4f}"


def _gain(contest: dict[str, Any]) -> str:
    gain, low, high = (number(contest[name], "+") for name in ("difference", "low", "high"))
    sure = 200 * (contest.get("confidence") or 0.95) - 100
    return f"gain {gain}, {sure:.3g} % interval [{low}, {high}]"


def tell(story: Story, settings: Settings, console: Console) -> None:
    """Print what happened, and where to look."""
    say = partial(console.print, highlight=False, soft_wrap=True)
    first, second = (*story.champions, *[{}] * 2)[:2]
    later, contest = story.later_rows, story.contest
    say()
    if first:
        say(
            f"Champion 1 (version {first['version']}, {first['recipe']}) learned flights "
            f"through {first['trained_through']}."
        )
    if rejection := story.rejection:
        scores = (
            f"challenger {number(rejection['challenger'])}, "
            f"champion {number(rejection['champion'])}"
        )
        say(
            f"Retrained by hand, contest on {rejection['holdout']}: {scores}, {_gain(rejection)}: "
            f"{rejection['verdict']}. {' '.join(rejection['reasons'])}"
        )
    for month, check in story.drift.items():
        say(
            f"{month}: {check['verdict']}"
            + (f", report {check['report']}" if check["verdict"] == "drifted" else "")
        )
    if second:
        scores = (
            f"challenger {number(contest['challenger'])}, champion {number(contest['champion'])}"
        )
        say(f"Contest on {contest['holdout']}: {scores}, {_gain(contest)}: {contest['verdict']}.")
        say(
            f"Champion 2 (version {second['version']}) learned flights through "
            f"{second['trained_through']}."
        )
    for rollback in story.rollbacks:
        say(
            f"Rolled back from version {rollback['from']} to {rollback['to']}: served "
            f"{rollback['seconds']:.1f} s after the run began."
        )
    if later:
        scores = f"ROC AUC {number(later['champion_1'])} and {number(later['champion_2'])}"
        say(
            f"{later['window']}, {later['rows']:,} flights that neither had seen: {scores}, "
            f"{_gain(later)}."
        )
    say(
        f"{story.requests:,} requests, {story.failed_requests} failed; the longest gap "
        "between answers around the swap was "
        f"{story.swap_gap_ms:.0f} ms. {story.seconds:.0f} s in all."
    )
    for departure in story.departures():
        say(f"Not as expected: {departure}.", style="red")
    say(f"\nRuns       {settings.prefect_pages}/runs")
    say(f"Artifacts  {settings.prefect_pages}/artifacts")
    say(f"Models     {ModelRegistry.of(settings).model_url(USE_CASE)}")
    say(f"Service    {settings.serving_page_url or settings.serving_base_url}")
