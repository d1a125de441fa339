"""What a person asks of batch scoring, and what cannot be done."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

_LONGEST_TABLE = 30
_OBJECTS = ("s3", "lake", "file")


class ScoreError(ValueError):
    """The request cannot be carried out: the message says why, and what to do. Nothing was
    written, or nothing of it can be seen."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """``rows`` are a path, a folder, a pattern, ``s3://...``, ``lake://...`` or a database's URL
    (``None``: the warehouse); of a database ``query`` or ``table`` names the rows. Or ``period``
    names those of the use case's own source.

    ``to`` is a Parquet file, a folder (it ends with ``/``) or a database's URL, whose table is
    ``to_table``; ``None``: the lake's ``scores/``. ``keep`` are the columns that answers have
    beside the scores; none: key and event time. ``at`` (UTC) is the time that answers carry.
    ``strict``: a refused row or an unknown column ends the run."""

    use_case: str
    rows: str | None = None
    query: str | None = None
    table: str | None = None
    period: str | None = None
    to: str | None = None
    to_table: str | None = None
    keep: Sequence[str] = ()
    at: datetime | None = None
    overwrite: bool = False
    strict: bool = False
    check_drift: bool = True
    seed: int = 0

    def check(self) -> None:
        """Raises ``ScoreError`` for what contradicts itself."""
        of_database = [name for name in ("query", "table") if getattr(self, name)]
        if len(of_database) > 1:
            raise ScoreError("A query and a table are both named: leave one out.")
        if self.period and (self.rows or of_database):
            other = "rows" if self.rows else of_database[0]
            raise ScoreError(
                f"A period of the use case's own source and {other} are both named: leave one out."
            )
        if not (self.period or self.rows or of_database):
            raise ScoreError(
                "No rows are named: give a file, a folder, a database with a query or a table, or "
                "a period of the use case's own source."
            )
        if self.rows and of_database and not is_database(self.rows):
            raise ScoreError(
                f"A {of_database[0]} is for a database, and {self.rows!r} is not the URL of one, "
                "such as postgresql://user@host/name."
            )
        if self.rows and is_database(self.rows) and not of_database:
            raise ScoreError("A database is named without rows: give a query or a table.")
        if self.to and is_database(self.to) and not self.to_table:
            raise ScoreError("A database is named for the scores: name their table as well.")
        if self.to_table and not (self.to and is_database(self.to)):
            raise ScoreError(
                "A table for the scores is named without its database: give the database's URL."
            )
        for name in (self.table, self.to_table):
            if name and not re.fullmatch(r"\w+(\.\w+)?", name):
                raise ScoreError(
                    f"{name!r} is no name of a table: letters, digits and _, perhaps with a schema "
                    "before it, as in sales.orders."
                )
        if self.to_table and len(self.to_table.rpartition(".")[2]) > _LONGEST_TABLE:
            raise ScoreError(
                f"{self.to_table!r} is too long: {_LONGEST_TABLE} characters at most, since tables "
                "beside it have its name and more."
            )


def is_database(place: str) -> bool:
    """Whether ``place`` is a database's URL and no path."""
    scheme, is_url, _ = place.partition("://")
    return bool(is_url) and scheme not in _OBJECTS
