"""The record of a run of batch scoring: ``reports/<use case>/scores/<run>-<place>.json``."""

from dataclasses import field

from serving.records.drift import DriftVerdict
from serving.records.record import record


@record
class ScoreRun:
    """``rows`` names what was scored, ``output`` and ``refused_output`` where the answers and the
    refused rows are. ``time`` is UTC, in ISO 8601. Rows were ``scored`` or ``refused``, of which
    ``reasons`` counts the most frequent.

    ``unknown`` counts, by column, the values that are no category of the model; ``extra`` are
    columns that were not used. ``drift`` has a verdict for each window of the rows; without one
    the rows were not checked."""

    run: str
    use_case: str
    version: str
    time: str
    rows: str
    output: str
    refused_output: str
    scored: int
    refused: int
    reasons: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, dict[str, int]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drift: list[DriftVerdict] = field(default_factory=list)
