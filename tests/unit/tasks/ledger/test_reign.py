"""Who is champion: ledger, alias and service compared, on a small lake and a fake registry."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.lake import Lake
from blocks.message import Message
from blocks.registry import ModelVersion, RegistryAway
from blocks.service import ServiceAway
from serving.records.chain import path_of
from serving.records.ledger import Decision
from tasks.ledger import reign
from tasks.ledger.accepting import accept
from tasks.ledger.entries import Stamp, add_entry, now, read
from tasks.ledger.reign import CrownUnclear, end_crowning, find_champion, find_reign
from tasks.ledger.witness import LedgerTampered
from tests.fakes.heads import HeadRegistry
from tests.fixtures.ledgers import append_in_lake
from tests.fixtures.watched_lake import WatchedLake

CASE = "toy"


def version(number: str, **tags: str) -> ModelVersion:
    package = {
        "laurel.package": f"mlflow-artifacts:/{number}",
        "laurel.package_sha256": f"sha {number}",
    }
    return ModelVersion(CASE, number, f"run {number}", {**package, **tags})


class Registry(HeadRegistry):
    """MLflow's registry, as far as a crown needs it."""

    def __init__(self, *numbers: str) -> None:
        super().__init__()
        self.held = {number: version(number) for number in numbers}
        self.alias: str | None = None
        self.away = False

    def at(self, use_case: str, alias: str) -> ModelVersion | None:
        if self.away:
            raise RegistryAway("MLflow is away")
        return self.held[self.alias] if self.alias else None

    def versions(self, use_case: str) -> list[ModelVersion]:
        return list(self.held.values())

    def set_alias(self, version: ModelVersion, alias: str) -> None:
        self.alias = version.number

    def remove_alias(self, use_case: str, alias: str) -> None:
        self.alias = None

    def tag(self, model_version: ModelVersion, tags: dict[str, str]) -> None:
        self.held[model_version.number] = version(model_version.number, **tags)

    def delete(self, number: str) -> None:
        """Delete as MLflow does: the aliases of a version go with it."""
        del self.held[number]
        self.alias = None if self.alias == number else self.alias


class Service:
    """The service: it serves a version or nothing, or is unreachable."""

    def __init__(self) -> None:
        self.version: str | None = None
        self.away = True

    def describe(self, use_case: str) -> dict[str, Any]:
        if self.away:
            raise ServiceAway("nobody answers")
        return {"version": self.version}


class World:
    """Lake, registry and service, and the messages to people."""

    def __init__(self, root: Path) -> None:
        self.lake, self.registry, self.service = (
            Lake(url=f"file://{root}"),
            Registry("3", "4", "9"),
            Service(),
        )
        self.told: list[str] = []

    def crown(self, number: str | None, verdict: str = "crowned") -> None:
        """Add an entry to the ledger, and set the alias."""
        facts: dict[str, float | str | None] = {"package_sha256": f"sha {number}"}
        decision = Decision(
            use_case=CASE,
            time=now(),
            kind="crown",
            verdict=verdict,
            reasons=[],
            by="a test",
            run=None,
            version=number,
            facts=facts,
        )
        add_entry(self.lake, self.registry, decision)  # type: ignore[arg-type]
        if verdict != "failed":
            self.registry.alias = number

    def tell(self, message: Message) -> None:
        self.told.append(message.headline)

    @property
    def moves(self) -> list[tuple[str, str | None]]:
        return [(entry.verdict, entry.version) for entry in read(self.lake, CASE)]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    new_world = World(tmp_path)
    for name in ("tasks.ledger.reign", "tasks.ledger.entries"):
        monkeypatch.setattr(f"{name}.lake", lambda: new_world.lake)
        monkeypatch.setattr(f"{name}.registry", lambda: new_world.registry)
    monkeypatch.setattr(reign, "service", lambda: new_world.service)
    monkeypatch.setattr(reign, "tell", new_world.tell)
    with disable_run_logger():
        yield new_world


def champion(world: World) -> str | None:
    version = find_champion(CASE)
    return version.number if version else None


def refused(world: World) -> str:
    """Return why the champion is unclear. Nothing is recorded and nothing moves."""
    before = world.moves, world.registry.alias
    with pytest.raises(CrownUnclear) as caught:
        find_champion(CASE)
    assert (world.moves, world.registry.alias, world.told) == (*before, [])
    return str(caught.value)


