"""Rows for the service, its answers, and the addresses of pages."""

from pathlib import Path

import pytest

from laurel.commands.service import in_words, read_rows
from laurel.main import main
from laurel.output import CommandFailed


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('[{"a": 1}, {"a": 2}]', [{"a": 1}, {"a": 2}]),
        ('{"rows": [{"a": null}]}', [{"a": None}]),
        ('{"rows": 3}', [{"rows": 3}]),
    ],
)
def test_a_row_is_an_object_alone_or_in_a_list(text: str, rows: object) -> None:
    assert read_rows(text) == rows


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[1]", '{"rows": []}', "a,b\n1,2"])
def test_anything_else_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(CommandFailed, match="JSON"):
        read_rows(text)


def test_an_answer_is_shown_by_output_and_a_long_one_in_part() -> None:
    prediction = {"id": "x", "score": 0.63821, "decision": True, "class": "고양이", "set": ["a"]}
    answer = {"model_version": "7", "predictions": [prediction] * 23}
    lines = in_words("orders", answer)
    assert lines[0] == "orders v7"
    assert lines[1] == '  score 0.6382  decision yes  class 고양이  set ["a"]'
    assert lines[-1] == "  ... and 3 more rows: --json prints all"


def test_a_page_has_the_address_for_people(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    monkeypatch.setenv("LAUREL_SERVING_PAGE_URL", "https://models.example.com/x/")
    assert main(["open", "flights", "--no-browser"]) == 0
    assert capsys.readouterr().out == "https://models.example.com/x/#flights\n"
    assert main(["open", "flihgts"]) == 2
    assert 'Did you mean "flights"?' in capsys.readouterr().err
