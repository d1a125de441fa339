"""The model package: a folder with all that the service needs, and nothing that runs code when it is loaded.

    package.json        the manifest below: schema, metrics, what it was trained on, SHA-256 of every other file
    model.onnx          one tensor "matrix" (n_rows, n_features) in, one tensor (n_rows,) out
    smoke.json          rows with the scores that the scikit-learn pipeline gave them
    reference.parquet   rows and scores that the drift check compares with (never read by the service)

``tasks/packaging.py`` makes and proves it; the service and the contest read it here. This module imports no training
library. The manifest's own digest is a tag of the model version, so a package is verified from the registry down.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from serving.errors import InputError, PackageError

FORMAT = 3
_READABLE = (1, 2, 3)  # where an older one says nothing of what was added since, the defaults below hold
MANIFEST = "package.json"
MODEL = "model.onnx"
SMOKE = "smoke.json"
REFERENCE = "reference.parquet"


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input. ``categories`` (kind "category") in the order of their codes; unknown or null is code -1.

    ``closed``: the use case states all categories there are, so that any other one is a mistake.
    """

    name: str
    kind: str
    nullable: bool
    low: float | None = None
    high: float | None = None
    categories: list[str] | None = None
    description: str = ""
    closed: bool = False


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is said of a row: a "number" in ``low``-``high``, or a "decision" (true or false)."""

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    description: str = ""


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the ONNX model is from the pipeline it was made of, on ``rows`` real and boundary rows."""

    rows: int
    largest_difference: float
    changed_decisions: int


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a package says of itself. Scores are probabilities of ``label`` being true, in 0-1."""

    format: int = FORMAT
    use_case: str
    title: str
    question: str
    recipe: str
    params: dict[str, Any]
    created: str = ""  # packages made before November 2026 say when: a package that says nothing of time can be made again, to the byte
    features: list[Feature]
    outputs: list[Output] = []
    label: str
    event_time: str
    dtype: str
    decision_threshold: float
    metrics: dict[str, float]
    dataset_version: str
    trained_on: dict[str, str]
    trained_through: str
    parity: Parity
    drift_thresholds: dict[str, float]
    drift_calibrated: bool
    drift_importance: dict[str, float] = {}  # of each input, 0-1, all together 1; none: not known
    drift_methods: dict[str, str] = {}  # the distance that each threshold is of; none: the usual one of the column's kind
    holdout: str = ""
    holdout_intervals: dict[str, tuple[float, float]] = {}  # of each metric, two-sided at 90 %
    calibration: list[tuple[float, float]] = []  # score and share of positives there, rising: a line between them
    provisional: str = ""  # why the crown is provisional: on too little evidence; empty where it is not
    log_sample_rate: float = 1.0
    log_leave_out: list[str] = []
    event_past_days: float | None = None  # an event may be this long before now; none: no bound
    event_future_days: float | None = None
    files: dict[str, str]


# Made now, by one thread: msgspec ends the process where two threads meet a type for the first time (docs/decisions/0012-hot-path.md).
_MANIFEST = msgspec.json.Decoder(Manifest)


class Smoke(msgspec.Struct, frozen=True):
    """Rows and what they must score."""

    rows: list[dict[str, Any]]
    scores: list[float]


_SMOKE = msgspec.json.Decoder(Smoke)

Stranger = tuple[int, int, str]  # row, position of the feature, and the value that is none of its categories


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> str:
    """Write the package and return the manifest's digest. The manifest is written last, with ``files``' digests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    whole = msgspec.structs.replace(manifest, files={name: digest(data) for name, data in files.items()})
    content = msgspec.to_builtins(whole)
    if not whole.provisional:
        del content["provisional"]  # a service from before this field reads all but provisional packages
    data = msgspec.json.format(msgspec.json.encode(content))
    (folder / MANIFEST).write_bytes(data)
    return digest(data)


def read_manifest(data: bytes, expected_digest: str | None = None) -> Manifest:
    """Raises ``PackageError`` for a manifest that was changed, or is of another format."""
    if expected_digest is not None and digest(data) != expected_digest:
        raise PackageError(f"{MANIFEST} is not the one that was registered: its SHA-256 differs from the version's tag.")
    try:
        form = msgspec.json.decode(data, type=dict).get("format")
        if form not in _READABLE:
            known = " and ".join(map(str, _READABLE))
            raise PackageError(f"The package has format {form!r}, this code reads {known}: register the model again.")
        return _MANIFEST.decode(data)
    except msgspec.DecodeError as error:
        raise PackageError(f"{MANIFEST} cannot be read: {error}.") from error


