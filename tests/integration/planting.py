"""The loop in the hands of a test: runs flows in this process, plants challengers and predictions,
and reads what came of it.
"""

import asyncio
import io
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from unittest import mock

import httpx
import polars as pl
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import State

from blocks.clients.registry import CHALLENGER, CHAMPION
from blocks.lake import Lake
from blocks.registry import ModelRegistry, ModelVersion
from blocks.settings import Settings
from deployments.local import stack as local
from deployments.servers.environment import environment
from deployments.servers.seaweedfs import BIN
from flows.ingest import ingest
from flows.promote import promote
from serving.records.ledger import Decision
from tasks.data.dataset import read_periods, read_version
from tasks.ledger.entries import add_entry, now
from tasks.models import modelling
from tasks.packages.judging import judge_holdout, score_holdout
from tasks.packages.packaging import Origin, make_package
from tests.fakes.slack import SlackServer
from tests.fixtures.processes import wait_until
from usecases.definition import load, periods_of


@dataclass(frozen=True)
class Outcome:
    """How a run ended, and what Slack was told of its use case meanwhile."""

    state: State[Any]
    told: list[str]

    @property
    def name(self) -> str:
        return self.state.name or ""

    @property
    def message(self) -> str:
        return self.state.message or ""

    @property
    def run_id(self) -> str:
        return str(self.state.state_details.flow_run_id)

    @property
    def result(self) -> Any:
        return asyncio.run(self.state.aresult())


