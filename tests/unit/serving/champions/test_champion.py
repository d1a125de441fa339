import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
import pytest

from serving.champions.champion import ChampionWatch
from serving.champions.package_cache import PackageCache
from serving.errors import RegistryAway
from serving.metrics.counters import Metrics
from serving.outside.registry import Registry
from serving.outside.slack import Slack
from serving.package.manifest import MANIFEST, Feature, digest
from tests.fakes.registry import RegistryServer
from tests.fakes.slack import SlackServer
from tests.fixtures.packages import write_package
from tests.fixtures.processes import wait_until


class BusyRegistry(RegistryServer):
    """Calls ``while_fetching`` with the path of each file of a package, when it has read it and
    before it sends it.
    """

    while_fetching: Callable[[str], None] = staticmethod(lambda path: None)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, bytes]:
        answer = super().answer(path, query)
        if "mlflow-artifacts" in path:
            self.while_fetching(path)
        return answer


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[BusyRegistry]:
    with BusyRegistry(tmp_path / "artifacts") as server:
        for version in (1, 2, 3, 4):
            server.register(
                "toy", version, lambda folder, bias=version / 10: write_package(folder, bias=bias)
            )
        server.crown("toy", 1)
        yield server


def watch_of(
    url: str,
    folder: Path,
    poll_seconds: float = 1e-6,
    slack: SlackServer | None = None,
    away_seconds: float = 60.0,
) -> ChampionWatch:
    """A worker's watch: several with the same ``folder`` are workers of one service."""
    client = Slack(slack.token, "#ml", slack.url) if slack else None
    return ChampionWatch(
        "toy",
        Registry(url),
        PackageCache(folder / "cache"),
        poll_seconds,
        Metrics(),
        client,
        away_seconds=away_seconds,
    )


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
    versions = []
    for crowned in (1, 2, 1):
        mlflow.crown("toy", crowned)
        watch.check()
        versions.append(version(watch))
    assert versions == ["1", "2", "1"]
    assert watch.last_error is None


def test_the_same_version_is_fetched_once(mlflow: RegistryServer, watch: ChampionWatch) -> None:
    for _ in range(3):
        watch.check()
    assert (
        sum("artifacts" in path for path in mlflow.requests) == 3
    )  # package.json, model.onnx, smoke.json
    assert not any("reference" in path for path in mlflow.requests)


def test_going_back_to_the_version_before_needs_no_download(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    for crowned in (1, 2, 1):
        mlflow.crown("toy", crowned)
        watch.check()
    assert sum("run-toy-1/" in path for path in mlflow.requests) == 3


def test_only_the_last_two_packages_stay_on_disk(
    mlflow: RegistryServer, watch: ChampionWatch, tmp_path: Path
) -> None:
    for crowned in (1, 2, 3, 4):
        mlflow.crown("toy", crowned)
        watch.check()
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == [
        "3",
        "4",
        "champion.json",
    ]


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


def test_a_package_that_was_damaged_on_this_disk_is_fetched_again(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    watch_of(mlflow.url, tmp_path).check()
    flip_byte(tmp_path / "cache" / "1" / "model.onnx")
    again = watch_of(mlflow.url, tmp_path)
    again.restore()
    assert version(again) is None and "cannot be restored" in str(again.last_error)
    again.check()
    assert version(again) == "1" and again.last_error is None


def test_a_repaired_package_is_taken_at_a_later_look(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    watch.check()
    file = mlflow.package_folder("toy", 2) / "model.onnx"
    flip_byte(file)
    mlflow.crown("toy", 2)
    watch.check()
    flip_byte(file)
    watch.check()
    assert version(watch) == "2" and watch.last_error is None


def test_a_refused_version_is_not_fetched_at_every_look(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
    watch = watch_of(mlflow.url, tmp_path, poll_seconds=60.0)
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    for _ in range(3):
        watch.check()
    assert sum("model.onnx" in path for path in mlflow.requests) == 1
    assert "refused" in str(watch.last_error)


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"laurel.package": "mlflow-artifacts:/1/run-toy-2/artifacts/package"},
        {"laurel.package_sha256": "0"},
    ],
)
def test_a_version_without_its_tags_is_refused(
    mlflow: RegistryServer, watch: ChampionWatch, tags: dict[str, str]
) -> None:
    watch.check()
    mlflow.versions["toy", 2] = tags
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "1" and "has no tags laurel.package" in str(watch.last_error)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("mlflow-artifacts:/1/nowhere/package", "no package.json"),
        ("s3://bucket/package", "reads only mlflow-artifacts:/"),
    ],
)
def test_a_package_that_is_elsewhere_is_refused(
    mlflow: RegistryServer, watch: ChampionWatch, uri: str, told: str
) -> None:
    mlflow.versions["toy", 1]["laurel.package"] = uri
    watch.check()
    assert version(watch) is None and told in str(watch.last_error)


