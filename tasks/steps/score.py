"""The steps of ``score``: many rows scored at once, and what is told of them."""

from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger, task
from prefect.blocks.system import Secret
from prefect.runtime import flow_run

from blocks.registry import ModelVersion
from serving.records.drift import Checked, DriftVerdict
from serving.records.scores import ScoreRun
from tasks.drift.drivers import drifted_columns, starts_retrain, times
from tasks.messages.announcements import scores_checked
from tasks.outside.artifacts import show_table
from tasks.outside.blocks_of_run import PATIENT, lake, registry, tell
from tasks.scores import batch
from tasks.scores.request import Request
from tasks.steps.drift_check.judge import find_champion
from tasks.steps.drift_check.record import emit_drift

__all__ = [
    "ScoreRun",
    "find_version",
    "in_short",
    "report_scores",
    "score_rows",
    "start_retrain",
]
_BLOCK_OF = "secret:"
_EVERY_ROWS = 1_000_000


def find_version(use_case: str, version: str | None) -> ModelVersion:
    """Return the version of that number, or the champion. Raises ``RegistryError``,
    ``CrownUnclear``."""
    return find_champion(use_case) if version is None else find_numbered(use_case, version)


@task(**PATIENT)
def find_numbered(use_case: str, version: str) -> ModelVersion:
    """Return the version of that number. Raises ``RegistryError`` with the known ones."""
    return batch.find_version(lake(), registry(), use_case, version)


@task(**PATIENT)
def score_rows(
    version: ModelVersion,
    *,
    rows: str | None,
    query: str | None,
    table: str | None,
    period: str | None,
    to: str | None,
    to_table: str | None,
    keep: Sequence[str],
    overwrite: bool,
    strict: bool,
    check_drift: bool,
) -> ScoreRun:
    """Score the rows and write the answers; nothing if the same was written before. Answers have
    the time at which the run was due, so that a repeated run writes the same.

    ``rows`` and ``to`` may be ``secret:NAME``, the name of Prefect's Secret block that holds a
    database's URL: parameters can be read by everybody who sees the run."""
    log = get_run_logger()
    request = Request(
        use_case=version.use_case,
        rows=_revealed(rows),
        query=query,
        table=table,
        period=period,
        to=_revealed(to),
        to_table=to_table,
        keep=keep,
        at=flow_run.scheduled_start_time,
        overwrite=overwrite,
        strict=strict,
        check_drift=check_drift,
    )

    def say(count: int) -> None:
        if count % _EVERY_ROWS == 0:
            log.info("scored use_case=%s rows=%s", version.use_case, count)

    outcome = batch.score_batch(request, version, lake(), registry(), say)
    if outcome.again:
        log.info("these rows were scored before: nothing is written again")
    return outcome.record


def _revealed(place: str | None) -> str | None:
    if place is None or not place.startswith(_BLOCK_OF):
        return place
    block: Any = Secret
    return str(block.load(place.removeprefix(_BLOCK_OF), _sync=True).get())


def in_short(record: ScoreRun) -> str:
    """Return what was done, in a line: the state of the run and the head of its artifacts."""
    refused = f", {record.refused:,} refused ({record.refused_output})" if record.refused else ""
    judged = ", ".join(f"{verdict.window} {verdict.outcome}" for verdict in record.drift)
    drift = f" Drift: {judged}." if judged else ""
    return (
        f"{record.use_case}: version {record.version} scored {record.scored:,} rows of "
        f"{record.rows}{refused}, to {record.output}.{drift}"
    )


@task(**PATIENT)
def report_scores(record: ScoreRun) -> None:
    """Write the run's artifacts and the line in the log, and tell people of rows that drifted or
    are broken."""
    summary = in_short(record)
    get_run_logger().info("%s", summary)
    for column, values in record.unknown.items():
        get_run_logger().warning(
            "scored as unknown use_case=%s column=%s values=%s", record.use_case, column, values
        )
    counts = [{"what": reason, "rows": rows} for reason, rows in record.reasons.items()]
    version = ModelVersion(record.use_case, record.version, "", {})
    show_table(
        record.use_case,
        "scored-rows",
        [{"what": "scored", "rows": record.scored}, *counts],
        f"rows scored by version {record.version}",
        summary,
        {f"version {record.version}": registry().version_url(version)},
    )
    for verdict in record.drift:
        if verdict.outcome in ("drifted", "broken"):
            tell(
                scores_checked(
                    record.use_case,
                    version=record.version,
                    verdict=verdict.outcome,
                    window=verdict.window,
                    columns={name: times(verdict, name) for name in drifted_columns(verdict)},
                    reasons=verdict.reasons,
                )
            )


def start_retrain(record: ScoreRun) -> None:
    """Emit the drift check's event for the latest window that drifted, if there is one."""
    drifted: list[DriftVerdict] = [one for one in record.drift if starts_retrain(one)]
    if drifted:
        emit_drift(
            Checked(
                use_case=record.use_case,
                champion=record.version,
                time=record.time,
                verdict=drifted[-1],
            )
        )
