"""A rollout is followed day by day on a planted log: what ends it, and what it is on the way."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from serving.records.rollout import Rollout, Stage
from tasks.log.compaction import compact
from tasks.rollouts.blocks import Rows
from tasks.rollouts.course import Sight, next_move
from tasks.rollouts.evidence import look_at
from tasks.rollouts.moves import Move, go_on
from tasks.rollouts.stages import metric_of, planned
from tests.fixtures.rollout_log import CHALLENGER, CHAMPION, Kind, Log, clock
from usecases.definition import AB, LOG_LOSS, Canary, Shadow

VERSIONS = (CHAMPION, CHALLENGER)
JUDGED = {"metric": "log_loss", "days": 28, "label_days": 2}
SHADOW, ARMS = Stage(kind="shadow", **JUDGED), Stage(kind="ab", share=0.5, **JUDGED)
CANARY = Stage(
    kind="canary", steps=[0.1, 1.0], minimum_requests=500, minimum_minutes=60, patience_days=3
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}", credentials=None)


def begin(*stages: Stage) -> Rollout:
    return Rollout(id="r", stages=list(stages), since=clock(0, 0).isoformat())


def follow(lake: Lake, rollout: Rollout, days: range) -> list[Move]:
    """Look once a day, as far as there is something to decide; each look knows only the record."""
    moves = []
    for day in days:
        metric = None if rollout.now.kind == "canary" else metric_of(TOY, rollout.now)
        move = next_move(rollout, look_at(lake, TOY, rollout, VERSIONS, clock(day)), metric)
        moves.append(move)
        rollout = move.rollout
        if move.verdict not in ("", "judged"):
            break
    return moves


@pytest.mark.parametrize(("kind", "stage"), [("shadow", SHADOW), ("ab", ARMS)])
@pytest.mark.parametrize(
    ("worse", "verdict"), [(1.0, "won"), (-1.0, "lost"), (0.0, "no difference")]
)
def test_winner_loser_and_equal_are_told_apart(
    lake: Lake, kind: Kind, stage: Stage, worse: float, verdict: str
) -> None:
    Log(36, worse=worse).write(lake, kind)
    moves = follow(lake, begin(stage), range(36))
    last = moves[-1]
    assert last.verdict == verdict, last.reasons
    assert len(last.rollout.blocks) == len([move for move in moves if move.verdict == "judged"]) + 1
    assert last.rollout.blocks[0].first == "2026-09-01"
    if verdict == "won":
        assert last.rollout.low is not None and last.rollout.low > 0
    if verdict == "lost":
        assert last.rollout.high is not None and last.rollout.high < 0


def test_a_judged_day_is_frozen_and_a_look_in_between_decides_nothing(lake: Lake) -> None:
    Log(8, worse=0.2).write(lake, "shadow")
    first = follow(lake, begin(SHADOW), range(8))[-1].rollout
    assert [block.last for block in first.blocks] == ["2026-09-02", "2026-09-04"]
    Log(8, worse=-3).write(lake, "shadow")  # what is told later of these days
    again = next_move(first, look_at(lake, TOY, first, VERSIONS, clock(7, 20)), LOG_LOSS)
    assert (again.verdict, again.rollout) == ("", first)


def test_labels_that_tell_of_one_outcome_more_often_end_inconclusive(lake: Lake) -> None:
    Log(36, worse=1.0, labelled=(0.3, 1.0)).write(lake, "shadow")
    assert follow(lake, begin(SHADOW), range(36))[-1].verdict == "inconclusive"


def test_too_few_labelled_rows_end_it_after_twice_its_days(lake: Lake) -> None:
    Log(70, a_day=1).write(lake, "shadow")
    moves = follow(lake, begin(SHADOW), range(70))
    assert moves[-1].verdict == "not enough traffic" and len(moves) > 55
    assert "30 labelled rows" in moves[-1].reasons[0]


def test_no_predictions_at_all_end_it_too(lake: Lake) -> None:
    moves = follow(lake, begin(SHADOW), range(70))
    assert moves[-1].verdict == "not enough traffic" and len(moves) > 55


def test_a_margin_lets_an_equal_one_pass(lake: Lake) -> None:
    Log(36).write(lake, "shadow")
    last = follow(lake, begin(replace(SHADOW, margin=0.1)), range(36))[-1]
    assert last.verdict == "won" and "not worse by more than 0.1" in last.reasons[0]


def test_only_pairs_of_both_versions_count(lake: Lake) -> None:
    Log(8).write(lake, "ab")  # no id has two answers
    sight = look_at(lake, TOY, begin(SHADOW), VERSIONS, clock(8))
    assert sight.rows is None
    other = look_at(lake, TOY, begin(ARMS), ("9", CHALLENGER), clock(8))
    assert other.rows is not None and other.rows.is_challenger.all()


def test_answers_from_before_the_rollout_do_not_count(lake: Lake) -> None:
    Log(8).write(lake, "shadow")
    late = replace(begin(SHADOW), since=clock(4, 0).isoformat())
    sight = look_at(lake, TOY, late, VERSIONS, clock(8))
    assert sight.rows is not None and sight.rows.day.min() == clock(4).date().toordinal()


def test_a_service_that_was_started_long_ago_is_seen(lake: Lake) -> None:
    """Its segments are named after its start."""
    Log(8).write(lake, "shadow")
    for number, path in enumerate(lake.list("predictions/toy")):
        folder = path.rpartition("/")[0]
        lake.write(f"{folder}/20240101T000000-ab12cd34-{number:06d}.parquet", lake.read(path))
        lake.remove([path])
    sight = look_at(lake, TOY, begin(SHADOW), VERSIONS, clock(8))
    assert sight.rows is not None and len(sight.rows.day) > 1000


@pytest.mark.parametrize("kind", ["shadow", "ab"])
def test_compacted_days_say_the_same(lake: Lake, kind: Literal["shadow", "ab"]) -> None:
    Log(8).write(lake, kind)
    rollout, now = begin(SHADOW if kind == "shadow" else ARMS), datetime.now(UTC)
    before = look_at(lake, TOY, rollout, VERSIONS, clock(8))
    for hours in (2, 10):
        later = now + timedelta(hours=hours)
        assert compact(lake, "predictions", "toy", later).problems == ()
        compact(lake, "feedback", "toy", later)
    after = look_at(lake, TOY, rollout, VERSIONS, clock(8))
    assert len(lake.list("predictions/toy")) == 0
    assert after.through == before.through and _rows(after) == _rows(before) != []
    late = replace(rollout, since=(datetime.now(UTC) + timedelta(days=3)).isoformat())
    assert look_at(lake, TOY, late, VERSIONS, clock(8)).through is None


def _rows(sight: Sight) -> list[tuple[object, ...]]:
    """In an order of their own: files are read several at a time."""
    rows = sight.rows
    assert rows is not None
    answers = (rows.champion, rows.challenger) if isinstance(rows, Rows) else (rows.answers,)
    columns = (rows.day, rows.truth.astype(str), *answers)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def test_a_canary_steps_once_it_has_its_requests_and_its_time(lake: Lake) -> None:
    Log(1, a_day=6000).write(lake, "canary", share=0.1)
    start = begin(CANARY, ARMS)
    early = next_move(start, look_at(lake, TOY, start, VERSIONS, clock(0, 13)), None)
    assert early.verdict == "stepped", early.reasons
    second = early.rollout
    since = clock(0, 13).isoformat(timespec="milliseconds")
    assert (second.step, second.share, second.since) == (1, 1.0, since)
    waits = next_move(second, look_at(lake, TOY, second, VERSIONS, clock(0, 15)), None)
    assert waits.verdict == "" and "of 500 rows" in waits.reasons[0]
    third = next_move(second, Sight(clock(1), requests=900), None)
    assert third.verdict == "stepped" and third.rollout.now == ARMS
    assert third.rollout.terms == {"id": "r", "kind": "ab", "share": 0.5}


def test_a_canary_waits_for_time_and_ends_without_requests() -> None:
    start = begin(CANARY)
    assert next_move(start, Sight(clock(0, 0), requests=9000), None).verdict == ""
    thin = next_move(start, Sight(clock(4), requests=3), None)
    assert thin.verdict == "not enough traffic" and "3 rows in 4.58 days" in thin.reasons[0]
    jumped = replace(start, since=clock(30).isoformat())  # a clock that was ahead
    assert next_move(jumped, Sight(clock(4), requests=9000), None).verdict == ""


def test_a_held_rollout_stays_and_the_last_stage_leads_to_the_crown() -> None:
    held = replace(begin(CANARY), held=True)
    assert next_move(held, Sight(clock(4), requests=9000), None).verdict == ""
    assert go_on(replace(held, step=1), [], clock(4)).verdict == "won"


def test_what_is_planned_is_what_the_file_says() -> None:
    assert planned(TOY, Shadow(days=30), None).metric == "roc_auc"
    assert planned(TOY, AB(share=0.2, header="x-user"), None).share == 0.2
    assert planned(TOY, Canary(), None).steps == [0.01, 0.05, 0.25, 1.0]
