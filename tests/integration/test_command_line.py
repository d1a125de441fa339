"""``laurel`` in a fresh shell of somebody else: only the state folder is named. On the real stack,
in the order of the file.
"""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from blocks.clients.registry import CHAMPION
from blocks.settings import REPOSITORY
from infra import console_script
from tests.fixtures.processes import wait_until
from tests.integration.planting import Loop

CASE = "toy_terminal"
DEPLOYED = {
    CASE: (
        *("ingest", "promote", "retrain", "rollback", "explain", "compare", "tidy"),
        "close_lost_run",
    )
}
TO_MAY = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]
HELD_SECONDS = 240.0

Laurel = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, loop: Loop) -> tuple[Path, dict[str, str]]:
    """The command in a folder with a blank and a Korean letter, and the variables of a fresh
    shell."""
    folder = tmp_path_factory.mktemp("한글 폴더")
    script = folder / "laurel"
    console_script.write(script, console_script.script(sys.executable, str(REPOSITORY)))
    (folder / "home").mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "LAUREL_STATE": str(loop.settings.state),
        "COLUMNS": "80",
        "LANG": "C.UTF-8",
    }
    return script, variables


@pytest.fixture(scope="module")
def laurel(shell: tuple[Path, dict[str, str]]) -> Laurel:
    """``laurel("champion", "flights")``: the ended process."""
    script, variables = shell

    def run(*words: str, given: str = "") -> CompletedProcess[str]:
        return subprocess.run(
            [script, *words],
            cwd=script.parent,
            env=variables,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def of_json(ended: CompletedProcess[str]) -> Any:
    assert ended.stdout.count("\n") == 1, ended.stderr
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def first(loop: Loop, laurel: Laurel) -> str:
    """The first champion's number."""
    ingested = laurel("run", "ingest", CASE, "--param", "through=2024-06")
    assert ingested.returncode == 0, ingested.stderr
    assert ingested.stdout.startswith("done  ")
    loop.plant(CASE, "2024-03", TO_MAY[:2])
    promoted = laurel("promote", CASE)
    assert promoted.returncode == 0, promoted.stderr
    assert promoted.stdout.startswith(f"promoted  {CASE} v") and "gate 0.75" in promoted.stdout
    assert "telemetry" not in promoted.stderr and "✓ promote" in promoted.stderr
    crowned = loop.crowned(CASE)
    assert crowned is not None
    return crowned


@pytest.fixture(scope="module")
def second(loop: Loop, laurel: Laurel, first: str) -> str:
    loop.plant(CASE, "2024-06", TO_MAY)
    ended = of_json(laurel("promote", CASE, "--json"))
    assert (ended["verdict"], ended["exit_code"], ended["champion"]) == ("promoted", 0, first)
    assert 0.5 < ended["score"] < 1 and (ended["gate"], ended["rows"]) == (0.75, 1680)
    assert ended["low"] < ended["gain"] < ended["high"]
    assert ended["version"] == loop.crowned(CASE)
    return str(ended["version"])


def test_before_the_first_champion_everything_says_so(loop: Loop, laurel: Laurel) -> None:
    champion = laurel("champion", CASE)
    assert champion.returncode == 0 and "no champion" in champion.stdout
    predict = laurel("predict", CASE, "--example")
    assert predict.returncode == 1 and f"laurel run retrain {CASE}" in predict.stderr
    logs = laurel("logs", CASE, "--flow", "retrain")
    assert logs.returncode == 1 and "no run of retrain yet" in logs.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("retrain", "toy_terminl"), 'Did you mean "toy_terminal"?'),
        (("retrian", CASE), 'Did you mean "retrain"?'),
        (("compare", CASE), "needs window, champion, challenger"),
        (("retrain", CASE, "--param", "thorough=2024-06"), 'Did you mean "through"?'),
    ],
)
def test_a_wrong_run_is_refused_before_it_starts(
    words: tuple[str, ...], told: str, laurel: Laurel
) -> None:
    ended = laurel("run", *words)
    assert ended.returncode == 2 and told in ended.stderr and ended.stdout == ""


@pytest.mark.nightly("a run on a worker; test_tidy.py proves the flow")
def test_tidy_lists_first_and_removes_at_a_person_s_word(loop: Loop, laurel: Laurel) -> None:
    listed = laurel("tidy", CASE)
    assert (listed.returncode, listed.stderr.count("✓ tidy")) == (0, 1), listed.stderr
    assert listed.stdout == "done  Nothing to tidy\n"
    assert of_json(laurel("tidy", CASE, "--yes", "--json"))["exit_code"] == 0
    rooms = {room["kind"]: room["bytes"] for room in of_json(laurel("status", "--json"))["disk"]}
    assert rooms["mlflow"] > 0 and rooms["prefect"] > 0


