"""The steps of ``ingest``: which periods, each one into the lake, and the version that they
make.
"""

from collections.abc import Sequence

from prefect import get_run_logger, task

from tasks.data.dataset import (
    DatasetMissing,
    DatasetVersion,
    PeriodFile,
    read_version,
    verify_periods,
    write_version,
)
from tasks.data.ingestion import ingest_if_changed
from tasks.data.sources import source_of
from tasks.data.validation import BatchRefused
from tasks.messages.announcements import ingest_refused
from tasks.outside.artifacts import show_text
from tasks.outside.blocks_of_run import RESUMED, lake, tell
from usecases.definition import load, period_named


class NoPeriod(LookupError):
    """The requested window holds no complete period of the source."""


@task(**RESUMED)
def find_periods(
    use_case: str, through: str | None, since: str | None, at_most: bool = False
) -> list[str]:
    """Return complete periods of the source up to the end of ``through``, from the begin of
    ``since`` on; both may be longer than the use case's periods. Unless it is ``at_most``
    ``through``, the source must have that period. Raises ``NoPeriod``, ``SourceError``."""
    case = load(use_case)
    available = source_of(case).periods()
    first, last = since and period_named(since), through and period_named(through)
    selected = [
        name
        for name in available
        if (not last or period_named(name).end <= last.end)
        and (not first or period_named(name).start >= first.start)
    ]
    own = not at_most and through is not None and case.period_kind.find(through) is not None
    if not selected or (own and through not in available):
        has = f"{available[0]} to {available[-1]}" if available else "nothing"
        raise NoPeriod(
            f"The source of {use_case!r} has no complete period in "
            f"{since or 'the beginning'}..{through or 'now'}; it has {has}."
        )
    return selected


@task(task_run_name="ingest {period}", **RESUMED)
def take_in(use_case: str, period: str) -> PeriodFile:
    """Validate one period and put it into the lake. Raises ``BatchRefused``, after telling people,
    ``SourceError``, ``LakeAway``.
    """
    case = load(use_case)
    try:
        period_file, done = ingest_if_changed(lake(), case, period)
    except BatchRefused as refused:
        tell(ingest_refused(use_case, period=period, problems=[str(refused)]))
        raise
    get_run_logger().info(
        "%s: use_case=%s period=%s rows=%d quarantined=%d",
        done,
        use_case,
        period,
        period_file.rows,
        sum(period_file.quarantine.values()),
    )
    return period_file


@task(**RESUMED)
def publish_dataset(use_case: str, files: list[PeriodFile], since: str | None) -> DatasetVersion:
    """Make the version of ``files`` visible, with the periods before ``since`` from the previous
    version.

    Raises ``DatasetMissing`` or ``ColumnsDiffer`` if those periods do not fit the new ones."""
    store, case = lake(), load(use_case)
    earlier: list[PeriodFile] = []
    if since is not None:
        try:
            before = read_version(store, use_case)
        except DatasetMissing:
            get_run_logger().info(
                "no earlier dataset of %s: the version begins at %s", use_case, since
            )
        else:
            first = period_named(since).start
            earlier = [file for file in before.periods if period_named(file.period).start < first]
            verify_periods(store, case, before, earlier)
    dataset, new = write_version(store, case, [*earlier, *files])
    message = "new" if new else "unchanged, nothing was written"
    get_run_logger().info(
        "dataset use_case=%s version=%s rows=%d: %s",
        use_case,
        dataset.version,
        dataset.rows,
        message,
    )
    text = _validation_report(dataset, message, source_of(case).notes)
    show_text(use_case, "validation", text, f"validation of dataset {dataset.version}")
    return dataset


def _validation_report(dataset: DatasetVersion, message: str, notes: Sequence[str]) -> str:
    lines = [
        f"# Dataset `{dataset.version}`",
        (
            f"{dataset.rows:,} rows of {dataset.window} from {dataset.source}; "
            f"{dataset.quarantined:,} in quarantine; {message}."
        ),
        *(f"- {note}" for note in notes),
        "",
        "| period | rows | labelled | quarantined | why |",
        "|---|---:|---:|---:|---|",
    ]
    for period in dataset.periods:
        why = (
            "; ".join(f"{reason} ({rows})" for reason, rows in list(period.quarantine.items())[:5])
            or "–"
        )
        lines.append(
            f"| {period.period} | {period.rows:,} | {period.labelled / period.rows:.1%} | "
            f"{sum(period.quarantine.values()):,} | {why} |"
        )
    return "\n".join(lines)
