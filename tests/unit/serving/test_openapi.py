from pathlib import Path

from blocks.settings import Settings
from serving.app import create_app
from serving.champion import Champion
from serving.package import Feature, load
from tests.fixtures.packages import FEATURES, write_package


def document(tmp_path: Path, features: list[Feature] | None = None) -> dict:
    app = create_app(Settings(state=tmp_path / "state", lake=f"file://{tmp_path}/lake", serving_use_cases="toy,other"))
    digest = write_package(tmp_path / "package", features=features)
    app.state.service.watches["toy"].champion = Champion.crown("toy", "7", digest, load(tmp_path / "package", digest))
    return app.openapi()


def test_each_champion_has_its_own_path_with_its_row_and_an_example_of_its_package(tmp_path: Path) -> None:
    paths = document(tmp_path)["paths"]
    assert "/v1/{use_case}/predict" in paths, "for the use case that has no champion yet"
    route = paths["/v1/toy/predict"]["post"]
    assert "version 7" in route["summary"]
    body = route["requestBody"]["content"]["application/json"]
    row = body["schema"]["anyOf"][0]["properties"]["rows"]["items"]
    assert row["required"] == ["distance"] and row["additionalProperties"] is False
    assert row["properties"]["distance"] == {"type": "number", "minimum": 0.0, "maximum": 5000.0, "description": "miles"}
    assert row["properties"]["wind"]["type"] == ["number", "null"]
    assert row["properties"]["carrier"]["description"] == "who flies; known: AA, UA"
    assert body["example"] == {"rows": [{"carrier": "AA", "distance": 100.0, "wind": 3.0}]}
    columns = body["schema"]["anyOf"][1]["properties"]["columns"]
    assert columns["properties"]["distance"]["items"] == row["properties"]["distance"]


def test_the_document_follows_the_champion(tmp_path: Path) -> None:
    longer = [FEATURES[0], Feature("distance", "number", nullable=False, low=0.0, high=9000.0), FEATURES[2]]
    row = document(tmp_path, longer)["paths"]["/v1/toy/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert row["anyOf"][0]["properties"]["rows"]["items"]["properties"]["distance"]["maximum"] == 9000.0


def test_every_answer_that_refuses_has_the_same_shape(tmp_path: Path) -> None:
    for path, methods in document(tmp_path)["paths"].items():
        for method, route in methods.items():
            for status, answer in route["responses"].items():
                if status[0] in "45" and not path.startswith(("/v2", "/invocations", "/ping")):
                    assert answer["content"]["application/json"]["schema"]["required"] == ["error"], (path, method, status)
