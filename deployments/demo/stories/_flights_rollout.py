"""The flights' winner meets real traffic before the crown, and then a sick version does.

The shadow's days are those of the replayed month, whose labels come a day later; a flight that was
cancelled has none. Looks are runs of the flow ``rollout``, which a schedule starts elsewhere."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import polars as pl

from blocks.registry import ModelVersion
from deployments.demo.replay import Traffic, as_rows
from deployments.demo.runs import DemoFailed
from deployments.demo.steps import Demo
from deployments.demo.stories._flights_summary import FlightsStory
from deployments.demo.stories._sick_version import SILENT_DAY
from deployments.supervision.signs_of_life import QUIET_SECONDS

SHADOW = {"kind": "shadow", "margin": 0.01, "label_days": 1, "missing_label": "none"}
CANARY = {"kind": "canary", "steps": [0.25], "minimum_minutes": 0}
CANARY_DAYS = 14
WINNERS = json.dumps([SHADOW, CANARY])
SICK = json.dumps({"kind": "canary", "steps": [0.5, 1]})
_PAUSE_SECONDS = 0.1


class Rollouts:
    """Each step is a stage; what it found goes into the story."""

    def __init__(self, demo: Demo, story: FlightsStory, traffic: Traffic) -> None:
        self._demo, self._story, self._traffic = demo, story, traffic

    @property
    def version(self) -> str:
        """The version whose rollout began last."""
        return str(self._latest()["version"])

    def judge_shadow(self, month: str, rows: pl.DataFrame) -> bool:
        """Replay a month while the challenger scores a copy of each request, and look. Returns
        whether it goes on."""
        demo, version = self._demo, self.version
        with demo.stages.stage(f"version {version}: its shadow starts"):
            self._await(lambda: self._shadow()["requests"] > 0, "The shadow takes no copies")
        demo.send(month, rows)
        with demo.stages.stage(f"version {version}: a look at the shadow") as stage:
            logged = demo.rows_logged()
            self._await_shadow()
            demo.await_upload(month, logged)
            demo.runs.wait(demo.runs.start("rollout"), "look at the shadow")
            entry, shadow = self._latest(), self._shadow()
            self._story.shadow = {
                **_in_brief(entry),
                "month": month,
                "scored": int(shadow["requests"]),
                "dropped": int(shadow["dropped"]),
            }
            stage.note(entry["verdict"])
        return bool(entry["verdict"] == "stepped")

    def judge_canary(self, month: str, rows: pl.DataFrame) -> None:
        """Replay the first days of a month while the challenger answers its share of the callers,
        and look: the crown follows."""
        demo, version = self._demo, self.version
        self._traffic.rows = demo.some_rows(rows)
        with demo.stages.stage(f"version {version}: a canary, first days of {month}") as stage:
            self._await_callers(version)
            stage.note(demo.replay(rows.filter(pl.col("event_time").dt.day() <= CANARY_DAYS)))
        with demo.stages.stage(f"version {version}: a look at the canary") as stage:
            demo.await_upload(month, demo.rows_logged())
            run = demo.runs.start("rollout")
            if demo.await_served(version, run, "look at the canary"):
                self._story.swapped_at = time.monotonic()
            demo.runs.wait(run, "look at the canary")
            entry = self._latest()
            self._story.canary = {**_in_brief(entry), "month": month}
            stage.note(entry["verdict"])
        demo.note_champion()

    def revert_sick(self, sick: ModelVersion, rows: pl.DataFrame) -> None:
        """Let a version with a fault meet half of the callers, until a day comes on which it shows:
        the service reverts it. The next flow that looks writes it into the ledger."""
        demo, version = self._demo, sick.number
        with demo.stages.stage(f"version {version}, which is sick: a canary"):
            who = {"by": "the demo", "why": "a version from elsewhere, without a contest"}
            run = demo.runs.start("adopt", version=version, rollout=SICK, **who)
            demo.runs.wait(run, f"adoption of version {version}")
            self._await_callers(version)
        with demo.stages.stage(f"{SILENT_DAY}: no weather") as stage:
            path = f"rollouts/{demo.name}/{self._latest()['rollout']['id']}/reverted.json"
            since = datetime.now(UTC)
            self._traffic.rows = as_rows(demo.case, rows)
            self._await(lambda: demo.lake.exists(path), "The service does not revert it")
            reverted = json.loads(demo.lake.read(path))
            seconds = (datetime.fromisoformat(reverted["time"]) - since).total_seconds()
            answered, failed = self._requests_of(version)
            self._story.sick = {
                "requests": answered + failed,
                "failed": failed,
                "seconds": round(seconds, 2),
            }
            stage.note(f"version {version} {reverted['reason']}; reverted after {seconds:.1f} s")

    def note_revert(self) -> None:
        """What the ledger says of the sick version."""
        self._story.sick |= _in_brief(self._latest())

    def _latest(self) -> dict[str, Any]:
        return self._demo.latest_decision("rollout")

    def _service(self) -> dict[str, Any]:
        """What the service has counted of the rollout; empty until it knows of it."""
        return self._demo.describe("/rollout").get("service") or {}

    def _shadow(self) -> dict[str, float]:
        none = dict.fromkeys(("requests", "rows", "uploaded", "dropped"), 0.0)
        return none | (self._service().get("shadow") or {})

    def _requests_of(self, version: str) -> tuple[int, int]:
        """How many requests the challenger ``version`` has answered, and failed."""
        for side in self._service().get("variants") or []:
            if (side["role"], side["version"]) == ("rollout", version):
                return int(side["requests"]), int(side["failures"])
        return 0, 0

    def _await_callers(self, version: str) -> None:
        self._await(
            lambda: self._requests_of(version)[0] > 0, f"Version {version} answers no caller"
        )

    def _await_shadow(self) -> None:
        """Wait until what the shadow has been sent by now is in the lake. It reports each second,
        and the last days, whose labels may be missing, are not judged."""
        problem = "The shadow's answers do not reach the lake"
        self._await(partial(self._has_more, "rows", self._shadow()["rows"]), problem)
        scored = self._shadow()["rows"]
        self._await(partial(self._has_more, "uploaded", scored - 1), problem)

    def _has_more(self, figure: str, than: float) -> bool:
        return self._shadow()[figure] > than

    def _await(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Raises ``DemoFailed``."""
        deadline = time.monotonic() + QUIET_SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise DemoFailed(f"{otherwise}, for {QUIET_SECONDS:g} s.")
            time.sleep(_PAUSE_SECONDS)


def _in_brief(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("version", "champion", "verdict", "reasons")}
