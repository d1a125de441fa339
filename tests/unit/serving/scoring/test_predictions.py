import json
import subprocess
import sys
from pathlib import Path

import pytest

from serving.champions.champion import Champion
from serving.errors import PackageError
from serving.package.manifest import Smoke
from serving.package.model import Package, load
from serving.scoring.predictions import PredictionIds, answer_json, predict
from tests.fixtures.packages import expected_score, model, write_package


def crown(folder: Path, **other: object) -> Champion:
    digest = write_package(folder, **other)  # type: ignore[arg-type]
    return Champion.crown("toy", "3", digest, load(folder, digest))


def test_an_answer_has_a_score_a_decision_and_an_id_for_each_row_in_order(tmp_path: Path) -> None:
    rows = [
        {"carrier": "AA", "distance": 0.0, "wind": -1.0},
        {"carrier": "UA", "distance": 900, "wind": None},
    ]
    champion = crown(tmp_path)
    read = champion.reader.read(json.dumps({"rows": rows}).encode())
    answer = json.loads(answer_json(predict(champion, read, PredictionIds(), Package.score)))
    assert (answer["model_version"], answer["use_case"]) == ("3", "toy")
    assert [prediction["score"] for prediction in answer["predictions"]] == pytest.approx(
        [expected_score(row) for row in rows], rel=1e-5
    )
    assert [prediction["decision"] for prediction in answer["predictions"]] == [False, True]
    ids = [prediction["id"] for prediction in answer["predictions"]]
    assert len(set(ids)) == 2 and ids == sorted(ids)


def test_a_model_that_gives_no_number_is_an_error_and_not_a_decision(tmp_path: Path) -> None:
    champion = crown(tmp_path)
    broken = Package(
        champion.package.manifest, model(bias=0.0, last="Log"), Smoke([], [])
    )  # the log of a negative margin
    with pytest.raises(PackageError, match="no finite number for row 1"):
        other = Champion.crown("toy", "4", "0", broken)
        predict(
            other,
            [("AA", 10.0, None, None), (None, 0.0, -100.0, None)],
            PredictionIds(),
            Package.score,
        )


def test_ids_of_two_processes_never_meet() -> None:
    first, second = PredictionIds(), PredictionIds()
    assert not set(first.take(1000)) & set(second.take(1000))


def test_ids_follow_the_order_of_answers() -> None:
    ids = PredictionIds()
    all_ids = [*ids.take(300), *ids.take(1), *ids.take(300)]
    assert all_ids == sorted(all_ids) and len(set(all_ids)) == 601


def test_a_package_of_another_use_case_is_not_crowned(tmp_path: Path) -> None:
    digest = write_package(tmp_path, use_case="other")
    with pytest.raises(PackageError, match="for 'other', not for 'toy'"):
        Champion.crown("toy", "1", digest, load(tmp_path, digest))


def test_the_service_imports_no_training_library() -> None:
    code = (
        "import sys, serving.__main__, serving.upload.parquet; "
        "print(sorted({name.split('.')[0] "
        "for name in sys.modules}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    for heavy in (
        "prefect",
        "mlflow",
        "pandas",
        "polars",
        "sklearn",
        "evidently",
        "optuna",
        "pyarrow",
        "httpx",
    ):
        assert f"'{heavy}'" not in loaded
