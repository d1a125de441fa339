"""A model package in memory: it encodes rows and scores them (``serving/package/manifest.py`` has
its files and its manifest).
"""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from serving.errors import InputError, PackageError
from serving.package.encoders.encoder import Encoder
from serving.package.encoders.texts import Vocabulary, read_vocabularies
from serving.package.kinds import KINDS
from serving.package.manifest import (
    LOSSES,
    MANIFEST,
    MODEL,
    PROFILE,
    REFERENCE,
    SMOKE,
    SYMMETRIC_TREES,
    VOCABULARIES,
    Feature,
    Manifest,
    Smoke,
    digest,
    read_manifest,
    served_files,
)
from serving.package.outputs import (
    check_outputs,
    count_numbers,
    has_quantiles,
    numbers_of_model,
    values_of,
)
from serving.package.row_columns import RowColumns
from serving.package.symmetric_trees import SymmetricKernel, read_trees

_logger = logging.getLogger(__name__)
_SMOKE = msgspec.json.Decoder(Smoke)
SMOKE_TOLERANCE = 1e-4
_MATRIX_CELLS = 2_000_000  # 16 MB
_CHEAP_PLACES = 100

UnknownValue = tuple[
    int, int, str
]  # row, position of the feature, and the value that is none of its categories


def open_session(model: bytes) -> Any:
    """ONNX Runtime's session of ``model``. Raises ``PackageError`` if it does not load.

    One thread: the defaults cost three times as much a row and fight with the other workers
    (docs/decisions)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PackageError(f"{MODEL} does not load: {str(error).splitlines()[0]}") from error


class Package:
    """A loaded package: encodes rows and scores them. Safe to use from several threads.

    ``values_of`` makes the values of the outputs from the result of ``score``. The first
    ``narrow`` places of the matrix are those of inputs with one place, and ``blocks`` the rest:
    position, places and encoder of each wide input. A package that ``takes_files`` may decode
    millions of pixels for a small request. ``trees`` are the file of the
    symmetric trees, for many rows; those that it cannot use it leaves out, with a warning. Raises
    ``PackageError`` for a model that does not load, and for invalid outputs."""

    def __init__(
        self,
        manifest: Manifest,
        model: bytes,
        smoke: Smoke,
        vocabularies: Mapping[str, Vocabulary] = MappingProxyType({}),
        trees: bytes | None = None,
    ) -> None:
        names = [feature.name for feature in manifest.features]
        check_outputs(manifest.outputs, names, manifest.decision_threshold)
        self.values_of = values_of(manifest.outputs, manifest.decision_threshold)
        self.manifest = manifest
        self._has_quantiles = has_quantiles(manifest.outputs)
        self.smoke = smoke
        self.names = names
        self._codes = {
            feature.name: _codes(feature.categories or [])
            for feature in manifest.features
            if KINDS[feature.kind].coded
        }
        codes_by_position = [
            (position, self._codes[name])
            for position, name in enumerate(self.names)
            if name in self._codes
        ]
        self._coded = [(position, {**codes, None: -1}) for position, codes in codes_by_position]
        self._closed = [feature.closed for feature in manifest.features]
        self._alike = {
            position: {_normalize(value): value for value in codes}
            for position, codes in codes_by_position
        }
        self.blocks = _blocks(manifest.features, vocabularies)
        self.takes_files = any(KINDS[feature.kind].takes_files for feature in manifest.features)
        self.narrow = len(self.names) - len(self.blocks)
        self.width = self.blocks[-1][1].stop if self.blocks else self.narrow
        # Of wide inputs a few rows fill much memory: no more of them are encoded at a time.
        self.rows_at_once = max(1, _MATRIX_CELLS // self.width) if self.blocks else sys.maxsize
        # What a row costs, in values of a narrow input: a place of a block is cheap.
        self.row_cells = len(self.names) + (self.width - self.narrow) // _CHEAP_PLACES
        self._dtype = np.dtype(manifest.dtype)
        self._session = open_session(model)
        self.kernel: SymmetricKernel | None = None
        if trees is not None:
            try:
                self.kernel = SymmetricKernel(read_trees(trees), self.width, open_session)
            except PackageError as error:  # such as a later form of them
                self._leave_out_trees(error)

    @property
    def owners(self) -> np.ndarray:
        """The position of the feature that each place of the matrix belongs to ``(width,)``."""
        widths = [block.stop - block.start for _, block, _ in self.blocks]
        return np.repeat(np.arange(len(self.names)), [1] * self.narrow + widths)

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The matrix ``(n_rows, width)`` of raw columns: null numbers become NaN, unknown
        categories -1.

        Raises ``InputError`` for a missing column or a value that is not a number.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InputError(f"Columns missing: {', '.join(missing)}.")
        matrix = np.empty((len(columns[self.names[0]]), self.width), dtype=self._dtype)
        for position, name in enumerate(self.names[: self.narrow]):
            codes = self._codes.get(name)
            values = columns[name]
            try:
                matrix[:, position] = (
                    values if codes is None else [codes.get(value, -1) for value in values]
                )
            except (TypeError, ValueError) as error:
                raise InputError(f"Column {name!r}: {error}.") from error
        for position, block, encoder in self.blocks:
            self._encode_block(position, encoder, columns[self.names[position]], matrix[:, block])
        return matrix

    def encode_rows(
        self, rows: Sequence[Sequence[Any]], unknown_values: list[UnknownValue] | None = None
    ) -> np.ndarray:
        """The same matrix, from rows with values in the order of ``names``: five times as fast as
        ``encode`` for one row.

        The rows must have been checked: a number or null for a number, a text or null for a
        category. Values after the features in a row are left out. Unknown categories that are
        likely a mistake are added to ``unknown_values``."""
        if isinstance(rows, RowColumns) and not self.blocks:
            return self._encode_columns(rows, unknown_values)
        filled = [list(row[: self.narrow]) for row in rows]
        for position, codes in self._coded:
            try:
                for values, row in zip(filled, rows, strict=True):
                    values[position] = codes[row[position]]
            except KeyError:
                self._encode_column(position, codes, rows, filled, unknown_values)
        if not self.blocks:
            return np.array(filled, dtype=self._dtype)
        matrix = np.empty((len(rows), self.width), dtype=self._dtype)
        matrix[:, : self.narrow] = filled
        for position, block, encoder in self.blocks:
            values = [row[position] for row in rows]
            self._encode_block(position, encoder, values, matrix[:, block])
        return matrix

    def _encode_columns(
        self, rows: RowColumns, unknown_values: list[UnknownValue] | None
    ) -> np.ndarray:
        matrix = np.empty((len(rows), self.width), dtype=self._dtype)
        matrix[:] = rows.numbers.T
        for position, codes in self._coded:
            distinct, places = rows.texts[position]
            known = [codes.get(text, -1) for text in distinct]
            matrix[:, position] = np.array([*known, -1])[places]
            remarkable = [
                place
                for place, text in enumerate(distinct)
                if text not in codes and self._is_remarkable(position, text)
            ]
            if remarkable and unknown_values is not None:
                at = np.flatnonzero(np.isin(places, remarkable)).tolist()
                unknown_values += [(row, position, distinct[places[row]]) for row in at]
        return matrix

    def _is_remarkable(self, position: int, unknown: str) -> bool:
        """Whether a category that is ``unknown`` is likely a mistake."""
        return self._closed[position] or self.nearest(position, unknown) is not None

    def _encode_block(
        self, position: int, encoder: Encoder, values: Sequence[Any], block: np.ndarray
    ) -> None:
        try:
            encoder.encode(values, block)
        except InputError as error:
            name = self.names[position]
            raise InputError(
                f"Row {error.row}, field {name!r}: {error}", error.row, name
            ) from error

    def _encode_column(
        self,
        position: int,
        codes: Mapping[str | None, int],
        rows: Sequence[Sequence[Any]],
        filled: list[list[Any]],
        unknown_values: list[UnknownValue] | None,
    ) -> None:
        """Encode a column with unknown categories, which are rare."""
        for number, row in enumerate(rows):
            value = row[position]
            filled[number][position] = codes.get(value, -1)
            if (
                value not in codes
                and unknown_values is not None
                and self._is_remarkable(position, value)
            ):
                unknown_values.append((number, position, value))

    def nearest(self, position: int, value: str) -> str | None:
        """The category that equals ``value`` apart from case and surrounding blanks."""
        return self._alike[position].get(_normalize(value))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """The model's numbers of a matrix made by ``encode``: ``(n_rows,)``, or ``(n_rows,
        n_numbers)`` of several outputs of kind "number", or of one and its quantiles.
        """
        if self.kernel is not None and len(matrix) >= self.kernel.fewest_rows:
            return self.kernel.score(matrix)
        return self.score_by_onnx(matrix)

    def score_by_onnx(self, matrix: np.ndarray) -> np.ndarray:
        """The same without the symmetric trees, however many rows there are."""
        return self._session.run(None, {"matrix": matrix})[0]

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The same of raw columns in bounded memory, without the quantiles of a number."""
        scores = [self.score(matrix) for matrix in self.matrices(columns)]
        return self.without_quantiles(np.concatenate(scores))

    def without_quantiles(self, numbers: np.ndarray) -> np.ndarray:
        """The model's ``numbers`` that are outputs of their own."""
        return numbers[:, 0] if self._has_quantiles else numbers

    def matrices(self, columns: Mapping[str, Sequence[Any]]) -> Iterator[np.ndarray]:
        """The matrix of raw columns as ``encode`` gives it, in pieces where it would be large."""
        rows = max(map(len, columns.values()), default=0)
        if rows <= self.rows_at_once:
            yield self.encode(columns)
            return
        for at in range(0, rows, self.rows_at_once):
            yield self.encode(
                {name: values[at : at + self.rows_at_once] for name, values in columns.items()}
            )

    def check_smoke(self) -> None:
        """Raises ``PackageError`` if a smoke row's score differs from its score when the package
        was made. Symmetric trees that differ from the model in any bit are left out.
        """
        rows = self.smoke.rows
        matrix = self.encode({name: [row[name] for row in rows] for name in self.names})
        got = self.score_by_onnx(matrix)
        expected = np.asarray(self.smoke.scores)
        count = numbers_of_model(self.manifest.outputs)
        if count_numbers(got) != count or count_numbers(expected) != count:
            raise PackageError(
                f"{MODEL} gives {count_numbers(got)} numbers for a row, {SMOKE} has "
                f"{count_numbers(expected)}, and the outputs of {MANIFEST} need {count}."
            )
        off = smoke_distance(got.reshape(-1, count), expected.reshape(-1, count))
        if not rows or not off <= SMOKE_TOLERANCE:
            raise PackageError(
                f"Smoke rows do not score as they should: off by up to {off:.2g} over "
                f"{len(rows)} rows."
            )
        if self.kernel is not None and not np.array_equal(self.kernel.score(matrix), got):
            self._leave_out_trees("They answer smoke rows otherwise than the model.")

    def _leave_out_trees(self, why: object) -> None:
        """ONNX Runtime answers as well, only slower."""
        self.kernel = None
        _logger.warning("%s: %s is not used. %s", self.manifest.use_case, SYMMETRIC_TREES, why)


