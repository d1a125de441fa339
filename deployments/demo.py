"""The loop on real flights, from an empty stack to the second champion: what ``make demo`` runs.

Every step is a run of a deployment on the work pool, and the second retrain is started by the automation alone. What
is told at the end was measured; where the data say something else than the story, that is told, and the exit code is 1.
"""

import json
import math
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import httpx
import polars as pl
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from rich.console import Console

from blocks.lake import Lake
from blocks.registry import ModelRegistry
from blocks.settings import Settings
from deployments import local
from deployments.apply import apply_now
from deployments.replay import Answers, Caller, Traffic, as_rows, replay
from deployments.stages import Stages
from usecases.definition import UseCase, load

USE_CASE = "flights"
FIRST, WATCHED, LATER = "2013-03", ("2013-04", "2013-05", "2013-06"), "2013-07"
MARKER = "made-by-demo"


class DemoFailed(RuntimeError):
    """The loop did not do what it should; the message says which step, and where to look."""


@dataclass
class Story:
    """What happened, as ``.laurel/demo.json`` says it."""

    stages: dict[str, float] = field(default_factory=dict)
    champions: list[dict[str, Any]] = field(default_factory=list)
    contest: dict[str, Any] = field(default_factory=dict)
    drift: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: int = 0
    failed_requests: int = 0
    swap_gap_ms: float = math.nan
    later_rows: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def departures(self) -> list[str]:
        """Where the data said something else than the story; empty when the loop closed as told."""
        quiet = [month for month in WATCHED[:-1] if self.drift.get(month, {}).get("verdict") != "stable"]
        found = [f"{month} was {self.drift.get(month, {}).get('verdict', 'never checked')}, not stable" for month in quiet]
        if self.drift.get(WATCHED[-1], {}).get("verdict") != "drifted":
            found.append(f"{WATCHED[-1]} did not drift")
        if len(self.champions) != 2:
            found.append(f"{len(self.champions)} champions, not two")
        if self.contest.get("verdict") != "promote":
            found.append(f"the contest ended with {self.contest.get('verdict')}")
        if self.failed_requests:
            found.append(f"{self.failed_requests} requests failed")
        if not self.later_rows:
            found.append("the later rows were not scored")
        return found


