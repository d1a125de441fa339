"""Schemathesis against the service's own OpenAPI document: what is documented is answered so, and
nothing that comes is a failure.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fakes.prefect import PrefectServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.six_kinds import OUTPUTS, write_six_kinds
from tests.fixtures.toy_services import toy_registry

pytestmark = pytest.mark.nightly("thousands of requests")

# All checks, but: a schema cannot say that columns are of one length, that a text is CSV, or that
# no November has 31 days, so what is documented may be refused; and the ping of MLflow and
# SageMaker is empty while it says that it is JSON. The values of the parameters exist, so that more
# is seen than 404; others are tried as well.
CONFIG = """
[checks]
positive_data_acceptance.enabled = false

[parameters]
"path.use_case" = "USE_CASE"
"path.model" = "USE_CASE"
"path.version" = "1"
"header.X-Laurel-Use-Case" = "USE_CASE"

[[operations]]
include-path = "/ping"
checks.response_schema_conformance.enabled = false
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Serves ``toy``, and a use case with every kind of column for each kind of output."""
    folder = tmp_path_factory.mktemp("fuzz")
    key = put_key(
        folder / "state" / "serving" / "keys.json",
        scopes=["predict", "feedback", "operate", "decide"],
    )
    with toy_registry(folder / "artifacts") as registry, PrefectServer() as prefect:
        for outputs in OUTPUTS:
            write = partial(write_six_kinds, outputs=outputs, use_case=outputs)
            registry.register(outputs, 1, write)
            registry.crown(outputs, 1)
        prefect.deploy("rollback/toy")
        secrets = {
            "serving_webhook_secret": "only for this test",
            "slack_signing_secret": "only for this test",
        }
        process = ServiceProcess(
            folder,
            registry.url,
            serving_use_cases=",".join(["toy", *OUTPUTS]),
            serving_require_keys=True,
            prefect_url=prefect.url,
            **secrets,
        )
        process.client.headers["authorization"] = f"Bearer {key}"
        with process:
            wait_until(lambda: process.client.get("/ready").status_code == 200, "all are served")
            yield process


def run_schemathesis(
    service: ServiceProcess, folder: Path, use_case: str, examples: int, *options: str
) -> None:
    (folder / "schemathesis.toml").write_text(CONFIG.replace("USE_CASE", use_case))
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{service.client.base_url}/openapi.json",
    ]
    header = f"Authorization: {service.client.headers['authorization']}"
    search = ["--header", header, "--max-examples", str(examples), "--seed", "1"]
    quiet = ["--no-color", "--warnings", "off", "--generation-database", "none"]
    done = subprocess.run(
        [*command, *search, *quiet, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No test cases" not in done.stdout
    assert "Traceback" not in service.output.read_text()
    assert service.client.get("/ready").status_code == 200


def test_no_request_of_any_kind_fails_or_is_answered_otherwise_than_documented(
    service: ServiceProcess, tmp_path: Path
) -> None:
    others = f"^/v1/({'|'.join(OUTPUTS)})/"
    run_schemathesis(service, tmp_path, "toy", 25, "--exclude-path-regex", others)


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_every_kind_of_column_and_of_output_is_answered_as_documented(
    service: ServiceProcess, tmp_path: Path, outputs: str
) -> None:
    paths = [
        f"/v1/({outputs}|{{use_case}})/(predict|feedback|explain)",
        "/v2/models/{model}/infer",
        "/invocations",
    ]
    own = f"^({'|'.join(paths)})$"
    # All have the same columns: the limits of their values are tried once.
    phases = "examples,coverage,fuzzing" if outputs == "binary" else "examples,fuzzing"
    before = rows_scored(service, outputs)
    run_schemathesis(service, tmp_path, outputs, 4, "--include-path-regex", own, "--phases", phases)
    assert rows_scored(service, outputs) > before


def rows_scored(service: ServiceProcess, use_case: str) -> float:
    line = re.search(
        rf'laurel_rows_total{{[^}}]*use_case="{use_case}"[^}}]*}} (\S+)',
        service.client.get("/metrics").text,
    )
    return float(line[1]) if line else 0.0
