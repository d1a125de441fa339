import json
from pathlib import Path

import numpy as np
import pytest

from serving.errors import PackageError
from serving.package.manifest import MODEL, SMOKE, Manifest, read_manifest, write
from serving.package.model import SMOKE_TOLERANCE, load, smoke_distance
from tests.fixtures.packages import expected_score, model, write_package

ROWS = [("AA", 100.0, 3.0), ("UA", 5000.0, None), ("??", 0.0, -2.5), (None, 7.0, 1e30)]


def manifest_of(folder: Path) -> Manifest:
    return read_manifest((folder / "package.json").read_bytes())


def test_rows_and_columns_encode_to_the_same_matrix(tmp_path: Path) -> None:
    package = load(tmp_path, write_package(tmp_path))
    columns = dict(zip(package.names, zip(*ROWS, strict=True), strict=True))
    by_rows, by_columns = (
        package.encode_rows([(*row, "left out") for row in ROWS]),
        package.encode(columns),
    )
    assert by_rows.dtype == by_columns.dtype == np.float32
    np.testing.assert_array_equal(by_rows, by_columns)
    assert list(by_rows[:, 0]) == [0, 1, -1, -1]


def test_scores_are_those_of_the_formula(tmp_path: Path) -> None:
    package = load(tmp_path, write_package(tmp_path, bias=-1.0))
    expected = [
        expected_score({"carrier": c, "distance": d, "wind": w}, bias=-1.0) for c, d, w in ROWS[:3]
    ]
    np.testing.assert_allclose(package.score(package.encode_rows(ROWS[:3])), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["package.json", MODEL, SMOKE])
def test_one_flipped_byte_is_refused(tmp_path: Path, name: str) -> None:
    digest = write_package(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PackageError):
        load(tmp_path, digest)


@pytest.mark.parametrize("name", ["package.json", MODEL, SMOKE])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    digest = write_package(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(PackageError, match=name):
        load(tmp_path, digest)


def test_a_model_that_answers_otherwise_than_its_smoke_rows_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path, bias=0.0)
    files = {MODEL: model(bias=0.1), SMOKE: (tmp_path / SMOKE).read_bytes()}
    with pytest.raises(PackageError, match="Smoke rows do not score"):
        load(tmp_path, write(tmp_path, files, manifest_of(tmp_path)))


@pytest.mark.parametrize(
    ("got", "expected", "is_near"),
    [
        (2460.00013, 2460.0, True),  # a salary in thousands, in single precision
        (2460.5, 2460.0, False),
        (-2460.00013, -2460.0, True),
        (0.50005, 0.5, True),
        (0.5002, 0.5, False),
        (float("nan"), 0.5, False),
        (float("inf"), 2460.0, False),
    ],
)
def test_smoke_rows_are_compared_at_the_scale_of_their_numbers(
    got: float, expected: float, is_near: bool
) -> None:
    off = smoke_distance(np.array([[0.25], [got]]), np.array([[0.25], [expected]]))
    assert (off <= SMOKE_TOLERANCE) == is_near


def test_a_model_of_another_input_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path)
    files = {MODEL: model(bias=0.0, dtype="float64"), SMOKE: (tmp_path / SMOKE).read_bytes()}
    with pytest.raises(PackageError, match="does not answer its smoke rows"):
        load(tmp_path, write(tmp_path, files, manifest_of(tmp_path)))


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    write_package(tmp_path)
    with pytest.raises(PackageError, match="model.onnx does not load"):
        load(
            tmp_path,
            write(
                tmp_path,
                {MODEL: b"\x80\x04pickle", SMOKE: (tmp_path / SMOKE).read_bytes()},
                manifest_of(tmp_path),
            ),
        )


@pytest.mark.parametrize("number", [1, 2, 4, None])
def test_a_package_of_another_format_is_refused_with_both_numbers_and_a_remedy(
    tmp_path: Path, number: int | None
) -> None:
    write_package(tmp_path)
    content = json.loads((tmp_path / "package.json").read_bytes())
    (tmp_path / "package.json").write_text(json.dumps(content | {"format": number}))
    refusal = (
        f"package.json of 'toy' has format {number}, but this version of Laurel reads format 3. "
        "Register the model again"
    )
    with pytest.raises(PackageError, match=refusal):
        load(tmp_path)
