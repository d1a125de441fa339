"""Where the rows of a use case come from."""

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import Field

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
        """The complete periods (``2013-04``) that can be read now, oldest first. Raises
        ``SourceError``.
        """

    def read(self, period: str) -> "pl.DataFrame":
        """The rows of one period: all columns of the use case, its event time and its label (null:
        unknown).

        Raises ``SourceError`` if the period cannot be read.
        """


class SqlSource(Frozen):
    """Rows of the SQL database that ``LAUREL_WAREHOUSE_URL`` names, read by the flows month by
    month of the use case's event time.

    ``query`` selects them all: every column of the use case, its key, event time and label, by
    those names."""

    query: str = Field(pattern=r"\S")
