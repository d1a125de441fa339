"""What ``laurel status`` shows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from laurel.commands.status import in_words
from laurel.fleet import Need, Row
from laurel.main import main
from laurel.parts import StackPart

NOW = datetime(2026, 11, 30, 18, 39, tzinfo=UTC)
PARTS = [
    StackPart("prefect", True, "http://127.0.0.1:4200"),
    StackPart("lake", None, "s3://bucket", "not on this machine"),
    StackPart("service", False, "http://127.0.0.1:5001", "does not answer"),
    StackPart("worker", True, "http://127.0.0.1:4200/work-pools"),
]
FLIGHTS = Row(
    "flights",
    champion="7",
    since=NOW - timedelta(days=12),
    live=0.771,
    coverage=0.64,
    holdout=0.788,
    window="2013-06",
    drift="drifted",
    share=0.67,
    requests_per_second=41.2,
    seconds_p99=0.004,
    last="kept",
    needs=[
        Need(
            "flights",
            "approval",
            {"challenger": "9"},
            "#flights&approvals",
            "Approve v9 over v7? Gain +0.0214 (+0.0150 – +0.0270)",
            "laurel approve flights",
        )
    ],
)


def test_what_needs_a_person_stands_on_top_and_all_fits_eighty_columns() -> None:
    lines = in_words([FLIGHTS, Row("orders")], PARTS, "", NOW)
    assert lines[0].startswith("NEEDS YOU  flights  Approve v9") and max(map(len, lines)) <= 80
    assert " ".join(lines[3].split()) == (
        "flights v7 12 d .771 (64 %) .788 ! 2013-06 67 % 41 4 ms kept"
    )
    assert "Not trained yet: orders" in lines


def test_each_part_is_told_by_a_glyph_and_what_is_wrong_in_words() -> None:
    lines = in_words([], PARTS, "Use cases: unknown. No answer.", NOW)
    assert lines[0] == "✗ Use cases: unknown. No answer."
    assert lines[-1] == "prefect ✓ 4200  lake ?  service ✗ 5001  worker ✓   as of 18:39:00"
    assert "✗ service: does not answer (http://127.0.0.1:5001)" in lines
    assert "? lake: not on this machine (s3://bucket)" in lines


def test_a_use_case_that_could_not_be_read_is_unknown() -> None:
    lines = in_words([Row("flights", "7", unknown="The lake is away.")], PARTS, "", NOW)
    assert "flights: unknown: The lake is away." in lines


def test_a_long_need_has_its_command_on_the_next_line() -> None:
    sentence = "v9 cannot be loaded: " + "x" * 50
    need = Need("flights", "swap_failed", {}, "#flights", sentence, "laurel doctor")
    lines = in_words([Row("flights", needs=[need])], PARTS, "", NOW)
    assert lines[1].strip() == "laurel doctor"


@pytest.mark.parametrize("words", [["status"], ["status", "--json"]])
def test_a_stack_that_is_down_is_said_with_the_way_up(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    for place, name in enumerate(("PREFECT", "MLFLOW", "SERVING", "S3")):
        monkeypatch.setenv(f"LAUREL_{name}_PORT", str(1 + place))
    assert main(words) == 3
    assert "The stack is down. Start it: laurel up" in capsys.readouterr().out
