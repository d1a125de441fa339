"""Use cases in folders that become known after Laurel was imported."""

import subprocess
import sys
from pathlib import Path

from blocks.settings import REPOSITORY

CODE = """
import sys
from usecases.definition import known, load
from deployments.local.settings import import_from

before = set(known())
import_from(sys.argv[1:])
import_from(sys.argv[1:])
print(sorted(set(known()) - before), load("departures").name)
"""


def test_use_case_of_a_folder_that_is_added_later_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "theirs" / "usecases"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "broken.py").write_text("not Python")
    process = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "theirs"), str(REPOSITORY / "examples")],
        cwd=REPOSITORY,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "['broken', 'departures'] departures\n", process.stderr
