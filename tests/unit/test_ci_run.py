"""What ``.ci/run`` adds to make's commands, tested with its own functions in a shell."""

import re
import subprocess

import pytest

from blocks.settings import REPOSITORY

SCRIPT = (REPOSITORY / ".ci" / "run").read_text()
# In the shell ``SECONDS`` is the clock, and can be set forward.
WAIT = "wait_for() { SECONDS=$((SECONDS + $1)); return $2; }"


def run(line: str) -> subprocess.CompletedProcess[str]:
    functions = "".join(re.findall(r"^\w+\(\) \{.*?^\}\n", SCRIPT, re.DOTALL | re.MULTILINE))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{functions}{WAIT}\n{line}"],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(("seconds", "code"), [(900, 0), (901, 1)])
def test_a_command_that_takes_longer_than_it_may_fails(seconds: int, code: int) -> None:
    process = run(f"within 15 wait_for {seconds} 0")
    assert process.returncode == code
    assert ("took 16 minutes; at most 15 are allowed" in process.stderr) == bool(code)


def test_a_command_that_fails_in_time_fails() -> None:
    process = run("within 15 wait_for 1 3\necho went on")
    assert process.returncode == 3 and "went on" not in process.stdout


def test_the_whole_suite_has_a_limit() -> None:
    assert re.search(r"^PYTEST_ADDOPTS=\S+ within 60 make test$", SCRIPT, re.MULTILINE)


def test_the_demo_runs_once_and_before_the_tests_that_read_its_story() -> None:
    assert re.findall(r"make (demo|test)\b", SCRIPT) == ["demo", "test"]
