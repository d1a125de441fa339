import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from blocks.settings import Settings
from serving.routes import lake_reader
from serving.server.app import create_app
from tests.fixtures.api_keys import put_key
from tests.fixtures.lake_history import write_year

NAMES = ("toy", "other")


def client_of(folder: Path, **settings: object) -> TestClient:
    defaults: dict[str, object] = {
        "state": folder / "state",
        "lake": f"file://{folder}/lake",
        "mlflow_url": "http://127.0.0.1:1",
        "serving_use_cases": ",".join(NAMES),
    }
    return TestClient(
        create_app(Settings.model_validate(defaults | settings)), base_url="http://localhost"
    )


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    write_year(tmp_path / "lake")
    yield client_of(tmp_path)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a folder too may take longer than the page waits for a lake."""
    monkeypatch.setattr(lake_reader, "_FLEET_PATIENCE_SECONDS", 60.0)


def rows(client: TestClient, **headers: str) -> dict[str, Any]:
    answer = client.get("/v1?view=fleet", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["as_of"].endswith("+00:00")
    return {row["use_case"]: row for row in answer.json()["use_cases"]}


def test_each_use_case_is_a_row_and_what_is_null_has_its_reason(client: TestClient) -> None:
    fleet = rows(client)
    assert list(fleet) == list(NAMES)
    toy, other = fleet["toy"], fleet["other"]
    assert toy["live"] == {
        "metric": "roc_auc",
        "window": "2013-11",
        "version": "7",
        "value": 0.776,
        "low": 0.764,
        "high": pytest.approx(0.788),
        "coverage": 0.64,
        "provisional": False,
    }
    assert toy["drift"]["outcome"] == "stable" and toy["retrain"]["verdict"] == "kept"
    assert (toy["champion"], toy["unknown"]["champion"]) == (None, "no_champion")
    assert toy["unknown"]["live"] == "other_champion"  # version 7 was judged, nobody serves
    for name in ("champion", "live", "holdout", "drift", "retrain"):
        assert other[name] is None and other["unknown"][name]
    assert other["traffic"]["p99"] is None and other["unknown"]["p99"] == "no_requests"
    assert "no_champion" in [need["code"] for need in toy["needs"]]  # it was trained once
    assert other["needs"] == []


def test_another_view_is_refused_and_none_is_as_before(client: TestClient) -> None:
    assert client.get("/v1?view=tiles").status_code == 422
    described = client.get("/v1").json()
    assert list(described) == ["use_cases"] and "alias" in described["use_cases"][0]


def test_a_key_without_operate_gets_the_rows_without_the_records(tmp_path: Path) -> None:
    write_year(tmp_path / "lake")
    keys = tmp_path / "state" / "serving" / "keys.json"
    keys.parent.mkdir(parents=True)
    predict, operate = put_key(keys, name="web"), put_key(keys, name="ops", scopes=["operate"])
    both = put_key(keys, name="both", scopes=["predict", "operate"])
    with client_of(tmp_path, serving_require_keys=True) as client:
        assert client.get("/v1?view=fleet").status_code == 401
        assert client.get("/v1?view=fleet", headers={"x-api-key": operate}).status_code == 403
        without, whole = rows(client, **{"x-api-key": predict}), rows(client, **{"x-api-key": both})
    assert without["toy"]["drift"] is None and without["toy"]["unknown"]["drift"] == "scope"
    assert without["toy"]["records_as_of"] is None
    assert whole["toy"]["drift"]["window"] == "2013-12"


def test_a_lake_that_is_away_is_told_in_every_row(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where the lake should be")
    toy = rows(client_of(tmp_path))["toy"]
    assert {toy["unknown"][name] for name in ("live", "drift", "retrain")} == {"lake_away"}
    assert str(tmp_path) not in str(toy)


def test_rows_come_while_the_lake_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake_reader, "_FLEET_PATIENCE_SECONDS", 3.0)
    hold = threading.Event()
    read = lake_reader.read_records

    def slow(history: Any, use_case: str) -> Any:
        if use_case == "other":
            hold.wait(20)
        return read(history, use_case)

    monkeypatch.setattr(lake_reader, "read_records", slow)
    write_year(tmp_path / "lake")
    client = client_of(tmp_path)
    fleet = rows(client)
    assert fleet["toy"]["drift"] is not None
    assert fleet["other"]["unknown"]["drift"] == "not_read_yet"
    hold.set()
