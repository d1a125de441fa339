"""MLflow's password as the service shows it: to MLflow at each request, to no other server, and in
no message.
"""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from blocks.settings import Settings
from serving.errors import RegistryAway
from serving.outside.registry import Registry

PASSWORD = "hush-hush-hush"
ABSENT = b'{"error_code": "RESOURCE_DOES_NOT_EXIST"}'
SHOWN = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()


class Guard(ThreadingHTTPServer):
    """Answers ``status`` to who shows the password, 401 to others; ``heard`` are the Authorization
    headers of all.
    """

    def __init__(self, status: int = 404, location: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.location, self.heard = status, location, list[str | None]()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Guard

    def do_GET(self) -> None:
        self.server.heard.append(header := self.headers.get("Authorization"))
        self.send_response(self.server.status if header == SHOWN else 401)
        if self.server.location:
            self.send_header("Location", self.server.location + self.path)
        self.send_header("Content-Length", str(len(ABSENT)))
        self.end_headers()
        self.wfile.write(ABSENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guard() -> Iterator[Guard]:
    with Guard() as server:
        threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        yield server
        server.shutdown()


def registry(url: str, password: str = PASSWORD) -> Registry:
    return Registry.of(
        Settings(mlflow_url=url, mlflow_username="me", mlflow_password=SecretStr(password))
    )


def test_the_password_of_the_settings_goes_with_every_request(guard: Guard, tmp_path: Path) -> None:
    mlflow = registry(guard.url)
    assert mlflow.champion("toy") is None  # 404: there is no such model, and who asked was let in
    with pytest.raises(Exception, match="no manifest.json"):
        mlflow.download("mlflow-artifacts:/1/package", ("manifest.json",), tmp_path)
    assert guard.heard == [SHOWN, SHOWN]


def test_without_a_password_none_is_shown(guard: Guard) -> None:
    with pytest.raises(
        RegistryAway,
        match=(
            "answers 401: it requires a password; set LAUREL_MLFLOW_USERNAME and "
            "LAUREL_MLFLOW_PASSWORD"
        ),
    ):
        Registry.of(Settings(mlflow_url=guard.url)).champion("toy")
    assert guard.heard == [None]


def test_a_wrong_password_is_said_to_be_wrong_and_not_shown(guard: Guard, tmp_path: Path) -> None:
    mlflow = registry(guard.url, "hush-and-wrong")
    for ask in (
        lambda: mlflow.champion("toy"),
        lambda: mlflow.download("mlflow-artifacts:/1/package", ("model.onnx",), tmp_path),
    ):
        with pytest.raises(
            RegistryAway,
            match="it does not accept LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD",
        ) as caught:
            ask()
        assert "hush" not in str(caught.value)
    assert "hush" not in f"{mlflow!r} {vars(mlflow)}"


def test_no_other_server_is_shown_the_password_by_a_redirect(guard: Guard, tmp_path: Path) -> None:
    with Guard(status=307, location=guard.url) as elsewhere:
        threading.Thread(
            target=elsewhere.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        mlflow = registry(elsewhere.url)
        with pytest.raises(RegistryAway, match="answers 307"):
            mlflow.champion("toy")
        with pytest.raises(RegistryAway, match="answers 307"):
            mlflow.download("mlflow-artifacts:/1/package", ("model.onnx",), tmp_path)
        elsewhere.shutdown()
    assert (elsewhere.heard, guard.heard) == ([SHOWN, SHOWN], [])
