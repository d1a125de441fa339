"""The story of the flights: a loop that closes by itself, under traffic.

Every step is a run of a deployment on the work pool, and only the automation starts the second
retrain."""

import json
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import polars as pl
from prefect.client.schemas.objects import FlowRun

from blocks.settings import Settings
from deployments.demo.replay import Traffic
from deployments.demo.runs import DemoFailed
from deployments.demo.steps import Demo
from deployments.demo.stories._flights_summary import FIRST, LATER, WATCHED, FlightsStory
from deployments.demo.story import number
from deployments.supervision.signs_of_life import QUIET_SECONDS
from usecases.definition import Source


class Flights:
    """The months of 2013, one after the other."""

    brings_servers = False

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """The flights come with Laurel's packages: nothing is needed."""
        return settings

    def play(self, demo: Demo) -> FlightsStory:
        """Play the whole story. Raises ``DemoFailed`` if a step does not end as expected."""
        return _Months(demo).play()


class _Months:
    def __init__(self, demo: Demo) -> None:
        assert isinstance(demo.case.source, Source)
        self._demo, self._source = demo, demo.case.source
        self._story = demo.story = FlightsStory()

    def play(self) -> FlightsStory:
        demo, story = self._demo, self._story
        with ThreadPoolExecutor(1) as aside:
            demo.refuse_models()
            first = demo.runs.start("retrain", through=FIRST, reason="the first champion")
            months: Future[dict[str, pl.DataFrame]] = aside.submit(
                lambda: {m: self._source.read(m) for m in (*WATCHED, LATER)}
            )
            demo.watch_retrain(first, "champion 1")
            frames = months.result()
            with demo.steady_traffic(frames[WATCHED[0]]) as traffic:
                retrains = self._live_until_drift(frames, traffic)
                with demo.stages.stage("drift event to retrain, by the automation"):
                    run = demo.runs.await_automatic_retrain(retrains)
                if run is not None:
                    demo.watch_retrain(run, "champion 2")
                    story.contest = demo.latest_contest()
                if len(story.champions) == 2:
                    traffic.rows = demo.some_rows(frames[LATER])
                    comparison = aside.submit(self._compare_champions)
                    demo.send(LATER, frames[LATER])
                    self._roll_back()
                    self._read_comparison(comparison.result())
        demo.end()
        story.swap_gap_ms = round(demo.answers.longest_gap_ms(story.champions[-1]["version"]), 1)
        return story

    def _live_until_drift(self, frames: dict[str, pl.DataFrame], traffic: Traffic) -> set[Any]:
        """Send one month after the other, and check each as soon as it is in the lake. Meanwhile
        somebody retrains by hand.

        The last month is checked after that retrain, since only one runs at a time. Returns the
        retrains so far, without the automation's."""
        demo = self._demo
        checks: list[tuple[str, Future[tuple[FlowRun, float]]]] = []
        by_hand: FlowRun | None = None
        with ThreadPoolExecutor(len(WATCHED)) as aside:
            for month in WATCHED:
                traffic.rows = demo.some_rows(frames[month])
                demo.send(month, frames[month])
                if by_hand is None:
                    by_hand = demo.runs.start(
                        "retrain", through=month, reason="somebody asks for one"
                    )
                elif month == WATCHED[-1]:
                    self._watch_rejection(by_hand)
                retrains = demo.runs.known_retrains()
                checks.append((month, aside.submit(demo.start_check, month, demo.rows_logged())))
            for month, check in checks:
                demo.judge(month, *check.result())
        return retrains

    def _watch_rejection(self, run: FlowRun) -> None:
        """Wait for the retrain that somebody started by hand; its challenger has learned the same
        months as the champion.
        """
        demo = self._demo
        with demo.stages.stage(f"{WATCHED[0]}: a retrain by hand") as stage:
            run = demo.runs.wait(run, f"retrain through {WATCHED[0]}")
            stage.note(str(run.state.name if run.state else ""))
        self._story.rejection = demo.latest_contest()
        demo.note_champion()

    def _roll_back(self) -> None:
        """Roll back to the first champion and then to the second, under traffic, and measure from
        the start of each run until the service serves the version.
        """
        demo = self._demo
        first, second = (champion["version"] for champion in self._story.champions)
        for target, reason in ((first, "the demo goes back"), (second, "and forth")):
            with demo.stages.stage(f"rollback to version {target}") as stage:
                run = demo.runs.start("rollback", version=target, reason=reason)
                served = self._await_served(target, run)
                run = demo.runs.wait(run, f"rollback to version {target}")
                seconds = (
                    round((served - run.start_time).total_seconds(), 1)
                    if run.start_time
                    else math.nan
                )
                self._story.rollbacks.append(
                    {"from": second if target == first else first, "to": target, "seconds": seconds}
                )
                stage.note(f"served {seconds:.1f} s after the run began")

    def _await_served(self, version: str, run: FlowRun) -> datetime:
        """The time at which the service reports ``version``, to which ``run`` rolls back. Raises
        ``DemoFailed``.
        """
        demo, name = self._demo, f"rollback to version {version}"
        vigil = demo.runs.vigil(run, name)
        while demo.describe().get("version") != version:
            state = demo.runs.read(run).state
            if (state and state.is_final()) or vigil.quiet_seconds() > QUIET_SECONDS:
                demo.runs.wait(run, name)  # raises with the reason if the run failed
                if demo.describe().get("version") != version:
                    raise DemoFailed(
                        f"The {name} completed, but the service serves another version."
                    )
            time.sleep(0.05)
        return datetime.now(UTC)

    def _compare_champions(self) -> FlowRun:
        """Ingest the month after the story, and start the comparison of both champions on its
        flights, which neither has seen.
        """
        runs = self._demo.runs
        first, second = (champion["version"] for champion in self._story.champions)
        runs.wait(runs.start("ingest", through=LATER), f"ingest through {LATER}")
        return runs.start("compare", window=LATER, champion=first, challenger=second)

    def _read_comparison(self, run: FlowRun) -> None:
        """Wait for the comparison, and note its result."""
        demo = self._demo
        first, second = (champion["version"] for champion in self._story.champions)
        with demo.stages.stage(f"{LATER}: both champions") as stage:
            demo.runs.wait(run, "compare")
            contest = json.loads(
                demo.lake.read(f"reports/{demo.name}/{LATER}/comparison-{first}-{second}.json")
            )
            main = contest["main"]
            self._story.later_rows = {
                "window": LATER,
                "rows": main["rows"],
                "champion_1": main["champion"],
                "champion_2": main["challenger"],
                "difference": main["gain"],
                "low": main["low"],
                "high": main["high"],
                "confidence": contest["confidence"],
            }
            stage.note(f"ROC AUC {number(main['champion'])} and {number(main['challenger'])}")


PLAY = Flights()
