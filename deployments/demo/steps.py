"""The steps that every story has: each drives the stack, shows itself as a stage, and notes its
outcome in the story.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

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
from deployments.demo.story import Story, gain, labels_of, number, scores
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

# How a retrain ends that has held a contest.
AFTER_A_CONTEST = ("Completed", "Champion stays")
# On a busy machine an answer may take this long.
ANSWER_SECONDS = 60


class Demo:
    """The servers as the steps use them, and the story so far."""

    def __init__(
        self,
        settings: Settings,
        stages: Stages,
        prefect: SyncPrefectClient,
        use_case: str,
        watch: StackWatch | None = None,
    ) -> None:
        self.settings, self.stages, self._watch = settings, stages, watch
        self.runs = Runs(settings, prefect, use_case, watch, stages.tell)
        self.lake, self.registry = Lake.of(settings), ModelRegistry.of(settings)
        self.case: UseCase = load(use_case)
        self.answers, self.story = Answers(), Story(use_case)
        self.caller = self._new_caller()
        stages.below = self._below

    def _below(self) -> str:
        champions = self.story.champions
        return (
            f"\nchampion version {champions[-1]['version'] if champions else 'none yet'} · "
            f"{self.answers.requests:,} requests · {len(self.answers.failures)} failed"
        )

    @property
    def name(self) -> str:
        return self.case.name

    def refuse_models(self) -> None:
        """Raises ``DemoFailed`` if the stack already has models of the use case."""
        if self.registry.versions(self.name):
            raise DemoFailed(
                f"The servers already have models of {self.name!r}, and the demo must begin "
                "without any; nothing was changed. Run it on empty servers, or in a stack of "
                "its own: make demo"
            )

    def watch_retrain(self, run: FlowRun, label: str) -> FlowRun:
        """Wait for a retrain, add the times of its subflows to the stages, and note the champion
        that serves afterwards. Returns the run as it ended.
        """
        with self.stages.stage(label) as stage:
            run = self.runs.wait(run, label)
            stage.note(str(run.state.name if run.state else ""))
        for name, part in self.runs.subflows(run):
            state = part.state.name if part.state else ""
            self.stages.add(f"{label}: {name}", part.total_run_time.total_seconds(), str(state))
        self.note_champion()
        return run

    def watch_automatic_retrain(self, known: set[UUID], label: str, expected: str) -> None:
        """Wait for the retrain that the automation starts beside the ``known`` ones, and tell how
        it ended (``tell_retrain``).

        Once in a story: the automation takes drift events within a minute for one."""
        with self.stages.stage("drift event to retrain, by the automation"):
            run = self.runs.await_automatic_retrain(known)
        if run is None:
            self.story.expect(False, "the automation started no retrain")
        else:
            self.tell_retrain(run, label, "The automation", expected)

    def retrain_by_hand(self, through: str, label: str, expected: str) -> None:
        """Start a retrain as a person does, and tell how it ended (``tell_retrain``)."""
        run = self.runs.start("retrain", through=through, reason="somebody asks for one")
        self.tell_retrain(run, label, "Somebody", expected)

    def tell_retrain(self, run: FlowRun, label: str, who: str, expected: str) -> None:
        """Wait for a retrain, and tell who started it and how it ended.

        ``expected`` is the verdict of its contest (``promote``, ``keep``), or, if none is held, how
        the run ends (``Below the gate``). Anything else is a departure from the story."""
        state = self.watch_retrain(run, label).state
        outcome, told = (state.name or "", state.message or "") if state else ("", "")
        if outcome in AFTER_A_CONTEST:
            contest = self.latest_contest()
            outcome = contest["verdict"]
            told = (
                f"Contest on {contest['holdout']}: {scores(contest)}, {gain(contest)}: {outcome}."
            )
        self.story.lines.append(f"{who} retrained. {told}")
        self.story.expect(
            outcome == expected, f"the retrain of {label} ended with {outcome}, not {expected}"
        )

    def crown_first(self, **parameters: Any) -> None:
        """Train the first champion, on a stack without models of the use case, and tell of it."""
        self.refuse_models()
        run = self.runs.start("retrain", reason="the first champion", **parameters)
        self.watch_retrain(run, "champion 1")
        champion, gate = self.story.champions[0], self.case.gate
        self.story.lines.append(
            f"Champion 1 (version {champion['version']}, {champion['recipe']}) learned through "
            f"{champion['trained_through']}; {gate.metric.name} on its hold-out "
            f"{number(champion[gate.metric.name])}, the gate is {gate.threshold:g}."
        )

    def note_champion(self) -> None:
        """Note the champion that the service reports. Raises ``DemoFailed`` if it has none."""
        description = self.describe()
        if not description.get("ready"):
            raise DemoFailed(f"The service serves no champion: {description.get('last_error')}")
        metric = self.case.gate.metric.name
        champion = {
            "version": description["version"],
            metric: description["metrics"][metric],
            "trained_through": description["trained_through"],
            "recipe": description["recipe"],
        }
        if champion["version"] not in [known["version"] for known in self.story.champions]:
            self.story.champions.append(champion)

    def describe(self, about: str = "") -> dict[str, Any]:
        """What the service says of the use case, or of its part ``about``, such as ``/rollout``."""
        key = self.settings.serving_key
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        url = f"{self.settings.serving_base_url}/v1/{self.name}{about}"
        description: dict[str, Any] = httpx.get(url, headers=headers, timeout=ANSWER_SECONDS).json()
        return description

    def await_served(self, version: str, run: FlowRun, name: str) -> datetime | None:
        """The time at which the service reports ``version``, to which ``run`` gives the crown;
        ``None`` if it completed without. Raises ``DemoFailed`` if it failed.
        """
        vigil = self.runs.vigil(run, name)
        while self.describe().get("version") != version:
            state = self.runs.read(run).state
            if (state and state.is_final()) or vigil.quiet_seconds() > QUIET_SECONDS:
                self.runs.wait(run, name)  # raises with the reason if the run failed
                if self.describe().get("version") != version:
                    return None
            time.sleep(0.05)
        return datetime.now(UTC)

    def _new_caller(self) -> Caller:
        return Caller(
            self.settings.serving_base_url, self.case, self.answers, self.settings.serving_key
        )

    def steady_traffic(self, frame: pl.DataFrame) -> Traffic:
        """A caller that requests one row of ``frame`` after the other; its answers are counted
        with all the others.
        """
        return Traffic(self._new_caller(), self.some_rows(frame))

    def some_rows(self, frame: pl.DataFrame) -> list[dict[str, Any]]:
        """Rows from the whole window for the steady traffic, so that it does not change the
        window's distribution; in their order, since the log has a file for each day.
        """
        return as_rows(self.case, frame.sample(1000, seed=7).sort(self.case.event_time))

    def send(self, window: str, frame: pl.DataFrame) -> None:
        """Send a window of requests and then their labels."""
        with self.stages.stage(f"{window}: requests") as stage:
            stage.note(self.replay(frame))

    def replay(self, frame: pl.DataFrame) -> str:
        """Send requests and then their labels. Returns how many, in words."""
        rows = replay(self.case, frame, self.caller)
        labelled = frame[self.case.label].count() > 0
        return f"{rows:,} predictions{', then their labels' * labelled}"

    def rows_logged(self) -> int:
        """Predictions and labels that the service has acknowledged so far."""
        log = self.describe()["log"]
        return int(log["rows_uploaded"] + log["rows_waiting"])

    def live(self, window: str, expected: str, rows: pl.DataFrame | None = None) -> bool:
        """Replay ``rows`` (those of the source, for ``None``) as requests and labels, and check the
        window. Returns whether the verdict was ``expected``.
        """
        self.send(window, self.rows_of(window) if rows is None else rows)
        checked = self.check(window, expected)
        self.story.lines.append(labels_of(checked, self.case.gate.metric.name))
        return bool(checked["verdict"]["outcome"] == expected)

    def live_through_drift(self, window: str, label: str, expected: str) -> None:
        """Replay a period that drifts, and watch the retrain that follows
        (``watch_automatic_retrain``).
        """
        retrains = self.runs.known_retrains()
        if self.live(window, "drifted"):
            self.watch_automatic_retrain(retrains, label, expected)

    def rows_of(self, window: str) -> pl.DataFrame:
        """The rows of a period, from the source of the use case."""
        assert isinstance(self.case.source, Source)
        return self.case.source.read(window)

    def check(self, window: str, expected: str) -> dict[str, Any]:
        """Check everything that was sent so far, tell the verdict on the window, and return its
        record. Another verdict than ``expected`` is a departure from the story.
        """
        checked = self.judge(window, *self.start_check(window, self.rows_logged()))
        verdict = checked["verdict"]
        reasons = "; ".join(verdict["reasons"] if verdict["outcome"] != "stable" else [])
        self.story.lines.append(f"{window}: {verdict['outcome']}. {reasons}".strip())
        self.story.expect(
            verdict["outcome"] == expected, f"{window} was {verdict['outcome']}, not {expected}"
        )
        return checked

    def start_check(self, window: str, rows: int) -> tuple[FlowRun, float]:
        """Start the window's drift check when the first ``rows`` of the log are in the lake.
        Returns the run and its start.
        """
        self.await_upload(window, rows)
        return self.runs.start("drift_check", window=window), time.monotonic()

    def await_upload(self, window: str, rows: int) -> None:
        """Wait until the first ``rows`` of the log are in the lake. Raises ``DemoFailed``."""
        vigil = Vigil(
            self._carried,
            lambda seconds: self.stages.tell(f"{window}: the log is on its way to the lake"),
        )
        while self.describe()["log"]["rows_uploaded"] < rows:
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

    def _carried(self) -> Sign:
        pid = self._watch.pid("service") if self._watch else None
        return Sign(
            self.describe()["log"]["rows_uploaded"], cpu_seconds(family(pid)) if pid else 0.0
        )

    def judge(self, window: str, run: FlowRun, since: float) -> dict[str, Any]:
        """Wait for the window's drift check, note its verdict, and return its record."""
        with self.stages.stage(f"{window}: drift check", since) as stage:
            self.runs.wait(run, f"drift check of {window}")
            checked: dict[str, Any] = json.loads(
                self.lake.read(f"reports/{self.name}/{window}/verdict.json")
            )
            verdict, metric = checked["verdict"], self.case.gate.metric.name
            self.story.drift[window] = {
                "share": verdict["share"],
                "verdict": verdict["outcome"],
                metric: checked["scores"].get(metric),
                "report": checked["report_url"],
            }
            beyond = (
                ""
                if verdict["share"] is None
                else f": {verdict['share']:.0%} of what the model uses is beyond its threshold "
                f"(limit {verdict['limit']:.0%})"
            )
            stage.note(f"{verdict['outcome']}{beyond}")
        return checked

    def latest_contest(self) -> dict[str, Any]:
        """The contest that was held last."""
        decision = self.latest_decision("contest")
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

    def latest_decision(self, kind: str) -> dict[str, Any]:
        """The ledger's last entry of that kind. Raises ``DemoFailed`` without one."""
        for path in reversed(self.lake.list(f"decisions/{self.name}")):
            entry: dict[str, Any] = json.loads(self.lake.read(path))
            if entry["kind"] == kind:
                return entry
        raise DemoFailed(f"The ledger of {self.name!r} has no {kind}.")

    def end(self) -> Story:
        """The story with its counts and times, after the last request."""
        story = self.story
        story.requests, story.failed_requests = self.answers.requests, len(self.answers.failures)
        story.stages, story.seconds = self.stages.seconds, round(self.stages.total_seconds, 1)
        return story
