"""Which tests run on each change, and which at night."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY

TESTS = """
import pytest

@pytest.mark.nightly("waits")
def test_dear(): pass

@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.nightly("large data", only=("large",))
def test_sizes(size): pass

def test_cheap(): pass
"""
EACH_CHANGE = {"test_sizes[small]", "test_cheap"}
ALL = EACH_CHANGE | {"test_dear", "test_sizes[large]"}
MARK = re.compile(r"mark\.nightly\(\s*\"\w[^\"]+\"")


@pytest.fixture
def collected(tmp_path: Path) -> object:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\nmarkers = nightly\n")

    def collect(*arguments: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--collect-only", "-q"]
            + ["--rootdir", str(tmp_path), "-c", str(tmp_path / "pytest.ini"), *arguments],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"::(\S+)$", done.stdout, re.MULTILINE))

    return collect


@pytest.mark.slow("starts pytest")
@pytest.mark.parametrize(
    ("arguments", "tests"),
    [
        ([], EACH_CHANGE),
        (["tests"], EACH_CHANGE),
        (["--nightly"], ALL),
        (["tests/test_one.py"], ALL),
        (["tests/test_one.py::test_dear"], {"test_dear"}),
    ],
)
@pytest.mark.nightly("further variants", only=("arguments1", "arguments3", "arguments4"))
def test_nightly_tests_run_where_they_are_asked_for(
    collected, arguments: list[str], tests: set[str]
) -> None:
    assert collected(*arguments) == tests


def test_each_mark_says_why() -> None:
    for path in (REPOSITORY / "tests").rglob("test_*.py"):
        text = path.read_text()
        assert len(re.findall(r"mark\.nightly\(", text)) == len(MARK.findall(text)), path
