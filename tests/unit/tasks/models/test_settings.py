"""What changed in a use case's file is told setting by setting, and what did not is not told."""

import json
from typing import Any

import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import boosting, logistic
from usecases.toy_classes import USE_CASE as CLASSES
from usecases.toy_number import USE_CASE as NUMBER

from serving.records.ledger import Change
from tasks.models.settings import changes_between, changes_in_words, settings_of
from usecases.definition import (
    LOG_LOSS,
    RMSE,
    ROC_AUC,
    Approval,
    Binary,
    Candidate,
    Classes,
    Column,
    DriftPolicy,
    FileSource,
    FrameSource,
    Gate,
    Invariance,
    Metric,
    Range,
    UseCase,
    known,
    load,
)

FIRST, SECOND, STEADY, GROUP = TOY.columns
LOGISTIC, BOOSTING = TOY.candidates


def changes(before: UseCase, after: UseCase) -> dict[str, tuple[str | None, str | None]]:
    listed = changes_between(settings_of(before), settings_of(after))
    return {change.name: (change.before, change.after) for change in listed}


def changed(case: UseCase = TOY, **fields: Any) -> dict[str, tuple[str | None, str | None]]:
    return changes(case, case.model_copy(update=fields))


@pytest.mark.parametrize("case", [TOY, CLASSES, NUMBER], ids=["binary", "classes", "number"])
def test_an_unchanged_file_has_no_change(case: UseCase) -> None:
    assert changed(case) == {} and changes_in_words([]) == []
    # Neither are another title and the description of a column.
    described = case.columns[0].model_copy(update={"description": "from the scale"})
    assert changed(case, title="Another", columns=(described, *case.columns[1:])) == {}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ((FIRST, SECOND, STEADY), {"columns.group": ("kind='category'", None)}),
        ((*TOY.columns, Column(name="x", kind="text")), {"columns.x": (None, "kind='text'")}),
        (
            (FIRST, SECOND, STEADY, Column(name="group", kind="number", nullable=True)),
            {"columns.group": ("kind='category'", "kind='number', nullable=True")},
        ),
        (
            (FIRST, SECOND, STEADY, GROUP.model_copy(update={"name": "team"})),
            {"columns.team": (None, "kind='category'"), "columns.group": ("kind='category'", None)},
        ),
        (
            (FIRST.model_copy(update={"high": 25.5}), SECOND, STEADY, GROUP),
            {
                "columns.first": (
                    "kind='number', low=-10, high=20",
                    "kind='number', low=-10, high=25.5",
                )
            },
        ),
        ((GROUP, STEADY, SECOND, FIRST), {}),
    ],
    ids=["gone", "new", "another kind", "renamed", "wider", "another order"],
)
def test_columns_are_told_one_by_one(
    columns: tuple[Column, ...], expected: dict[str, tuple[str | None, str | None]]
) -> None:
    assert changed(columns=columns) == expected


def test_settings_are_told_as_the_file_writes_them() -> None:
    assert changed(gate=Gate(metric=LOG_LOSS, threshold=0.5)) == {
        "gate.metric": ("ROC_AUC", "LOG_LOSS"),
        "gate.threshold": ("0.75", "0.5"),
    }
    # What is left at its default is not in a file.
    assert changed(period="week", approval=Approval(ask="always"), drift=DriftPolicy()) == {
        "period": (None, "'week'"),
        "approval.ask": (None, "'always'"),
        "drift.minimum_rows": ("500", None),
    }
    still = Invariance(name="still", column="first", to=(1.0,), tolerance=0.1)
    assert changed(behaviours=(still,)) == {
        "behaviours.still": (None, "column='first', tolerance=0.1, to=(1,)")
    }


@pytest.mark.parametrize(
    ("before", "target", "expected"),
    [
        (
            TOY,
            Binary(label="won", positive="ja", decision_threshold=0.3),
            {"target.positive": (None, "'ja'"), "target.decision_threshold": (None, "0.3")},
        ),
        (
            CLASSES,
            Classes(label=CLASSES.label, classes=("a", "b", "가")),
            {"target.classes": (..., "('a', 'b', '가')")},
        ),
        (NUMBER, NUMBER.target.model_copy(update={"unit": "kWh"}), {"target.unit": (..., "'kWh'")}),
        (TOY, NUMBER.target, {"target": ("Binary", "Number"), "target.label": ("'won'", ...)}),
    ],
    ids=["binary", "classes", "number", "another kind"],
)
def test_each_kind_of_target_is_told(
    before: UseCase, target: Any, expected: dict[str, tuple[Any, Any]]
) -> None:
    told = changed(before, target=target)
    for name, values in expected.items():
        for value, wanted in zip(told[name], values, strict=True):
            assert wanted in (value, ...)


