"""MLflow's client with small servers whose answers MLflow would not give. With a real server:
``tests/unit/blocks/test_registry.py`` and ``tests/integration/test_service.py``.
"""

from pathlib import Path

import pytest

from blocks.clients.registry import (
    CHAMPION,
    PACKAGE_TAG,
    ApiError,
    Limits,
    RegistryApi,
    StrangeAnswer,
    Unreachable,
)
from blocks.registry import ModelRegistry, RegistryAway
from tests.fakes.loopback import Handler, LoopbackServer
from tests.fakes.registry import RegistryServer

LIMITS = Limits(connect_seconds=2, request_seconds=10)


class Parrot(LoopbackServer):
    """Gives the same answer to every request."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status, self.body = status, body
        super().__init__(_Parrot)


class _Parrot(Handler):
    def do_GET(self) -> None:
        self.reply(self.owner.status, self.owner.body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>", "its answer is not JSON"),
        (b"[]", "its answer is not a JSON object"),
        (b"{}", "its model version has no 'model_version'"),
        (b'{"model_version": {"version": "latest"}}', "its model version has no"),
        (b'{"model_version": {"version": "1", "tags": 7}}', "its model version has no"),
    ],
)
def test_a_strange_answer_is_an_outage_and_names_no_version(body: bytes, why: str) -> None:
    with Parrot(200, body) as server:
        with pytest.raises(StrangeAnswer, match=why):
            RegistryApi(server.url, LIMITS).at("toy", CHAMPION)
        with pytest.raises(RegistryAway, match="could not find the champion of 'toy'"):
            ModelRegistry(tracking_uri=server.url).at("toy", CHAMPION)


@pytest.mark.parametrize("status", [307, 401, 403])
def test_only_mlflow_itself_says_that_there_is_no_champion(status: int) -> None:
    """A login or a redirect before MLflow may use its error codes."""
    with (
        Parrot(status, b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}') as server,
        pytest.raises(ApiError) as caught,
    ):
        RegistryApi(server.url, LIMITS).at("toy", CHAMPION)
    assert (caught.value.status, caught.value.code) != (status, "RESOURCE_DOES_NOT_EXIST")


def test_only_so_many_pages_of_models_are_read(tmp_path: Path) -> None:
    with RegistryServer(tmp_path) as server:
        server.others = [f"other-{number}" for number in range(9)]
        for model in ("a", "z"):
            server.versions[model, 1] = {PACKAGE_TAG: "somewhere"}
        api = RegistryApi(server.url, LIMITS)
        assert api.models((PACKAGE_TAG,), page=3) == ["a", "z"]
        server.requests.clear()
        assert api.models((PACKAGE_TAG,), page=3, most_pages=2) == ["a"]
        assert len(server.requests) == 2
        assert api.models(("another tag",)) == []


def test_a_client_that_was_closed_reaches_nobody(tmp_path: Path) -> None:
    with RegistryServer(tmp_path) as server:
        api = RegistryApi(server.url, LIMITS)
        assert api.at("toy", CHAMPION) is None
        api.close()
        with pytest.raises(Unreachable, match="closed"):
            api.at("toy", CHAMPION)
