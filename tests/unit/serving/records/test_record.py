"""One class for writers and readers: the writer is strict, the reader is lenient."""

import json
import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, ValidationError

from serving.records.contest import Behaviour, Comparison, Contest, Latency, Spending
from serving.records.drift import Checked, DriftVerdict
from serving.records.ledger import Change, Entry
from serving.records.performance import Estimate, Interval, Performance
from serving.records.reasons import because
from serving.records.record import decode, encode, fields_of
from serving.records.rollout import Rollout, RolloutBlock, Stage
from serving.rollouts.terms import Terms, terms_of

COMPARISON: dict[str, Any] = {
    "metric": "roc_auc",
    "rows": 3,
    "champion": 0.5,
    "challenger": 0.75,
    "gain": 0.25,
    "low": None,
    "high": 1e-07,
}
CONTEST: dict[str, Any] = {
    "verdict": "keep",
    "reasons": ["später, 나중에", because("no_refits")],
    "blocks": 30,
    "replicates": 400,
    "confidence": 0.95,
    "seed": 7,
    "main": Comparison(**COMPARISON),
    "slices": {"far": Comparison(**COMPARISON)},
    "joint_confidence": 0.9,
    "spending": Spending(
        tries=2, level=1e-3, of=0.05, standard_errors=2.8, first_standard_errors=2.2
    ),
    "days": ["2013-06-01T00"],
    "influences": [[1e-07]],
    "dependence": -0.1,
    "refits": 3,
    "refit_error": 0.004,
    "decidable": 0.02,
}
BEHAVIOUR: dict[str, Any] = {
    "name": "flat",
    "kind": "invariance",
    "passed": False,
    "rows": 3,
    "held": 2,
    "reason": because("nobody"),
}
PERFORMANCE: dict[str, Any] = {
    "champion": "2",
    "verdict": "worse",
    "provisional": False,
    "reasons": [because("no_predictions")],
    "rows": 3,
    "labels": 2,
    "coverage": 2 / 3,
    "days": 1,
    "metrics": {"roc_auc": Interval(value=0.7)},
    "estimates": {"roc_auc": Estimate(value=0.7)},
}
VERDICT: dict[str, Any] = {
    "outcome": "stable",
    "window": "2013-06",
    "rows": 3,
    "share": None,
    "limit": 0.3,
    "distances": {"wind": None, "rain": 0.1},
    "reasons": [because("no_predictions")],
}
CHECKED: dict[str, Any] = {
    "use_case": "toy",
    "champion": "2",
    "time": "2026-11-21",
    "verdict": DriftVerdict(**VERDICT),
    "performance": Performance(**PERFORMANCE),
}
ROLLOUT: dict[str, Any] = {
    "id": "4-ab12",
    "stages": [Stage(kind="shadow", metric="log_loss", days=28), Stage(kind="ab", share=0.5)],
    "since": "2026-11-21T05:00:00.874+00:00",
    "stage": 1,
    "blocks": [
        RolloutBlock(first="2026-11-01", last="2026-11-02", rows=90, labelled=80, gain=1e-07)
    ],
    "next_day": "2026-11-03",
    "gain": 1e-07,
}
ENTRY: dict[str, Any] = {
    "use_case": "toy",
    "time": "2026-11-21",
    "kind": "contest",
    "verdict": "keep",
    "reasons": [because("no_predictions")],
    "by": "a test",
    "run": None,
    "contest": Contest(**CONTEST),
    "behaviours": [Behaviour(**BEHAVIOUR)],
    "latency": [Latency(rows=1, champion_milliseconds=1, challenger_milliseconds=2)],
    "facts": {"rows": 3.0, "next": None, "who": "Ana", "why": because("asked_for")},
    "changes": [Change(name="gate.threshold", before="0.7", after=None)],
    "rollout": Rollout(**ROLLOUT),
    "sequence": 1,
    "previous": "0" * 64,
    "head_run": "a run",
    "crown": 4,
}
RECORDS = [
    (Comparison, COMPARISON),
    (Contest, CONTEST),
    (Behaviour, BEHAVIOUR),
    (Performance, PERFORMANCE),
    (DriftVerdict, VERDICT),
    (Checked, CHECKED),
    (Rollout, ROLLOUT),
    (Entry, ENTRY),
]


class Report(BaseModel):
    """A model of a flow that holds a record."""

    entry: Entry


@pytest.mark.parametrize(("kind", "fields"), RECORDS)
def test_both_readers_read_what_either_writes(kind: type, fields: dict[str, Any]) -> None:
    content = kind(**fields)
    by_pydantic, by_msgspec = encode(content), msgspec.json.encode(content, enc_hook=str)
    assert json.loads(by_pydantic) == json.loads(by_msgspec)
    for data in (by_pydantic, by_msgspec):
        assert decode(kind, data) == content == msgspec.json.decode(data, type=kind)


