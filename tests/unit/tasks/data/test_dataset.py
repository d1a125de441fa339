import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from usecases.toy import toy_rows

from blocks.lake import Lake, LakeAway
from tasks.data import frames
from tasks.data.dataset import (
    ColumnsDiffer,
    DatasetMissing,
    DatasetVersion,
    read_periods,
    read_version,
    verify_periods,
    versions,
    write_version,
)
from tasks.data.ingestion import ingest_period
from tests.fixtures.watched_lake import WatchedLake
from usecases.definition import Column, UseCase, load

JANUARY, FEBRUARY, MARCH = "2024-01", "2024-02", "2024-03"


class Months:
    """A source whose months a test may change."""

    def __init__(self, **months: pl.DataFrame) -> None:
        self.months = {
            name.replace("_", "-").removeprefix("m"): rows for name, rows in months.items()
        }

    def periods(self) -> list[str]:
        return sorted(self.months)

    def read(self, period: str) -> pl.DataFrame:
        return self.months.get(period, toy_rows(period, rows_a_day=10))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake")


@pytest.fixture
def case() -> UseCase:
    return load("toy")


def ingest(
    lake: Lake, case: UseCase, periods: list[str], **changed: pl.DataFrame
) -> tuple[DatasetVersion, bool]:
    changed_case = case.model_copy(update={"source": Months(**changed)})
    return write_version(
        lake, changed_case, [ingest_period(lake, changed_case, period) for period in periods]
    )


def files(lake: Lake) -> dict[str, int]:
    """Every object of the lake with the instant of its last change."""
    root = Path(lake.url.removeprefix("file://"))
    return {path: (root / path).stat().st_mtime_ns for path in lake.list("")}


def rows_of(
    period: str, change: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows
) -> pl.DataFrame:
    return change(toy_rows(period, rows_a_day=10))


