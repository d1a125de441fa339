"""Where the rows of a use case come from."""

import codecs
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, field_validator

from usecases.definition.columns import Frozen

if TYPE_CHECKING:
    import polars as pl


class SourceError(RuntimeError):
    """The source of a use case cannot be read: the message says which file or table, and what to
    do.
    """


class SourceAway(SourceError):
    """The source does not answer now: the flows ask again a few times before the run fails."""


@runtime_checkable
class Source(Protocol):
    """Where rows come from. Implementations read lazily: constructing one does no I/O."""

    def periods(self) -> list[str]:
        """The complete periods (``2013-04``, or of the use case's own kind) that can be read now,
        oldest first. Raises ``SourceError``.
        """

    def read(self, period: str) -> "pl.DataFrame":
        """The rows of one period: all columns of the use case, its event time and its label (null:
        unknown).

        Raises ``SourceError`` if the period cannot be read.
        """


class TableSource(Frozen):
    """One table with all rows: every column of the use case, its key, event time and label, by
    those names. The flows cut it into periods of the use case's event time.
    """


class SqlSource(TableSource):
    """Rows of the SQL database that ``LAUREL_WAREHOUSE_URL`` names. ``query`` selects them all.

    ``cursor_column`` is a column of the query that grows with every row that is added or changed,
    such as ``updated_at``, or ``id`` where rows never change: an ingest then reads the periods
    again in which it has grown or the number of rows is another one, and no others."""

    query: str = Field(pattern=r"\S")
    cursor_column: str | None = Field(None, min_length=1)


FileFormat = Literal["csv", "parquet", "jsonl"]

# The last ending of a name counts, once that of its compression is off.
COMPRESSIONS = (".gz", ".zst", ".bz2")
FORMATS: dict[str, FileFormat] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"no time zone {name!r} is known: write one such as 'Europe/Berlin' or 'UTC'"
        ) from error
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class FileSource(TableSource):
    """Rows of files: CSV, Parquet or JSON lines, plain or compressed (``.gz``, ``.zst``, ``.bz2``).

    ``path`` is a file, a folder (all its files with a known ending), a pattern with ``*``,
    ``s3://bucket/...``, or ``lake://...`` for Laurel's own lake. A relative one begins at the
    folder of the use case's file. What is not stated is found in the files, and each ingest says
    what it found: the ``encoding``, ``separator`` and ``decimal`` mark of a CSV, and the
    ``date_format`` of the event time (as ``strptime`` names it). ``date_parts`` are the columns of
    year, month and day that make the event time, where no column has all three. Times with a zone
    become local times of ``time_zone``. Empty texts are null, and so are those in ``nulls``.
    ``rename`` gives columns of the files the names that the use case has for them:
    ``{"class": "cabin"}``."""

    path: str = Field(pattern=r"\S")
    format: FileFormat | None = None
    encoding: str | None = None
    separator: str | None = Field(None, min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = None
    date_format: str | None = None
    date_parts: tuple[str, str, str] | None = None
    time_zone: TimeZone | None = None
    nulls: tuple[str, ...] = ()
    rename: Mapping[str, str] = {}

    @field_validator("date_parts")
    @classmethod
    def _are_three(cls, parts: tuple[str, str, str] | None) -> tuple[str, str, str] | None:
        if parts is not None and len(set(parts)) < len(parts):
            raise ValueError(f"date_parts names a column twice: {list(parts)}")
        return parts

    @field_validator("rename")
    @classmethod
    def _are_different(cls, rename: Mapping[str, str]) -> Mapping[str, str]:
        names = list(rename.values())
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rename gives several columns one name: {repeated}")
        return rename

    @field_validator("path", mode="before")
    @classmethod
    def _is_text(cls, path: object) -> object:
        return str(path) if hasattr(path, "__fspath__") else path

    @field_validator("encoding")
    @classmethod
    def _is_an_encoding(cls, encoding: str | None) -> str | None:
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError as error:
                raise ValueError(
                    f"Python knows no encoding {encoding!r}: write one such as 'utf-8', 'cp1252' "
                    "or 'cp949'"
                ) from error
        return encoding

    @field_validator("date_format")
    @classmethod
    def _has_directives(cls, date_format: str | None) -> str | None:
        if date_format is not None and not re.search("%[a-zA-Z]", date_format):
            raise ValueError(
                f"{date_format!r} has no directive such as %Y: write '%d.%m.%Y' for 31.12.2024"
            )
        return date_format


class FrameSource(TableSource):
    """Rows of a function: ``function()`` returns all of them as a pandas, Polars or Arrow frame.
    It is called once for each ingest. ``time_zone`` is as in ``FileSource``.
    """

    function: Callable[[], Any]
    time_zone: TimeZone | None = None
