"""The studies of ``benchmarks/drift`` measure what they say: windows in which nothing changed, who
rang, the smallest size that is found, and what the peers are asked."""

import json
import subprocess
from datetime import date

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_limits

from benchmarks.drift import beside_peers, power, sequence
from benchmarks.drift.beside_peers import Window, errors_of_estimates, read_answer, write_windows
from benchmarks.drift.faults import in_some
from benchmarks.drift.power import Ladder, climb
from benchmarks.drift.shuffles import alarms, shuffle_days
from benchmarks.drift.streams import STREAMS, faults_of
from benchmarks.drift.world import Champion, champion_of, draw_weeks
from benchmarks.environments import Unavailable
from serving.records.drift import DriftVerdict, Finding
from usecases.definition import SCORE

AGRAWAL = STREAMS[0]


@pytest.fixture(scope="module")
def months() -> list[pl.DataFrame]:
    return AGRAWAL.months([1, 2])


@pytest.fixture(scope="module")
def champion(months: list[pl.DataFrame]) -> Champion:
    import sklearn.ensemble  # noqa: F401 - a library that is loaded later would not be limited

    with threadpool_limits(1):
        return champion_of(AGRAWAL.case, "", pl.concat(months[:6]), 7)


def test_weeks_of_drawn_days_have_each_day_once_on_its_weekday(champion: Champion) -> None:
    weeks = draw_weeks(champion.case, champion.training, 4, np.random.default_rng(1))
    days = weeks["at"].dt.date().unique().sort()
    assert (len(days), days[0], days[-1]) == (28, date(2100, 1, 4), date(2100, 1, 31))
    verdict = champion.judge("", weeks)
    assert (verdict.outcome, verdict.findings) == ("stable", [])


def test_a_shuffled_year_keeps_weekdays_and_the_rows_of_a_day(months: list[pl.DataFrame]) -> None:
    rows = pl.concat(months)
    shuffled = shuffle_days(AGRAWAL.case, rows, np.random.default_rng(3))
    weekday = pl.col("at").dt.weekday()
    assert shuffled.select(weekday).equals(rows.select(weekday))
    moved = pl.DataFrame({"old": rows["at"].dt.date(), "new": shuffled["at"].dt.date()}).unique()
    assert moved["old"].is_unique().all() and moved["new"].is_unique().all()
    assert (moved["old"] != moved["new"]).mean() > 0.9  # type: ignore[operator]


def test_streams_have_their_months_and_their_weekdays() -> None:
    for stream in STREAMS:
        several = stream.months([4])
        assert len(several) == stream.learned + 6
        assert several[0]["at"].dt.weekday().max() == stream.weekdays
        assert several[0]["at"].dt.month().unique().to_list() == [1]


def test_each_fault_of_a_stream_changes_its_rows(
    champion: Champion, months: list[pl.DataFrame]
) -> None:
    rows = months[6].with_columns(pl.Series(SCORE, champion.score(months[6])))
    for name, _, fault, _ in faults_of(champion):
        assert not fault(rows, np.random.default_rng(1)).equals(rows), name


def verdict_of(**parts: object) -> DriftVerdict:
    values = {"outcome": "stable", "window": "", "rows": 1, "share": 0.0, "limit": 0.3}
    return DriftVerdict(**{**values, "reasons": [], **parts})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "rang"),
    [
        ({}, set()),
        ({"outcome": "broken"}, {("any", "broken or drifted"), ("exact", "broken")}),
        (
            {"findings": [Finding(check="nulls", word="said", reason="")]},
            {("any", "said or uncalibrated"), ("nulls", "said")},
        ),
        (
            {"outcome": "drifted", "distances": {SCORE: 0.3}, "thresholds": {SCORE: 0.2}},
            {("any", "broken or drifted"), ("score", "drifted")},
        ),
        (
            {"outcome": "drifted", "share": 0.4},
            {("any", "broken or drifted"), ("share", "drifted")},
        ),
    ],
)
def test_who_rang_is_told_by_check(parts: dict, rang: set[tuple[str, str]]) -> None:
    assert set(alarms(verdict_of(**parts))) == rang


