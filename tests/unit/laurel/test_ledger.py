from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from blocks.settings import Settings
from laurel.ledger import read_entries
from serving.server.app import create_app
from tests.fixtures.lake_history import write_year


class Asked:
    """The service itself, asked in this process as ``ServiceApi`` asks it."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def ask(self, method: str, path: str) -> Any:
        answer = self._client.request(method, path)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Any]:
    write_year(tmp_path / "lake")
    settings = {
        "state": tmp_path,
        "lake": f"file://{tmp_path}/lake",
        "mlflow_url": "http://127.0.0.1:1",
        "serving_use_cases": "toy",
    }
    app = create_app(Settings.model_validate(settings))
    yield Asked(TestClient(app, base_url="http://localhost"))


def test_the_ledger_comes_as_entries_the_latest_first_whatever_they_are_folded_into(
    service: Any,
) -> None:
    entries = read_entries(service, "toy", 200)
    places = [entry["sequence"] for entry in entries]
    assert places == list(range(len(places), 0, -1)) and len(places) > 20
    assert (entries[0]["kind"], entries[0]["verdict"]) == ("retrain", "kept")
    crown = read_entries(service, "toy", 1, "crown")
    assert "crown" in [entry["kind"] for entry in crown]
