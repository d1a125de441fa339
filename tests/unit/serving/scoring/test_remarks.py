"""An answer's remarks: they tell a caller of a misspelled category or column."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from blocks.settings import Settings
from serving.champions.champion import Champion
from serving.formats.bodies import JSON, read_pieces
from serving.log.prediction_log import NoPredictionLog
from serving.metrics.counters import Metrics
from serving.package.model import load
from serving.scoring.predictions import answer_json
from serving.scoring.scorer import Scorer
from serving.server.app import create_app
from tests.fixtures.packages import FEATURES, write_package

ROW = {"carrier": "AA", "distance": 100.0, "wind": None}


def crown(folder: Path, closed: bool) -> Champion:
    features = [
        msgspec.structs.replace(feature, closed=closed and feature.kind == "category")
        for feature in FEATURES
    ]
    digest = write_package(folder, features=features)
    return Champion.crown("toy", "1", digest, load(folder, digest))


def answer_rows(champion: Champion, folder: Path, *carriers: Any) -> tuple[dict[str, Any], Metrics]:
    body, metrics = (
        msgspec.json.encode({"rows": [{**ROW, "carrier": carrier} for carrier in carriers]}),
        Metrics(),
    )
    works = Scorer(
        NoPredictionLog(folder / "log", 1, 1, 1), metrics, threads=1, queue_limit=1, max_rows=10**5
    )
    read = lambda served, size: read_pieces(served.reader, JSON, body, 10**5, size)  # noqa: E731
    scored = asyncio.run(works.score(champion, body, JSON, read, logged=False))
    return msgspec.json.decode(answer_json(scored)), metrics


@pytest.mark.parametrize("carrier", ["aa", " AA", "Aa\t"])
def test_a_category_with_other_case_or_blanks_is_told_with_the_one_that_is_meant(
    tmp_path: Path, carrier: str
) -> None:
    answer, metrics = answer_rows(crown(tmp_path, closed=False), tmp_path, "UA", carrier, carrier)
    assert answer["warnings"] == [
        (
            f"Row 1, field 'carrier': {carrier!r} is not one of its categories and "
            "was scored as unknown (2 rows). Did you mean 'AA'?"
        )
    ]
    assert metrics.unknown_categories["toy", "carrier"] == 2
    assert b'laurel_unknown_categories_total{field="carrier",use_case="toy"} 2.0' in metrics.text()


def test_an_unknown_category_is_told_where_the_set_is_closed_and_is_nothing_new_where_it_is_open(
    tmp_path: Path,
) -> None:
    answer, _ = answer_rows(crown(tmp_path / "closed", closed=True), tmp_path, "AA", "ZZ", None)
    assert answer["warnings"] == [
        "Row 1, field 'carrier': 'ZZ' is not one of its categories and was scored as "
        "unknown (1 rows)."
    ]
    answer, metrics = answer_rows(
        crown(tmp_path / "open", closed=False), tmp_path, "AA", "ZZ", None
    )
    assert "warnings" not in answer and not metrics.unknown_categories


def test_a_large_request_of_ever_so_many_mistakes_has_a_short_list_and_counts_all_rows(
    tmp_path: Path,
) -> None:
    carriers = [f"no {number}" if number % 2 else "aa" for number in range(20_000)]
    answer, metrics = answer_rows(crown(tmp_path, closed=True), tmp_path, *carriers)
    assert (
        len(answer["warnings"]) == 10
        and "(10000 rows). Did you mean 'AA'?" in answer["warnings"][0]
    )
    assert metrics.unknown_categories["toy", "carrier"] >= 10_000
    assert len(answer["predictions"]) == 20_000


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    """The application without its start, and a champion in its watch."""
    app = create_app(
        Settings.model_validate(
            {"state": tmp_path / "state", "lake": "none", "serving_use_cases": "toy"}
        )
    )
    app.state.service.use_cases.watches["toy"].champion = crown(tmp_path / "package", closed=True)
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize(
    ("path", "body", "kind", "headers"),
    [
        (
            "/v1/toy/predict",
            b"carrier,distance\naa,1\n",
            "text/csv",
            {"x-laurel-unknown-categories": "carrier=aa"},
        ),
        (
            "/invocations",
            b'{"inputs": {"carrier": "aa", "distance": 1, "wnid": 5}}',
            "application/json",
            {"x-laurel-unknown-categories": "carrier=aa", "x-laurel-ignored-columns": "wnid"},
        ),
        (
            "/invocations",
            b"carrier,distance,wnid\nAA,1,5\n",
            "text/csv",
            {"x-laurel-ignored-columns": "wnid"},
        ),
        (
            "/v2/models/toy/infer",
            b'{"inputs": [{"name": "carrier", "shape": [1], "datatype": "BYTES", "data": ["aa"]},'
            b' {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1], '
            b'"parameters": null}], "id": null}',
            "application/json",
            {"x-laurel-unknown-categories": "carrier=aa"},
        ),
    ],
)
def test_every_protocol_says_so_in_a_header(
    client: TestClient, path: str, body: bytes, kind: str, headers: dict[str, str]
) -> None:
    answer = client.post(path, content=body, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    assert {
        name: value for name, value in answer.headers.items() if name.startswith("x-laurel")
    } == headers


@pytest.mark.parametrize("rows", [30, 20_000])
def test_a_header_names_each_value_once_and_says_how_many_more_there_are(
    client: TestClient, rows: int
) -> None:
    body = b"carrier,distance\n" + b"".join(b"c%02d,1\n" % (row % 15) for row in range(rows))
    answer = client.post("/v1/toy/predict", content=body, headers={"content-type": "text/csv"})
    expected = [f"carrier=c{number:02d}" for number in range(10)]
    assert answer.headers["x-laurel-unknown-categories"].split(", ") == [*expected, "+5"]
    assert client.app.state.service.metrics.unknown_categories["toy", "carrier"] == rows  # type: ignore[attr-defined]


def test_requests_with_ignored_columns_are_counted(client: TestClient) -> None:
    for body in (
        b'{"inputs": {"distance": 1}}',
        b'{"inputs": {"distance": 1, "x": 1}}',
        b'{"dataframe_records": [{"distance": 1, "y": 1}]}',
    ):
        client.post("/invocations", content=body, headers={"content-type": "application/json"})
    assert client.app.state.service.metrics.ignored_columns == {"toy": 2}  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/v1/toy/predict", "/invocations"])
@pytest.mark.parametrize("body", [b"AA,100,3\nUA,5,1\n", b"AA,1,1\n", b'"AA","2.5",""\n'])
def test_csv_without_a_header_is_told_as_such(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "text/csv"})
    assert answer.status_code in (400, 422)
    assert (
        "The first line of the CSV is a row of values: expected the fields' names, such as "
        "carrier,distance,wind"
    ) in answer.text


def test_an_event_outside_of_the_window_is_refused_before_anything_is_scored(
    client: TestClient,
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    champion = service.use_cases.watches["toy"].champion
    manifest = msgspec.structs.replace(champion.package.manifest, event_future_days=1.0)
    champion.package.manifest = manifest
    service.use_cases.watches["toy"].champion = Champion.crown("toy", "2", "", champion.package)
    answer = client.post(
        "/v1/toy/predict?log=true", json={"rows": [{**ROW, "time_hour": "9999-01-01T00:00:00"}]}
    )
    assert (
        answer.status_code == 422
        and "Row 0, field 'time_hour': expected a time from" in answer.json()["error"]["message"]
    )
    assert not service.metrics.rows
