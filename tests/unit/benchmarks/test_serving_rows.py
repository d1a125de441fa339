"""The parts of a request of many rows are measured on the same rows in each form."""

from pathlib import Path

import pytest

from benchmarks.serving.model import Row
from benchmarks.serving.rows import FORMS, PARTS, measure, read, table
from serving.champions.champion import Champion
from serving.package.model import load
from tests.fixtures.packages import write_package

ROWS: list[Row] = [
    {"carrier": "UA", "distance": 1.5, "wind": None, "arrived_at": "2013-06-01T15:00:00"},
    {"carrier": "new", "distance": 900.0, "wind": -3.0, "arrived_at": "2013-06-02T15:00:00"},
]


@pytest.fixture
def champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Champion:
    monkeypatch.setattr("tests.fixtures.packages.EVENT_TIME", "arrived_at")
    digest = write_package(tmp_path)
    return Champion.crown("toy", "1", digest, load(tmp_path, digest))


def test_all_forms_are_the_same_rows_and_every_part_is_told(champion: Champion) -> None:
    micros = {}
    for name, (kind, write) in FORMS.items():
        assert read(champion, name, ROWS).rows == read(champion, "JSON", ROWS).rows
        micros[name] = measure(champion, kind, [write(ROWS)], calls=5)
        assert micros[name]["all"] == pytest.approx(sum(micros[name][part] for part in PARTS))
    lines = table(micros).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == [*PARTS, "all"]
