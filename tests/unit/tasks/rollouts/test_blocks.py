"""Late labels judge a pair of models, day by day, and never crown by what came first."""

from dataclasses import replace

import numpy as np
import pytest

from tasks.rollouts.blocks import BLOCK_DAYS, MINIMUM_ROWS, Judged, Rows, is_informative, judge_days
from tasks.rollouts.sequential import first_finding
from usecases.definition import LOG_LOSS, RMSE, ROC_AUC

DAYS, A_DAY, FOLLOW_UP = 28, 200, 7


def opposed(seed: int = 0, days: int = DAYS) -> Rows:
    """Two equally good models, one of which errs upwards where the other errs downwards."""
    chance = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), A_DAY)
    odds = chance.normal(-1, 1, len(day))
    truth = (chance.random(len(day)) < 1 / (1 + np.exp(-odds))).astype(float)
    errs = np.abs(chance.normal(0, 0.6, len(day)))
    champion, challenger = (1 / (1 + np.exp(-(odds + side * errs))) for side in (-1, 1))
    return Rows(day, truth, champion, challenger)


def play(rows: Rows, known_at: np.ndarray, follow_up: int, missing="unknown") -> Judged:
    """Judge after each day with the labels that have come by then."""
    judged = Judged()
    for today in range(int(rows.day.max()) + 1 + follow_up):
        truth = np.where(known_at <= today, rows.truth, np.nan)
        judged = judge_days(
            judged, replace(rows, truth=truth), LOG_LOSS, today - follow_up - 1, missing
        )
    return judged


def test_labels_of_one_outcome_that_come_first_decide_nothing_before_the_others() -> None:
    rows = opposed()
    known_at = rows.day + np.where(rows.truth == 1, 1, FOLLOW_UP)
    patient = play(rows, known_at, FOLLOW_UP)
    assert abs(patient.gains.mean()) < 0.02
    assert first_finding(patient.gains, None).finding in ("no_difference", "undecided")
    hasty = play(rows, known_at, 2)
    assert first_finding(hasty.gains, None).finding == "better" or is_informative(hasty.blocks)


def test_labels_that_tell_of_one_outcome_more_often_are_noticed() -> None:
    rows = opposed()
    chance = np.random.default_rng(1)
    comes = chance.random(len(rows.day)) < np.where(rows.truth == 1, 0.95, 0.5)
    assert is_informative(play(rows, np.where(comes, rows.day, np.inf), 1).blocks)
    evenly = chance.random(len(rows.day)) < 0.7
    assert not is_informative(play(rows, np.where(evenly, rows.day, np.inf), 1).blocks)


def test_a_missing_label_may_be_a_no() -> None:
    rows = opposed()
    known_at = np.where(rows.truth == 1, rows.day, np.inf)
    judged = play(rows, known_at, 1, "negative")
    assert judged.gains == pytest.approx(play(rows, rows.day.astype(float), 1).gains)
    assert not is_informative(judged.blocks)


def test_a_judged_block_stays_as_it_is() -> None:
    rows = opposed()
    first = judge_days(Judged(), rows, LOG_LOSS, 9, "unknown")
    changed = replace(rows, truth=1 - rows.truth)
    later = judge_days(first, changed, LOG_LOSS, 11, "unknown")
    assert later.blocks[: len(first.blocks)] == first.blocks
    assert (first.next_day, later.next_day, len(later.blocks)) == (10, 12, len(first.blocks) + 1)


def test_days_without_enough_labels_wait_for_the_next() -> None:
    rows = opposed()
    weekend = np.isin(rows.day % 7, (5, 6))
    sparse = rows.of(~weekend)
    judged = judge_days(Judged(), sparse, ROC_AUC, DAYS - 1, "unknown")
    assert sum(block.rows for block in judged.blocks) == len(sparse.day)
    assert all(block.labelled >= MINIMUM_ROWS for block in judged.blocks)
    assert {block.last - block.first + 1 for block in judged.blocks} >= {BLOCK_DAYS}


def test_days_of_one_class_wait_for_a_score() -> None:
    rows = opposed()
    one_class = replace(rows, truth=np.where(rows.day < 6, 0.0, rows.truth))
    judged = judge_days(Judged(), one_class, ROC_AUC, DAYS - 1, "unknown")
    assert (judged.blocks[0].first, judged.blocks[0].last) == (0, 6)
    assert np.isfinite(judged.gains).all()


def test_nothing_mature_changes_nothing() -> None:
    assert judge_days(Judged(), opposed(), LOG_LOSS, -1, "unknown") == Judged()


def test_numbers_and_classes_are_judged_too() -> None:
    chance = np.random.default_rng(2)
    day = np.repeat(np.arange(8), 100)
    truth = chance.normal(50, 10, 800)
    noise = chance.normal(0, 1, 800)
    better = judge_days(
        Judged(), Rows(day, truth, truth + 3 * noise, truth + noise), RMSE, 7, "unknown"
    )
    assert len(better.blocks) == 4 and (better.gains > 1.5).all()
    classes = chance.integers(0, 3, 800)
    guess = np.full((800, 3), 1 / 3)
    sure = 0.2 * guess + 0.8 * np.eye(3)[classes]
    judged = judge_days(
        Judged(), Rows(day, classes.astype(float), guess, sure), LOG_LOSS, 7, "unknown"
    )
    assert (judged.gains > 0.5).all()
