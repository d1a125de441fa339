"""A second role beside the champion, played by ``shadow``: its version is loaded, kept and swapped
on its own, and answers nobody.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks.clients.registry import ROLLOUT
from serving.champions.champion import ChampionWatch
from serving.champions.package_cache import PackageCache
from serving.metrics.counters import Metrics
from serving.outside.model_folder import ModelFolder
from serving.outside.registry import Registry
from serving.package.manifest import MANIFEST
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import write_package

SHADOW = "shadow"


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in range(1, 7):
            server.register(
                "toy", version, lambda folder, bias=version / 10: write_package(folder, bias=bias)
            )
        server.crown("toy", 1)
        yield server


def watches_of(url: str, folder: Path) -> list[ChampionWatch]:
    """The watches of the champion and the shadow, of one worker."""
    return [
        ChampionWatch(
            "toy", Registry(url), PackageCache(folder / "cache", role), 1e-6, Metrics(), role=role
        )
        for role in ("champion", SHADOW)
    ]


@pytest.fixture
def watches(mlflow: RegistryServer, tmp_path: Path) -> list[ChampionWatch]:
    return watches_of(mlflow.url, tmp_path)


def name(mlflow: RegistryServer, champion: int, shadow: int | None) -> None:
    mlflow.crown("toy", champion)
    mlflow.aliases.pop(("toy", SHADOW), None)
    if shadow is not None:
        mlflow.aliases["toy", SHADOW] = shadow


def look(watches: list[ChampionWatch]) -> list[str | None]:
    for watch in watches:
        watch.check()
    return [watch.champion.version if watch.champion else None for watch in watches]


def on_disk(folder: Path) -> set[str]:
    return {path.name for path in (folder / "cache").iterdir() if path.is_dir()}


def test_each_role_is_swapped_on_its_own(
    mlflow: RegistryServer, watches: list[ChampionWatch]
) -> None:
    versions = []
    for champion, shadow in [(1, 2), (1, 3), (4, 3), (3, 4)]:
        name(mlflow, champion, shadow)
        versions.append(look(watches))
    assert versions == [["1", "2"], ["1", "3"], ["4", "3"], ["3", "4"]]
    assert [watch.champion.role for watch in watches if watch.champion] == ["champion", SHADOW]
    assert [watch.last_error for watch in watches] == [None, None]


def test_packages_of_every_role_stay_on_disk_with_those_before_and_no_others(
    mlflow: RegistryServer, watches: list[ChampionWatch], tmp_path: Path
) -> None:
    for champion, shadow in [(1, 2), (3, 2), (4, 2), (4, 5), (4, 6)]:
        name(mlflow, champion, shadow)
        look(watches)
    assert on_disk(tmp_path) == {"3", "4", "5", "6"}


def test_a_restart_with_the_registry_away_restores_every_role(
    mlflow: RegistryServer, watches: list[ChampionWatch], tmp_path: Path
) -> None:
    name(mlflow, 1, 2)
    look(watches)
    name(mlflow, 3, 2)
    look(watches)
    mlflow.broken = True
    after = watches_of(mlflow.url, tmp_path)
    for watch in after:
        watch.restore()
    assert look(after) == ["3", "2"]


def test_a_role_that_nobody_has_any_more_is_let_go_and_the_champion_stays(
    mlflow: RegistryServer, watches: list[ChampionWatch], tmp_path: Path
) -> None:
    name(mlflow, 1, 2)
    look(watches)
    name(mlflow, 1, None)
    del mlflow.champions["toy"]
    assert look(watches) == ["1", None]
    assert watches[1].last_error is None and "alias 'champion'" in str(watches[0].last_error)
    name(mlflow, 3, None)
    assert look(watches) == ["3", None] and on_disk(tmp_path) == {"1", "3"}


def test_a_refused_shadow_costs_the_champion_nothing(
    mlflow: RegistryServer, watches: list[ChampionWatch]
) -> None:
    name(mlflow, 1, 2)
    (mlflow.package_folder("toy", 2) / MANIFEST).write_bytes(b"{}")
    assert look(watches) == ["1", None]
    assert watches[0].last_error is None and "Version 2 is refused" in str(watches[1].last_error)


def test_a_package_that_is_about_to_serve_is_not_deleted_by_another_role(
    mlflow: RegistryServer, watches: list[ChampionWatch], tmp_path: Path
) -> None:
    """Another worker's champion is swapped while this one has just fetched the shadow's package."""
    champion, shadow = watches
    name(mlflow, 1, 2)
    look([champion])
    name(mlflow, 3, 2)
    other = watches_of(mlflow.url, tmp_path)[0]
    fetch = shadow._cache.get

    def fetch_while_another_swaps(*arguments: Any) -> Any:
        package = fetch(*arguments)
        other.check()
        return package

    shadow._cache.get = fetch_while_another_swaps  # type: ignore[method-assign]
    assert look([shadow]) == ["2"] and shadow.last_error is None
    assert look([other]) == ["3"] and on_disk(tmp_path) == {"1", "2", "3"}


def test_a_model_folder_has_a_champion_and_no_other_role(tmp_path: Path) -> None:
    write_package(tmp_path)
    folder = ModelFolder(tmp_path)
    assert folder.champion("toy") is not None and folder.at("toy", SHADOW) is None


def test_the_registry_is_asked_rarely_while_nothing_is_rolled_out(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    watch = ChampionWatch(
        "toy",
        Registry(mlflow.url),
        PackageCache(tmp_path / "cache", ROLLOUT),
        2.0,
        Metrics(),
        role=ROLLOUT,
    )
    watch.check()
    assert watch.wait_seconds() >= 5 * 2.0 * 0.8
    mlflow.versions["toy", 2]["laurel.rollout"] = '{"id": "first", "kind": "canary", "share": 0.1}'
    mlflow.aliases["toy", ROLLOUT] = 2
    watch.check()
    assert watch.champion is not None and watch.wait_seconds() <= 2.0 * 1.2
    mlflow.broken = True
    watch.check()
    assert watch.wait_seconds() <= 4.0 * 1.2
