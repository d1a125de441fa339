"""Flows run as often as suits the period of their use case."""

from typing import Any

import pytest

from blocks.settings import Settings
from deployments.apply.written import written_deployments
from usecases.definition import AB, Canary, DriftPolicy, Shadow, load


def crons(**changes: Any) -> dict[str, tuple[str, bool]]:
    case = load("toy").model_copy(update=changes)
    return {
        spec["entrypoint"].split(".")[-1]: (schedule["cron"], schedule.get("active", True))
        for spec in written_deployments(Settings(), {"toy": case})
        for schedule in spec["schedules"]
    }


def test_months_are_scheduled_as_prefect_yaml_says() -> None:
    assert crons() == {
        "ingest": ("0 5 * * *", True),
        "tidy": ("30 3 * * *", True),
        "drift_check": ("0 6 * * *", True),
        "rollout": ("40 6 * * *", True),
        "retrain": ("0 7 1 * *", False),
    }


@pytest.mark.parametrize(
    ("period", "ingest", "check", "retrain"),
    [
        ("hour", "5 * * * *", "20 * * * *", "0 7 * * *"),
        ("day", "0 5 * * *", "0 6 * * *", "0 7 * * *"),
        ("week", "0 5 * * *", "0 6 * * *", "0 7 * * 1"),
        ("quarter", "0 5 * * *", "0 6 * * *", "0 7 1 1,4,7,10 *"),
    ],
)
def test_other_periods_have_schedules_that_suit_them(
    period: str, ingest: str, check: str, retrain: str
) -> None:
    expected = {"ingest": (ingest, True), "drift_check": (check, True), "retrain": (retrain, False)}
    scheduled = crons(period=period)
    assert scheduled.pop("rollout") == ("40 6 * * *", True)
    assert scheduled.pop("tidy") == ("30 3 * * *", True)
    assert scheduled == expected


@pytest.mark.parametrize(
    ("rollout", "cron"),
    [
        (Shadow(), "40 * * * *"),
        (AB(), "40 * * * *"),
        ((Shadow(), Canary()), "*/10 * * * *"),
    ],
)
def test_a_rollout_is_looked_at_as_often_as_it_changes(rollout: Any, cron: str) -> None:
    assert crons(rollout=rollout)["rollout"] == (cron, True)


@pytest.mark.parametrize(
    ("period", "window", "check"),
    [("hour", "7d", "0 6 * * *"), ("day", "12h", "20 * * * *"), ("month", "1w", "0 6 * * *")],
)
def test_drift_is_checked_by_its_own_windows(period: str, window: str, check: str) -> None:
    scheduled = crons(period=period, drift=DriftPolicy(window=window))
    assert scheduled["drift_check"] == (check, True)
