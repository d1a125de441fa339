"""A shadow's answers are logged under the champion's ids; what it fails is counted, and alone."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from serving.champions.champion import Champion
from serving.log.prediction_log import PredictionLog
from serving.package.manifest import Smoke
from serving.package.model import Package, load
from serving.rollouts.copies import Copy, pack
from serving.shadow.pairs import Pairs
from tests.fixtures.packages import expected_score, model, write_package

ROW = {"carrier": "AA", "distance": 800.0, "wind": 3.0}


def copy(name: str, *rows: dict[str, Any]) -> Copy:
    ids = [f"{name}-{place}" for place in range(len(rows))]
    return Copy(msgspec.json.encode({"rows": rows}), ids)


def pairs(folder: Path, last: str = "Sigmoid") -> Pairs:
    digest = write_package(folder / "package", bias=2.0)
    package = load(folder / "package", digest)
    if last != "Sigmoid":
        package = Package(package.manifest, model(bias=0.0, last=last), Smoke([], []))
    log = PredictionLog(folder / "log", flush_seconds=3600, flush_rows=10**6, backlog_bytes=10**9)
    log.start()
    return Pairs(Champion.crown("toy", "2", digest, package, "rollout"), log, max_rows=1000)


def logged(folder: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for path in (folder / "log").rglob("*.jsonl"):
        header, *lines = map(msgspec.json.decode, path.read_bytes().splitlines())
        assert (header["role"], header["version"]) == ("rollout", "2")
        for line in lines:
            predictions = line["predictions"]
            found |= dict(zip(predictions["id"], predictions["score"], strict=True))
    return found


def test_answers_keep_the_ids_of_their_requests(tmp_path: Path) -> None:
    scores = pairs(tmp_path)
    many = [{**ROW, "wind": float(wind)} for wind in range(100)]
    scores.add([pack([copy("a", ROW), copy("b", *many)]), pack([copy("c", ROW)])])
    expected = {"a-0": ROW, "c-0": ROW} | {f"b-{place}": row for place, row in enumerate(many)}
    assert logged(tmp_path) == {
        name: pytest.approx(expected_score(row, 2.0), rel=1e-5) for name, row in expected.items()
    }
    assert (scores.report.requests, scores.report.rows, scores.report.failures) == (3, 102, 0)


def test_a_request_that_fails_takes_no_other_along(tmp_path: Path) -> None:
    scores = pairs(tmp_path, last="Log")
    bad = {"distance": 0.0, "wind": -100.0}  # the log of a negative margin
    unknown = {**ROW, "gate": 1.0}
    scores.add([pack([copy("a", ROW), copy("b", bad), copy("c", unknown), copy("d", ROW)])])
    assert logged(tmp_path).keys() == {"a-0", "d-0"}
    assert (scores.report.requests, scores.report.rows, scores.report.failures) == (4, 2, 2)
