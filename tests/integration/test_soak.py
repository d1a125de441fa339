"""A year in some minutes: what a use case costs after its first month and after its last."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.nightly("three stacks, and ten minutes; its parts are in tests/unit"),
    pytest.mark.timeout(3600),
]


@pytest.mark.parametrize("lake", ["folder", "seaweedfs"])
def test_nothing_grows_that_should_not(lake: str, tmp_path: Path) -> None:
    port = random.randrange(20_000, 31_900)
    options = ["--quick", "--lake", lake, "--folder", str(tmp_path), "--port", str(port)]
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "| drift check, CPU s |" in told.stdout and "| lake: predictions |" in told.stdout
    assert told.stdout.endswith("nothing grows that should not\n")
