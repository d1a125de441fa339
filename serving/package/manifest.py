"""The model package: a folder with all that the service needs, and without code that runs at
loading.

    package.json        the manifest below: schema, outputs, metrics, what it was trained on,
                        SHA-256 of every other file
    model.onnx          one tensor "matrix" (n_rows, n_features) in, one tensor of numbers out:
                        (n_rows,) for one output of kind "number", else (n_rows, n_numbers); a
                        number with quantiles has them beside it: (n_rows, 3)
    smoke.json          rows with the fitted pipeline's numbers for them
    reference.parquet   rows and scores for the drift check's comparison (the service never reads
                        it, nor the two files of the drift check below)
    vocabularies.json   of texts: how they become terms, and what each term weighs (only where
                        the model reads texts; ``serving/package/encoders/texts.py``)
    symmetric_trees.json
                        the same model in another form, for many rows at once (only where all its
                        trees are symmetric; ``serving/package/symmetric_trees.py``)
    drift_profile.json  what else the drift check compares (packages from before it have none)
    expected_losses.json
                        of numbers: what the drift check estimates their errors by

``tasks/packages`` makes and proves it; the service and the contest read it here. This module
imports no training library. The manifest's digest is a tag of the model version, so a package is
verified from the registry down."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from serving.errors import PackageError
from serving.package.kinds import check_kind
from serving.package.outputs import Output

FORMAT = 3  # why the first one has this number: docs/decisions/0018-package.md
MANIFEST = "package.json"
MODEL = "model.onnx"
SMOKE = "smoke.json"
REFERENCE = "reference.parquet"
PROFILE = "drift_profile.json"
LOSSES = "expected_losses.json"
VOCABULARIES = "vocabularies.json"
SYMMETRIC_TREES = "symmetric_trees.json"


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input. ``categories`` (kind "category") in the order of their codes; unknown or null is
    code -1.

    ``closed``: the use case states all categories, so any other one is a mistake. ``parts`` of a
    "datetime" are in the matrix, in this order, and its bounds are local times. An "image" has a
    ``size``, (height, width), and ``channels``. ``longest`` is the number of characters that a text
    may have; none: no bound.
    Raises ``ValueError`` for an unknown kind, which msgspec makes an error of the manifest.
    """

    name: str
    kind: str
    nullable: bool
    low: float | None = None
    high: float | None = None
    categories: list[str] | None = None
    description: str = ""
    closed: bool = False
    parts: list[str] | None = None
    earliest: str | None = None
    latest: str | None = None
    size: tuple[int, int] | UnsetType = UNSET
    channels: Literal[1, 3] | UnsetType = UNSET
    longest: int | None = None

    def __post_init__(self) -> None:
        check_kind(self.name, self.kind)


class Parity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The distance of the ONNX model from its pipeline, on ``rows`` real and boundary rows."""

    rows: int
    largest_difference: float
    changed_decisions: int


Method = Literal["split", "quantiles", "set"]


class Coverage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the interval of a number (``split``: equally wide for all rows; ``quantiles``: as wide
    as the errors on rows like this one) or the ``set`` of classes promises: to hold the share
    ``promise`` (0-1) of the labels. It was calibrated on ``rows`` of ``windows``; ``needed`` are
    the fewest that can promise it.

    Calibrated on the other windows (of a single one, on its other days), it held the share
    ``held`` of each, between ``low`` and ``high`` at 90 %; ``None``: not known."""

    promise: float
    method: Method
    rows: int
    needed: int
    windows: list[str]
    held: float | None
    low: float | None
    high: float | None


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The description of a package. ``outputs`` are the values of a row's answer, in order;
    ``decision_threshold`` is that of an output of kind "decision".
    """

    format: int = FORMAT
    use_case: str
    title: str
    question: str
    recipe: str
    params: dict[str, Any]
    # packages from before November 2026 have their time: a package without a time can be made
    # again, byte for byte
    created: str = ""
    features: list[Feature]
    outputs: list[Output]
    label: str
    event_time: str
    dtype: str
    decision_threshold: float | None = None
    metrics: dict[str, float]
    dataset_version: str
    trained_on: dict[str, str]
    trained_through: str
    parity: Parity
    drift_thresholds: dict[str, float]
    drift_calibrated: bool
    drift_importance: dict[str, float] = {}  # of each input, 0-1, all together 1; none: not known
    # the distance of each threshold; none: the default of the column's kind
    drift_methods: dict[str, str] = {}
    holdout: str = ""
    holdout_intervals: dict[str, tuple[float, float]] = {}  # of each metric, two-sided at 90 %
    # score and share of positives at it, rising, with lines between them
    calibration: list[tuple[float, float]] = []
    # the same for each class against the rest, in the order of the outputs
    calibrations: list[list[tuple[float, float]]] = []
    # none: nothing is promised, or in packages from before December 2026
    coverage: Coverage | UnsetType = UNSET
    # which of the rows it was fitted on, if they are a sample; none: all
    sample: str | UnsetType = UNSET
    # why the crown is provisional, on too little evidence; empty if it is not
    provisional: str = ""
    log_sample_rate: float = 1.0
    log_leave_out: list[str] = []
    event_past_days: float | None = None  # an event may be this long before now; none: no bound
    event_future_days: float | None = None
    files: dict[str, str]


# Made at import, by one thread: msgspec crashes if two threads meet a type for the first time
# (docs/decisions/0012-hot-path.md).
_MANIFEST = msgspec.json.Decoder(Manifest)


class Smoke(msgspec.Struct, frozen=True):
    """Rows and the model's expected numbers for them: one for a row, or a list of several."""

    rows: list[dict[str, Any]]
    scores: list[float | list[float]]


def served_files(manifest: Manifest) -> tuple[str, ...]:
    """The names of the files that the service reads, beside the manifest."""
    some = (VOCABULARIES, SYMMETRIC_TREES)
    return (MODEL, SMOKE, *(name for name in some if name in manifest.files))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write(folder: Path, files: Mapping[str, bytes], manifest: Manifest) -> str:
    """Write the package and return the manifest's digest. The manifest is written last, with
    ``files``' digests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    complete = msgspec.structs.replace(
        manifest, files={name: digest(data) for name, data in files.items()}
    )
    data = msgspec.json.format(msgspec.json.encode(complete))
    (folder / MANIFEST).write_bytes(data)
    return digest(data)


def read_manifest(data: bytes, expected_digest: str | None = None) -> Manifest:
    """Read a manifest. Raises ``PackageError`` if it was changed, or has another format."""
    if expected_digest is not None and digest(data) != expected_digest:
        raise PackageError(
            f"{MANIFEST} is not the one that was registered: its SHA-256 differs from the "
            "version's tag."
        )
    try:
        content = msgspec.json.decode(data, type=dict)
        if content.get("format") != FORMAT:
            raise PackageError(
                f"{MANIFEST} of {content.get('use_case')!r} has format {content.get('format')!r}, "
                f"but this version of Laurel reads format {FORMAT}. Register the model again with "
                "this version, or run the version that made the package."
            )
        return _MANIFEST.decode(data)
    except msgspec.DecodeError as error:
        raise PackageError(f"{MANIFEST} cannot be read: {error}.") from error
