"""Whether two sets of rows share any: each row has a digest of its key and one of all that it
holds.

A digest is BLAKE2b (RFC 7693) with 16 bytes over an encoding that names no library: one fixed width
for each column, in the order of the names. Numbers are IEEE 754 doubles, big-endian; from 2^53 on,
where neighbouring integers are one double, they are 64-bit integers, or the BLAKE2b of their
decimal digits if they need more. Times are microseconds since 1970 as 64-bit integers; text is the
BLAKE2b of its UTF-8. A byte before each says which of these it is, 0 for null. So the same row has
the same digest in each process and version.

What a model was trained on are files of the lake named by their content
(``tasks/data/dataset.py``); they are read again here. A row whose key is the same and whose content
is not was corrected since: the model has seen that one as well."""

import hashlib
import io
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from blocks.lake import Lake
from serving.records.reasons import because
from usecases.definition import UseCase, period_named

_BYTES = 16
_FIRST_ROUNDED = 2.0**53  # from here on, a double does not hold every integer
_FIRST_TOO_LARGE = 2.0**63
# The rows of a period, by its name and the SHA-256 of its file.
ReadPeriod = Callable[[str, str], pl.DataFrame]


class CannotProve(LookupError):
    """The rows that a model was trained on are not in the lake as they were: nobody can say what it
    has seen.
    """


def row_digests(rows: pl.DataFrame, columns: list[str]) -> list[bytes]:
    """A digest of 16 bytes for each row, over ``columns`` in any order. Raises ``TypeError`` for a
    type that it cannot encode.
    """
    names = sorted(columns)
    encoded = np.concatenate([_encode(rows[name]) for name in names], axis=1)
    data, step = encoded.tobytes(), encoded.shape[1]
    start = hashlib.blake2b("\0".join(names).encode(), digest_size=_BYTES)
    digests = []
    for at in range(0, len(data), step):
        digest = start.copy()
        digest.update(data[at : at + step])
        digests.append(digest.digest())
    return digests


def _encode(values: pl.Series) -> np.ndarray:
    """Bytes ``(n_rows, width)`` of one column; a null, and a NaN, are zeros."""
    kind = values.dtype
    if kind.is_float():
        values = values.fill_nan(None)
    there = values.is_not_null().to_numpy().astype(np.uint8)[:, None]
    if kind in (pl.String, pl.Categorical, pl.Enum):
        strings = values.cast(pl.String).fill_null("")
        codes = strings.rank("dense").to_numpy() - 1
        texts = strings.unique().sort().to_list()
        digests = b"".join(
            hashlib.blake2b(text.encode(), digest_size=_BYTES).digest() for text in texts
        )
        content = np.frombuffer(digests, dtype=np.uint8).reshape(-1, _BYTES)[codes]
    elif kind == pl.Datetime or kind == pl.Date:
        content = (
            values.cast(pl.Datetime("us"))
            .to_physical()
            .fill_null(0)
            .to_numpy()
            .astype(">i8")
            .view(np.uint8)
            .reshape(-1, 8)
        )
    elif kind.is_numeric() or kind == pl.Boolean:
        forms, content = _encode_numbers(values)
        there = there * forms
    else:
        raise TypeError(
            f"Column {values.name!r} has type {kind}, which has no digest: only numbers, text "
            "and times have one."
        )
    return np.concatenate([there, np.where(there, content, 0)], axis=1)


def is_rounded(values: pl.Series) -> bool:
    """Whether a float stands for several integers: whole numbers of 2^53 and more are rounded."""
    return values.dtype.is_float() and bool(
        (values.is_finite() & (values.abs() >= _FIRST_ROUNDED)).any()
    )


