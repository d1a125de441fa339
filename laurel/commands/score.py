"""``laurel score``: many rows scored at once, in this process."""

import json
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from laurel.output import FINE, LOOK, UNKNOWN, WRONG, CommandFailed, Json, print_json
from laurel.servers import stack_settings

if TYPE_CHECKING:
    from tasks.scores.batch import Outcome
    from tasks.scores.request import Request

_WIDTH, _INDENT = 80, " " * 11
_SIGNS = {"stable": FINE, "drifted": LOOK, "broken": WRONG, "inconclusive": UNKNOWN}


def score(
    use_case: Annotated[str, typer.Argument(help="The use case.")],
    rows: Annotated[
        str | None,
        typer.Argument(
            help="A file, a folder, a pattern, s3://..., lake://... or a database's URL. "
            "Without it --query and --table are of the warehouse."
        ),
    ] = None,
    query: Annotated[str | None, typer.Option(help="The query whose rows are scored.")] = None,
    table: Annotated[str | None, typer.Option(help="The table whose rows are scored.")] = None,
    period: Annotated[
        str | None, typer.Option(help="A period of the use case's own source, as 2013-06.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Instead of the champion.")] = None,
    to: Annotated[
        str | None,
        typer.Option(
            help="A .parquet file, a folder, s3://..., lake://... or a database's URL. "
            "Default: the lake's folder scores/."
        ),
    ] = None,
    to_table: Annotated[
        str | None, typer.Option(help="The table for the scores, in the database of --to.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A column to keep beside the scores. Default: key and event time."),
    ] = None,
    at: Annotated[
        datetime | None, typer.Option(help="The time that scores carry, in UTC. Default: now.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an output that is there.")] = False,
    strict: Annotated[
        bool, typer.Option(help="End at a row that is refused, and at an unknown column.")
    ] = False,
    check_drift: Annotated[bool, typer.Option(help="Judge whether the rows drifted.")] = True,
    as_json: Json = False,
) -> None:
    """Score many rows with the champion. It runs here, without Prefect.

    Rows that the service would refuse are set aside with the reason. The same rows and version
    are not scored twice. Nothing is seen before all rows are written.

    Example: laurel score flights june.csv --to scores.parquet
    """
    from datetime import UTC

    from tasks.scores.request import Request

    request = Request(
        use_case=use_case,
        rows=rows,
        query=query,
        table=table,
        period=period,
        to=to,
        to_table=to_table,
        keep=tuple(keep or ()),
        at=at.replace(tzinfo=UTC) if at else None,
        overwrite=overwrite,
        strict=strict,
        check_drift=check_drift,
    )
    with _sentences():
        outcome = _score(request, version)
    if as_json:
        from serving.records.record import encode

        print_json({"again": outcome.again, **json.loads(encode(outcome.record))})
    else:
        print("\n".join(_lines(outcome)))


def _score(request: "Request", version: str | None) -> "Outcome":
    from blocks.lake import Lake
    from blocks.registry import ModelRegistry
    from blocks.warehouse import Warehouse
    from tasks.outside.blocks_of_run import given
    from tasks.scores.batch import find_version, score_batch

    request.check()
    settings = stack_settings()
    store, models, rows = Lake.of(settings), ModelRegistry.of(settings), Warehouse.of(settings)
    blocks = [block for block in (store, models, rows) if block is not None]
    with given(*blocks):
        found = find_version(store, models, request.use_case, version)
        return score_batch(request, found, store, models, _progress)


def _progress(rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{rows:,} rows", end="", file=sys.stderr, flush=True)


@contextmanager
def _sentences() -> Iterator[None]:
    """Errors that a person can do something about become the command's own."""
    from blocks.registry import RegistryError
    from serving.errors import PackageError
    from tasks.outside.blocks_of_run import NotRegistered
    from tasks.outside.user_code import UseCaseFailed
    from tasks.scores.request import ScoreError
    from usecases.definition import SourceError, UseCaseError

    try:
        yield
    except (
        ConnectionError,
        NotRegistered,
        PackageError,
        RegistryError,
        ScoreError,
        SourceError,
        UseCaseError,
        UseCaseFailed,
    ) as error:
        raise CommandFailed(str(error)) from error
    finally:
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)


def _lines(outcome: "Outcome") -> Iterator[str]:
    record = outcome.record
    scored = f"{record.scored:,} rows of {record.rows} with version {record.version}"
    yield _line(f"{FINE} scored", scored)
    if outcome.again:
        yield _line("", f"already at {record.time[:16]} UTC: nothing was written again")
    yield _line("  output", record.output)
    if record.refused:
        yield _line(f"{LOOK} refused", f"{record.refused:,} rows: {record.refused_output}")
        for reason, rows in record.reasons.items():
            yield _line("", f"{rows:,} × {reason}")
    for column, values in record.unknown.items():
        shown = ", ".join(f"{value!r} ({rows:,})" for value, rows in [*values.items()][:3])
        yield _line(f"{LOOK} unknown", f"{column}: {shown}: scored as no category")
    if record.extra:
        yield _line("  not used", ", ".join(record.extra))
    for verdict in record.drift:
        reason = verdict.reasons[0] if verdict.reasons else ""
        sign = _SIGNS[verdict.outcome]
        yield _line(f"{sign} drift", f"{verdict.window} {verdict.outcome}: {reason}")


def _line(head: str, text: str) -> str:
    """Columns of 80 characters; a path is not cut."""
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"{head:{len(_INDENT)}}",
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
