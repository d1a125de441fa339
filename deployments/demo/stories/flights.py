"""The story of the flights: a loop that closes by itself, under traffic.

Every step is a run of a deployment on the work pool, and only the automation starts the second
retrain. Its winner meets the callers before the crown: in this story, since the deployment
``retrain/flights`` says so, and not in the use case's file. Whoever tries the flights without
callers would else wait for a month of them."""

import json
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import polars as pl
from prefect.client.schemas.objects import FlowRun

from blocks.settings import Settings
from deployments.demo.replay import Traffic
from deployments.demo.runs import DemoFailed
from deployments.demo.steps import Demo
from deployments.demo.stories._flights_rollout import WINNERS, Rollouts
from deployments.demo.stories._flights_summary import (
    FIRST,
    LAST,
    LATER,
    SHADOWED,
    WATCHED,
    FlightsStory,
)
from deployments.demo.stories._sick_version import SILENT_DAY, plant
from deployments.demo.story import number
from usecases.definition import Source

FLUSH_SECONDS = 2.0


class Flights:
    """The months of 2013, one after the other."""

    brings_servers = False

    def prepare(self, settings: Settings, say: Callable[[str], None]) -> Settings:
        """The flights come with Laurel's packages: nothing is needed. A month takes seconds here,
        and so its log comes into the lake sooner."""
        return settings.model_copy(update={"log_flush_seconds": FLUSH_SECONDS})

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
        demo.refuse_models()
        with demo.runs.parameters("retrain", rollout=WINNERS), ThreadPoolExecutor(2) as aside:
            first = demo.runs.start("retrain", through=FIRST, reason="the first champion")
            months: Future[dict[str, pl.DataFrame]] = aside.submit(
                lambda: {m: self._source.read(m) for m in (*WATCHED, SHADOWED, LATER, LAST)}
            )
            demo.watch_retrain(first, "champion 1")
            frames = months.result()
            with demo.steady_traffic(frames[WATCHED[0]]) as traffic:
                retrains = self._live_until_drift(frames, traffic)
                with demo.stages.stage("drift event to retrain, by the automation"):
                    run = demo.runs.await_automatic_retrain(retrains)
                if run is not None:
                    # A shadow judges the days of all that it sees: those of the coming month.
                    traffic.rows = demo.some_rows(frames[SHADOWED])
                    demo.watch_retrain(run, "champion 2")
                    story.contest = demo.latest_contest()
                if story.contest.get("verdict") == "promote":
                    self._roll_out(frames, traffic, aside)
        demo.end()
        story.swap_gap_ms = round(demo.answers.longest_gap_ms(story.swapped_at), 1)
        return story

    def _roll_out(
        self, frames: dict[str, pl.DataFrame], traffic: Traffic, aside: ThreadPoolExecutor
    ) -> None:
        """Let the winner meet the callers, crown it, let a sick version meet them, and roll back.
        Meanwhile a month is ingested on which both champions are compared."""
        demo, story = self._demo, self._story
        rollouts = Rollouts(demo, story, traffic)
        winner = demo.registry.version(demo.name, rollouts.version)
        comparison = aside.submit(self._compare, winner.number)
        sick = aside.submit(plant, demo.registry, winner)
        if rollouts.judge_shadow(SHADOWED, frames[SHADOWED]):
            rollouts.judge_canary(LATER, frames[LATER])
        if len(story.champions) == 2:
            last_day = frames[LAST].filter(pl.col("event_time").dt.date() == SILENT_DAY)
            rollouts.revert_sick(sick.result(), last_day)
            self._roll_back()
            rollouts.note_revert()
            self._read_comparison(comparison.result())

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
                served = demo.await_served(target, run, f"rollback to version {target}")
                if served is None:
                    raise DemoFailed(
                        f"The rollback to version {target} completed, but the service serves "
                        "another version."
                    )
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

    def _compare(self, winner: str) -> FlowRun:
        """Ingest up to a month that has judged neither version, and start their comparison on its
        flights, which neither has seen.
        """
        runs, first = self._demo.runs, self._story.champions[0]["version"]
        runs.wait(runs.start("ingest", through=LATER), f"ingest through {LATER}")
        return runs.start("compare", window=LATER, champion=first, challenger=winner)

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
