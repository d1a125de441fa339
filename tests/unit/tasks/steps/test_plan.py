"""The hold-out of a training: the latest labelled period, or several of them."""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from usecases._toy_spans import SpanSource
from usecases.toy import toy_rows

from blocks.lake import Lake
from blocks.registry import ModelVersion
from serving.package.manifest import Feature, Manifest
from tasks.data.dataset import (
    DatasetVersion,
    write_version,
)
from tasks.data.ingestion import ingest_period
from tasks.data.room import Room, TooManyRows
from tasks.steps import plan as planning
from tasks.steps import rematch
from tasks.steps.plan import NothingToDo, Plan
from tests.fixtures.packages import write_package
from usecases.definition import UseCase, load


class Versions:
    """A registry that has every version."""

    def version(self, use_case: str, number: str) -> ModelVersion:
        return ModelVersion(use_case, number, "", {})


class World:
    """The toy with some labelled months, and perhaps a champion: version 2, refitted from 1."""

    def __init__(self, case: UseCase, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.case, self.lake = case, Lake(url=f"file://{folder}/lake")
        self.learned: dict[str, list[str]] = {}
        write_package(folder / "package", features=None)
        written = (folder / "package" / "package.json").read_bytes()
        self.manifest = msgspec.json.decode(written, type=Manifest)
        for module in (planning, rematch):
            monkeypatch.setattr(module, "lake", lambda: self.lake)
            monkeypatch.setattr(module, "registry", lambda: Versions())
            monkeypatch.setattr(module, "read_manifest", self._manifest)
        monkeypatch.setattr(planning, "load", lambda use_case: self.case)
        monkeypatch.setattr(planning, "find_champion", lambda use_case: self._champion())
        monkeypatch.setattr(planning, "get_run_logger", _Log)

    def with_holdout_of(self, periods: int) -> "World":
        promotion = self.case.promotion.model_copy(update={"holdout_periods": periods})
        self.case = self.case.model_copy(update={"promotion": promotion})
        return self

    def ingest(self, through: int) -> DatasetVersion:
        months = [f"2024-{month:02d}" for month in range(1, through + 1)]
        files = [ingest_period(self.lake, self.case, month) for month in months]
        return write_version(self.lake, self.case, files)[0]

    def crown(self, fitted_through: int, refitted_through: int) -> None:
        months = [f"2024-{month:02d}" for month in range(1, refitted_through + 1)]
        self.learned = {"1": months[:fitted_through], "2": months}

    def plan(self, **more: Any) -> Plan | NothingToDo:
        asked = {"dataset_version": None, "holdout": None, "seed": 0, **more}
        return planning.plan_training.fn(self.case.name, **asked)

    def judged(self, **more: Any) -> tuple[str, str]:
        """The window and the hold-out of a plan."""
        plan = self.plan(**more)
        assert isinstance(plan, Plan), plan
        return plan.window, plan.holdout

    def nothing(self, **more: Any) -> str:
        plan = self.plan(**more)
        assert isinstance(plan, NothingToDo), plan
        return plan.reason

    def _champion(self) -> ModelVersion | None:
        return ModelVersion("toy", "2", "", {rematch.REFIT_OF: "1"}) if self.learned else None

    def _manifest(self, registry: Versions, version: ModelVersion) -> Manifest:
        months = self.learned[version.number]
        learned = {month: month for month in months}
        return msgspec.structs.replace(
            self.manifest,
            recipe="boosting",
            params={},
            features=[
                Feature(column.name, column.kind, column.nullable) for column in self.case.columns
            ],
            trained_on=learned,
            trained_through=months[-1],
        )


class _Log:
    def warning(self, *message: object) -> None: ...


@pytest.fixture
def world(case: UseCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(case, tmp_path, monkeypatch)


def test_one_period_is_the_hold_out_unless_the_use_case_wants_more(world: World) -> None:
    world.ingest(5)
    assert world.judged() == ("2024-01..2024-04", "2024-05")
    assert world.judged(holdout="2024-03") == ("2024-01..2024-02", "2024-03")
    world.with_holdout_of(2)
    assert world.judged() == ("2024-01..2024-03", "2024-04 + 2024-05")
    assert world.judged(holdout="2024-03") == ("2024-01..2024-01", "2024-02 + 2024-03")


def test_a_first_champion_takes_what_there_is_and_one_period_is_left_to_learn(
    world: World,
) -> None:
    world.with_holdout_of(3).ingest(2)
    assert world.judged() == ("2024-01..2024-01", "2024-02")


def test_a_model_learns_at_most_the_periods_that_it_should(world: World) -> None:
    world.case = world.case.model_copy(update={"train_periods": 2})
    world.ingest(5)
    assert world.judged() == ("2024-03..2024-04", "2024-05")
    assert world.judged(holdout="2024-02") == ("2024-01..2024-01", "2024-02")
    world.learned = {"1": ["2024-03", "2024-04"], "2": ["2024-04", "2024-05"]}
    assert "has learned 2024-05; the latest labelled period is 2024-05." in world.nothing()
    plan = world.plan(again=True)
    assert isinstance(plan, Plan) and plan.rematch is not None
    assert (plan.window, plan.holdout) == ("2024-03..2024-04", "2024-05")


def test_a_champion_of_months_has_learned_the_weeks_in_them(world: World) -> None:
    """The period of a use case was changed: rows of the same days have other names now."""
    world.crown(2, 3)
    weekly = load("toy_weekly")
    source = SpanSource(
        "week", datetime(2024, 2, 26), datetime(2024, 4, 15), datetime(2030, 1, 1), 5
    )
    world.case = weekly.model_copy(update={"source": source, "name": "toy"})
    weeks = source.periods()
    files = [ingest_period(world.lake, world.case, week) for week in weeks]
    write_version(world.lake, world.case, files[:5])
    assert "has learned 2024-03; the latest labelled period is 2024-W13." in world.nothing()
    write_version(world.lake, world.case, files[:6])
    assert "needs 2 later periods with labels, and there is only 2024-W14." in world.nothing()
    write_version(world.lake, world.case, files)
    assert world.judged() == ("2024-W09..2024-W13", "2024-W14 + 2024-W15")


def test_a_contest_waits_until_the_champion_has_learned_none_of_the_hold_out(
    world: World,
) -> None:
    """Half of a hold-out that the champion has learned would be *unfair*."""
    world.with_holdout_of(2).crown(2, 4)
    world.ingest(4)
    assert "has learned 2024-04; the latest labelled period is 2024-04." in world.nothing()
    world.ingest(5)
    assert "needs 2 later periods with labels, and there is only 2024-05." in world.nothing()
    world.ingest(6)
    assert world.judged() == ("2024-01..2024-04", "2024-05 + 2024-06")


def test_a_rematch_is_judged_on_all_that_the_champion_learned_in_its_refit(world: World) -> None:
    """The old definition was fitted on the rows before those; the new one has to be too, whatever
    number of periods a hold-out has by now."""
    world.crown(2, 4)
    world.ingest(4)
    for periods in (1, 2, 3):
        world.with_holdout_of(periods)
        plan = world.plan(again=True)
        assert isinstance(plan, Plan) and plan.rematch is not None
        assert (plan.window, plan.holdout) == ("2024-01..2024-02", "2024-03 + 2024-04")
        assert (plan.rematch.champion, plan.rematch.stand_in) == ("2", "1")
    world.ingest(5)
    world.with_holdout_of(2)
    assert world.judged(again=True) == ("2024-01..2024-02", "2024-03 + 2024-04")


def test_a_hold_out_has_both_classes_if_one_of_its_periods_has(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lost:
        def read(self, period: str) -> pl.DataFrame:
            rows = toy_rows(period)
            return rows.with_columns(won=pl.lit(0, pl.Int8)) if period == "2024-04" else rows

    world.case = world.case.model_copy(update={"source": Lost()})
    world.ingest(4)
    with pytest.raises(planning.HoldoutUnjudgeable, match="The hold-out 2024-04 of 'toy'"):
        world.plan()
    assert world.with_holdout_of(2).judged() == ("2024-01..2024-02", "2024-03 + 2024-04")


def test_more_rows_than_the_stated_memory_holds_are_refused_and_a_sample_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ingest(5)
    monkeypatch.setenv("LAUREL_MEMORY_GIB", "0.7")
    with pytest.raises(TooManyRows, match="LAUREL_MEMORY_GIB says 0.7"):
        world.plan()
    monkeypatch.setenv("LAUREL_MEMORY_GIB", "8")
    assert isinstance(world.plan(), Plan)


def test_machine_that_may_be_too_small_warns_and_trains(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.ingest(3)
    warned: list[str] = []
    monkeypatch.setattr(_Log, "warning", lambda self, *message: warned.append(str(message[0])))
    monkeypatch.setattr(planning, "room_of", lambda stated: Room(1000, stated=False))
    assert isinstance(world.plan(), Plan)
    assert ["this machine has" in line for line in warned] == [True]
