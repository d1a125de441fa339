"""A use case in a row, and what needs a person."""

import ast
from typing import Any

import pytest

from blocks.settings import REPOSITORY
from laurel import fleet
from laurel.fleet import NEEDS, Need, need_of, row

SINCE = "2026-11-18T09:12:00+00:00"


def told(**fields: Any) -> dict[str, Any]:
    usual = {
        "use_case": "flights",
        "needs": [],
        "champion": {"version": "7", "since": SINCE},
        "live": {"metric": "roc_auc", "value": 0.771, "coverage": 0.64},
        "holdout": {"metric": "roc_auc", "value": 0.788},
        "drift": {"window": "2013-06", "outcome": "drifted", "share": 0.67},
        "traffic": {"requests_per_second": 41.2, "p99": 0.004},
        "retrain": {"verdict": "kept", "time": "2026-11-30T10:00:00+00:00"},
        "unknown": {},
    }
    return usual | fields


def test_a_row_has_what_the_service_tells() -> None:
    one = row(told())
    assert (one.champion, one.live, one.coverage, one.holdout) == ("7", 0.771, 0.64, 0.788)
    assert (one.window, one.drift, one.share, one.last) == ("2013-06", "drifted", 0.67, "kept")
    assert one.since is not None and one.since.isoformat() == SINCE
    assert (one.needs, one.unknown) == ([], "")


def test_what_is_not_there_stays_unknown() -> None:
    nothing = dict.fromkeys(("champion", "live", "holdout", "drift", "retrain"))
    one = row(told(**nothing, unknown={"champion": "no_champion"}))
    assert (one.champion, one.since, one.live, one.holdout, one.drift, one.last) == (None,) * 6
    assert (one.needs, one.unknown) == ([], "")


def test_a_champion_that_is_lost_needs_somebody() -> None:
    needs = [{"code": "no_champion", "numbers": {"message": "none"}, "href": "#flights"}]
    one = row(told(champion=None, needs=needs, unknown={"champion": "no_champion"}))
    assert one.needs == [Need("flights", "no version serves", "laurel doctor")]


@pytest.mark.parametrize("reason", ["lake_away", "not_read_yet", "scope"])
def test_records_that_could_not_be_read_are_unknown_and_not_absent(reason: str) -> None:
    one = row(told(drift=None, unknown={"p99": "no_requests", "drift": reason}))
    assert one.unknown


def test_a_waiting_challenger_is_told_with_its_gain() -> None:
    numbers = {"challenger": "9", "champion": "7", "gain": 0.0214}
    need = need_of("flights", {"code": "approval", "numbers": numbers})
    assert need == Need("flights", "approve v9 over v7 (gain +0.021)", "laurel approve flights")
    first = need_of(
        "x", {"code": "approval", "numbers": dict.fromkeys(numbers) | {"challenger": "1"}}
    )
    assert first.sentence == "approve v1"


def test_each_code_of_the_service_has_words() -> None:
    codes = {"approval", *NEEDS}
    for path in ("serving/history/fleet.py", "serving/routes/fleet.py"):
        for node in ast.walk(ast.parse((REPOSITORY / path).read_text())):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Need":
                continue
            if isinstance(node.args[0], ast.Constant):
                assert node.args[0].value in codes


def test_a_need_has_its_numbers_and_one_of_a_newer_service_its_code() -> None:
    broken = need_of("x", {"code": "broken", "numbers": {"window": "2013-06"}})
    assert broken == Need("x", "data of 2013-06 are broken", "laurel open x")
    newer = need_of("x", {"code": "rollout_stuck", "numbers": {"day": 3}})
    assert newer == Need("x", "rollout stuck", "laurel open x")


class JustStarted:
    """A service that has read its records when it is asked for the third time."""

    def __init__(self) -> None:
        self.asked = 0

    def ask(self, method: str, path: str) -> Any:
        self.asked += 1
        unknown = {} if self.asked > 2 else {"drift": "not_read_yet"}
        return {"use_cases": [told(unknown=unknown)]}


def test_a_service_that_has_just_started_is_given_time_to_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleet.time, "sleep", lambda seconds: None)
    service = JustStarted()
    (one,) = fleet.read_fleet(service)  # type: ignore[arg-type]
    assert (one.unknown, service.asked) == ("", 3)
    monkeypatch.setattr(fleet, "READING_SECONDS", -1.0)
    (one,) = fleet.read_fleet(JustStarted())  # type: ignore[arg-type]
    assert one.unknown == "the service is still reading its records"
