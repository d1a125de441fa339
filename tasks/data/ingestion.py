"""One period from its source into the lake."""

from blocks.lake import Lake
from tasks.data.dataset import PeriodFile, write_period
from tasks.data.sources import source_of
from tasks.data.validation import validate
from usecases.definition import UseCase


def ingest_period(lake: Lake, case: UseCase, period: str) -> PeriodFile:
    """Read, validate and write one period. Raises ``SourceError``, ``BatchRefused``,
    ``LakeAway``.
    """
    return write_period(lake, case, period, validate(case, period, source_of(case).read(period)))