def spoil(n: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The first ``n`` rows out of range."""
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) < n).then(99.0).otherwise("first").alias("first")
    )


def unlabel(n: int) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """The first ``n`` rows without a label."""
    return lambda rows: rows.with_columns(
        pl.when(pl.int_range(pl.len()) >= n).then("won").alias("won")
    )


def test_the_same_content_gives_the_same_version_and_writes_nothing(
    lake: Lake, case: UseCase
) -> None:
    spoiled = rows_of(JANUARY, spoil(3))
    first, new = ingest(lake, case, [JANUARY, FEBRUARY], m2024_01=spoiled)
    before = files(lake)
    again, new_again = ingest(lake, case, [JANUARY, FEBRUARY], m2024_01=spoiled)
    assert (new, new_again) == (True, False)
    assert again == first
    assert files(lake) == before


def test_the_order_of_the_source_is_not_content(lake: Lake, case: UseCase) -> None:
    spoiled = rows_of(JANUARY, spoil(20))
    first, _ = ingest(lake, case, [JANUARY], m2024_01=spoiled)
    before = files(lake)
    again, new = ingest(
        lake,
        case,
        [JANUARY],
        m2024_01=spoiled.sample(fraction=1, shuffle=True, seed=5).select(sorted(spoiled.columns)),
    )
    assert (again, new, files(lake)) == (first, False, before)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.with_columns(
            pl.when(pl.col("id") == 1_000_007)
            .then(pl.col("first") + 1e-9)
            .otherwise("first")
            .alias("first")
        ),
        lambda rows: rows.filter(pl.col("id") != 1_000_007),
        lambda rows: rows.with_columns(pl.when(pl.col("id") != 1_000_007).then("won").alias("won")),
        spoil(1),
    ],
    ids=["a value", "a row less", "a label less", "a bad row"],
)
def test_one_changed_row_gives_another_version(
    lake: Lake, case: UseCase, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> None:
    first, _ = ingest(lake, case, [JANUARY])
    other, new = ingest(lake, case, [JANUARY], m2024_01=rows_of(JANUARY, change))
    assert new
    assert other.version != first.version
    assert sorted(versions(lake, "toy")) == sorted([first.version, other.version])
    assert read_version(lake, "toy", first.version) == first


def test_another_schema_gives_another_version(lake: Lake, case: UseCase) -> None:
    columns = tuple(column for column in case.columns if column.name != "steady")
    first, _ = ingest(lake, case, [JANUARY])
    narrower, new = ingest(lake, case.model_copy(update={"columns": columns}), [JANUARY])
    assert new
    assert (first.version != narrower.version, "steady" in narrower.columns) == (True, False)


def test_versions_share_the_files_of_their_periods(lake: Lake, case: UseCase) -> None:
    first, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    before = files(lake)
    second, _ = ingest(lake, case, [JANUARY, FEBRUARY, MARCH])
    added = set(files(lake)) - set(before)
    assert added == {second.periods[-1].path, f"datasets/toy/{second.version}/manifest.json"}
    assert second.periods[:2] == first.periods
    assert {path: changed for path, changed in files(lake).items() if path in before} == before


def test_a_period_file_is_named_by_its_content(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY])
    (file,) = dataset.periods
    assert file.sha256 == hashlib.sha256(lake.read(file.path)).hexdigest()
    assert file.path == f"datasets/toy/periods/2024-01-{file.sha256[:16]}.parquet"
    assert dataset.version.startswith("2024-01-")


class FailingLake(Lake):
    """A lake that goes away before the write of that number. The slug keeps Prefect from taking it
    for the real one.
    """

    _block_type_slug = "failing-lake"
    fails_at: int
    written: int = 0

    def write(self, path: str, data: bytes) -> None:
        self.written += 1
        if self.written == self.fails_at:
            raise LakeAway(f"gone before {path}")
        super().write(path, data)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 4])
def test_a_crash_at_any_write_leaves_no_half_version_to_be_seen(
    lake: Lake, case: UseCase, fails_at: int
) -> None:
    spoiled = rows_of(JANUARY, spoil(3))
    failing = FailingLake(url=lake.url, fails_at=fails_at)
    with pytest.raises(LakeAway, match="manifest.json" if fails_at == 4 else "parquet"):
        ingest(failing, case, [JANUARY, FEBRUARY], m2024_01=spoiled)
    assert len(lake.list("")) == fails_at - 1
    assert versions(lake, "toy") == []
    with pytest.raises(DatasetMissing):
        read_version(lake, "toy")
    dataset, new = ingest(lake, case, [JANUARY, FEBRUARY], m2024_01=spoiled)
    assert new
    assert len(read_periods(lake, dataset, [JANUARY, FEBRUARY])) == 2 * 280 - 3


class FullLake(Lake):
    """Its disk is full, and nobody says so: the first objects of a folder are cut short."""

    _block_type_slug = "full-lake"

    folder: str
    cut_short: int = 1

    def write(self, path: str, data: bytes) -> None:
        is_cut = self.cut_short > 0 and self.folder in path
        self.cut_short -= is_cut
        super().write(path, data[:100] if is_cut else data)


@pytest.mark.parametrize("folder", ["/periods/", "/quarantine/", "/manifest.json"])
def test_file_that_was_cut_short_without_a_word_is_no_dataset_version(
    lake: Lake, case: UseCase, folder: str
) -> None:
    full = FullLake(url=lake.url, folder=folder)
    january = rows_of(JANUARY, spoil(3))
    with pytest.raises(
        LakeAway, match="does not hold datasets/toy/.* as it was written .*Is its disk full"
    ):
        ingest(full, case, [JANUARY], m2024_01=january)
    dataset, is_new = ingest(full, case, [JANUARY], m2024_01=january)
    assert is_new and len(read_periods(lake, dataset, [JANUARY])) == 277


def test_the_latest_period_is_meant_where_no_version_is_named(lake: Lake, case: UseCase) -> None:
    longer, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    shorter, _ = ingest(lake, case, [JANUARY])
    assert read_version(lake, "toy") == longer
    assert read_version(lake, "toy", shorter.version) == shorter


@pytest.mark.parametrize("labelled", range(6))
def test_a_period_whose_labels_came_later_is_the_one_that_is_meant(
    lake: Lake, case: UseCase, labelled: int
) -> None:
    """Digests are in no order: of two versions of one month, the name must not decide which is
    read.
    """
    ingest(lake, case, [JANUARY], m2024_01=rows_of(JANUARY, unlabel(200 + labelled)))
    later, _ = ingest(lake, case, [JANUARY], m2024_01=rows_of(JANUARY, unlabel(10 + labelled)))
    assert read_version(lake, "toy") == later


def test_a_source_that_goes_back_makes_the_earlier_version_the_latest_again(
    lake: Lake, case: UseCase
) -> None:
    right, _ = ingest(lake, case, [JANUARY])
    wrong, _ = ingest(lake, case, [JANUARY], m2024_01=rows_of(JANUARY, spoil(5)))
    assert read_version(lake, "toy").version == wrong.version
    ingest(lake, case, [JANUARY])
    assert read_version(lake, "toy").version == right.version


def test_an_unknown_version_is_told_with_the_known_ones(lake: Lake, case: UseCase) -> None:
    with pytest.raises(DatasetMissing, match="laurel run ingest toy"):
        read_version(lake, "toy")
    dataset, _ = ingest(lake, case, [JANUARY])
    with pytest.raises(DatasetMissing, match=f"'2024-09-0'.*it has {dataset.version}"):
        read_version(lake, "toy", "2024-09-0")


def test_datasets_of_other_use_cases_are_not_seen(lake: Lake, case: UseCase) -> None:
    ingest(lake, case.model_copy(update={"name": "toys"}), [JANUARY])
    assert (versions(lake, "toy"), len(versions(lake, "toys"))) == ([], 1)


def test_no_period_makes_no_version(lake: Lake, case: UseCase) -> None:
    with pytest.raises(ValueError, match="'toy' has no period"):
        write_version(lake, case, [])


def test_rows_come_back_as_they_were_oldest_first(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    rows = read_periods(lake, dataset, [JANUARY, FEBRUARY])
    source_rows = pl.concat([rows_of(JANUARY), rows_of(FEBRUARY)])
    assert rows.select(source_rows.columns).sort("id").equals(source_rows.sort("id"))
    assert rows["at"].is_sorted()


def test_only_labelled_rows_are_read_where_a_label_is_asked_for(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY], m2024_01=rows_of(JANUARY, unlabel(100)))
    assert len(read_periods(lake, dataset, [JANUARY])) == 280
    rows = read_periods(lake, dataset, [JANUARY], label="won")
    assert (len(rows), rows["won"].null_count()) == (180, 0)
    assert dataset.periods[0].labelled == 180


def test_a_window_without_labelled_rows_is_an_error(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY], m2024_02=rows_of(FEBRUARY, unlabel(280)))
    assert len(read_periods(lake, dataset, [FEBRUARY])) == 280
    with pytest.raises(DatasetMissing, match="have no labelled rows"):
        read_periods(lake, dataset, [FEBRUARY], label="won")


@pytest.mark.parametrize("periods", [[JANUARY, MARCH], []], ids=["one missing", "none"])
def test_a_window_that_the_version_has_not_is_an_error(
    lake: Lake, case: UseCase, periods: list[str]
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    with pytest.raises(DatasetMissing, match=r"it has \['2024-01', '2024-02'\]"):
        read_periods(lake, dataset, periods)


def test_a_tampered_period_file_is_detected_and_the_way_out_works(
    lake: Lake, case: UseCase
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY])
    path = dataset.periods[0].path
    lake.write(path, _other_labels(lake.read(path)))
    with pytest.raises(
        DatasetMissing, match=f"{path} was changed.*Ingest 2024-01 again to rewrite it"
    ):
        read_periods(lake, dataset, [JANUARY])
    Path(lake.url.removeprefix("file://"), path).unlink()
    with pytest.raises(DatasetMissing, match=f"{path} is gone.*Ingest 2024-01 again"):
        read_periods(lake, dataset, [JANUARY])
    ingest(lake, case, [JANUARY])
    assert len(read_periods(lake, dataset, [JANUARY])) == 280


def _other_labels(data: bytes) -> bytes:
    """The same Parquet file, readable, with every label turned round."""
    changed = io.BytesIO()
    pl.read_parquet(data).with_columns(1 - pl.col("won")).write_parquet(changed)
    return changed.getvalue()


@pytest.mark.parametrize(
    "spoilt",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: _other_labels(data)],
)
@pytest.mark.parametrize("field", ["path", "quarantine_path"])
def test_file_that_is_not_what_its_name_says_is_written_anew_by_ingest(
    lake: Lake, case: UseCase, spoilt: Callable[[bytes], bytes], field: str
) -> None:
    """Its name is made of its content, so whoever skips it by name alone leaves it broken for
    good.
    """
    spoiled_rows = rows_of(JANUARY, spoil(3))
    dataset, _ = ingest(lake, case, [JANUARY], m2024_01=spoiled_rows)
    path = getattr(dataset.periods[0], field)
    whole = lake.read(path)
    lake.write(path, spoilt(whole))
    assert ingest(lake, case, [JANUARY], m2024_01=spoiled_rows) == (dataset, False)
    assert lake.read(path) == whole
    assert len(read_periods(lake, dataset, [JANUARY])) == 277


@pytest.mark.parametrize("spoilt", [b"", b"{", b'{"use_case": "toy"}', b"[]"])
def test_manifest_that_was_cut_short_is_named_and_written_anew_by_ingest(
    lake: Lake, case: UseCase, spoilt: bytes
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY])
    path = f"datasets/toy/{dataset.version}/manifest.json"
    lake.write(path, spoilt)
    with pytest.raises(
        DatasetMissing, match=f"{path} is not a valid dataset manifest .*Ingest again"
    ):
        read_version(lake, "toy")
    again, new = ingest(lake, case, [JANUARY])
    assert (new, again.version, read_version(lake, "toy")) == (True, dataset.version, again)


def test_manifest_of_other_content_under_the_name_is_written_anew(
    lake: Lake, case: UseCase
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    other = dataset.model_copy(update={"periods": dataset.periods[1:]})
    lake.write(f"datasets/toy/{dataset.version}/manifest.json", other.model_dump_json().encode())
    again, new = ingest(lake, case, [JANUARY, FEBRUARY])
    assert (new, again.periods) == (True, dataset.periods)


def test_broken_manifest_beside_others_of_its_period_does_not_hide_them(
    lake: Lake, case: UseCase
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY])
    lake.write("datasets/toy/2024-01-0123456789ab/manifest.json", b"{")
    assert read_version(lake, "toy") == dataset


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            lambda names: [*names, "extra"],
            r"2024-01 of dataset 2024-02-\w+ lacks \['extra'\]: the columns of 'toy' have "
            r"changed since",
        ),
        (
            lambda names: names[:-1],
            r"2024-01 of dataset 2024-02-\w+ still has \['group'\]: .*ingest all of them "
            r"again, without since",
        ),
    ],
)
def test_earlier_periods_with_other_columns_are_refused_by_name(
    lake: Lake, case: UseCase, changed: Callable[[list[str]], list[str]], message: str
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    columns = {column.name: column for column in case.columns} | {
        "extra": Column(name="extra", kind="number")
    }
    other = case.model_copy(
        update={"columns": tuple(columns[name] for name in changed(case.column_names))}
    )
    verify_periods(lake, case, dataset, dataset.periods)
    with pytest.raises(ColumnsDiffer, match=message):
        verify_periods(lake, other, dataset, dataset.periods)


def test_earlier_period_whose_file_is_cut_short_is_refused_by_name(
    lake: Lake, case: UseCase
) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    path = dataset.periods[0].path
    lake.write(path, lake.read(path)[:100])
    verify_periods(lake, case, dataset, dataset.periods[1:])
    with pytest.raises(DatasetMissing, match=f"{path} was changed.*Ingest 2024-01 again"):
        verify_periods(lake, case, dataset, dataset.periods)


def test_months_that_do_not_fit_together_are_named(lake: Lake, case: UseCase) -> None:
    keyed = case.model_copy(update={"key": ("day", "id")})
    dated = rows_of(JANUARY).with_columns(pl.date(2024, 1, 1).alias("day"))
    flagged = rows_of(FEBRUARY).with_columns(pl.lit(True).alias("day"))
    dataset, _ = ingest(lake, keyed, [JANUARY, FEBRUARY], m2024_01=dated, m2024_02=flagged)
    with pytest.raises(
        DatasetMissing,
        match=(
            r"\['2024-01', '2024-02'\] of dataset .* cannot be combined: .*same type in each "
            r"period"
        ),
    ):
        read_periods(lake, dataset, [JANUARY, FEBRUARY])


def test_digests_are_those_of_the_periods_asked_for(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY, MARCH])
    digests = dataset.digests([FEBRUARY, JANUARY, "2031-01"])
    assert digests == {file.period: file.sha256 for file in dataset.periods[:2]}
    assert len(set(digests.values())) == 2


def test_a_period_counts_as_labelled_from_half_of_its_labels_on(lake: Lake, case: UseCase) -> None:
    waiting = {
        "m2024_02": rows_of(FEBRUARY, unlabel(140)),
        "m2024_03": rows_of(MARCH, unlabel(141)),
    }
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY, MARCH], **waiting)
    assert dataset.labelled_periods == [JANUARY, FEBRUARY]


def test_the_manifest_says_what_is_in_it(lake: Lake, case: UseCase) -> None:
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY], m2024_01=rows_of(JANUARY, spoil(4)))
    assert (dataset.rows, dataset.quarantined, dataset.window) == (
        2 * 280 - 4,
        4,
        "2024-01..2024-02",
    )
    assert dataset.columns == {
        "first": "number",
        "second": "number",
        "steady": "number",
        "group": "category",
    }
    assert (dataset.source, dataset.use_case) == ("Months", "toy")
    january, february = dataset.periods
    assert (january.quarantine, february.quarantine_path) == ({"first: outside -10 to 20": 4}, None)
    assert january.quarantine_path is not None
    assert len(pl.read_parquet(lake.read(january.quarantine_path))) == 4
    assert read_version(lake, "toy") == dataset


def test_months_whose_types_differ_are_read_as_one(lake: Lake, case: UseCase) -> None:
    """One month by way of pandas: nanoseconds, and smaller integers."""
    other = rows_of(FEBRUARY).with_columns(
        pl.col("at").cast(pl.Datetime("ns")), pl.col("id").cast(pl.Int32)
    )
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY], m2024_02=other)
    assert len(read_periods(lake, dataset, [JANUARY, FEBRUARY])) == 560


def test_a_named_version_is_read_without_a_list_and_its_periods_once(
    tmp_path: Path, case: UseCase
) -> None:
    asked: list[tuple[str, str]] = []
    lake = WatchedLake(url=f"file://{tmp_path}/lake").watch(lambda *call: asked.append(call))
    dataset, _ = ingest(lake, case, [JANUARY, FEBRUARY])
    asked.clear()
    rows = read_periods(lake, read_version(lake, "toy", dataset.version), [JANUARY, FEBRUARY])
    again = read_periods(lake, read_version(lake, "toy", dataset.version), [FEBRUARY])
    assert again.equals(rows.filter(pl.col("at").dt.month() == 2))
    manifest = ("read", f"datasets/toy/{dataset.version}/manifest.json")
    assert asked == [manifest, *(("read", file.path) for file in dataset.periods), manifest]


def test_another_lake_s_period_and_a_changed_one_are_read(tmp_path: Path, case: UseCase) -> None:
    lakes = [Lake(url=f"file://{tmp_path}/{name}") for name in ("one", "other")]
    versions_of = [ingest(lake, case, [JANUARY])[0] for lake in lakes]
    read_periods(lakes[0], versions_of[0], [JANUARY])
    path = versions_of[1].periods[0].path
    lakes[1].write(path, lakes[1].read(path) + b"x")
    with pytest.raises(DatasetMissing, match="was changed"):
        read_periods(lakes[1], versions_of[1], [JANUARY])


def test_kept_periods_are_bounded_and_the_oldest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = pl.DataFrame({"number": range(1000)})
    monkeypatch.setattr(frames, "_MOST_BYTES", 2 * rows.estimated_size())
    monkeypatch.setattr(frames, "_kept", {})
    read = list[str]()

    def frame(name: str) -> pl.DataFrame:
        return frames.keep_frame("lake", name, lambda: (read.append(name), rows)[1])

    for name in ("a", "b", "a", "c", "a", "b"):
        assert frame(name).equals(rows)
    assert read == ["a", "b", "c", "b"]