def test_ledger_and_alias_that_agree_need_nothing(world: World) -> None:
    assert champion(world) is None
    world.crown("4")
    assert champion(world) == "4"
    assert world.moves == [("crowned", "4")] and world.told == []


def test_alias_that_was_deleted_is_set_again_recorded_and_told(world: World) -> None:
    world.crown("3")
    world.crown("4")
    world.registry.alias = None
    assert champion(world) == "4" and world.registry.alias == "4"
    assert world.moves[-1] == ("restored", "4") and len(world.told) == 1
    assert champion(world) == "4" and len(world.told) == 1


def test_registry_that_is_away_is_not_no_champion(world: World) -> None:
    world.crown("4")
    world.registry.away = True
    with pytest.raises(RegistryAway):
        find_champion(CASE)


def test_deleted_version_is_refused_by_name_and_can_be_rolled_back_from(world: World) -> None:
    world.crown("3")
    world.crown("4")
    world.registry.delete("4")
    message = refused(world)
    assert (
        "Champion 4 of 'toy'" in message
        and "00000002.json" in message
        and "laurel run rollback toy" in message
        and "laurel run adopt toy" in message
    )
    reign_now = find_reign(CASE)
    assert (reign_now.champion, reign_now.version, reign_now.alias) == ("4", None, None)


def test_another_package_under_the_champion_s_number_is_not_the_champion(world: World) -> None:
    """A registered model that was deleted and registered again counts its versions from 1."""
    world.crown("4")
    world.registry.held["4"] = ModelVersion(
        CASE, "4", "another run", {"laurel.package_sha256": "another"}
    )
    world.registry.alias = None
    assert "is no longer in MLflow" in refused(world)


def test_alias_that_was_moved_is_refused_by_both_numbers(world: World) -> None:
    world.crown("4")
    world.registry.alias = "9"
    message = refused(world)
    assert "is at version 9, and the ledger crowned version 4 last" in message
    assert "--param version=9" in message and "Or name version 4" in message


def test_registry_from_before_the_ledger_is_taken_into_it(world: World) -> None:
    world.registry.alias = "9"
    assert champion(world) == "9"
    assert world.moves == [("adopted", "9")] and len(world.told) == 1
    assert champion(world) == "9" and len(world.moves) == 1


def test_alias_beside_a_ledger_that_was_lost_is_refused(world: World) -> None:
    world.registry.alias = "9"
    world.registry.tags = {"laurel.ledger": f"17 {'a' * 64}"}
    with pytest.raises(LedgerTampered, match=r"00000017\.json is missing.*accept_ledger/toy"):
        champion(world)


def test_alias_beside_a_lost_ledger_that_was_accepted_is_adopted_by_a_person_alone(
    world: World,
) -> None:
    world.registry.alias = "9"
    world.registry.tags = {"laurel.ledger": f"17 {'a' * 64}"}
    stamp: Stamp = {"time": now(), "by": "a test", "run": None}
    accept(world.lake, world.registry, CASE, "Kim", "lost", stamp)  # type: ignore[arg-type]
    assert "which a person accepted as it stood, crowned nobody" in refused(world)
    assert "laurel run adopt toy" in refused(world)


def test_champion_that_laurel_did_not_register_is_refused(world: World) -> None:
    world.registry.held["9"] = ModelVersion(CASE, "9", "a run", {})
    world.registry.alias = "9"
    assert "it was not registered by Laurel" in refused(world)


def test_version_that_serves_beside_an_empty_ledger_and_no_alias_is_refused(world: World) -> None:
    world.service.away, world.service.version = False, "4"
    assert "The service serves version 4" in refused(world)


def test_version_whose_first_crowning_failed_may_serve_on(world: World) -> None:
    world.crown("4", verdict="failed")
    world.service.away, world.service.version = False, "4"
    assert champion(world) is None


def test_crown_that_a_person_gave_to_nobody_is_no_champion_yet(world: World) -> None:
    world.crown("4")
    world.crown(None, verdict="vacated")
    world.service.away, world.service.version = False, "4"
    assert champion(world) is None
    world.registry.alias = "9"
    assert "left the crown vacant" in refused(world)


