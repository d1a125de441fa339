from pathlib import Path

import pytest

from deployments.local.command import main


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stopped stack's folder, with somebody else's file in it; there is no terminal."""
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    monkeypatch.setattr("deployments.local.command.raise_on_interrupts", lambda: None)
    for name in ("mlflow/mlflow.db", "env", "thesis.tex", "lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


def names(state: Path) -> set[str]:
    return {path.name for path in state.iterdir()} - {"lock"}


def test_reset_without_an_answer_removes_nothing_and_says_the_flag(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reset"]) == 1
    out, error = capsys.readouterr()
    assert "permanently removes its models, ledger, lake and keys: mlflow, env" in out
    assert "make reset FORGET=1" in error
    assert names(state) == {"mlflow", "env", "thesis.tex"}


def test_reset_with_the_flag_removes_what_a_stack_makes_and_nothing_else(state: Path) -> None:
    assert main(["reset", "--forget"]) == 0
    assert names(state) == {"thesis.tex"}


def test_down_of_a_stack_that_does_not_run_names_its_folder(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["down"]) == 0
    assert capsys.readouterr().out == f"Nothing is running in {state}.\n"


def test_exports_are_lines_that_a_shell_takes(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_PREFECT_AUTH", "me:it's $HOME")
    assert main(["exports"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"export LAUREL_STATE={state}" in lines
    assert """export PREFECT_API_AUTH_STRING='me:it'"'"'s $HOME'""" in lines


@pytest.fixture
def foreign(state: Path) -> Path:
    """Somebody else's folder, with file names in it that a stack would use."""
    (state / "lock").unlink()
    (state / "logs").mkdir()
    (state / "logs" / "thesis.log").write_text("mine")
    return state


def test_folder_in_which_no_stack_was_started_is_neither_started_in_nor_reset(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(foreign.rglob("*"))
    assert main(["up"]) == 1
    assert (
        f"{foreign} holds logs, mlflow, which no stack made. Name a new or empty folder"
        in capsys.readouterr().err
    )
    assert main(["reset", "--forget"]) == 0
    assert capsys.readouterr().out == f"There is no stack in {foreign}.\n"
    assert main(["down"]) == 0
    assert sorted(foreign.rglob("*")) == before


def test_folder_that_cannot_be_used_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path / "file" / "state"))
    monkeypatch.setattr("deployments.local.command.raise_on_interrupts", lambda: None)
    assert main(["up"]) == 1
    assert (
        "cannot be used: Not a directory." in (error := capsys.readouterr().err)
        and "another folder: LAUREL_STATE=" in error
    )
    assert len(error.splitlines()) == 1
