from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from blocks.settings import Settings
from serving.server.app import create_app
from tests.fixtures.lake_history import write_comparison, write_many, write_traffic, write_year


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("decisions")
    write_year(folder / "lake")
    write_many(folder / "lake", 60)
    write_traffic(folder / "lake", {"2013-06-02T10": 40})
    write_comparison(folder / "lake")
    settings = {
        "state": folder / "state",
        "lake": f"file://{folder}/lake",
        "mlflow_url": "http://127.0.0.1:1",
        "serving_use_cases": "toy",
    }
    app = create_app(Settings.model_validate(settings))
    yield TestClient(app, base_url="http://localhost")


def test_decisions_are_paged_filtered_and_searched(client: TestClient) -> None:
    answer = client.get("/v1/toy/decisions?limit=25").json()
    assert (len(answer["items"]), answer["total"]) == (25, 74)
    assert answer["searched"] == {"first": 1, "last": answer["searched"]["last"]}
    after = client.get(f"/v1/toy/decisions?limit=25&before={answer['next']}").json()
    assert int(after["items"][0]["id"]) < int(answer["items"][-1]["id"])
    kept = client.get("/v1/toy/decisions", params={"kind": "contest", "verdict": "keep"}).json()
    assert [item["verdict"] for item in kept["items"]] == ["kept"]
    assert [part["kind"] for part in kept["items"][0]["parts"]] == ["retrain", "contest", "retrain"]
    assert client.get("/v1/toy/decisions?q=DEP_DELAY").json()["total"] == 2


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "before=0", "before=x", "kind=rubbish", f"q={'x' * 101}"],
)
def test_a_question_that_makes_no_sense_is_refused(client: TestClient, query: str) -> None:
    answer = client.get(f"/v1/toy/decisions?{query}")
    assert answer.status_code == 422
    assert query.partition("=")[0] in answer.json()["error"]["message"]


def test_one_decision_has_an_address(client: TestClient) -> None:
    contest = client.get("/v1/toy/decisions?kind=contest").json()["items"][0]
    one = client.get(f"/v1/toy/decisions/{contest['id']}").json()
    assert one["decision"]["id"] == contest["id"]
    assert any(part["contest"]["days"] for part in one["decision"]["parts"] if part["contest"])


@pytest.mark.parametrize("place", ["0", "99999", "-1", "123456789123456789"])
def test_a_place_without_an_entry_is_not_found(client: TestClient, place: str) -> None:
    answer = client.get(f"/v1/toy/decisions/{place}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_decision")


def test_past_champions_have_score_and_date(client: TestClient) -> None:
    answer = client.get("/v1/toy/champions").json()
    assert [reign["version"] for reign in answer["champions"]] == ["7", "5", "2"]
    assert all(reign["score"] == 0.7714 or reign["metric"] for reign in answer["champions"])
    assert answer["champions"][0]["until"] is None and answer["serving"] is None
    brought = answer["brought"]
    assert (brought["version"], brought["before"], brought["window"]) == ("7", "5", "2013-10")


def test_the_series_has_windows_crowns_and_requests(client: TestClient) -> None:
    answer = client.get("/v1/toy/series").json()
    assert (answer["metric"], len(answer["windows"])) == ("roc_auc", 12)
    assert [crown["version"] for crown in answer["crowns"]] == ["2", "5", "7"]
    assert answer["counted_since"] == "2013-06-02T10"
    assert [window["requests"] for window in answer["windows"]][4:7] == [None, 40, 0]
    part = client.get("/v1/toy/series?from=2013-03&to=2013-05").json()["windows"]
    assert [window["window"] for window in part] == ["2013-03", "2013-04", "2013-05"]
    assert client.get("/v1/toy/series?from=2014-01").json()["windows"] == []


@pytest.mark.parametrize("query", ["from=yesterday", "to=June", "from=2013-13"])
def test_a_bound_that_is_no_window_is_refused_with_what_to_write(
    client: TestClient, query: str
) -> None:
    answer = client.get(f"/v1/toy/series?{query}")
    assert answer.status_code == 422 and "2013-06" in answer.json()["error"]["message"]
