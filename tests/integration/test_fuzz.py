"""Schemathesis against the service's own OpenAPI document: what is documented is answered so, and
nothing that comes is a failure.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.prefect import PrefectServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.processes import ServiceProcess
from tests.fixtures.toy_services import toy_registry

# All checks, but: a schema cannot say that columns are of one length, that a text is CSV, or that
# no November has 31 days, so what is documented may be refused; and the ping of MLflow and
# SageMaker is empty while it says that it is JSON. The values of the parameters exist, so that more
# is seen than 404; others are tried as well.
CONFIG = """
[checks]
positive_data_acceptance.enabled = false

[parameters]
"path.use_case" = "toy"
"path.model" = "toy"
"path.version" = "1"

[[operations]]
include-path = "/ping"
checks.response_schema_conformance.enabled = false
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    folder = tmp_path_factory.mktemp("fuzz")
    key = put_key(
        folder / "state" / "serving" / "keys.json",
        scopes=["predict", "feedback", "operate", "decide"],
    )
    with toy_registry(folder / "artifacts") as registry, PrefectServer() as prefect:
        prefect.deploy("rollback/toy")
        secrets = {
            "serving_webhook_secret": "only for this test",
            "slack_signing_secret": "only for this test",
        }
        process = ServiceProcess(
            folder, registry.url, serving_require_keys=True, prefect_url=prefect.url, **secrets
        )
        process.client.headers["authorization"] = f"Bearer {key}"
        with process:
            process.wait_for_version("1")
            yield process


def test_no_request_of_any_kind_fails_or_is_answered_otherwise_than_documented(
    service: ServiceProcess, tmp_path: Path
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{service.client.base_url}/openapi.json",
    ]
    header = f"Authorization: {service.client.headers['authorization']}"
    options = ["--header", header, "--max-examples", "25", "--seed", "1"]
    quiet = ["--no-color", "--warnings", "off", "--generation-database", "none"]
    done = subprocess.run(
        [*command, *options, *quiet],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No test cases" not in done.stdout
    assert "Traceback" not in service.output.read_text()
    assert service.client.get("/ready").status_code == 200
