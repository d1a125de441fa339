"""The steps of the demo: each drives the stack, shows itself as a stage, and notes its outcome in
the story.
"""

import json
import math
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from blocks.lake import Lake
from blocks.registry import ModelRegistry
from blocks.settings import Settings
from deployments.demo.replay import Answers, Caller, Traffic, as_rows, replay
from deployments.demo.runs import DemoFailed, Runs
from deployments.demo.stages import Stages
from deployments.demo.story import LATER, USE_CASE, WATCHED, Story, number
from deployments.local.watch import StackWatch
from deployments.supervision.signs_of_life import (
    QUIET_SECONDS,
    Sign,
    Vigil,
    cpu_seconds,
    family,
    last_lines,
)
from deployments.supervision.supervisor import Supervisor
from usecases.definition import Source, UseCase, load

# On a busy machine an answer may take this long.
ANSWER_SECONDS = 60


class Demo:
    """The servers as the steps use them, and the story so far."""

    def __init__(
        self,
        settings: Settings,
        stages: Stages,
        prefect: SyncPrefectClient,
        watch: StackWatch | None = None,
    ) -> None:
        self.settings, self.stages, self._watch = settings, stages, watch
        self.runs = Runs(settings, prefect, watch, stages.tell)
        self.lake, self.registry = Lake.of(settings), ModelRegistry.of(settings)
        self.case: UseCase = load(USE_CASE)
        assert isinstance(self.case.source, Source)
        self.source = self.case.source
        self.answers, self.story = Answers(), Story()
        self.caller = self._new_caller()
        stages.below = self._below

    def _below(self) -> str:
        served = self.story.champions[-1]["version"] if self.story.champions else "none yet"
        return (
            f"\nchampion version {served} · {self.answers.requests:,} requests · "
            f"{len(self.answers.failures)} failed"
        )

    def refuse_models(self) -> None:
        """Raises ``DemoFailed`` if the stack already has models of the use case."""
        if self.registry.versions(USE_CASE):
            raise DemoFailed(
                f"The servers already have models of {USE_CASE!r}, and the demo must begin "
                "without any; nothing was changed. Run it on empty servers, or in a stack of "
                "its own: make demo"
            )

    def watch_retrain(self, run: FlowRun, label: str) -> None:
        """Wait for a retrain, add the times of its subflows to the stages, and note the champion
        that serves afterwards.
        """
        with self.stages.stage(label) as stage:
            run = self.runs.wait(run, label)
            stage.note(str(run.state.name if run.state else ""))
        for name, part in self.runs.subflows(run):
            state = part.state.name if part.state else ""
            self.stages.add(f"{label}: {name}", part.total_run_time.total_seconds(), str(state))
        self._note_champion()

    def _note_champion(self) -> None:
        """Note the champion that the service reports."""
        description = self._service()
        if not description.get("ready"):
            raise DemoFailed(f"The service serves no champion: {description.get('last_error')}")
        score = description["metrics"][self.case.gate.metric.name]
        champion = {
            "version": description["version"],
            "roc_auc": score,
            "trained_through": description["trained_through"],
            "recipe": description["recipe"],
        }
        if champion["version"] not in [known["version"] for known in self.story.champions]:
            self.story.champions.append(champion)

    def _service(self) -> dict[str, Any]:
        key = self.settings.serving_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        url = f"{self.settings.serving_base_url}/v1/{USE_CASE}"
        description: dict[str, Any] = httpx.get(url, headers=headers, timeout=ANSWER_SECONDS).json()
        return description

    def _new_caller(self) -> Caller:
        return Caller(
            self.settings.serving_base_url, self.case, self.answers, self.settings.serving_key
        )

    def steady_traffic(self, frame: pl.DataFrame) -> Traffic:
        """A caller that requests one flight of ``frame`` after the other; its answers are counted
        with all the others.
        """
        return Traffic(self._new_caller(), self.some_rows(frame))

    def some_rows(self, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Flights from the whole month for the steady traffic, so that it does not change the
        month's distribution.
        """
        return as_rows(self.case, frame.sample(1000, seed=7))

    def send_month(self, month: str, frame: pl.DataFrame) -> None:
        """Send a month of requests and then its labels."""
        with self.stages.stage(f"{month}: requests") as stage:
            rows = replay(self.case, frame, self.caller)
            stage.note(f"{rows:,} predictions, then their labels")

    def rows_logged(self) -> int:
        """Predictions and labels that the service has acknowledged so far."""
        log = self._service()["log"]
        return int(log["rows_uploaded"] + log["rows_waiting"])

    def start_check(self, month: str, rows: int) -> tuple[FlowRun, float]:
        """Start the month's drift check when the first ``rows`` of the log are in the lake. Returns
        the run and its start.
        """
        vigil = Vigil(
            self._carried,
            lambda seconds: self.stages.tell(f"{month}: the log is on its way to the lake"),
        )
        while self._service()["log"]["rows_uploaded"] < rows:
            if vigil.quiet_seconds() > QUIET_SECONDS:
                log = (
                    last_lines(Supervisor(self.settings.state).log("service"))
                    if self._watch
                    else ""
                )
                raise DemoFailed(
                    "The prediction log does not reach the lake: no row arrived in "
                    f"{QUIET_SECONDS:g} s. {log}"
                )
            time.sleep(0.1)
        return self.runs.start("drift_check", window=month), time.monotonic()

    def _carried(self) -> Sign:
        pid = self._watch.pid("service") if self._watch else None
        return Sign(
            self._service()["log"]["rows_uploaded"], cpu_seconds(family(pid)) if pid else 0.0
        )

    def judge_month(self, month: str, run: FlowRun, since: float) -> None:
        """Wait for the month's drift check, and note its verdict."""
        with self.stages.stage(f"{month}: drift check", since) as stage:
            self.runs.wait(run, f"drift check of {month}")
            checked = json.loads(self.lake.read(f"reports/{USE_CASE}/{month}/verdict.json"))
            verdict = checked["verdict"]
            self.story.drift[month] = {
                "share": verdict["share"],
                "verdict": verdict["outcome"],
                "roc_auc": checked["scores"].get("roc_auc"),
                "report": checked["report_url"],
            }
            share = "unknown" if verdict["share"] is None else f"{verdict['share']:.0%}"
            stage.note(
                f"{verdict['outcome']}: {share} of what the model uses is beyond its "
                f"threshold (limit {verdict['limit']:.0%})"
            )

    def read_contest(self) -> None:
        """Note the contest that the retrain held."""
        self.story.contest = self._latest_contest()

    def _latest_contest(self) -> dict[str, Any]:
        decision = next(entry for entry in reversed(self._ledger()) if entry["kind"] == "contest")
        main = (decision["contest"] or {}).get("main", {})
        return {
            "difference": main.get("gain"),
            "low": main.get("low"),
            "high": main.get("high"),
            "confidence": (decision["contest"] or {}).get("confidence"),
            "verdict": decision["verdict"],
            "holdout": decision["holdout"],
            "champion": main.get("champion"),
            "challenger": main.get("challenger"),
            "reasons": decision["reasons"],
        }

    def _ledger(self) -> list[dict[str, Any]]:
        """The decisions so far, in order."""
        return [
            json.loads(self.lake.read(path)) for path in self.lake.list(f"decisions/{USE_CASE}")
        ]

    def watch_rejection(self, run: FlowRun) -> None:
        """Wait for the retrain that somebody started by hand; its challenger has learned the same
        months as the champion.
        """
        with self.stages.stage(f"{WATCHED[0]}: a retrain by hand") as stage:
            run = self.runs.wait(run, f"retrain through {WATCHED[0]}")
            stage.note(str(run.state.name if run.state else ""))
        self.story.rejection = self._latest_contest()
        self._note_champion()

    def roll_back(self) -> None:
        """Roll back to the first champion and then to the second, under traffic, and measure from
        the start of each run until the service serves the version.
        """
        first, second = (champion["version"] for champion in self.story.champions)
        for target, reason in ((first, "the demo goes back"), (second, "and forth")):
            with self.stages.stage(f"rollback to version {target}") as stage:
                run = self.runs.start("rollback", version=target, reason=reason)
                served = self._await_served(target, run)
                run = self.runs.wait(run, f"rollback to version {target}")
                seconds = (
                    round((served - run.start_time).total_seconds(), 1)
                    if run.start_time
                    else math.nan
                )
                self.story.rollbacks.append(
                    {"from": second if target == first else first, "to": target, "seconds": seconds}
                )
                stage.note(f"served {seconds:.1f} s after the run began")

    def _await_served(self, version: str, run: FlowRun) -> datetime:
        """The time at which the service reports ``version``, to which ``run`` rolls back. Raises
        ``DemoFailed``.
        """
        name = f"rollback to version {version}"
        vigil = self.runs.vigil(run, name)
        while self._service().get("version") != version:
            state = self.runs.read(run).state
            if (state and state.is_final()) or vigil.quiet_seconds() > QUIET_SECONDS:
                self.runs.wait(run, name)  # raises with the reason if the run failed
                if self._service().get("version") != version:
                    raise DemoFailed(
                        f"The {name} completed, but the service serves another version."
                    )
            time.sleep(0.05)
        return datetime.now(UTC)

    def compare_champions(self) -> FlowRun:
        """Ingest the month after the story, and start the comparison of both champions on its
        flights, which neither has seen.
        """
        first, second = (champion["version"] for champion in self.story.champions)
        self.runs.wait(self.runs.start("ingest", through=LATER), f"ingest through {LATER}")
        return self.runs.start("compare", window=LATER, champion=first, challenger=second)

    def read_comparison(self, run: FlowRun) -> None:
        """Wait for the comparison, and note its result."""
        first, second = (champion["version"] for champion in self.story.champions)
        with self.stages.stage(f"{LATER}: both champions") as stage:
            self.runs.wait(run, "compare")
            contest = json.loads(
                self.lake.read(f"reports/{USE_CASE}/{LATER}/comparison-{first}-{second}.json")
            )
            main = contest["main"]
            self.story.later_rows = {
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

    def ended(self) -> Story:
        """The story with its counts and times, after the last request."""
        story = self.story
        story.requests, story.failed_requests = self.answers.requests, len(self.answers.failures)
        story.swap_gap_ms = round(self.answers.longest_gap_ms(story.champions[-1]["version"]), 1)
        story.stages, story.seconds = self.stages.seconds, round(self.stages.total_seconds, 1)
        return story
