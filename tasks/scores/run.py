"""A run of batch scoring, as what it writes names it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import polars as pl

_FORMAT = 1  # of what is written: another one is another run


@dataclass(frozen=True, kw_only=True)
class Run:
    """``id`` follows from rows, package and columns: a rerun has the same, and writes the same.
    ``time`` (UTC) is that of scoring."""

    id: str
    use_case: str
    version: str
    rows: str
    time: datetime


@dataclass(frozen=True)
class Done:
    """What was written: the number of rows with an answer, and of those refused."""

    run: Run
    scored: int
    refused: int


class Output(Protocol):
    """Where a run writes. Nothing of it is seen before ``publish``, and then all of it is.

    Raises ``ScoreError`` for what a person must change, ``ConnectionError`` for an outage."""

    @property
    def place(self) -> str:
        """How people are told of it."""

    @property
    def refused_place(self) -> str:
        """The same of the rows that were refused."""

    def begin(self, run: Run, overwrite: bool) -> Done | None:
        """Make ready, or return what the same run wrote before."""

    def write(self, answers: pl.DataFrame, refused: pl.DataFrame) -> None:
        """Add rows."""

    def publish(self, done: Done) -> None:
        """Let all rows be seen at once."""

    def discard(self) -> None:
        """Forget what was written and not published."""


def name_run(
    use_case: str, package_sha256: str, digest: str, keep: Sequence[str], chunk_rows: int
) -> str:
    """The id of a run."""
    content = [_FORMAT, use_case, package_sha256, digest, list(keep), chunk_rows]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
