"""A use case in a row, and what needs a person."""

from typing import Any

import pytest

from laurel import fleet
from laurel.fleet import Need, need_of, row

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


def test_a_need_is_told_as_the_service_tells_it_with_the_command_for_it() -> None:
    told_need = {
        "code": "no_champion",
        "numbers": {"message": "none"},
        "href": "#flights",
        "sentence": "no version serves: none",
    }
    one = row(told(champion=None, needs=[told_need], unknown={"champion": "no_champion"}))
    assert one.needs == [Need("flights", **told_need, command="laurel doctor")]


@pytest.mark.parametrize("reason", ["lake_away", "not_read_yet", "scope"])
def test_records_that_could_not_be_read_are_unknown_and_not_absent(reason: str) -> None:
    one = row(told(drift=None, unknown={"p99": "no_requests", "drift": reason}))
    assert one.unknown


def test_a_code_of_a_newer_service_leads_to_the_page() -> None:
    newer = {"code": "rollout_stuck", "numbers": {"day": 3}, "href": "#x", "sentence": "stuck"}
    assert need_of("x", newer) == Need("x", **newer, command="laurel open x")  # type: ignore[arg-type]


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
