"""MLflow's calls, signed by MLflow's own code, and those of others."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from blocks.settings import Settings
from serving.callbacks.signatures import LONGEST_AGE_SECONDS
from serving.callbacks.webhook import PATH, add_routes
from serving.champions.package_cache import PackageCache
from serving.edge.refusals import add_error_answers
from serving.service.service import Service

SECRET = "a secret of the test"
BODY = (
    '{"entity": "model_version_alias", "action": "created", "data": {"name": "toy", "alias": '
    '"champion", "version": "99"}}'
)


def make_client(state: Path, secret: str | None = SECRET) -> TestClient:
    """A worker's routes; several with the same ``state`` are workers of one service."""
    settings = {
        "state": state,
        "lake": f"file://{state}/lake",
        "serving_use_cases": "toy,other",
        "serving_webhook_secret": secret,
    }
    app = FastAPI()
    add_error_answers(app)
    add_routes(app, Service(Settings.model_validate(settings)))
    return TestClient(app)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return make_client(tmp_path)


def sign(secret: str, delivery: str, stamp: str, body: str) -> str:
    """MLflow's own signature."""
    from mlflow.webhooks.delivery import _generate_hmac_signature

    return _generate_hmac_signature(secret, delivery, stamp, body)


def call(
    client: TestClient,
    delivery: str = "d-1",
    age: float = 0,
    body: str = BODY,
    secret: str = SECRET,
    **changed: str,
) -> Any:
    stamp = str(int(time.time() - age))
    headers = {
        "x-mlflow-delivery-id": delivery,
        "x-mlflow-timestamp": stamp,
        "x-mlflow-signature": sign(secret, delivery, stamp, body),
    }
    return client.post(
        PATH,
        content=body,
        headers=headers | {name.replace("_", "-"): value for name, value in changed.items()},
    )


def looks(state: Path) -> list[int]:
    """When the workers were last asked to look at each alias."""
    return [PackageCache(state / "serving" / name).look_requested_at() for name in ("toy", "other")]


def test_a_call_of_mlflow_makes_all_watches_look_now(client: TestClient, tmp_path: Path) -> None:
    before = looks(tmp_path)
    answer = call(client)
    assert (answer.status_code, answer.json()) == (202, {"looks_at": ["toy", "other"]})
    first = looks(tmp_path)
    assert call(client, delivery="d-2").status_code == 202
    assert all(a < b < c for a, b, c in zip(before, first, looks(tmp_path), strict=True))


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"secret": "another secret"}, 401, "bad_signature"),
        ({"x_mlflow_signature": "v1,AAAA"}, 401, "bad_signature"),
        ({"x_mlflow_signature": "v1,\u00e9"}, 401, "bad_signature"),
        ({"x_mlflow_signature": ""}, 401, "unsigned"),
        ({"x_mlflow_delivery_id": "d-2"}, 401, "bad_signature"),
        ({"x_mlflow_timestamp": str(int(time.time()) + 5)}, 401, "bad_signature"),
        ({"x_mlflow_timestamp": "now"}, 401, "bad_signature"),
        ({"age": LONGEST_AGE_SECONDS + 2}, 403, "too_old"),
        ({"age": -LONGEST_AGE_SECONDS - 5}, 403, "too_old"),
        ({"body": "x" * 70_000}, 413, "body_too_large"),
    ],
)
def test_any_other_call_is_refused_and_nobody_looks(
    client: TestClient, tmp_path: Path, changed: dict[str, Any], status: int, code: str
) -> None:
    raw = {
        name: value.encode() if isinstance(value, str) and name.startswith("x_") else value
        for name, value in changed.items()
    }
    answer = call(client, **raw)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert looks(tmp_path) == [0, 0]


def test_a_changed_body_is_forged(client: TestClient, tmp_path: Path) -> None:
    stamp = str(int(time.time()))
    headers = {
        "x-mlflow-delivery-id": "d",
        "x-mlflow-timestamp": stamp,
        "x-mlflow-signature": sign(SECRET, "d", stamp, BODY),
    }
    assert client.post(PATH, content=BODY.replace("99", "98"), headers=headers).status_code == 401
    assert looks(tmp_path) == [0, 0]


def test_a_call_that_was_seen_by_any_worker_is_refused(client: TestClient, tmp_path: Path) -> None:
    assert call(client).status_code == 202
    after = looks(tmp_path)
    for worker in (client, make_client(tmp_path)):
        answer = call(worker)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "seen_before")
    assert looks(tmp_path) == after


def test_a_forged_call_does_not_use_up_the_id_of_a_true_one(client: TestClient) -> None:
    assert call(client, secret="another secret").status_code == 401
    assert call(client).status_code == 202


def test_what_was_seen_is_forgotten_when_its_age_alone_refuses_it(tmp_path: Path) -> None:
    client = make_client(tmp_path)
    for number in range(20):
        assert call(client, f"d-{number}").status_code == 202
    (folder,) = tmp_path.rglob("deliveries")
    assert len(list(folder.iterdir())) == 20
    for record in folder.iterdir():
        old = time.time() - 2 * LONGEST_AGE_SECONDS - 90
        os.utime(record, (old, old))
    assert call(client, "d-new").status_code == 202
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("secret", [None, ""])
def test_without_a_secret_the_route_says_which_setting_is_missing(
    tmp_path: Path, secret: str | None
) -> None:
    answer = call(make_client(tmp_path, secret))
    assert (
        answer.status_code == 404
        and "LAUREL_SERVING_WEBHOOK_SECRET" in answer.json()["error"]["message"]
    )


def test_a_call_that_cannot_be_remembered_is_to_be_sent_again(
    client: TestClient, tmp_path: Path
) -> None:
    (tmp_path / "serving").write_text("a file where the folder should be")
    answer = call(client)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "disk_refuses")
    (tmp_path / "serving").unlink()
    assert call(client).status_code == 202