class Package:
    """A loaded package: encodes rows and scores them. Safe to use from several threads."""

    def __init__(self, manifest: Manifest, model: bytes, smoke: Smoke) -> None:
        import onnxruntime

        self.manifest = manifest
        self.smoke = smoke
        self.names = [feature.name for feature in manifest.features]
        self._codes = {f.name: _codes(f.categories or []) for f in manifest.features if f.kind == "category"}
        known = [(position, self._codes[name]) for position, name in enumerate(self.names) if name in self._codes]
        self._coded = [(position, {**codes, None: -1}) for position, codes in known]
        self._closed = [feature.closed for feature in manifest.features]
        self._alike = {position: {_alike(value): value for value in codes} for position, codes in known}
        self._dtype = np.dtype(manifest.dtype)
        # One thread: the defaults cost three times as much a row and fight with the other workers (docs/decisions).
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise PackageError(f"{MODEL} does not load: {str(error).splitlines()[0]}") from error

    def encode(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        """The matrix ``(n_rows, n_features)`` of raw columns: null numbers become NaN, unknown categories -1.

        Raises ``InputError`` for a missing column or a value that is no number.
        """
        missing = [name for name in self.names if name not in columns]
        if missing:
            raise InputError(f"Columns missing: {', '.join(missing)}.")
        matrix = np.empty((len(columns[self.names[0]]), len(self.names)), dtype=self._dtype)
        for position, name in enumerate(self.names):
            codes = self._codes.get(name)
            values = columns[name]
            try:
                matrix[:, position] = values if codes is None else [codes.get(value, -1) for value in values]
            except (TypeError, ValueError) as error:
                raise InputError(f"Column {name!r}: {error}.") from error
        return matrix

    def encode_rows(self, rows: Sequence[Sequence[Any]], strangers: list[Stranger] | None = None) -> np.ndarray:
        """The same matrix, of rows with values in the order of ``names``: five times as fast as ``encode`` for one row.

        The rows must have been checked: a number or null for a number, a text or null for a category. What follows the
        features in a row is left out. Unknown categories that are likely a mistake are added to ``strangers``.
        """
        filled = [list(row[: len(self.names)]) for row in rows]
        for position, codes in self._coded:
            for row, values in enumerate(filled):
                value = values[position]
                code = codes.get(value)
                if code is None:
                    code = -1
                    if strangers is not None and (self._closed[position] or self.nearest(position, value) is not None):
                        strangers.append((row, position, value))
                values[position] = code
        return np.array(filled, dtype=self._dtype)

    def nearest(self, position: int, value: str) -> str | None:
        """The category that ``value`` would be with other case or without blanks around it."""
        return self._alike[position].get(_alike(value))

    def score(self, matrix: np.ndarray) -> np.ndarray:
        """Probabilities ``(n_rows,)`` in 0-1 of a matrix made by ``encode``."""
        return self._session.run(None, {"matrix": matrix})[0]

    def predict(self, columns: Mapping[str, Sequence[Any]]) -> np.ndarray:
        return self.score(self.encode(columns))

    def check_smoke(self, tolerance: float = 1e-4) -> None:
        """Raises ``PackageError`` where a smoke row does not score what it scored when the package was made."""
        rows = self.smoke.rows
        got = self.predict({name: [row[name] for row in rows] for name in self.names})
        difference = np.abs(got - np.asarray(self.smoke.scores))
        if not rows or not np.all(difference <= tolerance):
            largest = difference.max(initial=0)
            raise PackageError(f"Smoke rows do not score what they should: off by up to {largest:.2g} over {len(rows)} rows.")


def _alike(value: str) -> str:
    return value.strip().casefold()


def _codes(categories: list[str]) -> dict[str, int]:
    return {value: code for code, value in enumerate(categories)}


def load(folder: Path, expected_digest: str | None = None) -> Package:
    """Read, verify and try the package in ``folder``.

    Raises ``PackageError`` for a missing or changed file, another format, or a wrong answer to a smoke row.
    """
    try:
        manifest = read_manifest((folder / MANIFEST).read_bytes(), expected_digest)
        # The reference is here in the flows, which read it, and not in the service.
        here = [MODEL, SMOKE, *[name for name in manifest.files if name == REFERENCE and (folder / name).exists()]]
        contents = {name: (folder / name).read_bytes() for name in here}
    except OSError as error:
        raise PackageError(f"The package in {folder.name} is incomplete: {error.strerror}: {Path(str(error.filename)).name}.") from error
    for name, data in contents.items():
        if digest(data) != manifest.files.get(name):
            raise PackageError(f"{name} was changed: its SHA-256 is not the manifest's.")
    try:
        package = Package(manifest, contents[MODEL], _SMOKE.decode(contents[SMOKE]))
        package.check_smoke()
    except PackageError:
        raise
    except Exception as error:  # what ONNX Runtime raises for a graph of another shape has no common base
        raise PackageError(f"The package does not answer its smoke rows: {str(error).splitlines()[0]}") from error
    return package