def smoke_distance(got: np.ndarray, expected: np.ndarray) -> float:
    """How far numbers of smoke rows, of any one shape, are from those expected at most: beyond 1
    as a share of these, since a price of 20,000 has no four decimals in single precision. NaN if
    a number is.
    """
    return float((np.abs(got - expected) / np.maximum(1, np.abs(expected))).max(initial=0))


def _blocks(
    features: Sequence[Feature], vocabularies: Mapping[str, Vocabulary]
) -> list[tuple[int, slice, Encoder]]:
    """The position, the places in the matrix and the encoder of each feature of a wide kind.

    Raises ``PackageError`` if one stands before a feature of another kind."""
    blocks: list[tuple[int, slice, Encoder]] = []
    start = 0
    for position, feature in enumerate(features):
        make = KINDS[feature.kind].encoder
        if make is None and blocks:
            raise PackageError(
                f"{MANIFEST} has {feature.name!r} behind {features[position - 1].name!r}: an "
                f"input of kind {features[position - 1].kind!r} stands behind all others."
            )
        encoder = make(feature, vocabularies) if make else None
        width = encoder.width if encoder else 1
        if encoder:
            blocks.append((position, slice(start, start + width), encoder))
        start += width
    return blocks


def _normalize(value: str) -> str:
    return value.strip().casefold()


