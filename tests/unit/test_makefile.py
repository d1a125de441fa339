"""What make's commands pass to Laurel, recorded by a fake Python."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY


@pytest.mark.parametrize(
    ("named", "states"), [({}, []), ({"LAUREL_STATE": "/srv/their stack"}, ["/srv/their stack"])]
)
def test_clean_stops_both_stacks_whatever_the_shell_names(
    tmp_path: Path, named: dict[str, str], states: list[str]
) -> None:
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$LAUREL_STATE: $*"\n')
    python.chmod(0o700)
    environment = {
        name: value for name, value in os.environ.items() if name != "LAUREL_STATE"
    } | named
    process = subprocess.run(
        ["make", "-s", "clean"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    stopped = [
        line.removesuffix(": -m deployments.local down")
        for line in process.stdout.splitlines()
        if line.endswith(" down")
    ]
    assert stopped == [".laurel", ".laurel-demo", *states]
    assert python.exists(), "Laurel did not make this .venv"
