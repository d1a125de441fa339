"""Files of the prediction log, read in parts of bounded size: which ones a window has, and what is
wrong with a damaged one.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from blocks.lake import Lake, LakeAway
from usecases.definition import UseCase

if TYPE_CHECKING:
    from pyarrow import RecordBatch, Schema

_READERS = 4  # a small file is a few round trips to S3 and hardly any work
_WHOLE_BYTES = 4_000_000  # a file up to this size is fetched at once
_BATCH_ROWS = 32_768


class LogDamaged(ValueError):
    """A file of the prediction log cannot be read; the message names it."""


def span(window: str) -> tuple[date, date]:
    """First and last day of ``2013``, ``2013-06`` or ``2013-06-05``. Raises ``ValueError`` for
    anything else.
    """
    parts = (
        [int(part) for part in window.split("-")]
        if re.fullmatch(r"\d{4}(-\d\d){0,2}", window)
        else []
    )
    try:
        first = date(*(parts + [1, 1])[:3])
    except (TypeError, ValueError) as error:
        raise ValueError(
            "A window is a year, a month or a day, such as '2013-06' or '2013-06-05'; got "
            f"{window!r}."
        ) from error
    if len(parts) == 3:
        return first, first
    after = (
        date(first.year + 1, 1, 1)
        if len(parts) == 1
        else (first + timedelta(days=31)).replace(day=1)
    )
    return first, after - timedelta(days=1)


def find_files(store: Lake, kind: str, use_case: str, first: date, last: date | None) -> list[str]:
    """Paths of ``predictions`` or ``feedback`` of the days ``first`` to ``last`` (``None``: of all
    later ones), sorted.
    """
    until = (last or date.max).isoformat()
    return [
        path
        for path in store.list(f"{kind}/{use_case}")
        if first.isoformat() <= day_of(path) <= until
    ]


def day_of(path: str) -> str:
    """The day whose folder a file is in; empty for one in no day's folder
    (serving/upload/parquet.py).
    """
    return next(
        (part.removeprefix("date=") for part in path.split("/") if part.startswith("date=")), ""
    )


def find_months(store: Lake, case: UseCase) -> list[str]:
    """The months of the prediction log, sorted. Days later than any event may be are no news: a
    caller's clock put them there.
    """
    days = {
        day
        for path in store.list(f"predictions/{case.name}")
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day := day_of(path))
    }
    future = case.event_times.future_days
    last = date.max if future is None else (datetime.now(UTC) + timedelta(days=future + 1)).date()
    return sorted({day[:7] for day in days if day <= last.isoformat()})


def for_each(paths: Iterable[str], work: Callable[[str], None]) -> None:
    """``work`` on each path, some at a time; what one of them raises is raised, and no further ones
    are begun.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        under_way = [readers.submit(work, path) for path in paths]
        try:
            for one in under_way:
                one.result()
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
            wanted = list(names(schema))
            texts = [
                name
                for name in repeated
                if name in wanted and pa.types.is_string(schema.field(name).type)
            ]
            with pq.ParquetFile(
                source, metadata=about, read_dictionary=texts, pre_buffer=not small
            ) as file:
                for group in range(
                    file.num_row_groups
                ):  # one after the other: pre_buffer holds all that it is given
                    yield from file.iter_batches(
                        _BATCH_ROWS, row_groups=[group], columns=wanted, use_threads=False
                    )
    except (FileNotFoundError, LakeAway, LogDamaged):
        raise
    except (
        pa.ArrowException,
        OSError,
    ) as error:  # pyarrow says OSError for a torn page as well as for a lost connection
        store.read(path)  # raises where it is the lake's fault
        raise LogDamaged(
            f"{path} is no whole Parquet file ({error}). Restore it, or move it out of the "
            "prediction log."
        ) from error
