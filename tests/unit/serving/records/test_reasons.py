"""A record keeps a sentence and its code; one from before codes, or of a newer version, its
sentence."""

import copy
import json
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from serving.history.ledger import CheckedEntry
from serving.records.contest import Behaviour
from serving.records.drift import DriftVerdict, Finding
from serving.records.ledger import Decision, Entry
from serving.records.performance import Performance
from serving.records.reasons import Code, Reason, because, told
from serving.records.record import decode, encode

UNTIL = datetime(2026, 11, 30, 18, 39, tzinfo=UTC)
BUDGET = because("budget", retrains=4, allowed=4, until=UNTIL)
KOREAN = "24시간 동안 재학습이 4번 시작되었고"


def entry(reasons: list[str], **fields: Any) -> Entry:
    return Entry(
        use_case="toy",
        time="2026-11-21",
        kind="refusal",
        verdict="budget",
        reasons=reasons,
        by="a test",
        run=None,
        sequence=1,
        previous="0" * 64,
        **fields,
    )


def read_twice(data: bytes) -> list[Decision]:
    """As flows read an entry, and as the service does."""
    return [decode(Entry, data), msgspec.json.decode(data, type=CheckedEntry)]


def test_a_reason_is_its_english_sentence_with_a_code() -> None:
    assert BUDGET == (
        "4 retrains started within 24 h, and 4 are allowed a day; the next may start at "
        "2026-11-30 18:39 UTC"
    )
    assert BUDGET.code.code == "budget"
    assert told(BUDGET, "en") == str(BUDGET) and told(BUDGET, "ko").startswith(KOREAN)


def test_an_entry_has_the_codes_and_gives_them_back_to_every_reader() -> None:
    written = entry([BUDGET, "Kim: not today"], facts={"wanted": because("asked_for"), "by": "Kim"})
    data = encode(written)
    stored = json.loads(data)
    assert stored["reasons"] == [str(BUDGET), "Kim: not today"]
    assert [code and code["code"] for code in stored["codes"]] == ["budget", None]
    assert stored["facts"] == {"wanted": "asked for", "by": "Kim"}
    assert stored["fact_codes"] == {"wanted": {"code": "asked_for", "numbers": {}}}
    for read in read_twice(data):
        assert [told(reason, "ko") for reason in read.reasons][1] == "Kim: not today"
        assert told(read.reasons[0], "ko").startswith(KOREAN)
        assert told(str(read.facts["wanted"]), "ko") == "asked for"
        assert isinstance(read.facts["wanted"], Reason)
        assert not isinstance(read.facts["by"], Reason)
    assert encode(decode(Entry, data)) == data
    assert encode(replace(written, time="2026-11-22", promoted=False)) != data


def test_an_entry_from_before_codes_is_the_same_byte_by_byte() -> None:
    data = encode(entry(["keep for the test"], facts={"wanted": "asked for"}))
    assert b"codes" not in data
    for read in read_twice(data):
        assert (read.reasons, read.codes, read.fact_codes) == (["keep for the test"], [], {})
        assert told(read.reasons[0], "ko") == "keep for the test"
    assert encode(decode(Entry, data)) == data


@pytest.mark.parametrize(
    "codes",
    [
        [{"code": "of_next_year", "numbers": {"moon": "full"}}],
        [{"code": "budget", "numbers": {"retrains": "many"}}],
        [None, None],
        [],
    ],
)
def test_a_code_that_this_version_does_not_know_leaves_the_sentence(codes: list[Any]) -> None:
    data = json.dumps(json.loads(encode(entry(["No retrain at full moon."]))) | {"codes": codes})
    for read in read_twice(data.encode()):
        assert told(read.reasons[0], "ko") == "No retrain at full moon."


def test_other_reasons_bring_their_own_codes() -> None:
    other = replace(entry([BUDGET]), reasons=[because("run_silent"), BUDGET, "plain"])
    assert [code and code.code for code in other.codes] == ["run_silent", "budget", None]
    assert replace(entry([BUDGET]), reasons=["one", "two"]).codes == []


def test_every_record_with_sentences_keeps_their_codes() -> None:
    why = because("no_predictions")
    finding = Finding(check="nulls", word="said", reason=because("rows_repeat", share=0.1))
    verdict = DriftVerdict(
        outcome="broken",
        window="2013-06",
        rows=0,
        share=None,
        limit=0.3,
        reasons=[why],
        findings=[finding],
    )
    read = decode(DriftVerdict, encode(verdict))
    assert read == verdict and told(read.reasons[0], "ko") == "예측이 없습니다"
    assert told(read.findings[0].reason, "ko") == "행의 10.0%가 다른 행과 같습니다"
    failed = Behaviour(
        name="flat", kind="invariance", passed=False, rows=1, held=0, reason=because("nobody")
    )
    assert told(decode(Behaviour, encode(failed)).reason, "ko") == "없음"
    performance = Performance(
        champion="3",
        verdict="unknown",
        provisional=True,
        reasons=[because("no_labels", rows=1200)],
        rows=1200,
        labels=0,
        coverage=0.0,
        days=0,
    )
    assert "1,200건" in told(decode(Performance, encode(performance)).reasons[0], "ko")


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_a_copy_keeps_the_code(copied: Any) -> None:
    assert told(copied(BUDGET), "ko").startswith(KOREAN)


@pytest.mark.parametrize("value", [np.float64(0.25), np.float32(0.25), 0.25])
def test_numbers_of_every_library_are_plain(value: Any) -> None:
    reason = because("rows_repeat", share=value)
    assert type(reason.code.numbers["share"]) is float
    assert encode(reason.code) == encode(Code(code="rows_repeat", numbers={"share": 0.25}))


@pytest.mark.parametrize("value", [float("nan"), np.float64("inf"), None])
def test_a_number_that_is_not_known_is_told_as_such(value: Any) -> None:
    reason = because("rows_repeat", share=value)
    assert reason == "not known of the rows repeat another one"
    assert reason.code.numbers == {"share": None}


@pytest.mark.parametrize(
    ("code", "numbers"), [("of_next_year", {}), ("budget", {}), ("rows_repeat", {"share": "many"})]
)
def test_a_reason_without_words_is_refused_where_it_is_made(
    code: str, numbers: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"no words for '{code}'"):
        because(code, **numbers)
