"""What the last promotion brought."""

from pathlib import Path

import pytest

from serving.history.checks import History
from serving.history.comparisons import Brought
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import write_comparison, write_retrain, write_year


def brought(lake: Path) -> Brought:
    return History(FolderLake(lake), listing_seconds=0).brought("toy")


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    write_year(tmp_path)
    return tmp_path


def test_the_latest_window_counts_on_which_both_were_compared(lake: Path) -> None:
    write_comparison(lake, "2013-09")
    write_comparison(lake, "2013-10")
    write_comparison(lake, "2013-11", before="2")  # another champion
    write_comparison(lake, "2013-12", before="7", version="5")  # the other way round
    found = brought(lake)
    assert (found.version, found.before, found.window) == ("7", "5", "2013-10")
    assert (found.metric, found.rows, found.unknown) == ("roc_auc", 27075, None)
    assert (found.gain, found.low) == (0.0123, pytest.approx(0.0063))


def test_what_is_not_known_says_why(lake: Path, tmp_path: Path) -> None:
    assert brought(lake) == Brought(version="7", before="5", unknown="not_compared")
    few = write_comparison(lake, verdict="inconclusive")
    assert (brought(lake).unknown, brought(lake).gain) == ("too_few_labels", 0.0123)
    few.write_text("{")
    assert (brought(lake).unknown, brought(lake).window) == ("unreadable", "2013-10")


def test_a_first_champion_was_promoted_over_nobody(tmp_path: Path) -> None:
    assert brought(tmp_path) == Brought(unknown="no_promotion")
    write_retrain(tmp_path, 0, "2012-12", 1, None, by_drift=False)
    assert brought(tmp_path) == Brought(unknown="no_promotion")
