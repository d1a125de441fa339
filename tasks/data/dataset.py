"""Dataset versions: immutable, named by their content, complete before they can be seen.

    datasets/<use_case>/periods/<period>-<digest>.parquet      the good rows of one period
    datasets/<use_case>/quarantine/<period>-<digest>.parquet   the bad ones, with the reason
    datasets/<use_case>/<version>/manifest.json                which period files make up the
        version; written last

A version is ``<last period>-<digest of its content>``. Versions share period files, so a new period
costs a period. A period that changes at its source (labels came, a fault was mended) makes a second
version of the same last period: the one published later is the one that is meant where none is
named."""

import hashlib
import io
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import polars as pl
from pydantic import ValidationError

from blocks.lake import Lake, LakeAway
from tasks.data.frames import keep_frame
from tasks.data.validation import Validated
from usecases.definition import UseCase, period_named
from usecases.definition.columns import Frozen


class DatasetMissing(LookupError):
    """There is no such dataset version, or none that has the window asked for, or a file of it is
    not what it says.
    """


class ColumnsDiffer(ValueError):
    """Periods that a version would have from an earlier one are of another kind, or hold other
    columns than the use case has now.
    """


class Mark(Frozen):
    """What a source says of a period without reading it: the number of its rows, the largest value
    of its cursor column, and how many rows have that one. ``rules`` is a digest of what they are
    read and checked by.
    """

    rows: int
    cursor: int | float | str
    latest: int
    rules: str

    def went_back(self, before: "Mark") -> bool:
        """Whether the cursor is less than ``before``, though no row is gone."""
        alike = isinstance(self.cursor, str) == isinstance(before.cursor, str)
        return alike and self.rows >= before.rows and self.cursor < before.cursor  # type: ignore[operator]


class PeriodFile(Frozen):
    """One period of a dataset version. ``labelled`` counts rows whose label is known; ``mark`` is
    the source's from just before the rows were read, if it has any.
    """

    period: str
    path: str
    sha256: str
    rows: int
    labelled: int
    quarantine: dict[str, int]
    quarantine_path: str | None
    mark: Mark | None = None


class DatasetVersion(Frozen):
    """The manifest of a dataset version. ``published`` (UTC) is the only part that is not
    content.
    """

    use_case: str
    version: str
    columns: dict[str, str]
    periods: tuple[PeriodFile, ...]
    source: str
    published: str

    @property
    def content(self) -> tuple[Any, ...]:
        """The content that the version's name stands for."""
        files = [
            (file.period, file.path, file.sha256, file.rows, file.labelled) for file in self.periods
        ]
        return self.use_case, self.version, self.columns, files

    @property
    def marks(self) -> list[Mark | None]:
        return [file.mark for file in self.periods]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.periods)

    @property
    def quarantined(self) -> int:
        return sum(sum(file.quarantine.values()) for file in self.periods)

    @property
    def window(self) -> str:
        return f"{self.periods[0].period}..{self.periods[-1].period}"

    @property
    def in_short(self) -> str:
        """What the version holds, in a sentence."""
        labelled = self.labelled_periods
        latest = (
            f"the latest labelled period is {labelled[-1]}" if labelled else "no period is labelled"
        )
        return (
            f"Dataset {self.version}: {self.rows:,} rows of {self.window}, "
            f"{self.quarantined:,} "
            f"in quarantine; {latest}."
        )

    def digests(self, periods: Iterable[str]) -> dict[str, str]:
        """SHA-256 of the content of each period: a model records them as its training data."""
        names = set(periods)
        return {file.period: file.sha256 for file in self.periods if file.period in names}

    @property
    def labelled_periods(self) -> list[str]:
        """Periods with at least half of their rows labelled, oldest first: a newer one may still be
        waiting for labels.
        """
        return [file.period for file in self.periods if is_labelled(file.labelled, file.rows)]


def is_labelled(labelled: int, rows: int) -> bool:
    """Whether a period with so many ``labelled`` of its ``rows`` can be learned or judged on."""
    return labelled * 2 >= rows > 0


