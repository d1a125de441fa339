"""The steps of ``drift_check`` that judge: the window from the prediction log, its distances, the
verdict, and Evidently's report.
"""

from dataclasses import replace

import polars as pl
from prefect import task

from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import REFERENCE, Manifest
from serving.records.drift import Checked, DriftVerdict
from tasks.drift.broken import find_broken
from tasks.drift.drivers import weight
from tasks.drift.evidently_report import keep_report, run_evidently
from tasks.drift.history import beyond_before
from tasks.drift.late_labels import check_performance
from tasks.drift.performance import find_cause, join_verdict
from tasks.drift.verdict import Evidence, judge, measure, monitored, without
from tasks.ledger.entries import now
from tasks.ledger.reign import find_champion as reigning
from tasks.log.files import LogDamaged, logged_periods
from tasks.log.windows import Window, read_window
from tasks.outside.blocks_of_run import PATIENT, lake, registry
from tasks.packages.own_columns import as_champion
from tasks.packages.registered import open_package
from usecases.definition import UseCase, load


@task(**PATIENT)
def find_champion(use_case: str) -> ModelVersion:
    """Return the champion. Raises ``RegistryError`` if no version was crowned yet, and
    ``CrownUnclear`` if the champion is unclear."""
    reign = reigning(load(use_case).name)
    if reign is None:
        raise RegistryError(
            f"No champion for {use_case!r}. Train one: prefect deployment run 'retrain/{use_case}'."
        )
    return reign


@task(**PATIENT)
def latest_window(use_case: str) -> str:
    """Return the latest period of the prediction log, which is not empty."""
    return logged_periods(lake(), load(use_case))[-1].name


@task(task_run_name="check {window}", **PATIENT)
def check_window(champion: ModelVersion, window: str, seed: int) -> Checked:
    """Compare the window's predictions with the champion's own reference, and keep Evidently's
    report in the lake.

    The columns are the champion's, with which its predictions were logged, whatever the use case
    has now."""
    with open_package(registry(), champion) as (package, folder):
        manifest = package.manifest
        reference = pl.read_parquet(folder / REFERENCE)
    case = as_champion(load(champion.use_case), manifest)
    case = without(case, {*case.prediction_log.leave_out, *manifest.log_leave_out})
    try:
        read = read_window(lake(), case, window, case.drift.sample_rows, seed)
    except LogDamaged as error:
        damaged = DriftVerdict(
            outcome="broken",
            window=window,
            rows=0,
            share=None,
            limit=case.drift.share,
            reasons=[str(error)],
        )
        return Checked(use_case=case.name, champion=champion.number, time=now(), verdict=damaged)
    case = without(case, read.partly)
    verdict = judge_window(case, manifest, reference, read, champion.number)
    path = url = None
    if verdict.share is not None:
        path, url = _report(case, champion, manifest, reference, read, verdict)
    performance = check_performance(lake(), case, manifest, champion.number, read, seed)
    joined = join_verdict(verdict, performance)
    return Checked(
        use_case=case.name,
        champion=champion.number,
        time=now(),
        verdict=joined,
        report_path=path,
        report_url=url,
        label_coverage=performance.coverage,
        scores={**performance.scores},
        performance=performance,
        cause=find_cause(verdict, performance) if joined.outcome == "drifted" else None,
    )


def judge_window(
    case: UseCase, manifest: Manifest, reference: pl.DataFrame, read: Window, champion: str
) -> DriftVerdict:
    """Return the verdict on the predictions read of a window, against the ``reference`` and
    thresholds of the champion's package."""
    policy, limits = case.drift, manifest.drift_thresholds
    days = None if read.rows.is_empty() else read.rows["event_time"].dt.date().n_unique()
    broken = (
        []
        if read.rows.is_empty()
        else [*read.problems, *find_broken(case, reference, read.rows, days)]
    )
    distances = {}
    if read.counted >= policy.minimum_rows and not broken and (days or 0) >= policy.minimum_days:
        distances = measure(case, reference, read.rows, limits, manifest.drift_methods)
    earlier = beyond_before(lake(), case.name, champion, read.name, policy.k_of_n[1] - 1)
    evidence = Evidence(
        window=read.name,
        rows=read.counted,
        days=days,
        broken=broken,
        distances=distances,
        thresholds=limits,
        calibrated=manifest.drift_calibrated,
        importance=manifest.drift_importance,
        earlier=earlier,
    )
    return replace(judge(policy, evidence), how=read.how)


def _report(
    case: UseCase,
    champion: ModelVersion,
    manifest: Manifest,
    reference: pl.DataFrame,
    read: Window,
    verdict: DriftVerdict,
) -> tuple[str, str]:
    """Return the report. Its columns are ordered by weight; one without a distance, which cannot
    count, is left out."""
    finite = {name: far for name, far in verdict.distances.items() if far is not None}
    columns = sorted(
        (column for column in monitored(case, verdict.distances) if column.name in finite),
        key=lambda column: -weight(verdict, column.name),
    )
    _, html, text = run_evidently(
        columns, reference, read.rows, verdict.thresholds, manifest.drift_methods
    )
    return keep_report(champion, verdict.window, html, text, finite)


def unseen(champion: ModelVersion, window: str | None, why: str) -> Checked:
    """Return the verdict of a check without predictions."""
    case = load(champion.use_case)
    verdict = DriftVerdict(
        outcome="silent",
        window=window or "",
        rows=0,
        share=None,
        limit=case.drift.share,
        reasons=[why],
    )
    return Checked(use_case=case.name, champion=champion.number, time=now(), verdict=verdict)