def test_a_champion_is_told_with_its_contest(laurel: Laurel, first: str, second: str) -> None:
    document = of_json(laurel("champion", CASE, "--json"))
    assert (document["champion"], document["before"]) == (second, first)
    assert document["agrees"] is True and document["contest"]["rows"] == 1680
    words = laurel("champion", CASE)
    assert words.returncode == 0 and f"v{second} since" in words.stdout


def test_status_has_the_use_case_and_every_part(laurel: Laurel, second: str) -> None:
    ended = laurel("status", "--json")
    document = of_json(ended)
    row = next(row for row in document["use_cases"] if row["use_case"] == CASE)
    assert (row["champion"], row["unknown"], row["needs"]) == (second, "", [])
    assert 0.5 < row["holdout"] <= 1 and row["metric"] == "roc_auc"
    assert {part["name"]: part["answers"] for part in document["parts"]} == dict.fromkeys(
        ("prefect", "mlflow", "lake", "service", "worker"), True
    )
    assert ended.returncode == 0
    assert f"v{second}" in laurel("status").stdout


def test_a_row_is_predicted_and_a_wrong_one_named(loop: Loop, laurel: Laurel, second: str) -> None:
    answer = of_json(laurel("predict", CASE, "--example", "--json"))
    assert answer["model_version"] == second
    assert 0 <= answer["predictions"][0]["score"] <= 1
    row = json.dumps(answer["rows"][0])
    assert laurel("predict", CASE, given=row).stdout.startswith(f"{CASE} v{second}\n  score ")
    wrong = laurel("predict", CASE, given='{"frist": 1}')
    assert wrong.returncode == 1 and "frist" in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_rollback_is_told_and_recorded_with_who_and_why(
    loop: Loop, laurel: Laurel, first: str, second: str
) -> None:
    ended = laurel("rollback", CASE, "--why", "customers complained")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("rolled back  ") and loop.served(CASE) == first
    document = of_json(laurel("champion", CASE, "--json"))
    assert (document["champion"], document["how"]) == (first, "rollback")
    assert document["reasons"][0].endswith(": customers complained")
    again = laurel("rollback", CASE)
    assert again.returncode == 1 and again.stdout.startswith("failed  ")
    assert "no champion before" in again.stdout


@pytest.mark.nightly("waits for real seconds")
def test_the_newest_run_s_log_is_shown_and_a_followed_one_ends(laurel: Laurel) -> None:
    shown = laurel("logs", CASE, "-n", "5")
    assert shown.returncode == 0 and " rollback  " in shown.stdout
    followed = laurel("logs", CASE, "--follow", "--json", "-n", "3")
    lines = [json.loads(line) for line in followed.stdout.splitlines()]
    assert followed.returncode == 0 and lines[-1]["flow"] == "rollback"
    program = laurel("logs", "worker", "-n", "1")
    assert program.returncode == 0 and program.stdout.count("\n") == 1


@pytest.mark.nightly("a run on a worker; test_explain_and_history.py proves the flow")
def test_an_explanation_is_the_ledger_s(laurel: Laurel, first: str) -> None:
    ended = laurel("explain", CASE, "--question", "champion")
    assert ended.returncode == 0 and f"**Version {first}**" in ended.stdout


@pytest.mark.nightly("doctor looks at everything, three times")
def test_doctor_finds_an_alias_that_was_moved_by_hand(
    loop: Loop, laurel: Laurel, first: str, second: str
) -> None:
    before = {check["subject"]: check for check in of_json(laurel("doctor", "--json"))["checks"]}
    for part in ("prefect", "mlflow", "lake", "service", "worker", "blocks", "clock"):
        assert before[part]["finding"] == "fine", before[part]
    assert CASE not in before
    served = loop.registry.version(CASE, first)
    loop.registry.set_alias(loop.registry.version(CASE, second), CHAMPION)
    try:
        ended = laurel("doctor", "--json")
        checks = of_json(ended)["checks"]
        found = next(check for check in checks if check["subject"] == CASE)
        assert (ended.returncode, found["finding"]) == (1, "wrong")
        assert "moved it by hand" in found["sentence"] and found["remedy"]
        wait_until(lambda: loop.served(CASE) == second, "the service follows the alias")
        differs = laurel("champion", CASE)
        assert differs.returncode == 3 and "differ" in differs.stdout
        assert laurel("audit", CASE).returncode == 1
    finally:
        loop.registry.set_alias(served, CHAMPION)
    wait_until(lambda: loop.served(CASE) == first, "the service follows the alias back")


