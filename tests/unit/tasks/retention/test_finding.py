"""How long each kind is kept: settings, and what the use case says of its log."""

import pytest
from pydantic import ValidationError

from tasks.retention.finding import SETTING, kept_days
from usecases.definition import DriftPolicy, PredictionLogPolicy, UseCase, load


@pytest.fixture
def case(monkeypatch: pytest.MonkeyPatch) -> UseCase:
    for name in SETTING.values():
        monkeypatch.delenv(name, raising=False)
    return load("toy")


def test_by_default_only_what_laurel_made_and_can_do_without_goes(case: UseCase) -> None:
    kept = kept_days(case)
    assert set(kept) == set(SETTING)
    assert {kind for kind, days in kept.items() if days} == {
        "results",
        "report_pages",
        "runs",
        "studies",
    }


def test_the_use_case_says_how_long_its_log_is_kept_and_else_the_setting(
    case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_KEEP_PREDICTIONS_DAYS", "400")
    forever, own = (
        case.model_copy(update={"prediction_log": PredictionLogPolicy(keep_days=days)})
        for days in (0, 50)
    )
    assert [kept_days(one)["predictions"] for one in (case, forever, own)] == [400, 0, 50]
    assert kept_days(own)["feedback"] == 50


def test_a_setting_leaves_a_window_of_the_drift_check(
    case: UseCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_KEEP_PREDICTIONS_DAYS", "2")
    assert kept_days(case)["predictions"] == 32


def test_a_use_case_that_keeps_less_than_a_window_is_refused(case: UseCase) -> None:
    fields = {name: getattr(case, name) for name in UseCase.model_fields}
    fields["prediction_log"] = PredictionLogPolicy(keep_days=20)
    with pytest.raises(ValidationError, match="keep_days is 20.*window of up to 31 days"):
        UseCase(**fields)
    UseCase(**{**fields, "drift": DriftPolicy(window="day")})