def test_crowning_under_way_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.crown("3")
    world.registry.tag(
        version("4"), {reign.CROWNING: (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
    )
    world.registry.alias = "4"
    monkeypatch.setattr("time.sleep", lambda seconds: world.crown("4"))
    assert champion(world) == "4"


def test_crowning_whose_run_was_killed_gives_the_alias_back(world: World) -> None:
    world.crown("3")
    world.registry.tag(
        version("4"), {reign.CROWNING: (datetime.now(UTC) - timedelta(minutes=1)).isoformat()}
    )
    world.registry.alias = "4"
    assert champion(world) == "3" and world.registry.alias == "3"
    assert world.moves[-1] == ("failed", "4") and "deployment of version 4 failed" in world.told[0]


def test_lost_run_has_its_crowning_taken_back_and_what_a_person_moved_is_left_to_a_person(
    world: World,
) -> None:
    world.crown("3")
    world.registry.alias = "9"
    end_crowning(CASE)
    assert world.registry.alias == "9" and world.told == []
    world.registry.tag(
        version("4"), {reign.CROWNING: (datetime.now(UTC) - timedelta(minutes=1)).isoformat()}
    )
    world.registry.alias = "4"
    end_crowning(CASE)
    assert world.registry.alias == "3" and world.moves[-1] == ("failed", "4")


def test_long_ledger_without_a_crown_of_late_is_read_to_its_beginning(world: World) -> None:
    world.crown("4")
    for place in range(60):
        add_entry(
            world.lake,
            world.registry,  # type: ignore[arg-type]
            Decision(
                use_case=CASE,
                time=now(),
                kind="drift",
                verdict="stable",
                reasons=[f"{place}"],
                by="a test",
                run=None,
            ),
        )
    assert champion(world) == "4"


def count_reads(lake: Lake, use_case: str = CASE) -> tuple[str | None, int]:
    """The version that was crowned last, and how many entries were read to know it."""
    watched, read_paths = WatchedLake(url=lake.url), list[str]()
    watched.watch(lambda operation, path: read_paths.append(path) if operation == "read" else None)
    entry = reign.last_move(watched, use_case)
    return (entry.version if entry else None), len(read_paths)


def add(lake: Lake, mlflow: Any, kind: str, verdict: str, place: int) -> None:
    named = Stamp(time=now(), by="a test", run=f"run {place}")
    decision = Decision(
        use_case=CASE, kind=kind, verdict=verdict, reasons=[], version=str(place), **named
    )
    if mlflow is None:
        append_in_lake(lake, decision)
    else:
        add_entry(lake, mlflow, decision)


def test_the_last_entry_says_where_the_crown_moved_however_long_ago(tmp_path: Path) -> None:
    """All of a year of daily checks was read, at each check, if no challenger had won."""
    lake, mlflow = Lake(url=f"file://{tmp_path}"), HeadRegistry()
    assert count_reads(lake) == (None, 0)
    for place in range(1, 71):
        crown = place in (3, 9)
        add(lake, mlflow, *(("crown", "crowned") if crown else ("drift", "stable")), place)
        if place in (1, 2, 3, 8, 9):
            crowned = {1: None, 2: None, 3: "3", 8: "3", 9: "9"}[place]
            assert count_reads(lake)[0] == crowned
    assert count_reads(lake) == ("9", 2)
    (Path(lake.url.removeprefix("file://")) / path_of(CASE, 9)).unlink()
    assert count_reads(lake)[0] == "3"


def test_a_ledger_of_an_older_version_is_read_as_far_back_as_the_crown(tmp_path: Path) -> None:
    lake, mlflow = Lake(url=f"file://{tmp_path}"), HeadRegistry()
    for place in range(1, 101):
        crown = place in (10, 60)
        add(lake, None, *(("crown", "crowned") if crown else ("drift", "stable")), place)
    assert count_reads(lake) == ("60", 1 + 64)
    add(lake, mlflow, "drift", "stable", 101)
    assert count_reads(lake) == ("60", 1 + 64)
    add(lake, mlflow, "crown", "vacated", 102)
    add(lake, mlflow, "drift", "stable", 103)
    assert count_reads(lake) == ("102", 2)
