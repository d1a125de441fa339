from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.settings import Settings
from serving.champions.champion import Champion
from serving.edge.openapi import prediction_schema
from serving.package.manifest import Feature
from serving.package.model import load
from serving.server.app import create_app
from tests.fixtures.packages import FEATURES, write_package
from tests.fixtures.six_kinds import OUTPUTS


def document(tmp_path: Path, features: list[Feature] | None = None) -> dict:
    app = create_app(
        Settings(
            state=tmp_path / "state", lake=f"file://{tmp_path}/lake", serving_use_cases="toy,other"
        )
    )
    digest = write_package(tmp_path / "package", features=features)
    app.state.service.use_cases.watches["toy"].champion = Champion.crown(
        "toy", "7", digest, load(tmp_path / "package", digest)
    )
    return app.openapi()


def test_each_champion_has_its_own_path_with_its_row_and_an_example_of_its_package(
    tmp_path: Path,
) -> None:
    paths = document(tmp_path)["paths"]
    assert "/v1/{use_case}/predict" in paths, "for the use case that has no champion yet"
    route = paths["/v1/toy/predict"]["post"]
    assert "version 7" in route["summary"]
    body = route["requestBody"]["content"]["application/json"]
    row = body["schema"]["anyOf"][0]["properties"]["rows"]["items"]
    assert row["required"] == ["distance"] and row["additionalProperties"] is False
    assert row["properties"]["distance"] == {
        "type": "number",
        "minimum": 0.0,
        "maximum": 5000.0,
        "description": "miles",
    }
    assert row["properties"]["wind"]["type"] == ["number", "null"]
    assert row["properties"]["carrier"]["description"] == "who flies; known: AA, UA"
    assert body["example"] == {"rows": [{"carrier": "AA", "distance": 100.0, "wind": 3.0}]}
    columns = body["schema"]["anyOf"][1]["properties"]["columns"]
    assert columns["properties"]["distance"]["items"] == row["properties"]["distance"]


def test_the_document_follows_the_champion(tmp_path: Path) -> None:
    longer = [
        FEATURES[0],
        Feature("distance", "number", nullable=False, low=0.0, high=9000.0),
        FEATURES[2],
    ]
    row = document(tmp_path, longer)["paths"]["/v1/toy/predict"]["post"]["requestBody"]["content"][
        "application/json"
    ]["schema"]
    assert (
        row["anyOf"][0]["properties"]["rows"]["items"]["properties"]["distance"]["maximum"]
        == 9000.0
    )


def test_every_answer_that_refuses_has_the_same_shape(tmp_path: Path) -> None:
    for path, methods in document(tmp_path)["paths"].items():
        for method, route in methods.items():
            for status, answer in route["responses"].items():
                if status[0] in "45" and not path.startswith(("/v2", "/invocations", "/ping")):
                    assert answer["content"]["application/json"]["schema"]["required"] == [
                        "error"
                    ], (path, method, status)


def schemas(part: object) -> Iterator[dict]:
    """Every schema of a document, however deep."""
    if isinstance(part, dict):
        if isinstance(part.get("type"), str | list):
            yield part
        for inner in part.values():
            yield from schemas(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from schemas(inner)


def test_generators_of_clients_find_what_they_need_in_every_route(tmp_path: Path) -> None:
    """openapi-python-client leaves a route out, or its answer, where a list does not say of what it
    is.
    """
    openapi = document(tmp_path)
    assert [
        schema for schema in schemas(openapi) if schema["type"] == "array" and "items" not in schema
    ] == []
    for path, methods in openapi["paths"].items():
        for method, route in methods.items():
            answers = [
                answer for status, answer in route["responses"].items() if status.startswith("2")
            ]
            assert answers and (
                path == "/slack/actions" or all(answer.get("content") for answer in answers)
            ), (method, path)


def test_refusals_are_described_in_the_shape_of_their_protocol(tmp_path: Path) -> None:
    paths = document(tmp_path)["paths"]
    infer = paths["/v2/models/{model}/infer"]["post"]["responses"]["4XX"]["content"][
        "application/json"
    ]["schema"]
    assert infer["properties"] == {"error": {"type": "string"}}
    invocations = paths["/invocations"]["post"]["responses"]["4XX"]["content"]["application/json"][
        "schema"
    ]
    assert set(invocations["properties"]) == {"error_code", "message"}


def test_a_proxy_s_path_is_the_documents_server(tmp_path: Path) -> None:
    settings = Settings(
        state=tmp_path / "state",
        lake=f"file://{tmp_path}/lake",
        serving_path_prefix="/models/laurel/",
    )
    assert create_app(settings).openapi()["servers"] == [{"url": "/models/laurel"}]


@pytest.mark.parametrize(
    "prefix", ["models", "/v1", "/v2/x", "/a b", "//x", "/a?b", '/"><script>', "https://x/y"]
)
def test_a_prefix_that_cannot_be_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="serving_path_prefix"):
        Settings(serving_path_prefix=prefix)


def test_only_numbers_have_the_bounds_of_their_output() -> None:
    """The interval of a number below 0 begins there, whatever the labels' lowest value is."""
    interval = prediction_schema(OUTPUTS["interval"])["properties"]
    assert interval["low"] == interval["high"] == {"type": "number"}
    score = prediction_schema(OUTPUTS["binary"])["properties"]["score"]
    assert score == {"type": "number", "minimum": 0.0, "maximum": 1.0}