@pytest.mark.parametrize(("kind", "fields"), RECORDS)
def test_an_unknown_field_is_refused_to_writers_and_left_out_by_the_service(
    kind: type, fields: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError, match="arms"):
        kind(**fields, arms=2)
    with pytest.raises(ValidationError, match="arms"):
        decode(kind, json.dumps(json.loads(encode(kind(**fields))) | {"arms": 2}).encode())
    read = msgspec.json.decode(
        json.dumps(json.loads(encode(kind(**fields))) | {"arms": 2}).encode(), type=kind
    )
    assert read == kind(**fields)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        (Comparison, COMPARISON, "gain"),
        (Contest, CONTEST, "confidence"),
        (Performance, PERFORMANCE, "coverage"),
        (DriftVerdict, VERDICT, "share"),
        (Entry, ENTRY, "gate_score"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(
    kind: type, fields: dict[str, Any], name: str, number: float
) -> None:
    with pytest.raises(ValidationError, match="finite"):
        kind(**{**fields, name: number})


def test_a_number_that_is_not_finite_is_refused_deep_within() -> None:
    with pytest.raises(ValidationError, match="finite"):
        Entry(**{**ENTRY, "facts": {"rows": math.nan}})
    with pytest.raises(ValidationError, match="finite"):
        DriftVerdict(**{**VERDICT, "distances": {"wind": math.nan}})
    forged = Comparison(**COMPARISON)
    object.__setattr__(forged, "gain", math.nan)
    with pytest.raises(ValidationError, match="finite"):
        Contest(**{**CONTEST, "main": forged})
    with pytest.raises(ValidationError, match="finite"):
        Report(entry=replace(Entry(**ENTRY), facts={"rows": math.nan}))


@pytest.mark.parametrize(
    ("kind", "fields", "name"),
    [
        (Contest, CONTEST, "verdict"),
        (Behaviour, BEHAVIOUR, "kind"),
        (Performance, PERFORMANCE, "verdict"),
        (DriftVerdict, VERDICT, "outcome"),
        (Checked, CHECKED, "cause"),
        (Entry, ENTRY, "kind"),
    ],
)
def test_a_word_of_a_newer_version_is_read_by_the_service_and_written_by_nobody(
    kind: type, fields: dict[str, Any], name: str
) -> None:
    with pytest.raises(ValidationError, match="Input should be"):
        kind(**{**fields, name: "bandit"})
    content = kind(**fields)
    with pytest.raises(ValidationError, match="Input should be"):
        replace(content, **{name: "bandit"})
    data = json.dumps(json.loads(encode(content)) | {name: "bandit"}).encode()
    with pytest.raises(ValidationError, match="Input should be"):
        decode(kind, data)
    assert getattr(msgspec.json.decode(data, type=kind), name) == "bandit"


def test_an_entry_without_a_rollout_is_spelled_as_before_there_were_any() -> None:
    """Its digest is in the next entry."""
    before = Entry(**{**ENTRY, "rollout": None})
    assert b'"rollout"' not in encode(before)
    assert decode(Entry, encode(before)).rollout is None


def test_a_rollout_says_what_the_registry_s_tag_says() -> None:
    stages = [
        Stage(kind="shadow"),
        Stage(kind="canary", steps=[0.1, 1.0], header="x-user"),
        Stage(kind="ab", share=0.5),
    ]
    at = Rollout(id="r", since="2026-11-21", stages=stages)
    assert terms_of("4", json.dumps(replace(at, stage=1, step=1).terms)) == Terms(
        id="r", kind="canary", share=1.0, header="x-user"
    )
    assert terms_of("4", json.dumps(replace(at, stage=2).terms)).share == 0.5
    assert at.terms == {"id": "r", "kind": "shadow", "share": 0.0}


def test_a_field_that_the_json_does_not_have_is_told_with_its_default() -> None:
    fields = json.loads(encode(Performance(**PERFORMANCE)))
    for name in ("metrics", "holdout", "seed", "unknown_ids"):
        del fields[name]
    read = msgspec.json.decode(json.dumps(fields).encode(), type=Performance)
    assert (read.holdout, read.seed) == ({}, 0)
    assert json.loads(msgspec.json.encode(read, enc_hook=str)).keys() == fields_of(read).keys()


def test_a_check_is_written_with_its_time_and_one_of_before_is_read_without() -> None:
    without = {name: value for name, value in CHECKED.items() if name != "time"}
    with pytest.raises(ValidationError, match="time"):
        Checked(**without)
    fields = json.loads(encode(Checked(**CHECKED)))
    del fields["time"]
    assert msgspec.json.decode(json.dumps(fields).encode(), type=Checked).time == ""


def test_a_record_is_not_changed() -> None:
    entry = Entry(**ENTRY)
    with pytest.raises(AttributeError):
        entry.kind = "crown"  # type: ignore[misc]


def test_a_record_within_a_model_of_a_flow_is_the_same() -> None:
    report = Report(entry=Entry(**ENTRY))
    assert Report.model_validate_json(report.model_dump_json()) == report
    assert json.loads(report.model_dump_json())["entry"] == json.loads(encode(report.entry))


def test_prefect_keeps_a_record_as_the_result_of_a_step() -> None:
    from prefect.serializers import JSONSerializer, PickleSerializer

    entry = Entry(**ENTRY)
    for serializer in (JSONSerializer(), PickleSerializer()):
        assert serializer.loads(serializer.dumps(entry)) == entry