def test_the_smallest_size_that_is_found_is_that_of_the_exact_check(champion: Champion) -> None:
    windows = [
        draw_weeks(champion.case, champion.training, 4, np.random.default_rng(number))
        for number in range(3)
    ]
    sizes = (0.0005, 0.001, 0.0025, 0.01, 0.03)
    ladder = Ladder("bounds", "-9", sizes, lambda share: in_some("salary", -9.0, share), "salary")
    row = climb(champion, ladder, windows, 7)
    assert (row["smallest"], row["found"]) == ("1 %", "3 of 3")
    never = Ladder("bounds", "1", sizes, lambda share: in_some("salary", 1.0, share), "salary")
    row = climb(champion, never, windows, 7)
    assert (row["smallest"], row["found"]) == ("not up to 3 %", None)


def test_each_relation_of_the_champion_has_a_ladder_for_rows_and_for_levels(
    champion: Champion,
) -> None:
    ladders = {(ladder.check, ladder.column) for ladder in power.relations(champion)}
    assert {("within", "commission"), ("within", "house"), ("over", "house")} <= ladders
    assert not {column for _, column in ladders} & {"loan", "years", "age"}


def test_a_run_rings_at_once_on_moved_days_and_never_on_days_like_all_others() -> None:
    chance = np.random.default_rng(1)
    moved, calm = np.full(50, 0.004), np.ones(50)
    assert sequence.run_length((moved, calm), chance) < 14
    assert sequence.run_length((calm, calm), chance) == sequence.MOST_YEARS * sequence.YEAR


def test_nannyml_is_given_the_columns_the_reference_and_each_window_as_a_month(
    champion: Champion, months: list[pl.DataFrame], tmp_path
) -> None:
    rows = months[6].with_columns(pl.Series(SCORE, champion.score(months[6])))
    write_windows(champion, [Window("none", "stable", rows, len(rows))], tmp_path)
    columns = json.loads((tmp_path / "columns.json").read_text())
    assert columns["categories"] == ["level", "car", "place"] and columns["label"] == "label"
    reference = pl.read_parquet(tmp_path / "reference.parquet")
    window = pl.read_parquet(tmp_path / "window-0.parquet")
    assert reference["block"].n_unique() == 6
    assert window["block"].unique().to_list() == [beside_peers._WINDOW_MONTH]
    assert window.columns == reference.columns and len(window) == len(rows)


def test_nannyml_s_answer_is_its_last_line_and_a_failure_says_why() -> None:
    answer = {"0": {"pca": True, "columns": 3, "estimate": None, "roc_auc": None}}
    printed = f"a progress bar\n{json.dumps(answer)}\n"
    assert read_answer(subprocess.CompletedProcess([], 0, printed, "")) == answer
    with pytest.raises(Unavailable, match="NannyML failed: MemoryError"):
        read_answer(subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError\n"))
    with pytest.raises(Unavailable, match="NannyML failed: -9"):
        read_answer(subprocess.CompletedProcess([], -9, "", ""))


def test_estimates_are_held_against_labels_of_real_months_only(
    champion: Champion, months: list[pl.DataFrame]
) -> None:
    rows = months[6].with_columns(pl.Series(SCORE, champion.score(months[6])))
    real = errors_of_estimates(champion, Window("2022-07", "", rows, len(rows)), 0.9)
    assert real["roc_auc"] == pytest.approx(0.9 - real["nannyml's off"])  # type: ignore[operator]
    assert abs(real["estimate off"]) < 0.05  # type: ignore[arg-type]
    planted = errors_of_estimates(champion, Window("none", "stable", rows, len(rows)), 0.9)
    assert set(planted.values()) == {None}
