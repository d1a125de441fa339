"""Every use case is served, and a new one is found while the service runs; a name that is
misspelled is refused at the start.
"""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blocks.service import ModelService
from blocks.settings import REPOSITORY, Settings
from serving.champions.use_cases import MOST, all_of, files_of, refuse_misspelled
from serving.errors import RegistryAway, UnknownUseCase, UnseenUseCase
from serving.outside.registry import Registry
from serving.service.service import Service
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import write_package
from tests.fixtures.processes import ServiceProcess, wait_until

NOWHERE = Registry("http://127.0.0.1:1")
FILE = "USE_CASE = UseCase()\n"


def settings_of(folder: Path, **settings: Any) -> Settings:
    """Settings with a separate home, and the use cases in it."""
    (folder / "usecases" / "definition").mkdir(parents=True, exist_ok=True)
    (folder / "usecases" / "definition" / "__init__.py").write_text(FILE)
    return Settings.model_validate(
        {"home": folder, "state": folder / "state", "lake": f"file://{folder}/lake", **settings}
    )


def write(folder: Path, *names: str) -> None:
    (folder / "usecases").mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / "usecases" / name).write_text(FILE)


def test_files_are_known_by_their_names_without_an_import(tmp_path: Path) -> None:
    write(tmp_path, "flights.py", "_helper.py", "my case.py", "log.py", "notes.txt")
    (tmp_path / "usecases" / "tools.py").write_text("raise AssertionError('nobody imports this')\n")
    write(tmp_path / "shop", "churn.py", "__init__.py")
    (tmp_path / "usecases" / "returns").mkdir()
    (tmp_path / "usecases" / "returns" / "__init__.py").write_text(FILE)
    settings = settings_of(tmp_path, PYTHONPATH=f"{tmp_path / 'shop'}:{tmp_path / 'gone'}:")
    assert files_of(settings) == {"flights", "churn", "returns"}


def test_those_of_the_settings_come_first_and_all_are_bounded(tmp_path: Path) -> None:
    write(tmp_path, *(f"case_{number}.py" for number in range(3)))
    settings = settings_of(tmp_path, serving_use_cases="case_2,*")
    assert all_of(settings, ["of_registry", "no/name"]) == [
        "case_2",
        "case_0",
        "case_1",
        "of_registry",
    ]
    assert len(all_of(settings, [f"model_{number}" for number in range(1000)])) == MOST


def test_use_case_that_served_before_a_restart_serves_though_nobody_else_knows_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "state" / "serving" / "toy").mkdir(parents=True)
    (tmp_path / "state" / "serving" / "toy" / "champion.json").touch()
    assert all_of(settings_of(tmp_path)) == ["toy"]


def test_misspelled_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "flights.py", "churn.py")
    for registry in (NOWHERE, Registry("http://127.0.0.1:1")):
        with pytest.raises(
            ValueError,
            match=(
                r"names 'flihgts', which has neither .* Did you mean 'flights'\? Known: churn, "
                r"flights"
            ),
        ):
            refuse_misspelled(settings_of(tmp_path, serving_use_cases="churn,flihgts"), registry)
    refuse_misspelled(settings_of(tmp_path, serving_use_cases="churn,flights,*"), NOWHERE)


def test_name_that_the_registry_knows_needs_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "toys.py")
    with RegistryServer(tmp_path / "artifacts") as mlflow:
        mlflow.register("toy", 1, write_package)
        refuse_misspelled(settings_of(tmp_path, serving_use_cases="toy"), Registry(mlflow.url))
        assert not caplog.records
        refuse_misspelled(settings_of(tmp_path, serving_use_cases="zzz"), Registry(mlflow.url))
    assert "use case 'zzz' has neither a file nor a model here; known: toy, toys" in caplog.text


def test_image_without_files_takes_every_name(tmp_path: Path) -> None:
    refuse_misspelled(settings_of(tmp_path, serving_use_cases="flihgts"), NOWHERE)


def test_models_are_those_of_laurel_over_all_pages(tmp_path: Path) -> None:
    with RegistryServer(tmp_path / "artifacts") as mlflow:
        mlflow.others = [f"other_{number:03}" for number in range(450)]
        assert Registry(mlflow.url).models() == []
        mlflow.register("a_toy", 1, write_package)
        mlflow.register("toy", 1, write_package)
        assert Registry(mlflow.url).models() == ["a_toy", "toy"]
        mlflow.broken = True
        with pytest.raises(RegistryAway, match="answers 500"):
            Registry(mlflow.url).models()


def test_new_use_case_is_served_without_a_restart(tmp_path: Path) -> None:
    write(tmp_path, "flights.py")

    async def run(mlflow: RegistryServer) -> None:
        service = Service(settings_of(tmp_path, mlflow_url=mlflow.url, serving_poll_seconds=0.05))
        assert list(service.use_cases.watches) == ["flights"]
        await service.start()
        try:
            with pytest.raises(
                UnseenUseCase,
                match=(
                    r"Unknown use case 'toy'. Served here: flights. A new one is served "
                    r"once its "
                    r"file"
                ),
            ):
                service.use_cases.watch("toy")
            mlflow.register("toy", 1, lambda folder: write_package(folder))
            mlflow.crown("toy", 1)
            write(tmp_path, "churn.py")
            while not (
                {"toy", "churn"} <= set(service.use_cases.watches)
                and service.use_cases.watches["toy"].champion
            ):
                await asyncio.sleep(0.02)
            assert b"/v1/toy/predict" in service.use_cases.hot_routes
            assert service.use_cases.champion("toy").version == "1"
        finally:
            await service.stop()

    with RegistryServer(tmp_path / "artifacts") as mlflow:
        asyncio.run(asyncio.wait_for(run(mlflow), 60))


