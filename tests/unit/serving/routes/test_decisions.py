from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from blocks.settings import Settings
from serving.records.reasons import because
from serving.server.app import create_app
from tests.fixtures.lake_history import (
    NOTHING,
    at,
    write_comparison,
    write_many,
    write_traffic,
    write_year,
)
from tests.fixtures.lake_records import write_decision


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


KOREAN = {"Accept-Language": "ko-KR,ko;q=0.9,en;q=0.8"}


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service over a ledger from before codes, whose last entries have them."""
    folder = tmp_path_factory.mktemp("coded")
    write_many(folder / "lake", 3)
    until = "2026-11-30T18:39:00+00:00"
    for hours, reasons in enumerate(
        (
            [because("budget", retrains=4, allowed=4, until=until), "Kim: not at full moon"],
            [because("run_silent")],
        )
    ):
        fields = NOTHING | {"kind": "refusal", "facts": {"wanted": because("asked_for")}}
        write_decision(folder / "lake", at(hours), "budget", **fields, reasons=reasons)
    settings = {
        "state": folder / "state",
        "lake": f"file://{folder}/lake",
        "mlflow_url": "http://127.0.0.1:1",
        "serving_use_cases": "toy",
    }
    app = create_app(Settings.model_validate(settings))
    yield TestClient(app, base_url="http://localhost")


def test_reasons_come_in_the_reader_s_language_with_their_codes(coded: TestClient) -> None:
    answers = {
        language: coded.get("/v1/toy/decisions", headers=headers)
        for language, headers in (("en", {}), ("ko", KOREAN))
    }
    for language, answer in answers.items():
        assert answer.headers["content-language"] == language
        assert "Accept-Language" in answer.headers["vary"]
    english, korean = (answers[name].json()["items"][1]["parts"][0] for name in ("en", "ko"))
    assert english["reasons"][0].startswith("4 retrains started within 24 h")
    assert korean["reasons"] == [
        "24시간 동안 재학습이 4번 시작되었고 하루 한도는 4번입니다. 다음 재학습은 2026-11-30 18:39 "
        "UTC부터 가능합니다",
        "Kim: not at full moon",
    ]
    assert (english["facts"]["wanted"], korean["facts"]["wanted"]) == ("asked for", "요청에 따름")
    assert english["codes"] == korean["codes"]
    assert [code and code["code"] for code in korean["codes"]] == ["budget", None]
    place = answers["ko"].json()["items"][1]["id"]
    one = coded.get(f"/v1/toy/decisions/{place}", headers=KOREAN).json()["decision"]
    assert one["parts"][0] == korean and one["reasons"] == korean["reasons"]


def test_an_entry_from_before_codes_is_told_as_it_was_written(coded: TestClient) -> None:
    old = [coded.get("/v1/toy/decisions/1", headers=head).json() for head in ({}, KOREAN)]
    assert old[0] == old[1] and old[0]["decision"]["reasons"] and not old[0]["decision"]["codes"]
    assert not any(
        item["tampered"] for item in coded.get("/v1/toy/decisions", headers=KOREAN).json()["items"]
    )


@pytest.mark.parametrize(
    ("words", "headers", "found"),
    [
        ("하루 한도는", KOREAN, 1),
        ("하루 한도는", {}, 0),
        ("RETRAINS STARTED", {}, 1),
        ("retrains started", KOREAN, 1),
        ("요청에 따름", KOREAN, 2),
        ("full moon", KOREAN, 1),
        ("아무 신호 없이", KOREAN, 1),
    ],
)
def test_the_search_finds_what_its_reader_reads(
    coded: TestClient, words: str, headers: dict[str, str], found: int
) -> None:
    answer = coded.get("/v1/toy/decisions", params={"q": words}, headers=headers).json()
    assert answer["total"] == found
