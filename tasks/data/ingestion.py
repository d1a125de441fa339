"""One period from its source into the lake."""

from blocks.lake import Lake
from tasks.data.dataset import PeriodFile, find_period, write_period
from tasks.data.sources import source_of
from tasks.data.validation import validate
from usecases.definition import UseCase


def ingest_period(lake: Lake, case: UseCase, period: str) -> PeriodFile:
    """Read, validate and write one period. Raises ``SourceError``, ``BatchRefused``,
    ``LakeAway``.
    """
    return write_period(
        lake, case, period, validate(case, period, source_of(case, lake).read(period))
    )


def ingest_if_changed(lake: Lake, case: UseCase, period: str) -> tuple[PeriodFile, str]:
    """The file of the period, which is read unless the source's mark is that of the latest dataset
    version, and what was done, in words. Raises as ``ingest_period`` does.

    The mark is taken before the rows are read. A row that comes in between is read now, and its
    period once more at the next ingest: none is lost, and as periods are files named by their
    content, none is there twice. An ingest that was killed has moved no mark."""
    mark = source_of(case, lake).mark(period)
    known = find_period(lake, case.name, period) if mark else None
    if known is not None and known.mark == mark:
        return known, "unchanged, not read again"
    file = ingest_period(lake, case, period).model_copy(update={"mark": mark})
    if mark and known and known.mark and mark.went_back(known.mark):
        return file, (
            f"read again, since its cursor went back from {known.mark.cursor} to {mark.cursor} and "
            "no row is gone: was the table restored, or does the column not grow with each change"
        )
    return file, "ingested"