class Demo:
    """The servers, and the steps in order."""

    def __init__(self, settings: Settings, stages: Stages, prefect: SyncPrefectClient) -> None:
        self.settings, self.stages, self.prefect = settings, stages, prefect
        self.lake, self.registry = Lake.of(settings), ModelRegistry.of(settings)
        self.case: UseCase = load(USE_CASE)
        self.answers, self.story = Answers(), Story()
        self.caller = Caller(settings.serving_base_url, self.case, self.answers)
        stages.below = self._below

    def _below(self) -> str:
        served = self.story.champions[-1]["version"] if self.story.champions else "none yet"
        return f"\nchampion version {served} · {self.answers.requests:,} requests · {len(self.answers.failures)} failed"

    def start(self, name: str, **parameters: Any) -> FlowRun:
        """Start a run of ``<flow>/flights`` on the work pool."""
        deployment = self.prefect.read_deployment_by_name(f"{name}/{USE_CASE}")
        return self.prefect.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def wait(self, run: FlowRun, name: str, timeout_seconds: float = 180) -> FlowRun:
        """Wait for the run to end. Raises ``DemoFailed`` where it does not complete, with the address of its page."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            run = self.prefect.read_flow_run(run.id)
            if run.state and run.state.is_final():
                if not run.state.is_completed():
                    raise DemoFailed(f"{name} ended as {run.state.name}: {run.state.message} See {self._page(run)}")
                return run
            time.sleep(0.25)
        raise DemoFailed(f"{name} did not end within {timeout_seconds:g} s. See {self._page(run)}")

    def _page(self, run: FlowRun) -> str:
        return f"{self.settings.prefect_api_url.removesuffix('/api')}/runs/flow-run/{run.id}"

    def watch_retrain(self, run: FlowRun, label: str) -> None:
        """Wait for a retrain and add the times of its subflows to the stages."""
        with self.stages.stage(label) as stage:
            run = self.wait(run, label)
            stage.note(str(run.state.name if run.state else ""))
        inside = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]))
        names = {flow.id: flow.name for flow in self.prefect.read_flows()}
        for part in sorted(self.prefect.read_flow_runs(flow_run_filter=inside), key=lambda one: str(one.start_time)):
            said = part.state.name if part.state else ""
            self.stages.add(f"{label}: {names[part.flow_id]}", part.total_run_time.total_seconds(), str(said))

    def note_champion(self) -> None:
        """Take from the service what it says of the champion it serves."""
        said = httpx.get(f"{self.settings.serving_base_url}/v1/{USE_CASE}", timeout=10).json()
        if not said.get("ready"):
            raise DemoFailed(f"The service serves no champion: {said.get('last_error')}")
        score = said["metrics"][self.case.gate.metric.name]
        champion = {"version": said["version"], "roc_auc": score, "trained_through": said["trained_through"], "recipe": said["recipe"]}
        if champion["version"] not in [one["version"] for one in self.story.champions]:
            self.story.champions.append(champion)

    def drain_log(self) -> None:
        """Wait until every prediction and label that is acknowledged by now is in the lake; traffic goes on adding more."""
        begun = self._log()
        for _ in range(300):
            if self._log()["rows_uploaded"] >= begun["rows_uploaded"] + begun["rows_waiting"]:
                return
            time.sleep(0.1)
        raise DemoFailed(f"The prediction log does not drain: see {self.settings.state / 'logs'}")

    def _log(self) -> dict[str, int]:
        return httpx.get(f"{self.settings.serving_base_url}/v1/{USE_CASE}", timeout=10).json()["log"]

    def send_month(self, month: str, frame: pl.DataFrame) -> None:
        """A month of requests, and of labels that follow, until all of it is in the lake."""
        with self.stages.stage(f"{month}: requests") as stage:
            rows = replay(self.case, frame, self.caller)
            self.drain_log()
            stage.note(f"{rows:,} flights asked for, their labels followed")

    def judge_month(self, month: str, run: FlowRun, since: float) -> bool:
        """Wait for the month's drift check, note its verdict, and say whether it drifted."""
        with self.stages.stage(f"{month}: drift check", since) as stage:
            self.wait(run, f"drift check of {month}")
            checked = json.loads(self.lake.read(f"reports/{USE_CASE}/{month}/verdict.json"))
            verdict = checked["verdict"]
            self.story.drift[month] = {
                "share": verdict["share"],
                "verdict": verdict["outcome"],
                "roc_auc": checked["scores"].get("roc_auc"),
                "report": checked["report_url"],
            }
            share = "unknown" if verdict["share"] is None else f"{verdict['share']:.0%}"
            stage.note(f"{verdict['outcome']}: {share} of the columns beyond their threshold (limit {verdict['limit']:.0%})")
        return verdict["outcome"] == "drifted"

    def await_automatic_retrain(self, known: set[Any], timeout_seconds: float = 60) -> FlowRun | None:
        """The retrain that the automation starts; None where none comes. ``known`` are the runs before the event."""
        deployment = self.prefect.read_deployment_by_name(f"retrain/{USE_CASE}")
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for run in self.retrains(deployment.id):
                if run.id not in known:
                    return run
            time.sleep(0.25)
        return None

    def retrains(self, deployment_id: Any) -> list[FlowRun]:
        return self.prefect.read_flow_runs(deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])))

    def read_contest(self) -> None:
        """The latest decision of the ledger."""
        latest = self.lake.list(f"decisions/{USE_CASE}")[-1]
        decision = json.loads(self.lake.read(latest))
        main = (decision["contest"] or {}).get("main", {})
        self.story.contest = {
            "difference": main.get("gain"),
            "low": main.get("low"),
            "high": main.get("high"),
            "verdict": decision["verdict"],
            "holdout": decision["holdout"],
            "champion": main.get("champion"),
            "challenger": main.get("challenger"),
        }

    def compare_on_later_rows(self, frame: pl.DataFrame) -> None:
        """July through the service under the new champion, and then both champions on those same flights."""
        with self.stages.stage(f"{LATER}: requests, ingest") as stage:
            run = self.start("ingest", through=LATER, since=LATER)
            rows = replay(self.case, frame, self.caller)
            self.wait(run, f"ingest of {LATER}")
            stage.note(f"{rows:,} flights asked for")
        first, second = (one["version"] for one in self.story.champions)
        with self.stages.stage(f"{LATER}: both champions") as stage:
            self.wait(self.start("compare", window=LATER, champion=first, challenger=second), "compare")
            contest = json.loads(self.lake.read(f"reports/{USE_CASE}/{LATER}/comparison-{first}-{second}.json"))
            main = contest["main"]
            self.story.later_rows = {
                "window": LATER,
                "rows": main["rows"],
                "champion_1": main["champion"],
                "champion_2": main["challenger"],
                "difference": main["gain"],
                "low": main["low"],
                "high": main["high"],
            }
            stage.note(f"ROC AUC {main['champion']:.4f} and {main['challenger']:.4f}")