def test_candidates_are_told_by_parameters_search_and_code() -> None:
    assert BOOSTING.search is not None
    wider = {**BOOSTING.search.space, "learning_rate": Range(low=0.01, high=0.3, log=True)}
    search = BOOSTING.search.model_copy(update={"space": wider})
    tuned = BOOSTING.model_copy(update={"params": {"max_iter": 80}, "search": search})
    told = changed(candidates=(tuned,))
    assert told["candidates.boosting"] == (
        "params={'max_iter': 40}, baseline=False",
        "params={'max_iter': 80}, baseline=False",
    )
    before, after = told["candidates.boosting.search"]
    assert "low=0.02" in (before or "") and "low=0.01" in (after or "")
    assert told["candidates.logistic"] == ("", None) and "candidates.boosting.code" not in told
    other = Candidate(name="logistic", build=boosting)
    assert changed(candidates=(other, BOOSTING)) == {"candidates.logistic.code": ("", "")}


def test_a_source_is_told_without_its_address() -> None:
    old, new = FileSource(path="s3://secret/a.csv"), FileSource(path="s3://secret/b.csv")
    case = TOY.model_copy(update={"source": old})
    assert changed(case, source=new) == {"source.details": ("", "")}
    assert "secret" not in settings_of(case)
    told = changed(case, source=FrameSource(function=logistic))
    assert told["source"] == ("FileSource", "FrameSource")


def test_a_metric_of_ones_own_is_told_when_its_code_changes() -> None:
    def own(truth: Any, predicted: Any) -> Any:
        return truth - predicted

    metric = Metric(name="own", higher_is_better=False, targets=("number",), function=own)
    again = metric.model_copy(update={"function": lambda truth, predicted: predicted - truth})
    case = NUMBER.model_copy(update={"gate": Gate.model_construct(metric=metric, threshold=1.0)})
    after = case.model_copy(update={"gate": Gate.model_construct(metric=again, threshold=1.0)})
    assert list(changes(case, after)) == ["gate.metric"]
    assert changed(NUMBER, gate=Gate(metric=RMSE, threshold=9))["gate.threshold"][1] == "9"


def test_of_a_wide_table_a_change_is_still_told() -> None:
    columns = tuple(Column(name=f"c{n}", kind="number", low=0, high=n) for n in range(600))
    case = TOY.model_copy(update={"columns": columns, "promotion": TOY.promotion})
    assert len(settings_of(case)) < 40_000
    higher = columns[7].model_copy(update={"high": 1e6})
    told = changed(case, columns=(*columns[:7], higher, *columns[8:]))
    assert told == {"columns.c7": ("", "")}


def test_an_unknown_definition_is_no_unchanged_one() -> None:
    tag = settings_of(TOY)
    for before, after in ((None, tag), (tag, None)):
        (change,) = changes_between(before, after)
        assert change == Change(name="", before=None, after=None)
    assert "not known" in changes_in_words([change])[0]


def test_changes_in_words_name_what_was_and_what_is() -> None:
    listed = changes_between(
        settings_of(TOY),
        settings_of(
            TOY.model_copy(
                update={
                    "columns": (FIRST, SECOND, STEADY),
                    "gate": Gate(metric=ROC_AUC, threshold=0.8),
                    "candidates": (Candidate(name="logistic", build=boosting), BOOSTING),
                    "period": "week",
                }
            )
        ),
    )
    (line,) = changes_in_words(listed)
    assert line == (
        "**Changed in the definition:** `period` is new: `'week'`; `candidates.logistic.code` has "
        "changed; `gate.threshold`: `0.75` → `0.8`; `columns.group` is gone: `kind='category'`."
    )


@pytest.mark.parametrize("name", known())
def test_every_use_case_has_a_tag_that_says_the_same_each_time(name: str) -> None:
    tag = settings_of(load(name))
    assert tag == settings_of(load(name)) and len(json.loads(tag)) > 5
    assert " at 0x" not in tag
