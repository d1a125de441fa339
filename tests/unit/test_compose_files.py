"""compose.yaml and the files beside it, checked without an engine: secrets, ports, images, and the
containers' rights.
"""

import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet

from blocks.settings import REPOSITORY, Settings
from deployments.servers.environment import environment

MAKE_ENV = REPOSITORY / "infra/compose/make-env"
DOCKERFILE = REPOSITORY / "infra/images/flows/Dockerfile"
TEXT = (REPOSITORY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)


def make_env(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(MAKE_ENV), str(folder)], capture_output=True, text=True, check=True)


def secrets(folder: Path) -> dict[str, str]:
    lines = (folder / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_secrets_are_made_once_for_their_owner_and_never_shown(tmp_path: Path) -> None:
    process = make_env(tmp_path)
    before = secrets(tmp_path)
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]
    again = make_env(tmp_path)
    assert secrets(tmp_path) == before
    assert "stays as it is" in again.stderr
    assert [
        name
        for name, value in before.items()
        if value != "laurel"
        and value in process.stdout + process.stderr + again.stdout + again.stderr
    ] == []


def test_every_secret_is_random_and_long(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    make_env(tmp_path)
    make_env(tmp_path / "other")
    own, others = secrets(tmp_path), secrets(tmp_path / "other")
    random = {name: value for name, value in own.items() if name != "LAUREL_MLFLOW_USERNAME"}
    assert len(set(random.values())) == len(random)
    assert not set(random.values()) & set(others.values())
    assert [name for name, value in random.items() if len(value) < 20] == []


def test_secrets_are_what_the_programs_take(tmp_path: Path) -> None:
    make_env(tmp_path)
    values = secrets(tmp_path)
    Fernet(values["LAUREL_MLFLOW_WEBHOOK_KEY"].encode())
    assert re.fullmatch(r"laurel_[A-Za-z0-9_-]{43}", values["LAUREL_SERVING_KEY"])
    named = {
        name.removeprefix("LAUREL_").lower(): value
        for name, value in values.items()
        if name.startswith("LAUREL_")
    }
    assert set(named) <= set(Settings.model_fields)
    Settings.model_validate(named)
    # They are part of database URLs, where other characters would have to be encoded.
    assert [
        name
        for name, value in values.items()
        if name.endswith("PASSWORD") and not re.fullmatch(r"[0-9a-f]+", value)
    ] == []


def test_every_secret_that_compose_asks_for_is_made_and_none_has_a_default(tmp_path: Path) -> None:
    make_env(tmp_path)
    assert set(re.findall(r"\$\{(\w+):\?run make env\}", TEXT)) == set(secrets(tmp_path))
    defaults = set(re.findall(r"\$\{(\w+):-", TEXT))
    assert not defaults & set(secrets(tmp_path))


def test_things_are_kept_as_long_as_everywhere_and_it_can_be_changed() -> None:
    written = dict(re.findall(r"\$\{LAUREL_(KEEP_\w+_DAYS):-(\d+)\}", TEXT))
    fields = Settings.model_fields.items()
    kept = {name.upper(): field.default for name, field in fields if name.startswith("keep_")}
    assert {name: int(days) for name, days in written.items()} == kept


def test_the_file_of_secrets_is_ignored_by_git_and_by_docker() -> None:
    assert ".env" in (REPOSITORY / ".gitignore").read_text().splitlines()
    allowed = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert allowed[0] == "*" and "!.env" not in allowed and "!tests" not in allowed


def test_ports_are_published_on_loopback_only_and_can_be_chosen() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports and all(
        re.fullmatch(r"127\.0\.0\.1:\$\{[A-Z_]+_PORT:-\d+\}:\d+", port) for port in ports
    )
    assert "network_mode" not in TEXT and "privileged" not in TEXT


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_confined_healthy_and_restarted(name: str) -> None:
    service = COMPOSE["services"][name]
    assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] or name == "prometheus"
    if service["restart"] == "on-failure":
        waited_for = [
            other
            for other, waiting in COMPOSE["services"].items()
            if waiting.get("depends_on", {}).get(name, {}).get("condition")
            == "service_completed_successfully"
        ]
        assert waited_for, (
            "`docker compose up --wait` takes a container that ends and that nothing waits "
            "for as a failure"
        )
    else:
        assert service["restart"] == "unless-stopped"
        # The service's image has its own.
        assert "healthcheck" in service or name == "serving"


def test_the_image_has_the_variables_that_the_local_stack_gives_every_process() -> None:
    """The variables that are the same everywhere: a process that runs alone in the image, such as
    an ECS task, has them too.
    """
    text = DOCKERFILE.read_text()
    image = dict(re.findall(r"^\s*(?:ENV )?(\w+)=(\S+?)(?: \\)?$", text, re.MULTILINE))
    own = {
        name: value
        for name, value in environment(Settings.model_validate({})).items()
        if not name.startswith("LAUREL_")
    }
    placed = {
        "PREFECT_API_URL",
        "PREFECT_API_SSL_CERT_FILE",
        "PREFECT_HOME",
        "PREFECT_UI_URL",
        "MLFLOW_TRACKING_URI",
        "PYTHONPATH",
    }
    assert {name: image.get(name) for name in own if name not in placed} == {
        name: value for name, value in own.items() if name not in placed
    }
    assert image["PYTHONPATH"] == image["LAUREL_HOME"] == "/opt/laurel"
    assert image["PREFECT_HOME"] == f"{image['LAUREL_STATE']}/prefect"


def test_the_image_runs_as_nobody_special_and_copies_nothing_but_code() -> None:
    text = DOCKERFILE.read_text()
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
    assert copied == [
        "pyproject.toml requirements.lock",
        "blocks",
        "deployments",
        "flows",
        "laurel",
        "serving",
        "tasks",
        "usecases",
        "prefect.yaml pyproject.toml requirements.lock",
    ]
