from pathlib import Path
from typing import Any

import pytest

from serving.history.checks import History
from serving.history.decisions import Item, Page, Wanted
from serving.outside.lake import FolderLake
from tests.fixtures.lake_history import (
    NOTHING,
    ask_for_approval,
    at,
    write_many,
    write_retrain,
    write_year,
)
from tests.fixtures.lake_records import write_decision


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def history(root: Path) -> History:
    return History(FolderLake(root), listing_seconds=0)


def page(history: History, limit: int = 50, before: int | None = None, **wanted: Any) -> Page:
    return history.decisions("toy", Wanted(**wanted), before, limit)


def kinds(item: Item) -> list[str]:
    return [part.kind for part in item.parts]


def test_a_retrain_is_one_item_with_drift_contest_and_deployment(
    root: Path, history: History
) -> None:
    write_retrain(root, 0, "2013-06", 4, 2)
    (item,) = page(history).items
    assert kinds(item) == ["drift", "retrain", "contest", "crown", "retrain"]
    assert (item.id, item.kind, item.verdict, item.promoted) == ("1", "retrain", "promoted", True)
    assert (item.champion, item.challenger, item.version) == ("2", "4", "5")
    assert (item.window, item.holdout, item.metric) == ("2013-06", "2013-06", "roc_auc")
    assert (item.gain, item.low) == (0.0214, pytest.approx(0.0154))
    assert (item.began, item.time) == (at(0), at(0.4))


def test_an_approval_and_its_deployment_join_the_retrain_that_asked(
    root: Path, history: History
) -> None:
    ask_for_approval(root)
    assert page(history).items[0].verdict == "waits for approval"
    answer: dict[str, Any] = {**NOTHING, "run": "approve-run", "champion": "7"}
    write_decision(root, at(501), "approved", **answer | {"kind": "approval", "challenger": "9"})
    crown = {"kind": "crown", "version": "10", "challenger": "9"}
    write_decision(root, at(501.1), "crowned", **answer | crown)
    (item,) = page(history).items
    assert kinds(item) == ["retrain", "contest", "approval", "retrain", "approval", "crown"]
    assert item.id == "1" and item.version == "10" and item.promoted


def test_a_drift_check_that_another_window_s_retrain_follows_stays_alone(
    root: Path, history: History
) -> None:
    write_decision(root, at(0), "drifted", kind="drift", window="2013-05", **NOTHING)
    write_retrain(root, 1, "2013-06", 4, 2)
    write_retrain(root, 2, "2013-07", 6, 5, by_drift=False)
    items = page(history).items
    assert [kinds(item)[0] for item in items] == ["retrain", "drift", "drift"]
    assert [item.id for item in items] == ["7", "2", "1"]


def test_entries_of_direct_calls_without_a_run_stay_apart(root: Path, history: History) -> None:
    write_decision(root, at(0))
    write_decision(root, at(1), "rollback", version="1")
    assert [kinds(item) for item in page(history).items] == [["rollback"], ["contest"]]


def test_pages_follow_one_another_and_none_is_left_out(root: Path, history: History) -> None:
    write_year(root)
    write_many(root, 60)
    first = page(history, limit=25)
    everything = page(history, limit=200)
    assert first.total == everything.total == 60 + 1 + 12 + 1
    ids = [item.id for item in first.items]
    following = first.next
    while following is not None:
        after = page(history, limit=25, before=int(following))
        assert after.total == first.total
        ids += [item.id for item in after.items]
        following = after.next
    assert ids == [item.id for item in everything.items]
    assert len(ids) == len(set(ids)) == everything.total and everything.next is None


def test_a_ledger_longer_than_what_is_searched_at_once_is_paged_to_its_begin(
    root: Path, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.history.checks._SEARCHED", 20)
    write_many(root, 50)
    answer = page(history, limit=15)
    assert (answer.total, answer.first, answer.last) == (20, 31, 50)
    ids = [item.id for item in answer.items]
    while answer.next is not None:
        answer = page(history, limit=15, before=int(answer.next))
        ids += [item.id for item in answer.items]
    assert ids == [str(place) for place in range(50, 0, -1)]
    assert history.decision("toy", 1) is not None and history.decision("toy", 51) is None


def test_items_are_found_by_kind_verdict_and_words(root: Path, history: History) -> None:
    write_year(root)
    assert page(history, kind="crown").total == 3
    assert page(history, kind="contest", verdict="keep").total == 1
    assert page(history, verdict="promoted").total == 3
    assert page(history, verdict="started").total == 0  # all have ended
    assert page(history, text="DEP_delay").total == 2
    assert page(history, text="2013-11").total == 2  # its check, and the contest on it
    assert page(history, text="nowhere").items == []
    # Both on one entry: a promoted retrain has a drifted check, and no drifted contest.
    assert page(history, kind="drift", verdict="drifted").total == 2
    assert page(history, kind="contest", verdict="drifted").total == 0


def test_one_item_is_found_by_any_of_its_entries(root: Path, history: History) -> None:
    write_retrain(root, 0, "2013-06", 4, 2)
    for place in range(1, 6):
        item = history.decision("toy", place)
        assert item is not None and item.id == "1" and len(item.parts) == 5
    assert history.decision("toy", 6) is None


def test_only_one_item_has_what_each_day_adds_to_the_error(root: Path, history: History) -> None:
    write_retrain(root, 0, "2013-06", 4, 2)
    (listed,) = page(history).items
    whole = history.decision("toy", 1)
    assert whole is not None
    for item, days in ((listed, []), (whole, ["2013-05-01", "2013-05-02"])):
        (contest,) = [part.contest for part in item.parts if part.contest]
        assert contest.days == days and contest.main.gain == 0.0214


def test_strangers_in_the_folder_and_unreadable_entries_are_items_of_any_kind(
    root: Path, history: History
) -> None:
    write_many(root, 2)
    folder = root / "decisions" / "toy"
    (folder / "00000001.json").write_text("{")
    for name in ("a.json", "b.json"):
        (folder / name).write_text("not an entry")
    items = page(history, kind="drift").items
    assert [(item.id, item.verdict) for item in items] == [("1", "unreadable")] + 2 * [
        ("0", "unreadable")
    ]
    assert [item.tampered for item in items] == [False, True, True]


def test_an_item_with_a_tampered_entry_says_so(root: Path, history: History) -> None:
    write_retrain(root, 0, "2013-06", 4, 2)
    second = root / "decisions" / "toy" / "00000002.json"
    second.write_text(second.read_text().replace("drift in", "no drift in"))
    assert [item.tampered for item in page(history).items] == [True]


def test_an_empty_ledger_is_an_empty_page(history: History) -> None:
    answer = page(history)
    assert (answer.items, answer.next, answer.total) == ([], None, 0)
    assert history.decision("toy", 1) is None
