import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.champion import ChampionWatch
from serving.errors import RegistryAway
from serving.metrics import Metrics
from serving.package import Feature
from serving.package_cache import PackageCache
from serving.registry import Registry
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import write_package


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer(tmp_path / "artifacts") as server:
        for version in (1, 2, 3, 4):
            server.register("toy", version, lambda folder, bias=version / 10: write_package(folder, bias=bias))
        server.crown("toy", 1)
        yield server


def watch_of(url: str, folder: Path, poll_seconds: float = 1e-6) -> ChampionWatch:
    return ChampionWatch("toy", Registry(url), PackageCache(folder / "cache"), poll_seconds, Metrics())


@pytest.fixture
def watch(mlflow: RegistryServer, tmp_path: Path) -> ChampionWatch:
    return watch_of(mlflow.url, tmp_path)


def version(watch: ChampionWatch) -> str | None:
    return watch.champion.version if watch.champion else None


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_watch_follows_the_alias_and_back(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    seen = []
    for crowned in (1, 2, 1):
        mlflow.crown("toy", crowned)
        watch.check()
        seen.append(version(watch))
    assert seen == ["1", "2", "1"]
    assert watch.last_error is None


def test_the_same_version_is_fetched_once(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    for _ in range(3):
        watch.check()
    assert sum("artifacts" in path for path in mlflow.asked) == 3  # package.json, model.onnx, smoke.json
    assert not any("reference" in path for path in mlflow.asked)


def test_going_back_to_the_version_before_needs_no_download(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    for crowned in (1, 2, 1):
        mlflow.crown("toy", crowned)
        watch.check()
    assert sum("run-toy-1/" in path for path in mlflow.asked) == 3


def test_only_the_last_two_packages_stay_on_disk(mlflow: RegistryServer, watch: ChampionWatch, tmp_path: Path) -> None:
    for crowned in (1, 2, 3, 4):
        mlflow.crown("toy", crowned)
        watch.check()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["3", "4", "champion.json"]


@pytest.mark.parametrize("name", ["package.json", "model.onnx", "smoke.json"])
def test_a_flipped_byte_keeps_the_old_champion_and_leaves_nothing_on_disk(
    mlflow: RegistryServer, watch: ChampionWatch, tmp_path: Path, name: str
) -> None:
    watch.check()
    flip_byte(mlflow.package_folder("toy", 2) / name)
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "1"
    assert "Version 2 is refused" in str(watch.last_error) and name in str(watch.last_error)
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["1", "champion.json"]


def test_a_package_that_was_damaged_on_this_disk_is_fetched_again(mlflow: RegistryServer, tmp_path: Path) -> None:
    watch_of(mlflow.url, tmp_path).check()
    flip_byte(tmp_path / "cache" / "1" / "model.onnx")
    again = watch_of(mlflow.url, tmp_path)
    again.restore()
    assert version(again) is None and "cannot be restored" in str(again.last_error)
    again.check()
    assert version(again) == "1" and again.last_error is None


def test_a_repaired_package_is_taken_at_a_later_look(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    watch.check()
    file = mlflow.package_folder("toy", 2) / "model.onnx"
    flip_byte(file)
    mlflow.crown("toy", 2)
    watch.check()
    flip_byte(file)
    watch.check()
    assert version(watch) == "2" and watch.last_error is None


def test_a_refused_version_is_not_fetched_at_every_look(mlflow: RegistryServer, tmp_path: Path) -> None:
    watch = watch_of(mlflow.url, tmp_path, poll_seconds=60.0)
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    for _ in range(3):
        watch.check()
    assert sum("model.onnx" in path for path in mlflow.asked) == 1
    assert "refused" in str(watch.last_error)


@pytest.mark.parametrize(
    "tags", [{}, {"laurel.package": "mlflow-artifacts:/1/run-toy-2/artifacts/package"}, {"laurel.package_sha256": "0"}]
)
def test_a_version_without_its_tags_is_refused(mlflow: RegistryServer, watch: ChampionWatch, tags: dict[str, str]) -> None:
    watch.check()
    mlflow.versions["toy", 2] = tags
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "1" and "has no tags laurel.package" in str(watch.last_error)


@pytest.mark.parametrize(
    ("uri", "told"), [("mlflow-artifacts:/1/nowhere/package", "no package.json"), ("s3://bucket/package", "reads mlflow-artifacts:/")]
)
def test_a_package_that_is_elsewhere_is_refused(mlflow: RegistryServer, watch: ChampionWatch, uri: str, told: str) -> None:
    mlflow.versions["toy", 1]["laurel.package"] = uri
    watch.check()
    assert version(watch) is None and told in str(watch.last_error)


def test_a_package_of_another_use_case_is_refused(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    mlflow.register("toy", 5, lambda folder: write_package(folder, use_case="other"))
    mlflow.crown("toy", 5)
    watch.check()
    assert version(watch) is None and "'other'" in str(watch.last_error)


def test_a_package_with_a_field_named_like_the_event_time_is_refused(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    clash = [Feature("time_hour", "category", nullable=True), Feature("distance", "number", False), Feature("wind", "number", True)]
    mlflow.register("toy", 5, lambda folder: write_package(folder, features=clash))
    mlflow.crown("toy", 5)
    watch.check()
    assert version(watch) is None and "Version 5 is refused" in str(watch.last_error)


def test_an_alias_that_is_gone_is_said_and_the_last_champion_serves(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    watch.check()
    del mlflow.champions["toy"]
    watch.check()
    assert version(watch) == "1" and watch.alias_version is None
    assert "Version 1 keeps serving" in str(watch.last_error)


def test_a_model_that_nobody_registered_is_no_failure_of_the_registry(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    mlflow.versions.clear()
    watch.check()
    assert version(watch) is None and "nothing to serve yet" in str(watch.last_error)


def test_a_registry_that_is_away_is_waited_for_longer_and_longer_and_then_followed(mlflow: RegistryServer, tmp_path: Path) -> None:
    watch = watch_of(mlflow.url, tmp_path, poll_seconds=2.0)
    mlflow.broken = True
    waits = []
    for _ in range(6):
        watch.check()
        waits.append(watch.wait_seconds())
    assert "answers 500" in str(watch.last_error)
    assert waits[0] < waits[2] and max(waits) <= 15.0 * 1.2
    mlflow.broken = False
    watch.check()
    assert version(watch) == "1" and watch.wait_seconds() <= 2.0 * 1.2


def test_a_restart_with_the_registry_away_serves_the_last_good_version(
    mlflow: RegistryServer, watch: ChampionWatch, tmp_path: Path
) -> None:
    mlflow.crown("toy", 2)
    watch.check()
    again = watch_of("http://127.0.0.1:1", tmp_path)
    again.restore()
    again.check()
    assert version(again) == "2"
    assert "cannot be reached" in str(again.last_error)


def test_the_same_failure_is_logged_once(watch: ChampionWatch, mlflow: RegistryServer, caplog: pytest.LogCaptureFixture) -> None:
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.check()
    assert len([record for record in caplog.records if "refused" in record.message]) == 1
    assert watch._metrics.registry.get_sample_value("laurel_swap_failures_total", {"use_case": "toy", "reason": "package"}) == 3


def test_something_else_on_the_registrys_port_is_no_registry(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(RegistryAway, match="cannot be reached"):
        Registry(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_seconds=0.2).champion("toy")
