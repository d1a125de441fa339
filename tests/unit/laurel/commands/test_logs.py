"""Lines of a log as they are shown, and a file that is followed."""

from itertools import islice
from pathlib import Path

import pytest

from laurel.commands import logs
from laurel.commands.logs import Line, tail
from laurel.main import main

TIME = "2026-11-30T18:40:02.123+09:00"


def test_a_line_has_time_flow_and_its_level_only_if_it_matters() -> None:
    assert Line(TIME, "promote", 20, "smoke 5 of 5").text == "18:40:02 promote  smoke 5 of 5"
    assert Line(TIME, "promote", 30, "odd").text == "18:40:02 promote  ! odd"
    assert Line(TIME, "promote", 40, "bad\ntrace").text == "18:40:02 promote  ✗ bad\n    trace"
    assert Line(TIME, "promote", 20, "").text == "18:40:02 promote  "


def test_a_file_is_followed_by_whole_lines_and_through_a_new_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "service.log"
    path.write_text("old\n")
    steps = [
        lambda: path.open("a").write("new\nbegun"),
        lambda: path.open("a").write(" and ended\n"),
        lambda: path.rename(tmp_path / "service.log.1"),
        lambda: path.write_text("first of the next start\n"),
    ]
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: steps.pop(0)())
    assert list(islice(tail(path, 4), 3)) == [
        "new",
        "begun and ended",
        "first of the next start",
    ]


def test_a_program_s_log_is_shown_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    assert main(["logs", "service"]) == 1
    assert "it never ran" in capsys.readouterr().err
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "service.log").write_bytes(b"one\ntwo\n\xff three\n")
    assert main(["logs", "service", "-n", "2"]) == 0
    assert capsys.readouterr().out == "two\n\ufffd three\n"