def test_a_silent_service_is_unknown_and_the_ledger_is_read_from_the_lake(
    loop: Loop, laurel: Laurel, first: str
) -> None:
    with loop.stopped("service"):
        champion = laurel("champion", CASE, "--json")
        document = of_json(champion)
        assert (document["champion"], document["source"]) == (first, "lake")
        assert document["agrees"] is None
        status = laurel("status")
        assert status.returncode == 3 and "Use cases: unknown." in status.stdout
        assert "service ✗" in status.stdout


@pytest.fixture
def held(loop: Loop) -> Iterator[Path]:
    """Fits wait; the file exists as soon as one does."""
    hold, there = (loop.settings.state / name for name in ("hold", "held"))
    there.unlink(missing_ok=True)
    hold.touch()
    yield there
    hold.unlink()


@pytest.mark.nightly("waits for real seconds")
def test_an_interrupt_asks_and_cancels_and_a_second_retrain_is_refused_meanwhile(
    shell: tuple[Path, dict[str, str]], laurel: Laurel, loop: Loop, held: Path
) -> None:
    script, variables = shell
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(script, [str(script), "run", "retrain", CASE, "--param", "again=yes"], variables)
    wait_until(held.exists, "the fit waits", HELD_SECONDS)
    refused = laurel("run", "retrain", CASE)
    assert refused.returncode == 3 and refused.stdout.startswith("refused  ")
    os.write(terminal, b"\x03")
    shown = read_until(terminal, "Cancel the run?")
    os.write(terminal, b"y\n")
    shown += read_until(terminal, None)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5, shown
    assert "● train" in shown and "cancelled  " in shown
    retrains = [one["verdict"] for one in loop.decisions(CASE, "retrain")]
    wait_until(
        lambda: [one["verdict"] for one in loop.decisions(CASE, "retrain")][-1] == "cancelled",
        f"the ledger says that it was cancelled, after {retrains}",
        HELD_SECONDS,
    )


def test_cancel_ends_the_run_that_is_under_way_and_says_what_it_leaves(
    laurel: Laurel, loop: Loop, first: str, held: Path
) -> None:
    nothing = laurel("cancel", CASE)
    assert nothing.returncode == 1 and "No run of toy_terminal is under way." in nothing.stderr
    retrains = len(loop.decisions(CASE, "retrain"))
    begun = of_json(laurel("run", "retrain", CASE, "--param", "again=yes", "--no-wait", "--json"))
    wait_until(held.exists, "the fit waits", HELD_SECONDS)
    ended = laurel("cancel", CASE, "--flow", "retrain", "--json")
    document = of_json(ended)
    assert (ended.returncode, document["verdict"], document["run"]) == (
        0,
        "cancelled",
        begun["run"],
    )
    assert document["kept"] == ["the dataset version"] and document["serves"] == loop.served(CASE)
    again = laurel("cancel", begun["run"])
    assert again.returncode == 1 and "is over: Cancelled" in again.stderr
    wait_until(
        lambda: (
            [one["verdict"] for one in loop.decisions(CASE, "retrain")][retrains:]
            == ["started", "cancelled"]
        ),
        "the ledger says that it was cancelled",
        HELD_SECONDS,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("toy_terminl",), 'Did you mean "toy_terminal"?'),
        (("00000000-0000-4000-8000-000000000000",), "Prefect has no run"),
        ((CASE, "--flow", "retrian"), 'Did you mean "retrain"?'),
    ],
)
def test_cancel_of_what_does_not_exist_is_a_wrong_call(
    words: tuple[str, ...], told: str, laurel: Laurel
) -> None:
    ended = laurel("cancel", *words)
    assert ended.returncode == 2 and told in ended.stderr and ended.stdout == ""


def read_until(terminal: int, words: str | None) -> str:
    """What the terminal shows until it shows ``words``, or until its program ends."""
    shown, until = b"", time.monotonic() + HELD_SECONDS
    while time.monotonic() < until and (words is None or words.encode() not in shown):
        try:
            part = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that the program has ended
            break
        if not part:
            break
        shown += part
    return shown.decode(errors="replace")
