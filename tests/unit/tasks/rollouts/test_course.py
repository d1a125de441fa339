"""A rollout is followed day by day on a planted log: what ends it, and what it is on the way."""

import os
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from usecases.toy import USE_CASE as TOY

from blocks.lake import Lake
from serving.records.rollout import Rollout, Stage
from tasks.log.compaction import compact
from tasks.log.files import LogDamaged
from tasks.rollouts.blocks import Arms, Rows
from tasks.rollouts.course import Sight, next_move
from tasks.rollouts.evidence import look_at
from tasks.rollouts.moves import Move, go_on
from tasks.rollouts.stages import metric_of, planned
from tests.fixtures.rollout_log import CHALLENGER, CHAMPION, Kind, Log, clock
from usecases.definition import AB, LOG_LOSS, Canary, Reward, Shadow

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
@pytest.mark.nightly("further variants", only=("lost-shadow", "won-ab", "no difference-ab"))
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


@pytest.mark.parametrize(
    ("rewards", "higher", "verdict"),
    [((5.0, 8.0), True, "won"), ((5.0, 8.0), False, "lost"), ((5.0, 5.0), True, "no difference")],
)
@pytest.mark.nightly("a further variant", only=("lost",))
def test_rewards_tell_winner_loser_and_equal_apart(
    lake: Lake, rewards: tuple[float, float], higher: bool, verdict: str
) -> None:
    """Whatever the labels say: the challenger errs less. Of ten answers three bring anything."""
    stage = planned(TOY, AB(reward=Reward(cap=30, higher_is_better=higher), label_days=2), None)
    Log(36, a_day=1000, worse=1.0, rewards=rewards).write(lake, "ab")
    last = follow(lake, begin(stage), range(36))[-1]
    assert last.verdict == verdict, last.reasons
    assert ("mean reward" if higher else "mean cost") in last.reasons[0]
    first = last.rollout.blocks[0]
    assert first.rows == first.labelled, "a row without a reward brought nothing"


def test_without_zeros_for_missing_rewards_only_those_that_came_are_judged(lake: Lake) -> None:
    stage = planned(TOY, AB(reward=Reward(cap=30, missing="unknown"), label_days=2), None)
    Log(8, a_day=1000, rewards=(5.0, 5.0)).write(lake, "ab")
    block = follow(lake, begin(stage), range(8))[-1].rollout.blocks[0]
    assert 0.25 < block.labelled / block.rows < 0.35


def test_a_failing_challengers_callers_are_on_no_side(lake: Lake) -> None:
    """The champion has answered what the challenger failed."""
    Log(8).write(lake, "ab")
    whole = look_at(lake, TOY, begin(ARMS), VERSIONS, clock(8))
    other = look_at(lake, TOY, begin(replace(ARMS, share=0.7)), VERSIONS, clock(8))
    assert isinstance(whole.rows, Arms) and isinstance(other.rows, Arms)
    stay, fewer = (int((~rows.is_challenger).sum()) for rows in (whole.rows, other.rows))
    assert 0.5 * stay < fewer < 0.7 * stay, "callers at .5 to .7 are the challenger's"


def test_a_judged_day_is_frozen_and_a_look_in_between_decides_nothing(lake: Lake) -> None:
    Log(8, worse=0.2).write(lake, "shadow")
    first = follow(lake, begin(SHADOW), range(8))[-1].rollout
    assert [block.last for block in first.blocks] == ["2026-09-02", "2026-09-04"]
    Log(8, worse=-3).write(lake, "shadow")  # what is told later of these days
    again = next_move(first, look_at(lake, TOY, first, VERSIONS, clock(7, 20)), LOG_LOSS)
    assert (again.verdict, again.rollout.blocks) == ("", first.blocks)


def test_labels_that_tell_of_one_outcome_more_often_end_inconclusive(lake: Lake) -> None:
    Log(36, worse=1.0, labelled=(0.3, 1.0)).write(lake, "shadow")
    assert follow(lake, begin(SHADOW), range(36))[-1].verdict == "inconclusive"
    whole = replace(SHADOW, missing_label="none")  # a person says that the others have no outcome
    assert follow(lake, begin(whole), range(36))[-1].verdict == "won"


def test_too_few_labelled_rows_end_it_after_twice_its_days(lake: Lake) -> None:
    Log(70, a_day=1).write(lake, "shadow")
    moves = follow(lake, begin(SHADOW), range(0, 70, 5))
    assert moves[-1].verdict == "not enough traffic" and len(moves) > 55 / 5
    assert "30 labelled rows" in moves[-1].reasons[0]


def test_no_predictions_at_all_end_it_too(lake: Lake) -> None:
    moves = follow(lake, begin(SHADOW), range(70))
    assert moves[-1].verdict == "not enough traffic" and len(moves) > 55


