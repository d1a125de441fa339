"""How long each kind is kept: settings, and what the use case says of its log."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.registry import ModelVersion, RegistryAway
from serving.records.ledger import Decision
from serving.records.rollout import Rollout
from tasks.retention.finding import SETTING, find_removable, kept_days
from tests.fakes.heads import HeadRegistry
from tests.fixtures.ledgers import append_in_lake
from tests.fixtures.watched_lake import WatchedLake
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


class Registry(HeadRegistry):
    """MLflow, as far as a running rollout needs it."""

    def __init__(self, rolling: ModelVersion | None = None, away: bool = False) -> None:
        super().__init__()
        self.rolling, self.away = rolling, away

    def at(self, use_case: str, alias: str) -> ModelVersion | None:
        if self.away:
            raise RegistryAway("MLflow is away")
        return self.rolling


def kinds_of_log(lake: WatchedLake, models: Any, case: UseCase) -> tuple[set[str], list[str]]:
    found, problems = find_removable(case, lake, models, datetime.now(UTC))
    return {part.kind for part in found} & {"predictions", "feedback"}, problems


@pytest.fixture
def only_the_log(case: UseCase, monkeypatch: pytest.MonkeyPatch) -> UseCase:
    for name in SETTING.values():
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("LAUREL_KEEP_PREDICTIONS_DAYS", "400")
    return case


def test_a_rollout_that_began_long_ago_keeps_its_log_and_no_other_ledger_is_read_whole(
    only_the_log: UseCase, tmp_path: Path
) -> None:
    lake = WatchedLake(url=f"file://{tmp_path}")
    common: dict[str, Any] = {"use_case": "toy", "time": "2026-01-01T00:00:00+00:00", "by": "a"}
    rollout = Rollout(id="1-a", stages=[], since=common["time"])
    began = Decision(
        kind="rollout", verdict="began", reasons=[], run=None, rollout=rollout, **common
    )
    append_in_lake(lake, began)
    for _ in range(250):
        append_in_lake(
            lake, Decision(kind="drift", verdict="stable", reasons=[], run=None, **common)
        )
    read: list[str] = []
    lake.watch(lambda operation, path: read.append(path) if operation == "read" else None)
    rolling = ModelVersion("toy", "7", "run", {})
    assert kinds_of_log(lake, Registry(rolling), only_the_log) == (set(), [])
    read.clear()
    assert kinds_of_log(lake, Registry(), only_the_log) == ({"predictions", "feedback"}, [])
    assert len(read) == 200


def test_nobody_knows_of_a_rollout_while_mlflow_is_away_so_the_log_stays(
    only_the_log: UseCase, tmp_path: Path
) -> None:
    lake = WatchedLake(url=f"file://{tmp_path}")
    kinds, problems = kinds_of_log(lake, Registry(away=True), only_the_log)
    assert kinds == set() and len(problems) == 2 and "MLflow is away" in problems[0]
