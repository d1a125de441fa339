"""How soon a rollback serves, and whether a caller notices: several of them on the running local
stack, under traffic.

    python -m benchmarks.loop.rollback [--use-case flights] [--times 6]

Each is a run of the deployment, made as a person makes it and run by the worker: to the previous
champion and back to the present one by name, in turns, so that an even number leaves the crown
where it was. The use case needs two champions in its ledger. Printed are seconds from the start of
the run (Prefect's Running) to the service's word that all of its workers serve the version, from
its creation (with the worker's turn and the start of a process in it), and the requests that failed
meanwhile."""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelRegistry
from blocks.settings import Settings
from tasks.packages.registered import open_package

CALLERS = 2


@dataclass
class Traffic:
    """Requests of all callers: how many were answered, and what became of the others."""

    answers: int = 0
    failed: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Measured:
    """One rollback. Seconds."""

    version: str
    from_start: float
    from_creation: float


@contextmanager
def callers(
    service_url: str, use_case: str, rows: list[dict[str, Any]], key: str | None = None
) -> Iterator[Traffic]:
    """Callers that ask for one row after another, each on a connection of its own, until the block
    ends.
    """
    traffic, over = Traffic(), threading.Event()
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    def call() -> None:
        with httpx.Client(
            base_url=service_url, headers=headers, timeout=10, trust_env=False
        ) as client:
            while not over.is_set():
                try:
                    answer = client.post(f"/v1/{use_case}/predict?log=false", json={"rows": rows})
                    answer.raise_for_status()
                    traffic.versions.add(answer.json()["model_version"])
                    traffic.answers += 1
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    traffic.failed.append(f"{type(error).__name__}: {error}")
                time.sleep(0.005)

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield traffic
    finally:
        over.set()
        for thread in threads:
            thread.join()


def roll_back(
    prefect: SyncPrefectClient,
    service: httpx.Client,
    use_case: str,
    version: str | None,
    target: str,
) -> Measured:
    """Start the deployment, wait until ``target`` serves and the run is over. Raises
    ``RuntimeError`` where it did not complete.
    """
    deployment = prefect.read_deployment_by_name(f"rollback/{use_case}")
    run = prefect.create_flow_run_from_deployment(
        deployment.id, parameters={"version": version, "reason": "a benchmark"}
    )
    created, served = datetime.now(UTC), None
    while True:
        description = service.get(f"/v1/{use_case}").json()
        if served is None and {
            worker["version"] for worker in description.get("workers") or [description]
        } == {target}:
            served = datetime.now(UTC)
        run = prefect.read_flow_run(run.id)
        if run.state is not None and run.state.is_final():
            break
        time.sleep(0.05)
    if not run.state.is_completed() or served is None or run.start_time is None:
        raise RuntimeError(
            f"The rollback of {use_case!r} to version {target} ended as {run.state.name}: "
            f"{run.state.message}"
        )
    return Measured(
        target, (served - run.start_time).total_seconds(), (served - created).total_seconds()
    )


def measure(
    settings: Settings, use_case: str, previous: str, times: int
) -> tuple[list[Measured], Traffic]:
    """``times`` rollbacks in turns: to ``previous``, which must be the champion before this one,
    and back by name.
    """
    registry = ModelRegistry.of(settings)
    champion = registry.at(use_case, CHAMPION)
    if champion is None:
        raise RuntimeError(f"{use_case!r} has no champion to roll back from.")
    with open_package(registry, champion) as (package, _):
        rows = package.smoke.rows[:1]
    auth = settings.prefect_auth.get_secret_value() if settings.prefect_auth else None
    key = settings.serving_key.get_secret_value() if settings.serving_key else None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        SyncPrefectClient(settings.prefect_api_url, auth_string=auth) as prefect,
        httpx.Client(
            base_url=settings.serving_base_url, headers=headers, timeout=10, trust_env=False
        ) as service,
        callers(settings.serving_base_url, use_case, rows, key) as traffic,
    ):
        turns = [(None, previous), (champion.number, champion.number)] * ((times + 1) // 2)
        return [
            roll_back(prefect, service, use_case, version, target)
            for version, target in turns[:times]
        ], traffic


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--use-case", default="flights")
    parser.add_argument(
        "--times", type=int, default=6, help="even: the crown is where it was afterwards"
    )
    arguments = parser.parse_args()
    settings = Settings.read()
    from blocks.lake import Lake
    from tasks.ledger.entries import read
    from tasks.steps.rollback import predecessor

    champion = ModelRegistry.of(settings).at(arguments.use_case, CHAMPION)
    previous = (
        predecessor(read(Lake.of(settings), arguments.use_case), champion.number)
        if champion
        else None
    )
    if previous is None:
        sys.exit(
            f"The ledger of {arguments.use_case!r} has no two champions: promote one more (make "
            "demo does)."
        )
    rollbacks, traffic = measure(settings, arguments.use_case, previous, arguments.times)
    for rollback in rollbacks:
        print(
            f"to version {rollback.version}: {rollback.from_start:.1f} s from start to served, "
            f"{rollback.from_creation:.1f} s from creation"
        )
    starts = [back.from_start for back in rollbacks]
    print(
        f"{len(rollbacks)} rollbacks: median {statistics.median(starts):.1f} s, longest "
        f"{max(starts):.1f} s from start to served"
    )
    print(
        f"{len(traffic.failed)} of {traffic.answers + len(traffic.failed):,} requests "
        f"failed {traffic.failed[:3] or ''}"
    )


if __name__ == "__main__":
    main()
