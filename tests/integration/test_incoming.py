"""A new object of the lake starts ingest: ``python -m deployments.runs.incoming``, at a real
Prefect server.
"""

import os
import subprocess
import sys
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient

from blocks.settings import REPOSITORY, Settings
from deployments.runs.incoming import IncomingError, use_case_of
from deployments.servers.environment import environment
from tests.fixtures.processes import wait_until


def incoming(settings: Settings, key: str, write: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deployments.runs.incoming", key, write]
    given = {**os.environ, **environment(settings)}
    return subprocess.run(
        command, env=given, cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def started(done: subprocess.CompletedProcess[str]) -> UUID:
    assert done.returncode == 0, done.stderr
    return UUID(done.stdout.rstrip(".\n").rpartition(" ")[2])


def test_each_write_of_an_object_starts_one_run_of_ingest(applied: Settings) -> None:
    key = "incoming/toy/2024-03.csv"
    first, again, rewritten = (
        started(incoming(applied, key, write)) for write in ("01", "01", "02")
    )
    assert first == again != rewritten
    with SyncPrefectClient(applied.prefect_api_url) as prefect:

        def is_over() -> bool:
            states = [prefect.read_flow_run(run).state for run in (first, rewritten)]
            return all(state is not None and state.is_final() for state in states)

        wait_until(is_over, "both runs are over", seconds=120)
        run = prefect.read_flow_run(first)
        assert run.state is not None and run.state.is_completed(), run.state
        assert run.parameters["use_case"] == "toy"
        assert "incoming" in run.tags


def test_a_use_case_without_deployment_fails_and_says_what_to_do(applied: Settings) -> None:
    done = incoming(applied, "incoming/nobody/2024-03.csv", "01")
    assert done.returncode == 1
    assert "There is no deployment 'ingest/nobody'" in done.stderr
    assert "python -m deployments.apply" in done.stderr


def test_a_folder_starts_nothing(applied: Settings) -> None:
    done = incoming(applied, "incoming/toy/", "01")
    assert (done.returncode, done.stdout) == (0, "incoming/toy/ is a folder: nothing to ingest.\n")


@pytest.mark.parametrize(
    "key", ["incoming/2024-03.csv", "incoming//2024-03.csv", "datasets/toy/2024-03.csv", ""]
)
def test_a_key_that_names_no_use_case_is_refused(key: str) -> None:
    with pytest.raises(IncomingError, match="incoming/<use case>/<name>"):
        use_case_of(key)


def test_folders_below_that_of_the_use_case_are_allowed() -> None:
    assert use_case_of("incoming/toy/2024/03.csv") == "toy"
