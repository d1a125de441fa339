"""What docs/operations.md says can be done, is done."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from tasks.retention.finding import SETTING

PAGE = (REPOSITORY / "docs" / "operations.md").read_text()


def commands(heading: str) -> list[str]:
    """The shell blocks of a section."""
    section = PAGE.split(f"\n{heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"```bash\n(.*?)```", section, re.DOTALL)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.relative_to(folder).as_posix(): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


def test_a_local_stack_comes_back_from_its_archive_as_it_was(tmp_path: Path) -> None:
    state, programs = tmp_path / "한글 state", tmp_path / "bin"
    for name, text in {
        "env": "secret",
        "prefect/prefect.db": "db",
        "tmp/x": "",
        "lake/a": "1",
    }.items():
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(text)
        (state / name).chmod(0o600)
    state.chmod(0o700)
    before = contents(state)
    programs.mkdir()
    (programs / "laurel").write_text(f'#!/bin/sh\necho "$1" >> "{tmp_path}/calls"\n')
    (programs / "laurel").chmod(0o755)
    variables = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LAUREL_STATE": str(state),
        "BACKUP": str(tmp_path / "backup.tar.gz"),
    }
    save, restore = commands("### Local")
    subprocess.run(["bash", "-euc", save], env=variables, check=True)
    state.rename(tmp_path / "lost")
    subprocess.run(["bash", "-euc", restore], env=variables, check=True)
    assert contents(state) == before and state.stat().st_mode & 0o777 == 0o700
    called = (tmp_path / "calls").read_text().split()
    assert called == ["down", "up", "up", "audit"]


@pytest.mark.parametrize("setting", sorted(set(SETTING.values())))
def test_each_kind_that_goes_stands_on_the_page(setting: str) -> None:
    table = PAGE.split("## What grows", 1)[1].split("**What is safe", 1)[0]
    assert setting in table


SYMPTOMS = re.findall(r"^\| (`.*?) \|", PAGE.split("## Runbook", 1)[1], re.MULTILINE)


@pytest.mark.parametrize("symptom", SYMPTOMS)
def test_each_message_of_the_runbook_is_one_of_the_code(symptom: str) -> None:
    code = " ".join(
        path.read_text()
        for room in ("tasks", "blocks", "serving", "laurel")
        for path in (REPOSITORY / room).rglob("*.py")
    )
    code = re.sub(r'"\s+f?"', "", code)
    for message in re.findall(r"`(.*?)`", symptom):
        for part in re.split(r"\.\.\.| N ", message):
            if len(part.strip()) > 9 and not part.startswith(("No space", "laurel", "LAUREL")):
                assert part.strip() in code, part
