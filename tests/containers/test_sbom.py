"""The list of the image's contents, compared with the lock and with CycloneDX's own schema."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from blocks.settings import REPOSITORY

# The schema comes with CycloneDX's own library, which runs in a separate environment.
CHECKER = "cyclonedx-python-lib[json-validation]==11.12.0"
CHECK = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())
sys.exit(wrong and str(wrong.data))
"""


@pytest.fixture(scope="module")
def document(image: str) -> dict[str, Any]:
    process = subprocess.run(
        [sys.executable, "infra/sbom.py", image],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    file = REPOSITORY / "dist" / f"{image}.sbom.json"
    content = json.loads(file.read_text())
    file.unlink()
    return content


def validate(document: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "tool", "run", "--quiet", "--from", CHECKER, "python", "-c", CHECK]
    return subprocess.run(
        command, input=json.dumps(document), capture_output=True, text=True, check=False
    )


def test_it_is_cyclonedx_1_5(document: dict[str, Any]) -> None:
    assert document["specVersion"] == "1.5"
    process = validate(document)
    assert process.returncode == 0, process.stderr
    broken = validate(document | {"components": [{"type": "no such type", "name": "x"}]})
    assert broken.returncode == 1 and "no such type" in broken.stderr


def test_its_python_packages_are_those_of_the_lock(document: dict[str, Any]) -> None:
    lines = re.findall(
        r"^([a-z][^\\#\n]+)", (REPOSITORY / "requirements-serving.lock").read_text(), re.MULTILINE
    )
    pinned = [Requirement(line.strip()) for line in lines]
    here = {"python_full_version": "3.11.2", "python_version": "3.11"}
    locked = {
        f"pkg:pypi/{item.name}@{str(item.specifier)[2:]}"
        for item in pinned
        if item.marker is None or item.marker.evaluate(here)
    }
    purls = {
        item["purl"] for item in document["components"] if item["purl"].startswith("pkg:pypi/")
    }
    assert len(locked) > 20 and purls == locked


def test_debian_s_packages_and_python_itself_are_in_it(document: dict[str, Any]) -> None:
    names = {
        component["name"]
        for component in document["components"]
        if component["purl"].startswith("pkg:deb/debian/")
    }
    assert {"libc6", "base-files", "ca-certificates"} <= names
    assert any(
        component["purl"].startswith("pkg:generic/python@3.11")
        for component in document["components"]
    )


def test_an_image_that_was_not_built_is_told(engine: None) -> None:
    command = [sys.executable, "infra/sbom.py", "laurel-nobody"]
    process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (
        process.returncode == 1
        and "make images" in process.stderr
        and "Traceback" not in process.stderr
    )