@pytest.mark.parametrize("asked_about", [date(2025, 9, 1), date(2026, 8, 20)])
def test_one_question_about_a_day_of_long_ago_ends_nothing(lake: Lake, asked_about: date) -> None:
    log = Log(36, worse=1.0)
    log.write(lake, "shadow")
    log.write_old_question(lake, asked_about)
    assert follow(lake, begin(SHADOW), range(36))[-1].verdict == "won"


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


def test_files_from_before_the_rollout_are_not_read(lake: Lake) -> None:
    Log(8).write(lake, "shadow")
    (torn, _) = lake.list("predictions/toy/date=2026-09-01")
    file = Path(lake.url.removeprefix("file://"), torn)
    file.write_bytes(b"torn")
    late = replace(begin(SHADOW), since=clock(4, 0).isoformat())
    os.utime(file, (clock(5).timestamp(),) * 2)
    with pytest.raises(LogDamaged):
        look_at(lake, TOY, late, VERSIONS, clock(8))
    os.utime(file, (clock(0).timestamp(),) * 2)
    assert look_at(lake, TOY, late, VERSIONS, clock(8)).rows is not None


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


@pytest.mark.parametrize(("kind", "stage"), [("shadow", SHADOW), ("ab", ARMS), ("canary", CANARY)])
def test_answers_that_moved_since_the_contest_end_it(lake: Lake, kind: Kind, stage: Stage) -> None:
    Log(2, a_day=3000, moved=2.0).write(lake, kind, share=0.1 if kind == "canary" else 0.5)
    watched = replace(begin(replace(stage, largest_shift=0.5)), differences=[0.0])
    (move,) = follow(lake, watched, range(1))
    assert move.verdict == "reverted" and "largest_shift allows 0.5" in move.reasons[0]
    assert move.rollout.shift is not None and move.rollout.shift > 0.8
    as_in_the_contest = replace(watched, differences=[0.35])
    assert follow(lake, as_in_the_contest, range(1))[0].verdict != "reverted"
    for unjudged in (replace(watched, differences=[]), begin(stage)):  # unknown, or however far
        assert follow(lake, unjudged, range(1))[0].verdict != "reverted"


@pytest.mark.parametrize(("kind", "stage", "share"), [("ab", ARMS, 0.5), ("canary", CANARY, 0.1)])
@pytest.mark.parametrize("requests", [1, 20])
def test_lost_answers_of_one_side_end_it(
    lake: Lake, kind: Kind, stage: Stage, share: float, requests: int
) -> None:
    Log(2, a_day=20_000, requests=requests).write(lake, kind, share)
    assert follow(lake, begin(stage), range(1))[0].verdict in ("", "stepped")
    Log(2, a_day=20_000 * requests, requests=requests, lost=1.0).write(lake, kind, share)
    (move,) = follow(lake, begin(stage), range(1))
    assert move.verdict == "inconclusive", move.reasons
    assert "0 % of " in move.reasons[0] and f"instead of {100 * share:g} %" in move.reasons[0]


def test_a_canary_waits_for_time_and_ends_without_requests() -> None:
    start = begin(CANARY)
    assert next_move(start, Sight(clock(0, 0), requests=9000), None).verdict == ""
    thin = next_move(start, Sight(clock(4), requests=3), None)
    assert thin.verdict == "not enough traffic" and "3 rows in 4.58 days" in thin.reasons[0]


@pytest.mark.parametrize("stage", [CANARY, SHADOW])
def test_a_stage_that_began_by_a_clock_that_was_ahead_begins_again(stage: Stage) -> None:
    metric = None if stage is CANARY else LOG_LOSS
    jumped = replace(begin(stage), since=clock(30).isoformat())
    again = next_move(jumped, Sight(clock(4)), metric)
    assert again.verdict == "judged" and "a clock was ahead" in again.reasons[0]
    assert again.rollout == replace(jumped, since=clock(4).isoformat(timespec="milliseconds"))
    assert next_move(again.rollout, Sight(clock(4, 15)), metric).verdict == ""
    minutes = replace(jumped, since=clock(4, 15).replace(minute=5).isoformat())
    assert next_move(minutes, Sight(clock(4, 15)), metric).verdict == "", "two clocks differ a bit"


def test_a_held_rollout_stays_and_the_last_stage_leads_to_the_crown() -> None:
    held = replace(begin(CANARY), held=True)
    assert next_move(held, Sight(clock(4), requests=9000), None).verdict == ""
    assert go_on(replace(held, step=1), [], clock(4)).verdict == "won"


def test_what_is_planned_is_what_the_file_says() -> None:
    assert planned(TOY, Shadow(days=30), None).metric == "roc_auc"
    assert planned(TOY, AB(share=0.2, header="x-user"), None).share == 0.2
    assert planned(TOY, Canary(), None).steps == [0.01, 0.05, 0.25, 1.0]
