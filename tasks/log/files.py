"""Files of the prediction log, read in parts of bounded size: which ones a window has, and what is
wrong with a damaged one.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from blocks.clients.objects import Stored
from blocks.lake import Lake, LakeAway
from tasks.log.compacted import (
    Kind,
    LogDamaged,
    LogFile,
    counting,
    day_of,
    folder_of,
    latest,
)
from usecases.definition import Period, PeriodKind, UseCase
from usecases.definition.period_kinds import DAYS

if TYPE_CHECKING:
    import polars as pl
    from pyarrow import RecordBatch, Schema

T = TypeVar("T")

_READERS = 4  # a small file is a few round trips to S3 and hardly any work
_WHOLE_BYTES = 4_000_000  # a file up to this size is fetched at once
_SHORT = timedelta(days=7)
_BATCH_ROWS = 32_768
_LISTED_DAYS = 40
_TRIES = 5


def find_files(
    store: Lake,
    kind: Kind,
    use_case: str,
    first: date,
    last: date | None,
    since: datetime | None = None,
) -> list[LogFile]:
    """Files of ``predictions`` or ``feedback`` of the days ``first`` to ``last`` (``None``: of all
    later ones), sorted, so that each row is in one of them. What the lake got before ``since`` may
    be left out.

    Segments are listed first: one that is gone by then has its rows in a manifest that the second
    listing finds. Raises ``LogDamaged``, ``LakeAway``, ``FileNotFoundError`` if a day was compacted
    at this moment: ``read_files`` lists again then."""
    until = (last or date.max).isoformat()

    def listed(folder: str) -> list[Stored]:
        found = _list_days(store, folder, first, last)
        return [stored for stored in found if first.isoformat() <= day_of(stored.key) <= until]

    def is_young(stored: Stored) -> bool:
        # What a manifest names came before it was written.
        return since is None or stored.modified >= since

    segments = [stored for stored in listed(f"{kind}/{use_case}") if is_young(stored)]
    manifests = latest(listed(folder_of(kind, use_case)))
    young = {day: manifest for day, manifest in manifests.items() if is_young(manifest)}
    return sorted(counting(segments, young, store), key=lambda file: file.path)


def _list_days(store: Lake, folder: str, first: date, last: date | None) -> Sequence[Stored]:
    """A few days are listed each on its own: the whole log may have millions of files."""
    days = ((last or date.max) - first).days + 1
    if days > _LISTED_DAYS:
        return store.stored(folder)
    names = [f"{folder}/date={first + timedelta(days=day)}" for day in range(days)]
    if days == 1:
        return store.stored(names[0])
    with ThreadPoolExecutor(_READERS) as readers:
        return [stored for found in readers.map(store.stored, names) for stored in found]


def read_files(
    store: Lake,
    kind: Kind,
    use_case: str,
    days: tuple[date, date | None],
    read: Callable[[list[LogFile]], T],
    since: datetime | None = None,
) -> T:
    """What ``read`` makes of the files of the days, first and last. It begins anew if a file was
    compacted meanwhile, and so keeps nothing outside. Raises ``LogDamaged``, ``LakeAway``.
    """
    for _ in range(_TRIES):
        try:
            return read(find_files(store, kind, use_case, *days, since))
        except FileNotFoundError as error:
            missing = error
    raise LogDamaged(
        f"A file of {kind} that the lake lists cannot be found: {missing}. Restore it from a "
        "backup: docs/operations.md."
    ) from missing


def logged_windows(store: Lake, case: UseCase) -> list[Period]:
    """The windows of the prediction log, oldest first; those of hours are counted as if each logged
    day had all of its own. Days later than any event may be are left out: a caller's clock put them
    there.
    """
    listed = [f"predictions/{case.name}", folder_of("predictions", case.name)]
    folders = {day_of(path) for folder in listed for path in store.list(folder)}
    parsed_days = [DAYS.find(folder) for folder in folders]
    days = {day.first for day in parsed_days if day is not None}
    future = case.event_times.future_days
    last = date.max if future is None else (datetime.now(UTC) + timedelta(days=future + 1)).date()
    days = {day for day in days if day <= last}
    return sorted({window for day in days for window in _windows_of(case.drift_window, day)})


def _windows_of(kind: PeriodKind, day: date) -> Iterator[Period]:
    whole, window = DAYS.containing(day), kind.containing(day)
    yield window
    while window.end < whole.end:
        window = kind.next(window)
        yield window


def in_window(window: Period, rows: "pl.DataFrame") -> "pl.Series":
    """Whether each of the logged rows, which lie by day, belongs to the window: by its event time,
    and where the caller told none, by the time of its answer.
    """
    import polars as pl

    times = [
        pl.col(name).dt.convert_time_zone("UTC").dt.replace_time_zone(None).dt.cast_time_unit("us")
        for name in ("event_time", "time")
        if name in rows.columns and rows.schema[name] != pl.Null
    ]
    moment = pl.coalesce(*times, pl.lit(None, dtype=pl.Datetime("us")))
    inside = moment.is_between(window.start, window.end, closed="left").fill_null(False)
    return rows.with_columns(inside.alias("_inside"))["_inside"]


def latest_window(store: Lake, case: UseCase, now: datetime) -> Period:
    """The latest window of the log, which is not empty; of windows of a week or less the latest
    that is over ``now`` (UTC), if one is: the check comes once or a few times while such a window
    goes on.
    """
    windows, short = logged_windows(store, case), case.drift_window.longest <= _SHORT
    over = [window for window in windows if window.end <= now or not short]
    in_turn = [*reversed(over), *windows[len(over) :]]
    if case.drift_window.is_of_whole_days:
        return in_turn[0]
    return next((window for window in in_turn if _has_rows(store, case, window)), in_turn[0])


def _has_rows(store: Lake, case: UseCase, window: Period) -> bool:
    import polars as pl

    def look(files: list[LogFile]) -> bool:
        return any(
            in_window(window, pl.DataFrame(pl.from_arrow(batch))).any()
            for file in reversed(files)
            for batch in read_batches(store, file.path, _times)
        )

    return read_files(store, "predictions", case.name, (window.first, window.last), look)


def _times(schema: "Schema") -> list[str]:
    return [name for name in ("event_time", "time") if name in schema.names]


def for_each(files: Iterable[LogFile], work: Callable[[LogFile], None]) -> None:
    """``work`` on each file, some at a time; what one of them raises is raised, and no further ones
    are begun.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        under_way = [readers.submit(work, file) for file in files]
        try:
            for read in under_way:
                read.result()
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise


