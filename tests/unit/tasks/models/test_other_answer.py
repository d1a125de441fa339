"""A package that predicts something else than the use case asks for by now."""

from pathlib import Path

import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy_classes import USE_CASE as WEATHER
from usecases.toy_classes import weather_rows
from usecases.toy_number import USE_CASE as PRICE
from usecases.toy_number import price_rows

from serving.package.manifest import Manifest
from tasks.contest.fairness import other_schema
from tasks.models import modelling
from tasks.models.fingerprint import other_answer
from tasks.packages.packaging import Origin, make_package
from usecases.definition import Binary, Classes, UseCase


def manifest_of(case: UseCase, folder: Path) -> Manifest:
    rows = (price_rows if case is PRICE else weather_rows)("2024-01", 20)
    candidate = case.candidate("boosting")
    fitted = modelling.fit(case, candidate, {"max_iter": 3}, rows, seed=1)
    origin = Origin("boosting", {}, "1", {"2024-01": "0"}, {})
    return make_package(folder, case, fitted, origin, rows, rows, seed=1, watched=False).manifest


@pytest.mark.parametrize("case", [PRICE, WEATHER], ids=["number", "classes"])
def test_package_of_the_use_case_answers_what_is_asked(case: UseCase, tmp_path: Path) -> None:
    manifest = manifest_of(case, tmp_path)
    assert other_answer(case, manifest) == "" and other_schema(case, "challenger 1", manifest) == []


def test_another_kind_of_target_and_other_classes_are_told(tmp_path: Path) -> None:
    manifest = manifest_of(WEATHER, tmp_path)
    decides = WEATHER.model_copy(update={"target": Binary(label="weather", positive="storm")})
    assert other_answer(decides, manifest) == (
        "it answers class, score_calm, score_windy, score_storm of 'weather', and the use case "
        "asks for score, decision"
    )
    more = (*WEATHER.target.classes, "hail")  # type: ignore[union-attr]
    grown = WEATHER.model_copy(update={"target": Classes(label="weather", classes=more)})
    assert "score_storm, score_hail" in other_answer(grown, manifest)
    (reason,) = other_schema(grown, "challenger 1", manifest)
    assert reason.startswith("challenger 1 was made for another target: it answers class")
    assert other_answer(TOY, manifest) == "it predicts 'weather', and the use case asks for 'won'"
