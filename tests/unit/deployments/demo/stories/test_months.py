"""The stories of months, on a stack that does as it is told: each departure of the data is said."""

from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed
from rich.console import Console

from deployments.demo.stages import Stages
from deployments.demo.steps import Demo
from deployments.demo.stories import story_of
from deployments.demo.story import Story
from usecases.definition import load

STORIES: dict[str, dict[str, Any]] = {
    "digits": {
        "verdicts": {"2024-05": "stable", "2024-10": "drifted", "2024-11": "stable"},
        "retrains": ["promote"],
    },
    "reviews": {
        "verdicts": {"2024-06": "stable", "2024-09": "drifted", "2024-11": "stable"},
        "retrains": ["Below the gate", "promote"],
    },
}
ENDS = {"keep": "Champion stays", "promote": "Completed"}
FLOW = UUID(int=1)
each_story = pytest.mark.parametrize("name", STORIES)


class RunsAsTold:
    """Each retrain ends as the next of ``retrains``; after them the automation starts none."""

    def __init__(self, retrains: list[str]) -> None:
        self.left, self.ended = list(retrains), list[str]()

    def known_retrains(self) -> set[UUID]:
        return set()

    def await_automatic_retrain(self, known: set[UUID]) -> FlowRun | None:
        return self.start("retrain") if self.left else None

    def start(self, name: str, **parameters: Any) -> FlowRun:
        self.ended.append(self.left.pop(0))
        state = ENDS.get(self.ended[-1], self.ended[-1])
        return FlowRun(flow_id=FLOW, state=Completed(name=state, message="ROC AUC 0.73: low."))


class ToldDemo(Demo):
    """A demo whose checks and retrains end as it is told."""

    def __init__(self, name: str, verdicts: dict[str, str], retrains: list[str]) -> None:
        self.case, self.story, self.stages = load(name), Story(name), Stages(Console(quiet=True))
        self.runs: Any = RunsAsTold(retrains)
        self.verdicts, self.sent = verdicts, dict[str, pl.DataFrame]()

    def crown_first(self, **parameters: Any) -> None:
        assert parameters["through"] < min(self.verdicts)

    def send(self, window: str, frame: pl.DataFrame) -> None:
        self.sent[window] = frame

    def rows_logged(self) -> int:
        return sum(map(len, self.sent.values()))

    def start_check(self, window: str, rows: int) -> tuple[FlowRun, float]:
        return FlowRun(id=uuid4(), flow_id=FLOW), 0.0

    def judge(self, window: str, run: FlowRun, since: float) -> dict[str, Any]:
        performance = {"labels": len(self.sent[window]), "metrics": {}, "holdout": {}}
        verdict = {"outcome": self.verdicts[window], "reasons": []}
        return {"verdict": verdict, "performance": performance}

    def watch_retrain(self, run: FlowRun, label: str) -> FlowRun:
        return run

    def latest_contest(self) -> dict[str, Any]:
        nothing = dict.fromkeys(("champion", "challenger", "difference", "low", "high"))
        return {**nothing, "verdict": self.runs.ended[-1], "holdout": "2024-10"}

    def end(self) -> Story:
        return self.story


def play(name: str, **changed: Any) -> tuple[Story, ToldDemo]:
    demo = ToldDemo(name, **{**STORIES[name], **changed})
    return story_of(name).play(demo), demo


@each_story
def test_data_as_expected_depart_nowhere_and_all_rows_of_a_month_are_sent(name: str) -> None:
    story, demo = play(name)
    assert story.departures() == [] and demo.runs.left == []
    assert demo.sent.keys() >= STORIES[name]["verdicts"].keys()
    for month, frame in demo.sent.items():
        assert frame.equals(demo.rows_of(month)) and frame[demo.case.label].count() > 100


@each_story
@pytest.mark.parametrize("place", range(3))
def test_another_verdict_on_any_month_is_a_departure(name: str, place: int) -> None:
    verdicts = dict(STORIES[name]["verdicts"])
    month = list(verdicts)[place]
    before, verdicts[month] = verdicts[month], "inconclusive"
    story, demo = play(name, verdicts=verdicts)
    assert f"{month} was inconclusive, not {before}" in story.departures()
    assert len(demo.runs.left) == (before == "drifted")  # nothing waits for a retrain


@pytest.mark.parametrize(
    ("name", "retrains"),
    [
        ("digits", ["keep"]),
        ("digits", ["Below the gate"]),
        ("reviews", ["promote", "promote"]),
        ("reviews", ["Below the gate", "inconclusive"]),
    ],
)
def test_another_end_of_a_retrain_is_a_departure(name: str, retrains: list[str]) -> None:
    (departure,) = play(name, retrains=retrains)[0].departures()
    expected = zip(retrains, STORIES[name]["retrains"], strict=True)
    other = next(f"ended with {end}, not {wanted}" for end, wanted in expected if end != wanted)
    assert departure.endswith(other)


def test_automation_that_starts_nothing_is_a_departure() -> None:
    assert play("digits", retrains=[])[0].departures() == ["the automation started no retrain"]


def test_retrain_without_a_contest_is_told_by_its_own_words() -> None:
    told = [line for line in play("reviews")[0].lines if "retrained." in line]
    assert told[0] == "The automation retrained. ROC AUC 0.73: low."
    assert told[1].startswith("Somebody retrained. Contest on 2024-10: ")