def test_a_package_of_another_use_case_is_refused(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    mlflow.register("toy", 5, lambda folder: write_package(folder, use_case="other"))
    mlflow.crown("toy", 5)
    watch.check()
    assert version(watch) is None and "'other'" in str(watch.last_error)


def test_a_package_with_a_field_named_like_the_event_time_is_refused(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    clash = [
        Feature("time_hour", "category", nullable=True),
        Feature("distance", "number", False),
        Feature("wind", "number", True),
    ]
    mlflow.register("toy", 5, lambda folder: write_package(folder, features=clash))
    mlflow.crown("toy", 5)
    watch.check()
    assert version(watch) is None and "Version 5 is refused" in str(watch.last_error)


def test_an_alias_that_is_gone_is_said_and_the_last_champion_serves(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    watch.check()
    del mlflow.champions["toy"]
    watch.check()
    assert version(watch) == "1" and watch.alias_version is None
    assert "Version 1 keeps serving" in str(watch.last_error)


def test_a_model_that_nobody_registered_is_no_failure_of_the_registry(
    mlflow: RegistryServer, watch: ChampionWatch
) -> None:
    mlflow.versions.clear()
    watch.check()
    assert version(watch) is None and "nothing to serve yet" in str(watch.last_error)


def test_a_registry_that_is_away_is_waited_for_longer_and_longer_and_then_followed(
    mlflow: RegistryServer, tmp_path: Path
) -> None:
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


def test_the_same_failure_is_logged_once(
    watch: ChampionWatch, mlflow: RegistryServer, caplog: pytest.LogCaptureFixture
) -> None:
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            watch.check()
    assert len([record for record in caplog.records if "refused" in record.message]) == 1
    assert (
        watch._metrics.registry.get_sample_value(
            "laurel_swap_failures_total", {"use_case": "toy", "reason": "package"}
        )
        == 3
    )


def test_something_else_on_the_registrys_port_is_no_registry(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        pytest.raises(RegistryAway, match="cannot be reached"),
    ):
        Registry(f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_seconds=0.2).champion("toy")


def test_404_of_another_program_is_no_word_on_a_champion(tmp_path: Path) -> None:
    with RegistryServer(tmp_path) as server:
        assert Registry(server.url).champion("toy") is None
        with pytest.raises(RegistryAway, match="answers 404"):
            Registry(f"{server.url}/elsewhere").champion("toy")


def test_a_package_of_another_format_is_refused(mlflow: BusyRegistry, watch: ChampionWatch) -> None:
    watch.check()
    manifest = mlflow.package_folder("toy", 2) / MANIFEST
    document = msgspec.json.decode(manifest.read_bytes()) | {"format": 99}
    manifest.write_bytes(msgspec.json.encode(document))
    mlflow.versions["toy", 2]["laurel.package_sha256"] = digest(manifest.read_bytes())
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "1" and "format 99" in str(watch.last_error)


def test_an_alias_that_goes_back_during_the_fetch_is_not_followed_to_where_it_was(
    mlflow: BusyRegistry, watch: ChampionWatch
) -> None:
    watch.check()
    mlflow.while_fetching = lambda path: mlflow.crown("toy", 1)
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "1" and watch.last_error is None
    assert (
        watch._metrics.registry.get_sample_value("laurel_swaps_total", {"use_case": "toy"}) is None
    )


def test_an_alias_that_moves_on_during_the_fetch_is_followed_at_once(
    mlflow: BusyRegistry, watch: ChampionWatch
) -> None:
    watch.check()
    mlflow.while_fetching = lambda path: mlflow.crown("toy", 3)
    mlflow.crown("toy", 2)
    watch.check()
    assert version(watch) == "3"
    assert watch._metrics.registry.get_sample_value("laurel_swaps_total", {"use_case": "toy"}) == 1


def test_of_two_looks_at_once_the_older_answer_never_wins(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    """The first look is about to swap to version 2 when the alias moves to 3 and a second look
    begins.
    """
    swapping, moved = threading.Event(), threading.Event()

    class SlowDisk(PackageCache):
        def keep(self, version: str, sha256: str) -> None:
            if version == "2":
                swapping.set()
                assert moved.wait(30)
            super().keep(version, sha256)

    watch = ChampionWatch(
        "toy", Registry(mlflow.url), SlowDisk(tmp_path / "cache"), 1e-6, Metrics()
    )
    mlflow.crown("toy", 2)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(watch.check)
        assert swapping.wait(30)
        mlflow.crown("toy", 3)
        quick = pool.submit(watch.check)
        wait([quick], timeout=0.5)  # it must wait for the first; if it does not, it is done by now
        moved.set()
        slow.result(30)
        quick.result(30)
    assert version(watch) == "3"


def test_a_registry_that_goes_away_after_the_fetch_does_not_stop_the_swap(
    mlflow: BusyRegistry, watch: ChampionWatch
) -> None:
    def go_away(path: str) -> None:
        mlflow.broken = path.endswith("smoke.json")

    mlflow.while_fetching = go_away
    watch.check()
    assert mlflow.broken and version(watch) == "1"


def test_workers_that_want_the_same_version_at_once_fetch_it_once(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    watches = [watch_of(mlflow.url, tmp_path) for _ in range(4)]
    together = threading.Barrier(4)

    def look(watch: ChampionWatch) -> None:
        together.wait()
        watch.check()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(look, watches))
    assert [(version(watch), watch.last_error) for watch in watches] == [("1", None)] * 4
    assert sum("artifacts" in path for path in mlflow.requests) == 3
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["1", "champion.json"]


def test_a_worker_whose_sibling_dies_in_the_middle_of_a_fetch_fetches_itself(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    partial = tmp_path / "cache" / "1.0123abcd.partial"
    partial.mkdir(parents=True)
    (tmp_path / "cache" / "1.lock").touch()  # nobody holds it any more
    (partial / "package.json").write_text("half")
    watch = watch_of(mlflow.url, tmp_path)
    watch.check()
    assert version(watch) == "1"


def test_a_poke_of_any_worker_makes_all_look_long_before_their_poll(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    watches = [watch_of(mlflow.url, tmp_path, poll_seconds=3600) for _ in range(2)]

    async def follow() -> list[str | None]:
        running = [asyncio.create_task(watch.run()) for watch in watches]
        await until(lambda: [version(watch) for watch in watches] == ["1", "1"])
        mlflow.crown("toy", 2)
        watches[0].poke()
        await until(lambda: [version(watch) for watch in watches] == ["2", "2"])
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        return [version(watch) for watch in watches]

    assert asyncio.run(follow()) == ["2", "2"]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_whoever_waits_for_swaps_is_called_after_each(mlflow: BusyRegistry, tmp_path: Path) -> None:
    served: list[str | None] = []
    watch = ChampionWatch(
        "toy",
        Registry(mlflow.url),
        PackageCache(tmp_path / "cache"),
        1e-6,
        Metrics(),
        on_swap=lambda: served.append(version(watch)),
    )
    for crowned in (1, 1, 2):
        mlflow.crown("toy", crowned)
        watch.check()
    assert served == ["1", "2"]


def test_a_download_ends_with_the_service(mlflow: BusyRegistry, tmp_path: Path) -> None:
    registry = Registry(mlflow.url)
    mlflow.while_fetching = lambda path: registry.close()
    watch = ChampionWatch("toy", registry, PackageCache(tmp_path / "cache"), 1e-6, Metrics())
    watch.check()
    assert version(watch) is None and "model.onnx" not in str(mlflow.requests)
    assert not list((tmp_path / "cache").iterdir())


def test_slack_hears_of_a_refused_version_once_from_all_workers(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    flip_byte(mlflow.package_folder("toy", 2) / "model.onnx")
    with SlackServer() as slack:
        watches = [watch_of(mlflow.url, tmp_path, slack=slack) for _ in range(3)]
        for crowned in (1, 2, 2, 2):
            mlflow.crown("toy", crowned)
            for watch in watches:
                watch.check()
        wait_until(lambda: len(slack.messages) == 1, "Slack is told")
        text = slack.messages[0]["text"]
        assert (
            "toy: version 2 cannot be served" in text
            and "model.onnx was changed" in text
            and "Version 1 keeps serving." in text
        )

        mlflow.crown("toy", 1)
        for watch in watches:
            watch.check()
        mlflow.crown("toy", 2)
        for watch in watches:
            watch.check()
        wait_until(lambda: len(slack.messages) == 2, "it is told again after all was well")
        restarted = watch_of(mlflow.url, tmp_path, slack=slack)
        restarted.restore()
        restarted.check()
        for crowned in (1, 2):
            mlflow.crown("toy", crowned)
            restarted.check()
        wait_until(
            lambda: len(slack.messages) == 3, "only the last one of the restarted worker is told"
        )
        assert slack.statuses == [200] * 3


def test_slack_hears_of_a_registry_only_when_it_has_been_away_for_long(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    with SlackServer() as slack:
        patient = watch_of(mlflow.url, tmp_path / "patient", slack=slack, away_seconds=3600)
        hasty = [watch_of(mlflow.url, tmp_path, slack=slack, away_seconds=0) for _ in range(2)]
        mlflow.broken = True
        for watch in (patient, *hasty, *hasty):
            watch.check()
        wait_until(lambda: len(slack.messages) == 1, "Slack is told")
        assert (
            "registry is unreachable" in slack.messages[0]["text"]
            and "answers 500" in slack.messages[0]["text"]
        )
        mlflow.broken = False
        cut_off = watch_of("http://127.0.0.1:1", tmp_path, slack=slack, away_seconds=0)
        for watch in (hasty[0], cut_off, hasty[0], cut_off, hasty[0], cut_off):
            watch.check()  # one worker is well, the other never
        mlflow.broken = True
        hasty[0].check()
        wait_until(
            lambda: (
                [message["text"].count("answers 500") for message in slack.messages].count(1) == 2
            ),
            "its own absence is news again",
        )
        assert len(slack.messages) == 3, "the one that was cut off has told it once"


def test_a_slack_that_keeps_the_caller_waiting_holds_up_no_look(
    mlflow: BusyRegistry, tmp_path: Path
) -> None:
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    with SlackServer() as slack:
        slack.keep_waiting()
        watch = watch_of(mlflow.url, tmp_path, slack=slack)
        watch.check()
        mlflow.crown("toy", 2)
        watch.check()
        assert version(watch) == "2" and slack.statuses in ([], [-1])


def test_what_slack_refuses_is_in_the_log_without_the_token(
    mlflow: BusyRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_byte(mlflow.package_folder("toy", 1) / "model.onnx")
    with SlackServer() as slack:
        slack.refuse("channel_not_found")
        watch_of(mlflow.url, tmp_path, slack=slack).check()
        wait_until(lambda: "channel_not_found" in caplog.text, "the refusal is logged")
    assert "did not get a message" in caplog.text and slack.token not in caplog.text


def test_champion_knows_from_the_registry_when_it_was_made_also_after_a_restart(
    mlflow: RegistryServer, watch: ChampionWatch, tmp_path: Path
) -> None:
    watch.check()
    assert watch.champion and watch.champion.created == "2026-11-28T04:00:00+00:00"
    again = watch_of(mlflow.url, tmp_path)
    again.restore()
    assert again.champion and (again.champion.version, again.champion.created) == ("1", None)
    again.check()
    assert again.champion.created == watch.champion.created