@dataclass(frozen=True)
class Loop:
    """One stack, as a flow run and as a person see it."""

    settings: Settings
    slack: SlackServer
    lake: Lake
    registry: ModelRegistry
    prefect: SyncPrefectClient
    service: httpx.Client

    @classmethod
    @contextmanager
    def on(cls, settings: Settings, slack: SlackServer) -> Iterator[Self]:
        """This process becomes one in which flows run on the stack, and is itself again
        afterwards.
        """
        with (
            mock.patch.dict(os.environ, environment(settings)),
            temporary_settings({PREFECT_API_URL: settings.prefect_api_url}),
            SyncPrefectClient(settings.prefect_api_url) as prefect,
            httpx.Client(
                base_url=settings.serving_base_url, timeout=30, trust_env=False
            ) as service,
        ):
            yield cls(
                settings, slack, Lake.of(settings), ModelRegistry.of(settings), prefect, service
            )
            APILogHandler().flush()

    def run(self, flow: Flow[..., Any], use_case: str, **parameters: Any) -> Outcome:
        """Call the flow here and wait for its end, whatever that is."""
        before = len(self.slack.messages)
        state = asyncio.run(flow(use_case, **parameters, return_state=True))
        return Outcome(state, self.told(use_case, before))

    def run_together(self, *calls: tuple[Flow[..., Any], str]) -> list[Outcome]:
        """Call flows at the same time, each in a thread of its own, and wait for all of them."""
        with ThreadPoolExecutor(len(calls)) as threads:
            started = [
                threads.submit(copy_context().run, self.run, flow, use_case)
                for flow, use_case in calls
            ]
            return [one.result() for one in started]

    def told(self, use_case: str, since: int = 0) -> list[str]:
        """The texts in Slack about the use case."""
        return [
            message["text"]
            for message in self.slack.messages[since:]
            if message["text"].startswith(f"{use_case}: ")
        ]

    def artifact(self, key: str) -> Any:
        """The latest artifact of that key as the Prefect API gives it; the rows of a table, the
        text or number of others.
        """
        answer = httpx.get(f"{self.settings.prefect_api_url}/artifacts/{key}/latest")
        answer.raise_for_status()
        data = answer.json()["data"]
        return json.loads(data) if answer.json()["type"] == "table" else data

    def about(self, key: str) -> str:
        """What the page of the latest artifact of that key says above it."""
        answer = httpx.get(f"{self.settings.prefect_api_url}/artifacts/{key}/latest")
        return str(answer.raise_for_status().json()["description"])

    def has_artifact(self, key: str) -> bool:
        return (
            httpx.get(f"{self.settings.prefect_api_url}/artifacts/{key}/latest").status_code == 200
        )

    def crowned(self, use_case: str) -> str | None:
        champion = self.registry.at(use_case, CHAMPION)
        return champion.number if champion else None

    def served(self, use_case: str) -> str | None:
        """The version that the service says it serves."""
        return self.service.get(f"/v1/{use_case}").json()["version"]

    @contextmanager
    def stopped(self, program: str) -> Iterator[None]:
        """The stack without one of its programs, which is started again and ready afterwards."""
        urls = {one.name: one.url for one in local.status(self.settings)}
        control = [str(BIN / "supervisorctl"), "-c", "supervisord.conf"]
        subprocess.run(
            [*control, "stop", program], cwd=self.settings.state, check=True, capture_output=True
        )
        try:
            yield
        finally:
            subprocess.run(
                [*control, "start", program],
                cwd=self.settings.state,
                check=True,
                capture_output=True,
            )
            health = f"{urls[program]}{'/api' if program == 'prefect' else ''}/health"
            wait_until(
                lambda: httpx.get(health).status_code == 200,
                f"{program} answers again",
                seconds=240,
            )

    @contextmanager
    def first_champion(self, use_case: str, through: str) -> Iterator[ModelVersion]:
        """Refitted on January to March, so that its thresholds are calibrated; the data go on to
        ``through``. Drift starts no retrain meanwhile.
        """
        with self.no_retrain_on_drift(use_case):
            self.run(ingest, use_case, through=through)
            self.plant(use_case, "2024-03", ["2024-01", "2024-02"])
            yield self.run(promote, use_case).result

    @contextmanager
    def no_retrain_on_drift(self, use_case: str) -> Iterator[None]:
        """Drift starts no retrain meanwhile: it would crown another champion than the test's."""
        api, wanted = (
            self.settings.prefect_api_url,
            {"automations": {"name": {"any_": [f"retrain {use_case} on drift"]}}},
        )
        found = [
            one["id"]
            for one in httpx.post(f"{api}/automations/filter", json=wanted)
            .raise_for_status()
            .json()
        ]
        for automation in found:  # a use case without deployments has none
            httpx.patch(
                f"{api}/automations/{automation}", json={"enabled": False}
            ).raise_for_status()
        try:
            yield
        finally:
            for automation in found:
                httpx.patch(
                    f"{api}/automations/{automation}", json={"enabled": True}
                ).raise_for_status()

    def objects(self, folder: str) -> dict[str, Any]:
        """Each object of the lake below ``folder`` with its time of writing."""
        return {stored.key: stored.modified for stored in self.lake._objects.list(folder)}

    def decisions(self, use_case: str, *kinds: str) -> list[dict[str, Any]]:
        """The ledger, or its entries of ``kinds``, oldest first."""
        entries = [
            json.loads(self.lake.read(path)) for path in self.lake.list(f"decisions/{use_case}")
        ]
        return [entry for entry in entries if not kinds or entry["kind"] in kinds]

    def plant(
        self,
        use_case: str,
        holdout: str,
        fit_on: list[str],
        *,
        recipe: str = "boosting",
        params: dict[str, Any] | None = None,
        dataset_version: str | None = None,
        flipped: bool = False,
        watched: bool = False,
    ) -> ModelVersion:
        """Register a challenger as ``evaluate`` does, for a contest on ``holdout``, fitted on
        whatever one likes.

        ``flipped``: it learns the opposite of every label. ``watched``: drift can be checked
        against it, as after a refit.
        """
        case, dataset = load(use_case), read_version(self.lake, use_case, dataset_version)
        rows = read_periods(self.lake, dataset, fit_on, case.label)
        proof = read_periods(self.lake, dataset, periods_of(holdout), case.label)
        candidate = case.candidate(recipe)
        params = dict(candidate.params) if params is None else params
        learned = rows.with_columns((1 - pl.col(case.label)).alias(case.label)) if flipped else rows
        fitted = modelling.fit(case, candidate, params, learned, seed=7)
        judged = judge_holdout(case, fitted, holdout, proof, seed=7)
        origin = Origin(
            recipe,
            params,
            dataset.version,
            dataset.digests(fit_on),
            score_holdout(case, fitted, proof),
            judged,
        )
        with tempfile.TemporaryDirectory() as folder:
            made = make_package(
                Path(folder), case, fitted, origin, rows, proof, seed=7, watched=watched
            )
            run_id = self.registry.log_run(
                use_case,
                "planted",
                params=params,
                metrics={},
                tags={},
                model=fitted,
                package=made.folder,
            )
        tags = {"laurel.holdout": holdout, "laurel.recipe": recipe}
        version = self.registry.register(use_case, run_id, made.sha256, tags, "planted by a test")
        self.registry.set_alias(version, CHALLENGER)
        return version

    def reign(self, version: ModelVersion) -> None:
        """Make ``version`` champion without a contest and without a service, as the ledger has
        it.
        """
        facts: dict[str, Any] = {"package_sha256": version.tags["laurel.package_sha256"]}
        said = {
            "use_case": version.use_case,
            "time": now(),
            "kind": "crown",
            "verdict": "crowned",
            "version": version.number,
            "by": "a test",
            "run": None,
        }
        add_entry(
            self.lake, self.registry, Decision(**said, reasons=["planted by a test"], facts=facts)
        )
        self.registry.set_alias(version, CHAMPION)

    def plant_predictions(
        self, use_case: str, window: str, rows: pl.DataFrame, labelled: bool = False
    ) -> None:
        """Write ``rows`` into the prediction log of ``window`` as the service's uploader does,
        instead of what is there.
        """
        case = load(use_case)
        logged = rows.select(
            pl.int_range(pl.len()).cast(pl.String).alias("id"),
            pl.col(case.event_time).alias("event_time"),
            *case.column_names,
            pl.col(case.label).cast(pl.Float64).alias("score"),
        )
        self._write(f"predictions/{use_case}/date={window}-01/planted.parquet", logged)
        if labelled:
            labels = logged.select(
                "id", (pl.col("score") > 0).alias("label"), pl.col("event_time").alias("time")
            )
            self._write(f"feedback/{use_case}/date={window}-01/planted.parquet", labels)

    def _write(self, path: str, frame: pl.DataFrame) -> None:
        data = io.BytesIO()
        frame.write_parquet(data)
        self.lake.write(path, data.getvalue())