def _encode_numbers(values: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The form of each number ``(n_rows, 1)``, and its bytes ``(n_rows, 8)``: 1 for a double, 2 for
    a 64-bit integer, 3 for a hash of its digits.

    The form depends on the number and not on its type, so that a number is the same in each type
    that holds it."""
    numbers = values.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0  # -0.0 becomes 0.0
    size = np.where(np.isfinite(numbers), np.abs(numbers), 0.0)
    forms = 1 + (size >= _FIRST_ROUNDED).astype(np.uint8) + (size >= _FIRST_TOO_LARGE)
    content = numbers.astype(">f8")
    for form, encoded in ((2, _as_integers), (3, _as_hashed_digits)):
        if (rows := forms == form).any():
            content[rows] = encoded(values.filter(rows)).view(">f8")
    return forms.astype(np.uint8)[:, None], content.view(np.uint8).reshape(-1, 8)


def _as_integers(values: pl.Series) -> np.ndarray:
    return values.cast(pl.Int64).to_numpy().astype(">i8")


def _as_hashed_digits(values: pl.Series) -> np.ndarray:
    digits = (str(int(value)) for value in values.to_list())
    hashes = (hashlib.blake2b(text.encode(), digest_size=8).digest() for text in digits)
    return np.frombuffer(b"".join(hashes), dtype=">i8")


class HoldoutOverlap:
    """What models were trained on, held against one hold-out. Each period's rows are read once,
    whatever models name them.
    """

    def __init__(self, case: UseCase, holdout: pl.DataFrame, read: ReadPeriod) -> None:
        """``holdout`` has only rows with a label, as the rows that a model is trained on have."""
        self._case, self._read = case, read
        self._key = list(case.key)
        self._whole = sorted({*case.key, case.event_time, case.label, *case.column_names})
        self._holdout = dict(
            zip(row_digests(holdout, self._key), row_digests(holdout, self._whole), strict=True)
        )
        self._span = (holdout[case.event_time].min(), holdout[case.event_time].max())
        self._found: dict[str, tuple[int, int, str]] = {}

    def why_unfair(self, model: str, trained_on: Mapping[str, str]) -> list[str]:
        """Why ``who``, trained on periods with the SHA-256 of their files, may not be judged on the
        hold-out; empty if it may.
        """
        same, corrected, example = 0, 0, ""
        for period, sha256 in sorted(trained_on.items(), key=lambda item: period_named(item[0])):
            try:
                if sha256 not in self._found:
                    self._found[sha256] = self._shared(period, sha256)
            except CannotProve as error:
                return [because("may_have_seen", who=model, why=str(error))]
            overlap = self._found[sha256]
            same, corrected, example = (
                same + overlap[0],
                corrected + overlap[1],
                example or (overlap[2] and f"{overlap[2]} in {period}"),
            )
        if not same + corrected:
            return []
        return [
            because(
                "trained_on_rows",
                who=model,
                rows=same + corrected,
                corrected=corrected,
                example=example,
            )
        ]

    def _shared(self, period: str, sha256: str) -> tuple[int, int, str]:
        """Rows that the hold-out has too, those of them with another content, and the key of
        one.
        """
        rows = self._read(period, sha256)
        # Under another name of the label nobody knows which rows had one: all may have been trained
        # on.
        if self._case.label in rows.columns:
            rows = rows.filter(pl.col(self._case.label).is_not_null())
        missing = [name for name in self._key if name not in rows.columns]
        if missing:
            raise CannotProve(
                f"the rows of {period} lack {missing}, which identify a row. Train the model again."
            )
        if (
            self._case.event_time in self._key
        ):  # then a row of the hold-out has its own time wherever it stands
            rows = rows.filter(pl.col(self._case.event_time).is_between(*self._span))
        keys = row_digests(rows, self._key)
        shared = [at for at, key in enumerate(keys) if key in self._holdout]
        if not shared:
            return 0, 0, ""
        rows = rows[shared]
        whole = (
            row_digests(rows, self._whole)
            if set(self._whole) <= set(rows.columns)
            else [b""] * len(rows)
        )
        same = sum(
            self._holdout[keys[at]] == content for at, content in zip(shared, whole, strict=True)
        )
        example = ", ".join(
            f"{name}={value}" for name, value in rows.select(self._key).row(0, named=True).items()
        )
        return same, len(shared) - same, example


def rows_in(lake: Lake, case: UseCase) -> ReadPeriod:
    """Reads the rows of a period as they lie in the lake. Raises ``CannotProve``."""
    paths = {path.rpartition("-")[2]: path for path in lake.list(f"datasets/{case.name}/periods")}

    def read(period: str, sha256: str) -> pl.DataFrame:
        path = paths.get(f"{sha256[:16]}.parquet")
        if path is None:
            raise CannotProve(
                f"the file with the rows of {period} (SHA-256 {sha256[:16]}…) is gone from "
                "the lake. Train the model again."
            )
        data = lake.read(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise CannotProve(
                f"{path} was changed: its SHA-256 differs from the package's. "
                "Train the model again."
            )
        return pl.read_parquet(io.BytesIO(data))

    return read
