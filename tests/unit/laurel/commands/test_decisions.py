"""Who is champion, as the ledger tells it."""

from typing import Any

from laurel.commands.decisions import document_of, in_words
from laurel.ledger import Ledger

TIME = "2026-11-18T09:12:00+00:00"
MAIN = {
    "metric": "roc_auc",
    "challenger": 0.788,
    "champion": 0.767,
    "low": 0.016,
    "high": 0.027,
    "rows": 8112,
}


def entry(sequence: int, kind: str, verdict: str, **fields: Any) -> dict[str, Any]:
    usual = {
        "sequence": sequence,
        "kind": kind,
        "verdict": verdict,
        "time": TIME,
        "version": None,
        "champion": None,
        "challenger": None,
        "reasons": [],
        "by": "http://p/1",
        "contest": None,
        "gate_score": None,
        "holdout": "2013-06",
    }
    return usual | fields


CONTEST = entry(
    1, "contest", "promote", challenger="6", contest={"main": MAIN}, reasons=["the gain is certain"]
)
CROWN = entry(2, "crown", "crowned", version="7", challenger="6", champion="5")


def test_a_champion_is_told_with_its_contest_and_agreement() -> None:
    document = document_of("flights", Ledger([CROWN, CONTEST], "service", "7", "7"))
    lines = in_words(document)
    assert document["agrees"] is True and max(map(len, lines)) <= 90
    assert lines[0].startswith("flights  v7 since 2026-11-18 09:12 UTC")
    assert lines[0].endswith(", after v5: won its contest")
    assert "roc_auc .788 against .767, gain +0.016 – +0.027, 8,112 rows of 2013-06" in lines[1]
    assert "  why      the gain is certain" in lines


def test_another_version_in_service_is_a_difference_with_its_remedy() -> None:
    document = document_of("flights", Ledger([CROWN, CONTEST], "service", "6", "9"))
    assert document["agrees"] is False
    words = "\n".join(in_words(document))
    assert "the service serves v6, MLflow's alias is at v9" in words
    assert "laurel adopt flights" in words


def test_a_silent_service_is_unknown_and_not_agreement() -> None:
    document = document_of("flights", Ledger([CROWN, CONTEST], "lake"))
    assert document["agrees"] is None and any("unknown" in line for line in in_words(document))


def test_a_rollback_has_its_own_reason_and_no_contest() -> None:
    back = entry(3, "rollback", "rollback", version="5", champion="7", reasons=["ann: slow"])
    document = document_of("flights", Ledger([back, CROWN, CONTEST], "service", "5", "5"))
    assert (document["champion"], document["how"], document["contest"]) == ("5", "rollback", None)
    assert document["reasons"] == ["ann: slow"]


def test_a_failed_crowning_moves_nothing() -> None:
    failed = entry(3, "crown", "failed", version="8")
    assert document_of("x", Ledger([failed, CROWN], "service", "7", "7"))["champion"] == "7"


def test_nobody_is_said_as_such() -> None:
    assert in_words(document_of("x", Ledger([], "service")))[0] == (
        "x  no champion: the ledger crowned nobody"
    )
    vacant = entry(3, "crown", "vacated", champion="7")
    assert "left vacant" in in_words(document_of("x", Ledger([vacant], "service")))[0]


def test_a_fault_of_the_chain_is_shown() -> None:
    forged = CROWN | {"tampered": True, "fault": "entry 2 was edited"}
    lines = in_words(document_of("x", Ledger([forged], "service", "7", "7")))
    assert "  ✗ ledger entry 2 was edited" in lines
