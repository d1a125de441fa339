"""What an operator asks for over HTTP: open questions, answers, rollbacks. Prefect is a small
server that refuses what Prefect refuses.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from blocks.settings import Settings
from serving.outside.prefect_api import PrefectApi
from serving.server.app import create_app
from tests.fakes.prefect import PrefectServer
from tests.fixtures.api_keys import put_key
from tests.fixtures.lake_records import write_decision

ASKED = "2026-11-21T05:00:00.000+00:00"
UNTIL = "2026-11-22T05:00:00+00:00"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def prefect() -> Iterator[PrefectServer]:
    with PrefectServer() as server:
        for name in ("approve/toy", "rollback/toy", "retrain/toy"):
            server.deploy(name)
        yield server


def client_of(folder: Path, prefect_url: str, **changed: Any) -> TestClient:
    """A worker of the service that nobody started: its routes and all that stands before them."""
    settings = {
        "state": folder / "state",
        "lake": f"file://{folder}/lake",
        "serving_use_cases": "toy,other",
        "prefect_url": prefect_url,
    }
    settings |= {"mlflow_url": "http://127.0.0.1:1", "prefect_page_url": "https://prefect.example"}
    app = create_app(Settings.model_validate(settings | changed))
    app.state.service.use_cases.watches["toy"].alias_version = "2"
    app.state.service.keys.load("loopback")
    return TestClient(app, base_url="http://127.0.0.1")


@pytest.fixture
def client(tmp_path: Path, prefect: PrefectServer) -> TestClient:
    return client_of(tmp_path, prefect.url)


def ask(
    lake: Path, run: str | None, verdict: str = "asked", challenger: str = "3", **changed: Any
) -> None:
    """One entry of the ledger about the question."""
    facts = {"until": UNTIL} if verdict == "asked" else {"by": "somebody", "why": ""}
    settings = {
        "kind": "approval",
        "run": run,
        "challenger": challenger,
        "contest": None,
        "promoted": False,
        "facts": facts,
    }
    write_decision(lake, changed.pop("time", ASKED), verdict, **settings | changed)


def waiting(prefect: PrefectServer, lake: Path, challenger: str = "3") -> str:
    run = prefect.suspended("approve/toy", use_case="toy", version=challenger, asked_by="1")
    ask(lake, run, challenger=challenger)
    return run


def test_open_questions_are_listed_with_their_contest_and_until_when(
    client: TestClient, prefect: PrefectServer, tmp_path: Path
) -> None:
    write_decision(tmp_path / "lake", "2026-11-21T04:59:00.000+00:00", "suspicious", contest=None)
    write_decision(tmp_path / "lake", "2026-11-21T04:59:30.000+00:00", "keep")
    run = waiting(prefect, tmp_path / "lake")
    content = client.get("/v1/toy/approvals").json()
    (approval,) = content["approvals"]
    assert (approval["run"], approval["challenger"], approval["champion"], approval["state"]) == (
        run,
        "3",
        "2",
        "waiting",
    )
    assert (approval["asked"], approval["until"], approval["contest"]["main"]["gain"]) == (
        ASKED,
        UNTIL,
        0.0263,
    )
    assert (
        content["prefect"] is None and client.get("/v1/other/approvals").json()["approvals"] == []
    )


@pytest.mark.parametrize("verdict", ["approved", "rejected", "expired"])
def test_a_question_that_has_its_answer_is_open_no_more(
    client: TestClient, prefect: PrefectServer, tmp_path: Path, verdict: str
) -> None:
    first, second = waiting(prefect, tmp_path / "lake"), waiting(prefect, tmp_path / "lake", "4")
    ask(tmp_path / "lake", first, verdict)
    assert [
        approval["run"] for approval in client.get("/v1/toy/approvals").json()["approvals"]
    ] == [second]


def test_a_question_whose_run_is_gone_or_over_is_open_no_more(
    client: TestClient, prefect: PrefectServer, tmp_path: Path
) -> None:
    over, gone = waiting(prefect, tmp_path / "lake"), waiting(prefect, tmp_path / "lake", "4")
    prefect.end(over, "CANCELLED", "Cancelled")
    del prefect.runs[gone]
    assert client.get("/v1/toy/approvals").json()["approvals"] == []


def test_with_prefect_away_questions_are_listed_as_far_as_the_ledger_knows(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    run = waiting(prefect, tmp_path / "lake")
    content = client_of(tmp_path, "http://127.0.0.1:1/api").get("/v1/toy/approvals").json()
    assert [(approval["run"], approval["state"]) for approval in content["approvals"]] == [
        (run, "unknown")
    ]
    assert "cannot be reached" in content["prefect"]


@pytest.mark.parametrize("approved", [True, False])
def test_an_answer_lets_the_run_go_on(
    client: TestClient, prefect: PrefectServer, tmp_path: Path, approved: bool
) -> None:
    run = waiting(prefect, tmp_path / "lake")
    answer = client.post(
        f"/v1/toy/approvals/{run}", json={"approved": approved, "by": "minsu", "why": "it is\nfine"}
    )
    assert (answer.status_code, answer.json()["by"]) == (200, "minsu")
    assert answer.json()["page"] == f"https://prefect.example/runs/flow-run/{run}"
    assert prefect.answers == {run: {"approved": approved, "by": "minsu", "why": "it is fine"}}
    assert client.get("/v1/toy/approvals").json()["approvals"][0]["state"] == "answered"


def test_the_second_answer_and_one_to_a_run_that_is_over_come_too_late(
    client: TestClient, prefect: PrefectServer, tmp_path: Path
) -> None:
    first, second, early = (waiting(prefect, tmp_path / "lake", challenger) for challenger in "345")
    prefect.end(second)
    prefect.end(early, "RUNNING", "Running")
    codes = []
    for run in (first, first, second, early):
        answer = client.post(f"/v1/toy/approvals/{run}", json={"approved": True, "why": ""})
        codes.append((answer.status_code, answer.json().get("error", {}).get("code")))
    assert codes == [(200, None), (409, "answered"), (409, "over"), (409, "not_yet")]


@pytest.mark.parametrize("contended", [False, True])
def test_of_two_answers_at_once_one_counts(
    client: TestClient, prefect: PrefectServer, tmp_path: Path, contended: bool
) -> None:
    prefect.contended = contended
    run = waiting(prefect, tmp_path / "lake")
    with ThreadPoolExecutor(4) as people:
        answers = list(
            people.map(
                lambda n: client.post(
                    f"/v1/toy/approvals/{run}", json={"approved": n % 2 == 0, "by": str(n)}
                ),
                range(4),
            )
        )
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    (accepted,) = [answer.json() for answer in answers if answer.status_code == 200]
    assert prefect.answers[run] == {
        "approved": accepted["approved"],
        "by": accepted["by"],
        "why": "",
    }


def test_no_other_run_of_prefect_can_be_answered(
    client: TestClient, prefect: PrefectServer
) -> None:
    others = [
        prefect.suspended("retrain/toy", use_case="toy"),
        prefect.suspended("approve/other", use_case="other"),
        prefect.suspended("approve/toy", use_case="other"),
        UNKNOWN,
        "filter",
        "%2e%2e%2fflow_runs",
        "not-a-run",
    ]
    for run in others:
        answer = client.post(f"/v1/toy/approvals/{run}", json={"approved": True, "why": ""})
        assert (answer.status_code, answer.json()["error"]["code"]) in [
            (404, "unknown_run"),
            (404, "not_found"),
        ], run
    assert prefect.answers == {} and not any(path.endswith("/resume") for path in prefect.requests)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"approved": "yes"}', 422),
        (b'{"approved": 1}', 422),
        (b'{"approved": null}', 422),
        (b'{"approved": true, "by": 3}', 422),
        (b'{"approved": true, "whi": "a typo"}', 422),
        (b'{"approved": true, "why": "' + b"x" * 1001 + b'"}', 422),
        (b"\xff", 400),
    ],
)
def test_an_answer_that_is_none_is_refused(
    client: TestClient, prefect: PrefectServer, tmp_path: Path, content: bytes, status: int
) -> None:
    run = waiting(prefect, tmp_path / "lake")
    assert client.post(f"/v1/toy/approvals/{run}", content=content).status_code == status
    assert prefect.answers == {}


def test_with_prefect_away_nothing_is_promised(tmp_path: Path, prefect: PrefectServer) -> None:
    run = waiting(prefect, tmp_path / "lake")
    away = client_of(tmp_path, "http://127.0.0.1:1/api")
    for path, body in [(f"approvals/{run}", {"approved": True}), ("rollback", {})]:
        answer = away.post(f"/v1/toy/{path}", json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (
            503,
            "prefect_away",
        ) and "retry-after" in answer.headers


def test_a_proxy_that_answers_in_prefect_s_stead_is_told(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    prefect.broken = True
    answer = client_of(tmp_path, prefect.url).post(
        f"/v1/toy/approvals/{UNKNOWN}", json={"approved": True}
    )
    assert answer.status_code == 503 and "answers 500" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("version", "why", "reason"), [("1", "it is slow", ": it is slow"), (None, "", " asked for it")]
)
def test_a_rollback_is_a_run_of_its_flow(
    client: TestClient, prefect: PrefectServer, version: str | None, why: str, reason: str
) -> None:
    answer = client.post("/v1/toy/rollback", json={"version": version, "why": why, "champion": "2"})
    assert (
        answer.status_code == 202
        and answer.json()["page"].endswith(answer.json()["run"])
        and answer.json()["run"] in prefect.runs
    )
    (started,) = prefect.started
    assert (started["use_case"], started["version"]) == ("toy", version) and started[
        "reason"
    ].endswith(reason)


def test_a_rollback_from_another_champion_than_the_one_who_asks_sees_is_refused(
    client: TestClient, prefect: PrefectServer
) -> None:
    answer = client.post("/v1/toy/rollback", json={"version": None, "champion": "1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (
        409,
        "moved_on",
    ) and prefect.started == []


@pytest.mark.parametrize(
    "body",
    [
        {"version": 1},
        {"version": "0"},
        {"version": "1; x"},
        {"version": "../1"},
        {"verison": "1"},
        {"why": None},
    ],
)
def test_a_rollback_to_what_is_no_version_is_refused(
    client: TestClient, prefect: PrefectServer, body: dict[str, Any]
) -> None:
    assert client.post("/v1/toy/rollback", json=body).status_code == 422 and prefect.started == []


def test_a_rollback_that_prefect_has_no_deployment_for_is_told(client: TestClient) -> None:
    answer = client.post("/v1/other/rollback", json={})
    assert answer.status_code == 503 and "deployments.apply" in answer.json()["error"]["message"]


def test_who_answers_is_named_by_the_key_whatever_he_calls_himself(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    secret = put_key(tmp_path / "state" / "serving" / "keys.json", name="ops", scopes=["decide"])
    client = client_of(tmp_path, prefect.url, serving_require_keys=True)
    named = {"authorization": f"Bearer {secret}"}
    messages = []
    for by in (None, "minsu"):
        run = waiting(prefect, tmp_path / "lake")
        messages.append(
            client.post(
                f"/v1/toy/approvals/{run}", json={"approved": True, "by": by}, headers=named
            ).json()["by"]
        )
    assert messages == ["ops", "minsu (with the key ops)"]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "approvals", "operate"),
        ("POST", f"approvals/{UNKNOWN}", "decide"),
        ("POST", "rollback", "decide"),
    ],
)
def test_who_may_look_may_not_decide(
    tmp_path: Path, prefect: PrefectServer, method: str, path: str, scope: str
) -> None:
    others = [name for name in ("predict", "feedback", "operate", "decide") if name != scope]
    secret = put_key(tmp_path / "state" / "serving" / "keys.json", scopes=others)
    client = client_of(tmp_path, prefect.url, serving_require_keys=True)
    assert client.request(method, f"/v1/toy/{path}", json={"approved": True}).status_code == 401
    answer = client.request(
        method, f"/v1/toy/{path}", json={"approved": True}, headers={"x-api-key": secret}
    )
    assert (
        answer.status_code == 403
        and f"'{scope}'" in answer.json()["error"]["message"]
        and prefect.requests == []
    )


def test_a_web_page_of_another_origin_may_not_decide(
    client: TestClient, prefect: PrefectServer
) -> None:
    answer = client.post("/v1/toy/rollback", json={}, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403 and prefect.started == []


def test_a_use_case_that_is_not_served_has_nothing_to_decide(client: TestClient) -> None:
    for method, path in [
        ("GET", "approvals"),
        ("POST", f"approvals/{UNKNOWN}"),
        ("POST", "rollback"),
    ]:
        assert (
            client.request(method, f"/v1/train/{path}", json={}).json()["error"]["code"]
            == "unknown_use_case"
        )


def test_without_a_lake_the_questions_are_not_known_and_the_rest_works(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    client = client_of(tmp_path, prefect.url, lake="none")
    answer = client.get("/v1/toy/approvals")
    assert answer.status_code == 503 and "no lake" in answer.json()["error"]["message"]
    assert client.post("/v1/toy/rollback", json={}).status_code == 202


def test_a_service_of_a_model_folder_says_that_it_has_no_loop(
    tmp_path: Path, prefect: PrefectServer
) -> None:
    client = client_of(tmp_path, prefect.url, serving_model_folder=tmp_path / "model", lake="none")
    for method, path in [
        ("GET", "approvals"),
        ("POST", f"approvals/{UNKNOWN}"),
        ("POST", "rollback"),
    ]:
        answer = client.request(method, f"/v1/toy/{path}", json={"approved": True})
        assert (
            answer.status_code == 404
            and "LAUREL_SERVING_MODEL_FOLDER" in answer.json()["error"]["message"]
        )
    assert prefect.requests == []


def test_the_password_goes_to_prefect_and_a_wrong_one_is_told_without_it(tmp_path: Path) -> None:
    with PrefectServer(auth="admin:s3cret") as prefect:
        prefect.deploy("rollback/toy")
        assert (
            client_of(tmp_path, prefect.url, prefect_auth="admin:s3cret")
            .post("/v1/toy/rollback", json={})
            .status_code
            == 202
        )
        for auth in (None, "admin:wr0ng"):
            answer = client_of(tmp_path, prefect.url, prefect_auth=auth).post(
                "/v1/toy/rollback", json={}
            )
            message = answer.json()["error"]["message"]
            assert (
                answer.status_code == 503
                and "LAUREL_PREFECT_AUTH" in message
                and "wr0ng" not in message
            )


def test_the_client_takes_no_answer_for_prefect_s_that_is_not(prefect: PrefectServer) -> None:
    api = PrefectApi(prefect.url.removesuffix("/api") + "/elsewhere")
    assert api.run(UNKNOWN) is None and api.deployment("rollback/toy") is None
