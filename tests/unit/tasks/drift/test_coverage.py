"""What the answers' intervals and sets held, on late labels, and when people are told."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_number import USE_CASE as PRICE

from blocks.lake import Lake
from serving.package.manifest import Coverage
from serving.records.drift import Checked, DriftVerdict
from serving.records.performance import Performance
from serving.records.record import encode
from tasks.drift.coverage import CHECK, tell_coverage, windows_needed
from tasks.drift.history import held_before
from tasks.drift.performance import judge_performance
from tasks.messages.announcements import coverage_off
from tests.unit.tasks.drift.test_performance import MANIFEST
from usecases.definition import Classes, LabelPolicy, UseCase

START = datetime(2024, 6, 1, 12)
CALIBRATED = Coverage(
    promise=0.9,
    method="split",
    rows=3000,
    needed=19,
    windows=["2024-04", "2024-05"],
    held=0.89,
    low=0.86,
    high=0.92,
)


def price_window(held: float, days: int = 28) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers whose intervals hold about the share ``held`` of the labels, and the labels."""
    chance = np.random.default_rng(0)
    count = days * 50
    ids = [f"id-{row}" for row in range(count)]
    at = [START + timedelta(days=row % days) for row in range(count)]
    label = np.where(chance.random(count) < held, 100.0, 300.0)
    logged = pl.DataFrame({"id": ids, "event_time": at}).with_columns(
        value=pl.lit(100.0), low=pl.lit(50.0), high=pl.lit(150.0)
    )
    return logged, pl.DataFrame({"id": ids, "label": label, "time": at})


def judged(held: float, coverage: Any = CALIBRATED, **changes: Any) -> Performance:
    logged, labels = price_window(held, **changes)
    manifest = msgspec.structs.replace(
        MANIFEST, holdout_intervals={"rmse": (0.0, 1e9)}, coverage=coverage
    )
    return judge_performance(PRICE, manifest, logged, labels, 0)


@pytest.mark.parametrize(
    ("held", "says"),
    [(0.75, "fewer"), (0.88, "as promised"), (0.9, "as promised"), (0.99, "more")],
)
def test_window_is_off_beyond_the_promise_and_beyond_what_the_card_says(
    held: float, says: str
) -> None:
    performance = judged(held)
    assert performance.held == says
    value = performance.metrics["interval coverage"].value
    assert value == pytest.approx(held, abs=0.02)
    assert any("intervals held" in text for text in performance.reasons) is (
        says in ("fewer", "more")
    )


def test_little_that_the_calibration_misjudged_itself_is_not_off() -> None:
    """Its own windows held .86 to .92 of each other: .865 is no news, and is some without that."""
    assert judged(0.865).held == "as promised"
    assert judged(0.865, msgspec.UNSET).held == "fewer"


def test_few_days_say_nothing_of_the_promise() -> None:
    performance = judged(0.5, days=5)
    assert (performance.verdict, performance.held) == ("provisional", "")


def of_sets(**fields: Any) -> UseCase:
    assert isinstance(WEATHER.target, Classes)
    target = WEATHER.target.model_copy(update={"coverage": 0.9})
    return WEATHER.model_copy(update={"target": target, **fields})


def test_sets_of_classes_are_watched_too() -> None:
    """Half of the storms are in no set, and a third of the labels are storms."""
    names, rows = list(of_sets().target.classes), 1400  # type: ignore[attr-defined]
    truth = [names[row % 3] for row in range(rows)]
    sets = [
        [label] if label != names[2] or row // 60 % 2 else names[:2]
        for row, label in enumerate(truth)
    ]
    ids = [f"id-{row}" for row in range(rows)]
    at = [START + timedelta(days=row // 3 % 20) for row in range(rows)]
    scores = {f"score_{name}": [0.8 if name == label else 0.1 for label in truth] for name in names}
    logged = pl.DataFrame({"id": ids, "event_time": at, "class_set": sets, **scores})
    labels = pl.DataFrame({"id": ids, "label": truth, "time": at})
    performance = judge_performance(of_sets(), MANIFEST, logged, labels, 0)
    assert performance.metrics["set coverage"].value == pytest.approx(5 / 6, abs=0.01)
    assert performance.held == "fewer"
    without = judge_performance(of_sets(), MANIFEST, logged.drop("class_set"), labels, 0)
    assert without.held == "" and "set coverage" not in without.metrics


def verdict(window: str = "2024-06") -> DriftVerdict:
    return DriftVerdict(outcome="stable", window=window, rows=10, share=0.0, limit=0.3, reasons=[])


def test_people_are_told_after_two_windows_on_the_same_side() -> None:
    off = judged(0.7)
    assert not tell_coverage(PRICE, verdict(), off, []).findings
    assert not tell_coverage(PRICE, verdict(), off, ["more"]).findings
    assert not tell_coverage(PRICE, verdict(), off, ["as promised"]).findings
    assert not tell_coverage(PRICE, verdict(), judged(0.9), ["fewer"]).findings
    (note,) = tell_coverage(PRICE, verdict(), off, ["fewer"]).findings
    assert (note.check, note.word, note.limit) == (CHECK, "said", 0.9)
    assert "fewer than the 90% that they are made for, in 2 windows in a row" in note.reason
    at_once = PRICE.model_copy(update={"labels": LabelPolicy(coverage_windows=1)})
    assert tell_coverage(at_once, verdict(), off, []).findings


def test_windows_before_are_read_only_if_this_one_is_off() -> None:
    off, held = judged(0.7), judged(0.9)
    assert [windows_needed(PRICE, one) for one in (off, held)] == [1, 0]
    assert (
        windows_needed(PRICE.model_copy(update={"labels": LabelPolicy(coverage_windows=4)}), off)
        == 3
    )


def test_windows_before_count_whoever_answered_and_not_what_is_unknown(tmp_path: Path) -> None:
    lake = Lake(url=f"file://{tmp_path}")
    for window, held in (("2024-03", "more"), ("2024-04", "fewer"), ("2024-05", "")):
        record = Checked(
            use_case="toy_number",
            champion=window[-1],
            time="2024-07-01T00:00:00",
            verdict=verdict(window),
            performance=replace(judged(0.9), held=held),
        )
        lake.write(f"reports/toy_number/{window}/verdict.json", encode(record))
    assert held_before(lake, "toy_number", "2024-06", 2) == ["more", "fewer"]
    assert held_before(lake, "toy_number", "2024-06", 1) == ["fewer"]
    assert held_before(lake, "toy_number", "2024-04", 3) == ["more"]
    assert held_before(lake, "toy_number", "2024-06", 0) == []


def test_message_says_in_both_languages_what_was_held_and_what_was_promised() -> None:
    for fewer, word in ((True, "less"), (False, "more")):
        message = coverage_off(
            "toy_number",
            window="2024-06",
            held=0.8123,
            promised=0.9,
            windows=2,
            fewer=fewer,
            reasons=["because"],
        )
        assert message.headline.startswith("toy_number: ") and word in message.headline
        assert "81.2 %" in message.headline and "90 %" in message.headline
        assert message.facts == {"windows in a row": "2"} and message.details[0] == "because"
