from pathlib import Path

import pytest

from serving.history.checks import History
from serving.history.series import Crown, Window, crowns_of, metric_of, window_of
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import write_scored_check, write_traffic, write_year
from tests.fixtures.lake_records import write_check


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def history(root: Path) -> History:
    return History(FolderLake(root), listing_seconds=0)


def series(history: History) -> tuple[list[Window], list[Crown]]:
    checks, reigns = history.drift("toy", 400), history.reigns("toy")
    metric = metric_of(checks, reigns)
    windows = [window_of(check, metric) for check in reversed(checks)]
    return windows, crowns_of(reigns, windows)


def test_a_window_has_score_interval_coverage_estimate_and_drift(
    root: Path, history: History
) -> None:
    write_scored_check(root, "2013-06", "2", 0.77, 0, "drifted")
    ((window,), _) = series(history)
    score = window.score
    assert (score.value, score.low, score.high) == (0.77, 0.758, pytest.approx(0.782))
    assert (score.coverage, score.reason) == (0.64, None)
    assert (score.holdout_low, score.holdout_high) == (0.778, 0.798)
    assert (window.estimate, window.estimate_error) == (0.774, 0.004)
    assert (window.drift_share, window.limit, window.rows) == (2 / 3, 0.5, 28243)
    assert window.begin == "2013-06-01T00:00:00" and window.requests is None


def test_a_window_has_the_requests_that_were_answered_in_it(root: Path, history: History) -> None:
    write_scored_check(root, "2013-05", "2", 0.77, 0)
    write_scored_check(root, "2013-06", "2", 0.77, 0)
    write_traffic(root, {"2013-06-02T10": 40})
    checks = history.drift("toy", 400)
    june, may = (window_of(check, "roc_auc", history.traffic("toy")) for check in checks)
    assert (june.requests, june.errors, may.requests, may.p99) == (40, 1, None, None)
    assert june.p50 and june.p99 and june.p50 < june.p99 < 0.005


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no_labels"), ("{", "unreadable"), ("old", "not_judged")]
)
def test_an_unknown_score_has_its_reason(
    root: Path, history: History, content: str | None, reason: str
) -> None:
    write_scored_check(root, "2013-05", "2", 0.77, 0)
    write_scored_check(root, "2013-06", "2", None, 0)
    verdict = root / "reports/toy/2013-06/verdict.json"
    if content == "old":
        verdict.write_text(verdict.read_text().replace('"performance": {', '"before": {'))
    elif content:
        verdict.write_text(content)
    windows, _ = series(history)
    assert (windows[1].score.value, windows[1].score.reason) == (None, reason)
    assert windows[0].score.value == 0.77


def test_labels_that_do_not_suffice_are_no_missing_ones(root: Path, history: History) -> None:
    write_check(root, "2013-06")  # 60 % of the labels, and no score from them
    ((window,), _) = series(history)
    assert (window.score.value, window.score.reason) == (None, "too_few_labels")
    assert (window.score.coverage, window.score.provisional) == (0.6, True)
    assert window.estimate == 0.7701


def test_crowns_stand_at_the_first_window_that_a_champion_was_judged_on(
    root: Path, history: History
) -> None:
    write_year(root)
    windows, crowns = series(history)
    assert [window.window for window in windows][:2] == ["2013-01", "2013-02"]
    assert [(crown.version, crown.window) for crown in crowns] == [
        ("2", "2013-01"),
        ("5", "2013-05"),
        ("7", "2013-09"),
    ]


def test_a_champion_without_a_window_yet_has_none(root: Path, history: History) -> None:
    write_year(root)
    for month in range(9, 13):
        (root / f"reports/toy/2013-{month:02}/verdict.json").unlink()
    assert series(history)[1][-1].window is None


def test_a_window_of_an_unknown_name_has_no_begin(root: Path, history: History) -> None:
    write_check(root, "everything")
    ((window,), _) = series(history)
    assert (window.window, window.begin) == ("everything", None)
