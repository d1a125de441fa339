"""The fault that the demo plants: it passes what is proven on past rows, and shows on a gap."""

from pathlib import Path

import numpy as np
import pytest

from deployments.demo.stories._sick_version import plant_fault
from serving.errors import PackageError
from serving.package.model import load
from tests.fixtures.packages import (
    OUTPUTS,
    SMOKE_ROWS,
    PackageKind,
    expected_score,
    model,
    write_package,
)

GAP = {"carrier": "AA", "distance": 100.0, "wind": None}


def test_the_package_loads_and_has_no_answer_for_a_gap(tmp_path: Path) -> None:
    whole = [{**SMOKE_ROWS[0], "distance": distance} for distance in (100.0, 900.0)]
    kind = PackageKind(OUTPUTS, model(0.0), [expected_score(row) for row in whole], 0.5)
    write_package(tmp_path, kind=kind, smoke_rows=whole)
    package = load(tmp_path, plant_fault(tmp_path, "wind"))
    matrix = package.encode({name: [whole[0][name], GAP[name]] for name in package.names})
    first, gap = package.score(matrix)
    assert first == pytest.approx(expected_score(whole[0]), rel=1e-5) and np.isnan(gap)


def test_a_smoke_row_with_a_gap_would_have_found_it(tmp_path: Path) -> None:
    write_package(tmp_path)
    with pytest.raises(PackageError):
        load(tmp_path, plant_fault(tmp_path, "wind"))
