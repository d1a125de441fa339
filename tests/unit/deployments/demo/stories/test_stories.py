"""Which stories there are, and what somebody is told who asks for another."""

import pytest

from blocks.settings import REPOSITORY
from deployments.demo import command
from deployments.demo.runs import DemoFailed
from deployments.demo.stories import story_of, told

FOLDERS = (REPOSITORY / "usecases", REPOSITORY / "examples" / "usecases")


def test_every_use_case_that_comes_with_laurel_has_a_story() -> None:
    files = [file for folder in FOLDERS for file in folder.glob("[a-z]*.py")]
    assert {file.stem for file in files} == set(told())


@pytest.mark.parametrize("name", ["flihgts", "toy", "", "_departures_tables", "../flights"])
def test_use_case_without_a_story_is_answered_with_those_that_have_one(name: str) -> None:
    with pytest.raises(DemoFailed, match="no story of .*It has those of departures, diabetes, "):
        story_of(name)


def test_unknown_story_fails_before_a_folder_is_made_or_a_server_started(
    tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path / "state"))
    assert command.main(["--use-case", "nothing", "--down"]) == 1
    assert "The demo has no story of 'nothing'" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_story_that_brings_a_server_is_not_played_on_those_of_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "play_on", lambda *_: pytest.fail("it was played"))
    assert command.main(["--use-case", "departures", "--against-running"]) == 1
    assert "make demo USE_CASE=departures" in capsys.readouterr().out