def _codes(categories: list[str]) -> dict[str, int]:
    return {value: code for code, value in enumerate(categories)}


def load(folder: Path, expected_digest: str | None = None) -> Package:
    """Read, verify and try the package in ``folder``.

    Raises ``PackageError`` for a missing or changed file, another format, or a wrong answer to a
    smoke row."""
    try:
        manifest = read_manifest((folder / MANIFEST).read_bytes(), expected_digest)
        # Only the flows have those that they read. The trees are missing beside a package that an
        # older service has fetched: ONNX Runtime answers as well.
        perhaps = (REFERENCE, PROFILE, LOSSES, SYMMETRIC_TREES)
        file_names = [
            *(name for name in served_files(manifest) if name not in perhaps),
            *(name for name in perhaps if name in manifest.files and (folder / name).exists()),
        ]
        contents = {name: (folder / name).read_bytes() for name in file_names}
    except OSError as error:
        raise PackageError(
            f"The package in {folder.name} is incomplete: {error.strerror}: "
            f"{Path(str(error.filename)).name}."
        ) from error
    for name, data in contents.items():
        if digest(data) != manifest.files.get(name):
            raise PackageError(f"{name} was changed: its SHA-256 is not the manifest's.")
    try:
        vocabularies = read_vocabularies(contents.get(VOCABULARIES, b"{}"))
        smoke, trees = _SMOKE.decode(contents[SMOKE]), contents.get(SYMMETRIC_TREES)
        package = Package(manifest, contents[MODEL], smoke, vocabularies, trees)
        package.check_smoke()
    except PackageError:
        raise
    except Exception as error:  # ONNX Runtime's errors for another graph have no common base
        raise PackageError(
            f"The package does not answer its smoke rows: {str(error).splitlines()[0]}"
        ) from error
    return package