@contextmanager
def schedules_paused(prefect: SyncPrefectClient) -> Iterator[None]:
    """No schedule fires while the demo plays: a daily check in the middle of a replayed month would judge half of it."""
    paused = [(d.id, schedule.id) for d in prefect.read_deployments() for schedule in d.schedules if schedule.active]
    for deployment_id, schedule_id in paused:
        prefect.update_deployment_schedule(deployment_id, schedule_id, active=False)
    try:
        yield
    finally:
        for deployment_id, schedule_id in paused:
            prefect.update_deployment_schedule(deployment_id, schedule_id, active=True)


def some_rows(case: UseCase, frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Flights from all of a month for the steady traffic, so that it leaves the month's distribution as it is."""
    return as_rows(case, frame.sample(1000, seed=7))


def play(demo: Demo) -> Story:
    """The whole story, on a stack that is up. Raises ``DemoFailed`` where a step does not end as it should."""
    with ThreadPoolExecutor(1) as aside:
        if demo.registry.versions(USE_CASE):
            raise DemoFailed(
                f"This stack has models of {USE_CASE!r} already; the demo begins with none. "
                f"`make reset` deletes {demo.settings.state}, or set LAUREL_STATE to another folder."
            )
        first = demo.start("retrain", through=FIRST, reason="the first champion")
        months: Future[dict[str, pl.DataFrame]] = aside.submit(lambda: {m: demo.case.source.read(m) for m in (*WATCHED, LATER)})
        demo.watch_retrain(first, "champion 1")
        demo.note_champion()
        frames = months.result()
        with Traffic(Caller(demo.settings.serving_base_url, demo.case, demo.answers), some_rows(demo.case, frames[WATCHED[0]])) as traffic:
            deployment_id = demo.prefect.read_deployment_by_name(f"retrain/{USE_CASE}").id
            known = {run.id for run in demo.retrains(deployment_id)}
            checks: list[tuple[str, FlowRun, float]] = []
            for month in WATCHED:
                traffic.rows = some_rows(demo.case, frames[month])
                demo.send_month(month, frames[month])
                # The check of a month runs while the next one begins, as it would in life.
                if checks and demo.judge_month(*checks.pop()):
                    break
                checks.append((month, demo.start("drift_check", window=month), time.monotonic()))
            for check in checks:
                demo.judge_month(*check)
            with demo.stages.stage("drift event to retrain, by the automation"):
                run = demo.await_automatic_retrain(known)
            if run is not None:
                demo.watch_retrain(run, "champion 2")
                demo.note_champion()
                demo.read_contest()
            if len(demo.story.champions) == 2:
                traffic.rows = some_rows(demo.case, frames[LATER])
                demo.compare_on_later_rows(frames[LATER])
    story = demo.story
    story.requests, story.failed_requests = demo.answers.requests, len(demo.answers.failures)
    story.swap_gap_ms = round(demo.answers.longest_gap_ms(story.champions[-1]["version"]), 1)
    story.stages, story.seconds = demo.stages.seconds, round(demo.stages.total_seconds, 1)
    return story


def forget_former_demo(settings: Settings) -> None:
    """Stop and delete what an earlier demo left. A stack that no demo made is never touched."""
    if (settings.state / MARKER).exists():
        local.down(settings)
        shutil.rmtree(settings.state)
    settings.state.mkdir(parents=True, exist_ok=True)
    (settings.state / MARKER).touch()


def start_stack(settings: Settings, stages: Stages) -> Settings:
    """Bring the servers up and give the settings in force; deployments are applied once Prefect answers, while others start."""
    with stages.stage("servers up, deployments applied") as stage, ThreadPoolExecutor(1) as aside:
        applying: list[Future[Any]] = []

        def on_ready(name: str, seconds: float) -> None:
            stage.note(f"{stage.said}{name} {seconds:.0f} s  ")
            if name == "prefect":
                applying.append(aside.submit(apply_now, Settings.read()))

        settings = local.up(settings, on_ready=on_ready)
        for one in applying or [aside.submit(apply_now, settings)]:
            one.result()
    return settings


def tell(story: Story, settings: Settings, console: Console) -> None:
    """What happened, in words, and where to look."""
    say = partial(console.print, highlight=False, soft_wrap=True)
    first, second = (*story.champions, *[{}] * 2)[:2]
    later, contest = story.later_rows, story.contest
    say()
    if first:
        say(f"Champion 1 (version {first['version']}, {first['recipe']}) learned flights through {first['trained_through']}.")
    for month, found in story.drift.items():
        say(f"{month}: {found['verdict']}" + (f", report {found['report']}" if found["verdict"] == "drifted" else ""))
    if second:
        say(
            f"Contest on {contest['holdout']}: challenger {contest['challenger']:.4f}, champion {contest['champion']:.4f}, "
            f"gain {contest['difference']:+.4f}, 90 % interval [{contest['low']:+.4f}, {contest['high']:+.4f}]: {contest['verdict']}."
        )
        say(f"Champion 2 (version {second['version']}) learned flights through {second['trained_through']}.")
    if later:
        say(
            f"{later['window']}, {later['rows']:,} flights that neither had seen: ROC AUC {later['champion_1']:.4f} and "
            f"{later['champion_2']:.4f}, gain {later['difference']:+.4f}, 90 % interval [{later['low']:+.4f}, {later['high']:+.4f}]."
        )
    say(
        f"{story.requests:,} requests, {story.failed_requests} failed; the longest gap between answers around the swap was "
        f"{story.swap_gap_ms:.0f} ms. {story.seconds:.0f} s in all."
    )
    for departure in story.departures():
        say(f"Not as told: {departure}.", style="red")
    host = settings.prefect_api_url.removesuffix("/api")
    say(f"\nRuns       {host}/runs")
    say(f"Artifacts  {host}/artifacts")
    say(f"Models     {ModelRegistry.of(settings).model_url(USE_CASE)}")
    say(f"Service    {settings.serving_base_url}")


def main(keep: bool) -> int:
    """Play the demo; 0 only if the loop closed as told. The stack stays up with ``keep``, and never after an error."""
    console = Console()
    forget_former_demo(Settings.read())
    settings = Settings.read()
    finished = False
    try:
        with Stages(console) as stages, SyncPrefectClient(settings.prefect_api_url) as prefect:
            settings = start_stack(settings, stages)
            with schedules_paused(prefect):
                story = play(Demo(settings, stages, prefect))
        tell(story, settings, console)
        (settings.state / "demo.json").write_text(json.dumps(asdict(story), indent=1))
        finished = True
    except (DemoFailed, local.StackError, httpx.HTTPError) as error:
        console.print(f"\n{error}", style="red")
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; stopping the stack.")
        return 130
    finally:
        if not (finished and keep):
            local.down(settings)
    console.print("The stack stays up: `make status`, `make down`." if keep else "The stack is down.")
    return 1 if story.departures() else 0


if __name__ == "__main__":
    sys.exit(main(keep="--down" not in sys.argv[1:]))
