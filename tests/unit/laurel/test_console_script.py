"""The command ``laurel`` in other people's folders, shells and working directories."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from infra import console_script


@pytest.fixture(params=["한글 folder", 'it\'s $HOME `x` "y"', "plain\\n"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The command in an environment below a folder of that name, beside a link to the code."""
    home = tmp_path / request.param
    bin_folder = home / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    (home / "code").symlink_to(REPOSITORY)
    text = console_script.script(str(bin_folder / "python"), str(home / "code"))
    assert console_script.write(bin_folder / "laurel", text)
    return bin_folder / "laurel"


def test_command_runs_from_any_folder_and_imports_nothing_of_that_folder(
    installed: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "else where"
    (elsewhere / "laurel").mkdir(parents=True)
    for name in ("laurel/main.py", "tasks.py", "json.py"):
        (elsewhere / name).write_text("raise SystemExit('imported from the wrong folder')")
    process = subprocess.run(
        [installed, "--version"], cwd=elsewhere, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.startswith("laurel 0.")


def test_arguments_with_blanks_stay_whole(installed: Path, tmp_path: Path) -> None:
    process = subprocess.run(
        [installed, "two words"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2 and 'no command "two words"' in process.stderr


def test_command_is_written_once_and_never_through_a_hard_link(tmp_path: Path) -> None:
    others = tmp_path / "others"
    others.write_text("somebody else's")
    mine = tmp_path / "laurel"
    os.link(others, mine)
    assert console_script.write(mine, "mine")
    assert (others.read_text(), mine.read_text()) == ("somebody else's", "mine")
    assert not console_script.write(mine, "mine")
    mine.chmod(0o644)
    assert console_script.write(mine, "mine"), "it could not be executed"


def test_make_writes_a_missing_command_beside_a_current_environment(tmp_path: Path) -> None:
    """An environment of an earlier version has its stamp, and no command."""
    for name in ("Makefile", "requirements.lock"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    (tmp_path / "infra").symlink_to(REPOSITORY / "infra")
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").symlink_to(sys.executable)
    digest = subprocess.run(
        ["cksum"], stdin=(tmp_path / "requirements.lock").open("rb"), capture_output=True, text=True
    )
    (tmp_path / ".venv" / "stamp").write_text(f"{digest.stdout.strip()} {tmp_path}")
    # The suite itself may be run by make, which then prints the folders that it enters.
    made = subprocess.run(
        ["make", "--no-print-directory", "venv"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (made.returncode, made.stdout) == (0, ""), made.stderr
    assert os.access(bin_folder / "laurel", os.X_OK)