def read_batches(
    store: Lake, path: str, names: Callable[["Schema"], Sequence[str]], repeated: Sequence[str] = ()
) -> Iterator["RecordBatch"]:
    """The rows of a Parquet file in their order, in batches; of its columns those that ``names``
    chooses from the schema.

    Text columns in ``repeated`` come as dictionaries. Raises ``LogDamaged``, ``LakeAway``,
    ``FileNotFoundError``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with store.open(path) as stream:
            small = stream.size() <= _WHOLE_BYTES
            source: Any = pa.BufferReader(stream.read_buffer(_WHOLE_BYTES)) if small else stream
            about = pq.read_metadata(source)
            schema = about.schema.to_arrow_schema()
            columns = list(names(schema))
            texts = [
                name
                for name in repeated
                if name in columns and pa.types.is_string(schema.field(name).type)
            ]
            with pq.ParquetFile(
                source, metadata=about, read_dictionary=texts, pre_buffer=not small
            ) as file:
                for group in range(
                    file.num_row_groups
                ):  # one after the other: pre_buffer holds all that it is given
                    yield from file.iter_batches(
                        _BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
                    )
    except (FileNotFoundError, LakeAway, LogDamaged):
        raise
    except (
        pa.ArrowException,
        OSError,
    ) as error:  # pyarrow says OSError for a torn page as well as for a lost connection
        store.read(path)  # raises where it is the lake's fault
        raise LogDamaged(
            f"{path} is not a complete Parquet file ({error}). Restore it, or move it out of the "
            "prediction log."
        ) from error