def _parquet(frame: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.write_parquet(data, compression="zstd", statistics=True)
    return data.getvalue()


def _named(lake: Lake, folder: str, period: str, data: bytes) -> tuple[str, str]:
    """Write ``data`` under a name made from its content, unless it is there. Returns the path
    and the SHA-256.

    The name proves nothing: a truncated or foreign file is rewritten.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    path = f"{folder}/{period}-{sha256[:16]}.parquet"
    if not _holds(lake, path, data):
        _write(lake, path, data)
    return path, sha256


def _write(lake: Lake, path: str, data: bytes) -> None:
    """Write, and read back: a full disk may truncate a file silently. Raises
    ``LakeAway``.
    """
    lake.write(path, data)
    if not _holds(lake, path, data):
        raise LakeAway(
            f"The lake {lake.url} does not hold {path} as it was written ({len(data):,} "
            "bytes). Is its disk full?"
        )


def _holds(lake: Lake, path: str, data: bytes) -> bool:
    try:
        return lake.read(path) == data
    except FileNotFoundError:
        return False


def write_period(lake: Lake, case: UseCase, period: str, checked: Validated) -> PeriodFile:
    """Put one validated period into the lake: its good rows sorted by event time and key, and its
    quarantine.
    """
    folder = f"datasets/{case.name}"
    good = checked.good.sort([case.event_time, *case.key])
    path, sha256 = _named(lake, f"{folder}/periods", period, _parquet(good))
    quarantine_path = None
    if len(checked.quarantined):
        # In an order of their own: a source that gives the same rows in another order must not make
        # another file.
        bad = checked.quarantined.sort(pl.all())
        quarantine_path, _ = _named(lake, f"{folder}/quarantine", period, _parquet(bad))
    return PeriodFile(
        period=period,
        path=path,
        sha256=sha256,
        rows=len(good),
        labelled=len(good) - good[case.label].null_count(),
        quarantine=checked.reasons,
        quarantine_path=quarantine_path,
    )


def write_version(
    lake: Lake, case: UseCase, periods: list[PeriodFile]
) -> tuple[DatasetVersion, bool]:
    """Write the manifest that makes ``periods`` a version. Returns it, and whether its content is
    new.

    Nothing is written if the version is there, with the same marks, and no other content of its
    last period was published since. A manifest that cannot be read, or differs, is rewritten.
    Raises ``ValueError`` for no periods, ``LakeAway``."""
    if not periods:
        raise ValueError(f"{case.name!r} has no period to make a dataset version from.")
    columns: dict[str, str] = {column.name: column.kind for column in case.columns}
    named = "\n".join(
        [f"{name} {kind}" for name, kind in columns.items()]
        + [f"{file.period} {file.sha256}" for file in periods]
    )
    version = f"{periods[-1].period}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    dataset = DatasetVersion(
        use_case=case.name,
        version=version,
        columns=columns,
        periods=tuple(periods),
        source=type(case.source).__qualname__,
        published=datetime.now(UTC).isoformat(timespec="microseconds"),
    )
    same = _published(lake, case.name, periods[-1].period)
    known = bool(same) and same[-1].content == dataset.content
    if known and same[-1].marks == dataset.marks:
        return same[-1], False
    _write(lake, manifest_path(case.name, version), dataset.model_dump_json(indent=1).encode())
    return dataset, not known


def verify_periods(
    lake: Lake, case: UseCase, dataset: DatasetVersion, files: Iterable[PeriodFile]
) -> None:
    """See that period files of an earlier version can stand in a new one: whole, and with the
    columns that the use case has now.

    Raises ``DatasetMissing`` or ``ColumnsDiffer``, which name the period and what to ingest again.
    """
    expected = {*case.key, case.event_time, *case.column_names, case.label}
    for file in files:
        if case.period_kind.find(file.period) is None:
            raise ColumnsDiffer(
                f"{file.period} of dataset {dataset.version} is not {case.period_kind.one}, which "
                f"is the period of {case.name!r} now: ingest everything again, without since."
            )
        columns = set(pl.read_parquet_schema(io.BytesIO(_read_verified(lake, dataset, file))))
        differences = [
            f"{verb} {sorted(names)}"
            for verb, names in (("lacks", expected - columns), ("still has", columns - expected))
            if names
        ]
        if differences:
            raise ColumnsDiffer(
                f"{file.period} of dataset {dataset.version} {' and '.join(differences)}: "
                f"the columns of {case.name!r} have changed "
                "since. A version has the same columns in every period: ingest all of them "
                "again, without since."
            )


def manifest_path(use_case: str, version: str) -> str:
    """Where the version's manifest lies in the lake."""
    return f"datasets/{use_case}/{version}/manifest.json"


def versions(lake: Lake, use_case: str) -> list[str]:
    """Names of the complete versions, in order of their last period."""
    paths = lake.list(f"datasets/{use_case}")
    names = [path.split("/")[2] for path in paths if path.endswith("/manifest.json")]
    return sorted(names, key=lambda name: period_named(_last_period(name)))


def read_version(lake: Lake, use_case: str, version: str | None = None) -> DatasetVersion:
    """The manifest of ``version``, or of the one with the latest period that was published last.
    Raises ``DatasetMissing``.
    """
    if version is not None and "/" not in version:
        with suppress(FileNotFoundError):
            return _manifest(lake, use_case, version)
    names = versions(lake, use_case)
    if not names:
        raise DatasetMissing(
            f"The lake has no dataset of {use_case!r}. Make one: laurel run ingest {use_case}."
        )
    if version is not None:
        raise DatasetMissing(
            f"The lake has no dataset version {version!r} of {use_case!r}; it has "
            f"{', '.join(names)}."
        )
    last = _published(lake, use_case, _last_period(names[-1]))
    return last[-1] if last else _manifest(lake, use_case, names[-1])


def _manifest(lake: Lake, use_case: str, version: str) -> DatasetVersion:
    path = manifest_path(use_case, version)
    try:
        return DatasetVersion.model_validate_json(lake.read(path))
    except ValidationError as error:
        raise DatasetMissing(
            f"{path} is not a valid dataset manifest ({error.error_count()} faults): it "
            "was truncated or changed. "
            f"Ingest again to rewrite it: laurel run ingest {use_case}."
        ) from error


def _last_period(version: str) -> str:
    return version.rpartition("-")[0]


def _published(lake: Lake, use_case: str, period: str) -> list[DatasetVersion]:
    """The versions of that last period whose manifest can be read, the one published last at the
    end.
    """
    datasets = []
    for version in versions(lake, use_case):
        if _last_period(version) == period:
            with suppress(DatasetMissing):
                datasets.append(_manifest(lake, use_case, version))
    return sorted(datasets, key=lambda dataset: dataset.published)


def _read_verified(lake: Lake, dataset: DatasetVersion, file: PeriodFile) -> bytes:
    """The bytes of a period file. Raises ``DatasetMissing`` if they are gone or not those that the
    manifest names.
    """
    again = f"Ingest {file.period} again to rewrite it"
    try:
        data = lake.read(file.path)
    except FileNotFoundError as error:
        raise DatasetMissing(
            f"{file.path} is gone, though dataset {dataset.version} lists it. {again}."
        ) from error
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DatasetMissing(
            f"{file.path} was changed: its SHA-256 differs from the manifest's. {again}."
        )
    return data


def find_period(lake: Lake, use_case: str, period: str) -> PeriodFile | None:
    """The file of the period in the latest version, if there is one and it is whole."""
    try:
        dataset = read_version(lake, use_case)
        for file in dataset.periods:
            if file.period == period:
                _read_verified(lake, dataset, file)
                return file
    except DatasetMissing:
        pass
    return None


def read_periods(
    lake: Lake, dataset: DatasetVersion, periods: Iterable[str], label: str | None = None
) -> pl.DataFrame:
    """The rows of ``periods``, oldest first; with ``label`` only those whose label is known.

    Raises ``DatasetMissing`` if the version lacks one of them, or they have no rows.
    """
    names = list(periods)
    files = {file.period: file for file in dataset.periods}
    missing = [period for period in names if period not in files]
    if missing or not names:
        raise DatasetMissing(
            f"Dataset {dataset.version} of {dataset.use_case!r} has no period "
            f"{missing or names}; it has {sorted(files)}."
        )
    # Filtered one by one: no more than one period is there twice.
    frames = [_known(_frame(lake, dataset, files[period]), label) for period in names]
    try:
        rows = pl.concat(frames, how="vertical_relaxed")
    except pl.exceptions.PolarsError as error:
        raise DatasetMissing(
            f"The periods {names} of dataset {dataset.version} cannot be combined: "
            f"{str(error).splitlines()[0]}. "
            "Give a column the same type in each period, and ingest again: prefect "
            f"deployment run 'ingest/{dataset.use_case}'."
        ) from error
    if rows.is_empty():
        raise DatasetMissing(
            f"Periods {names} of {dataset.use_case!r} have no{' labelled' if label else ''} rows."
        )
    return rows


def _known(rows: pl.DataFrame, label: str | None) -> pl.DataFrame:
    """The rows whose label is known; all without a ``label``."""
    return (
        rows
        if label is None or not rows[label].has_nulls()
        else rows.filter(pl.col(label).is_not_null())
    )


def _frame(lake: Lake, dataset: DatasetVersion, file: PeriodFile) -> pl.DataFrame:
    """The rows of a period, read and verified once in this process."""
    return keep_frame(
        lake.url,
        file.sha256,
        lambda: pl.read_parquet(io.BytesIO(_read_verified(lake, dataset, file))),
    )


def read_quarantined(lake: Lake, dataset: DatasetVersion) -> list[pl.DataFrame]:
    """The rows of the version that are in quarantine, a frame for each period that has any. Raises
    ``DatasetMissing``.
    """
    frames = []
    for file in dataset.periods:
        if file.quarantine_path is not None:
            try:
                frames.append(pl.read_parquet(io.BytesIO(lake.read(file.quarantine_path))))
            except FileNotFoundError as error:
                raise DatasetMissing(
                    f"{file.quarantine_path} is gone, though dataset {dataset.version} lists it. "
                    f"Ingest {file.period} again to rewrite it."
                ) from error
    return frames
