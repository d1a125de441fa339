"""The last line of a run, and its exit code."""

from dataclasses import replace
from typing import Any

import pytest

from flows.retrain import ENDS
from laurel.outcome import Outcome, code_of, of_ledger, verdict_of

RUN = "3c1f"
ENDED = Outcome(
    flow="retrain",
    use_case="orders",
    run=RUN,
    verdict="promoted",
    exit_code=0,
    message="Version 2 is the first champion.",
    url="http://p/1",
    seconds=31.0,
)


def test_each_end_of_a_retrain_has_the_ledger_s_word() -> None:
    for name, word in ENDS.items():
        assert verdict_of("retrain", name, "COMPLETED") == word
    assert verdict_of("retrain", "Skipped", "COMPLETED") == "refused"


@pytest.mark.parametrize(
    ("flow", "state", "kind", "verdict", "code"),
    [
        ("retrain", "Completed", "COMPLETED", "promoted", 0),
        ("retrain", "Champion stays", "COMPLETED", "kept", 0),
        ("retrain", "Nothing to do", "COMPLETED", "nothing to do", 0),
        ("retrain", "Waits for approval", "COMPLETED", "waits for approval", 0),
        ("retrain", "Skipped", "COMPLETED", "refused", 3),
        ("evaluate", "Below the gate", "COMPLETED", "below the gate", 4),
        ("promote", "No champion yet", "COMPLETED", "no champion yet", 4),
        ("ingest", "Completed", "COMPLETED", "done", 0),
        ("rollback", "Completed", "COMPLETED", "rolled back", 0),
        ("retrain", "Failed", "FAILED", "failed", 1),
        ("retrain", "Crashed", "CRASHED", "crashed", 1),
        ("retrain", "Cancelled", "CANCELLED", "cancelled", 5),
        ("retrain", "", "UNKNOWN", "unknown", 1),
    ],
)
def test_verdict_and_exit_code(flow: str, state: str, kind: str, verdict: str, code: int) -> None:
    assert verdict_of(flow, state, kind) == verdict
    assert code_of(verdict, kind) == code


def test_a_contest_is_told_by_score_gate_rows_and_reason() -> None:
    scored = replace(
        ENDED, version="2", metric="ROC AUC", score=0.6881, gate=0.67, rows=8112, reasons=["first"]
    )
    assert scored.line == (
        "promoted  orders v2 serves   ROC AUC 0.6881, gate 0.67   8,112 rows   first"
    )
    won = replace(scored, gain_of="log loss", gain=0.02, low=0.01, high=0.03)
    assert "gate 0.67   log loss gain +0.02 (+0.01 – +0.03)   8,112 rows" in won.line
    kept = replace(scored, verdict="kept", version=None, champion="1")
    assert kept.line.startswith("kept  orders v1 stays   ROC AUC")
    asked = replace(scored, verdict="waits for approval", version=None, challenger="3")
    assert "laurel approve orders" in asked.line


def test_without_a_contest_the_run_s_own_sentence_is_the_line() -> None:
    assert ENDED.line == "promoted  Version 2 is the first champion."
    failed = replace(ENDED, verdict="failed", exit_code=1, score=0.7, message="ValueError: no rows")
    assert failed.line == "failed  ValueError: no rows"
    assert replace(ENDED, message="").line == "promoted  The run says nothing more."


def entry(kind: str, verdict: str, run: str = RUN, **fields: Any) -> dict[str, Any]:
    usual = {"version": None, "champion": None, "challenger": None, "contest": None}
    return (
        {"kind": kind, "verdict": verdict, "run": run, "reasons": [], "facts": {}} | usual | fields
    )


def test_numbers_are_those_of_the_run_s_own_entries() -> None:
    main = {"metric": "log_loss", "gain": 0.02, "low": 0.01, "high": 0.03, "rows": 900}
    entries = [
        entry("retrain", "promoted"),
        entry("crown", "crowned", version="9", champion="7"),
        entry(
            "contest",
            "promote",
            champion="7",
            challenger="8",
            gate_score=0.79,
            reasons=["certain"],
            contest={"main": main},
        ),
        entry("contest", "keep", run="another", gate_score=0.1, champion="1"),
    ]
    assert of_ledger(entries, RUN) == {
        "version": "9",
        "champion": "7",
        "challenger": "8",
        "score": 0.79,
        "rows": 900,
        "gain_of": "log_loss",
        "gain": 0.02,
        "low": 0.01,
        "high": 0.03,
        "reasons": ["certain"],
    }
    assert of_ledger(entries, "unheard of") == {}


def test_a_first_contest_has_the_gate_s_score_and_a_failed_crown_no_version() -> None:
    entries = [
        entry("crown", "failed", version="2"),
        entry("contest", "promote", gate_score=0.79, facts={"rows": 1680.0}),
    ]
    values = of_ledger(entries, RUN)
    assert (values["score"], values["rows"], values.get("version")) == (0.79, 1680, None)
