"""What may go, what stays, and that a person is asked."""

from pathlib import Path

import pytest

from blocks.settings import demo_state
from deployments.local.state_folder import make_for_demo
from laurel.commands.tidy import find_leftovers
from laurel.main import main
from laurel.servers import stack_settings


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack that is down, with a start's old logs and what a killed one left."""
    state = tmp_path / "state"
    for folder in ("logs", "tmp/laurel-x", "mlflow"):
        (state / folder).mkdir(parents=True)
    for name in ("logs/service.log", "logs/service.log.1", "mlflow/data", "tmp/laurel-x/socket"):
        (state / name).write_text("12345")
    monkeypatch.setenv("LAUREL_STATE", str(state))
    monkeypatch.setenv("LAUREL_PREFECT_PORT", "1")
    return state


def test_data_and_the_last_logs_stay(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tidy", "--yes"]) == 0
    left = {str(path.relative_to(state)) for path in state.rglob("*") if path.is_file()}
    assert left == {"logs/service.log", "mlflow/data"}
    printed = capsys.readouterr().out
    assert "1 old logs" in printed and "temporary files" in printed
    assert "? Deployments without a file: unknown." in printed


@pytest.mark.parametrize("words", [["tidy"], ["tidy", "--json"]])
def test_nothing_goes_without_a_person_s_word(
    words: list[str], state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(words)
    assert (state / "logs" / "service.log.1").exists() and (state / "tmp" / "laurel-x").exists()
    assert "old logs" in capsys.readouterr().out


def test_the_demo_s_stack_goes_if_it_is_down_and_nobody_else_s_folder(state: Path) -> None:
    demo = demo_state(state)
    make_for_demo(demo)
    (demo / "mlflow").mkdir()
    demos = [one for one in find_leftovers(stack_settings())[0] if "the demo's" in one.what]
    assert len(demos) == 1
    demos[0].remove()
    assert not demo.exists()
    demo.mkdir()
    (demo / "mine").write_text("a person's")
    assert not [one for one in find_leftovers(stack_settings())[0] if "the demo's" in one.what]