def test_named_use_cases_are_served_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, "flights.py", "churn.py")
    service = Service(settings_of(tmp_path, serving_use_cases="churn"))
    assert list(service.use_cases.watches) == ["churn"]
    with pytest.raises(UnknownUseCase) as raised:
        service.use_cases.watch("flights")
    assert not isinstance(raised.value, UnseenUseCase)


def test_use_case_that_was_never_trained_takes_no_other_out_of_service(tmp_path: Path) -> None:
    write(tmp_path, "flights.py", "churn.py", "returns.py")
    service = Service(settings_of(tmp_path))
    assert service.use_cases.not_ready() == ["churn", "flights", "returns"]
    service.use_cases.watches["flights"].champion = object()  # type: ignore[assignment]
    assert service.use_cases.not_ready() == []
    service.use_cases.watches["churn"].alias_version = "3"
    assert service.use_cases.not_ready() == ["churn"]
    named = Service(settings_of(tmp_path, serving_use_cases="returns,*"))
    named.use_cases.watches["flights"].champion = object()  # type: ignore[assignment]
    assert named.use_cases.not_ready() == ["returns"]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert Service(settings_of(empty)).use_cases.not_ready() == ["any use case"]


def test_a_start_waits_until_rollouts_are_known_but_not_for_a_registry_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.service.served_use_cases._FIRST_LOOK_SECONDS", 0.3)
    write(tmp_path, "flights.py", "churn.py")

    async def start(url: str) -> set[bool]:
        use_cases = Service(settings_of(tmp_path, mlflow_url=url)).use_cases
        try:
            await use_cases.start()
            return {watch.has_looked for watch in use_cases.challengers.values()}
        finally:
            silent.close()  # those who wait for it go on
            await use_cases.stop()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert asyncio.run(start(f"http://127.0.0.1:{silent.getsockname()[1]}")) == {False}
    assert asyncio.run(start("http://127.0.0.1:1")) == {True}


def test_no_more_use_cases_are_served_than_may_be_however_many_come_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, *[f"model_{number:03d}.py" for number in range(MOST - 1)])
    service = Service(settings_of(tmp_path))
    assert service.use_cases.find_unserved(["another", "beyond"]) == ["another"]
    write(tmp_path, "model_999.py")
    full = Service(settings_of(tmp_path))
    assert [full.use_cases.find_unserved(["another"]) for _ in range(3)] == [[], [], []]
    assert (
        len([message for message in caplog.messages if message.startswith("100 of 101 use cases")])
        == 1
    )


def test_default_is_the_one_that_is_meant_or_nobody(tmp_path: Path) -> None:
    write(tmp_path, "flights.py")
    assert Service(settings_of(tmp_path)).use_cases.default == "flights"
    write(tmp_path, "churn.py")
    service = Service(settings_of(tmp_path))
    assert service.use_cases.default is None
    service.use_cases.watches["flights"].champion = object()  # type: ignore[assignment]
    assert service.use_cases.default == "flights"
    service.use_cases.watches["churn"].champion = object()  # type: ignore[assignment]
    assert service.use_cases.default is None
    assert (
        Service(settings_of(tmp_path, serving_use_cases="flights,*")).use_cases.default == "flights"
    )


def test_misspelled_name_ends_the_start_in_a_line(tmp_path: Path) -> None:
    environment = {
        "LAUREL_SERVING_USE_CASES": "flihgts",
        "LAUREL_STATE": str(tmp_path),
        "LAUREL_MLFLOW_URL": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-m", "serving"]
    process = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 1 and "Traceback" not in process.stderr
    assert (
        "The model service does not start: LAUREL_SERVING_USE_CASES names 'flihgts'"
        in process.stderr
    )
    assert "Did you mean 'flights'?" in process.stderr


@pytest.mark.slow("starts the service with workers")
def test_every_worker_finds_a_new_use_case_and_the_registry_s_error_keeps_nobody_from_serving(
    tmp_path: Path,
) -> None:
    with RegistryServer(tmp_path / "artifacts") as mlflow:
        mlflow.register("toy", 1, lambda folder: write_package(folder))
        mlflow.crown("toy", 1)
        with ServiceProcess(
            tmp_path, mlflow.url, serving_use_cases="*", serving_workers=2
        ) as service:

            def versions(use_case: str) -> list[str | None]:
                answer = service.client.get(f"/v1/{use_case}")
                return (
                    [worker["version"] for worker in answer.json()["workers"]]
                    if answer.status_code == 200
                    else []
                )

            wait_until(
                lambda: versions("toy") == ["1", "1"], "both workers serve what the registry has"
            )
            assert service.client.get("/ready").status_code == 200
            unseen = service.client.get("/v1/other")
            assert (unseen.status_code, unseen.json()["error"]["code"]) == (404, "unseen_use_case")
            flows = ModelService(url=str(service.client.base_url))
            assert flows.check_serves("toy") is None and "toy" in flows.use_cases()
            assert "A new one is served once its file is in usecases/" in (
                flows.check_serves("other") or ""
            )
            mlflow.register("other", 1, lambda folder: write_package(folder, use_case="other"))
            mlflow.crown("other", 1)
            wait_until(lambda: versions("other") == ["1", "1"], "both workers serve the new one")
            refused = service.client.post("/invocations", json={"instances": []})
            assert refused.status_code == 400 and "X-Laurel-Use-Case" in refused.json()["message"]
            mlflow.broken = True
            assert versions("other") == ["1", "1"]
