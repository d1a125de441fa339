"""The registry block with a real MLflow server: versions, aliases, tags and packages, without
MLflow's library.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.clients.heads import ANNOUNCED
from blocks.clients.registry import CHAMPION, TIDIED_TAG, ApiError, Limits, RegistryApi
from blocks.registry import ModelRegistry, ModelVersion, RegistryAway, RegistryError
from serving.package.model import load as load_package
from tests.fakes.registry import RegistryServer
from tests.fixtures.mlflow_server import mlflow_server, register
from tests.fixtures.processes import free_port

pytestmark = pytest.mark.slow("starts MLflow")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRegistry]:
    """Three versions of ``toy``."""
    folder = tmp_path_factory.mktemp("mlflow")
    with mlflow_server(folder) as url:
        for number in (1, 2, 3):
            register(url, folder / f"package-{number}", bias=float(number))
        yield ModelRegistry(tracking_uri=url)


def test_versions_come_newest_first_and_from_all_pages(registry: ModelRegistry) -> None:
    assert [version.number for version in registry.versions("toy")] == ["3", "2", "1"]
    assert registry.versions("nobody") == []
    paged = RegistryApi(registry.tracking_uri, Limits(3, 30)).versions("toy", page=2)
    assert sorted(version.number for version in paged) == ["1", "2", "3"]


def test_alias_is_set_moved_and_taken(registry: ModelRegistry) -> None:
    assert registry.at("toy", CHAMPION) is None and registry.at("nobody", CHAMPION) is None
    for number in ("1", "2"):
        registry.set_alias(registry.version("toy", number), CHAMPION)
        champion = registry.at("toy", CHAMPION)
        assert champion == registry.version("toy", number)
    registry.remove_alias("toy", CHAMPION)
    assert registry.at("toy", CHAMPION) is None


def test_tags_of_versions_and_models(registry: ModelRegistry) -> None:
    version = registry.version("toy", "1")
    registry.tag(version, {"why": "é & <b>", "empty": ""})
    assert registry.version("toy", "1").tags == {**version.tags, "why": "é & <b>", "empty": ""}
    assert registry.tag_model("toy", {"head": "7 abc"}) and registry.model_tags("toy") == {
        "head": "7 abc"
    }
    assert not registry.tag_model("nobody", {"head": "1"}) and registry.model_tags("nobody") == {}


def test_head_is_written_once_and_a_deleted_run_is_still_listed(registry: ModelRegistry) -> None:
    assert registry.head_runs("toy") == [] == registry.head_runs("toy", deleted=True)
    first = registry.open_head_run("toy", 0, f"0 {'0' * 64}")
    for _ in range(2):
        registry.log_head(first, "00000001", "a" * 64)
    with pytest.raises(RegistryError, match="Changing param values is not allowed"):
        registry.log_head(first, "00000001", "b" * 64)
    registry.log_head(first, f"00000002/{'c' * 64}", ANNOUNCED)
    second = registry.open_head_run("toy", 1, "")
    runs = registry.head_runs("toy")
    assert [(run.id, run.generation, run.base) for run in runs] == [
        (second, 1, ""),
        (first, 0, f"0 {'0' * 64}"),
    ]
    assert runs[1].params == {"00000001": "a" * 64, f"00000002/{'c' * 64}": ANNOUNCED}
    assert registry.head_runs("toy", latest=1) == runs, "the newest has no head yet"
    registry.log_head(second, "00000002", "c" * 64)
    assert [run.id for run in registry.head_runs("toy", latest=1)] == [second]
    assert runs[0].started > runs[1].started
    assert registry.head_runs("another") == []
    _api(registry).ask("POST", "runs/delete", {"run_id": first})
    (deleted,) = registry.head_runs("toy", deleted=True)
    assert (deleted.id, deleted.is_deleted) == (first, True)
    assert [run.id for run in registry.head_runs("toy")] == [second]
    with pytest.raises(RegistryError, match="active"):
        registry.log_head(first, "00000003", "d" * 64)


def test_runs_with_a_tag_are_left_out_on_request(registry: ModelRegistry) -> None:
    with registry.api("search") as api:
        for base in ("1 a", "2 b"):
            registry.open_head_run("searched", 0, base)
        first = next(api.search_runs("searched-ledger", 2**53, page=1))["info"]["run_id"]
        api.tag_run(first, TIDIED_TAG, "2026-11-30")
        untidied = api.search_runs("searched-ledger", 2**53, without_tag=TIDIED_TAG)
        assert [run["info"]["run_id"] == first for run in untidied] == [False]
        assert len(list(api.search_runs("searched-ledger", 2**53))) == 2
        assert list(api.search_runs("searched-ledger", 1, without_tag=TIDIED_TAG)) == []


@pytest.mark.parametrize(
    "call",
    [
        ("runs/log-parameter", {"key": "00000001", "value": "b" * 64}),
        ("runs/log-batch", {"params": [{"key": "00000001", "value": "b" * 64}]}),
        ("runs/delete-param", {"key": "00000001"}),
    ],
    ids=["parameter", "batch", "delete"],
)
def test_no_request_of_mlflow_changes_a_head(
    registry: ModelRegistry, call: tuple[str, dict[str, object]]
) -> None:
    run = registry.open_head_run("toy-2", 0, "")
    registry.log_head(run, "00000001", "a" * 64)
    with pytest.raises(ApiError):
        _api(registry).ask("POST", call[0], {"run_id": run, **call[1]})
    assert registry.head_runs("toy-2")[0].params == {"00000001": "a" * 64}


def _api(registry: ModelRegistry) -> RegistryApi:
    return RegistryApi(registry.tracking_uri, Limits(3, 30))


def test_package_is_downloaded_whole(registry: ModelRegistry, tmp_path: Path) -> None:
    version = registry.version("toy", "2")
    assert RegistryApi.serves(version.tags["laurel.package"])
    folder = registry.download_package(version, tmp_path)
    assert load_package(folder, version.tags["laurel.package_sha256"]).manifest.use_case == "toy"


def test_refusals_say_what_was_asked(registry: ModelRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="MLflow refused to find version 99 of 'toy': "):
        registry.version("toy", "99")
    with pytest.raises(RegistryError, match="MLflow refused to find version latest of 'toy': "):
        registry.version("toy", "latest")
    with pytest.raises(
        RegistryError, match="MLflow refused to make version 99 of 'toy' its champion: "
    ):
        registry.set_alias(ModelVersion("toy", "99", "", {}), CHAMPION)
    with pytest.raises(RegistryError, match="has no model package"):
        registry.download_package(ModelVersion("toy", "1", "", {}), tmp_path)


def test_server_that_is_not_there_is_an_outage() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(RegistryAway, match=f"MLflow at {url} could not find the champion of 'toy'"):
        ModelRegistry(tracking_uri=url).at("toy", CHAMPION)


def test_404_of_another_program_is_no_word_on_a_model(tmp_path: Path) -> None:
    """A wrong path once counted as "no champion", and the next challenger got the crown without a
    contest.
    """
    with RegistryServer(tmp_path) as server:
        assert ModelRegistry(tracking_uri=server.url).at("toy", CHAMPION) is None
        with pytest.raises(RegistryAway, match="could not find the champion of 'toy'"):
            ModelRegistry(tracking_uri=f"{server.url}/elsewhere").at("toy", CHAMPION)
