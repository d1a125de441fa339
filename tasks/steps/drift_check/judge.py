"""The steps of ``drift_check`` that judge: the window from the prediction log, its distances, the
verdict, and Evidently's report.
"""

from dataclasses import replace
from datetime import UTC, datetime

from prefect import task
from prefect.runtime import flow_run

from blocks.registry import ModelVersion, RegistryError
from serving.package.model import Package
from serving.records.drift import Checked, DriftVerdict
from tasks.data.traits import by_traits
from tasks.drift.checks.exact import drop_impossible
from tasks.drift.checks.integrity import check_answers
from tasks.drift.coverage import tell_coverage, windows_needed
from tasks.drift.drivers import drifted_columns, list_drifted, reasons_and_advice, weight
from tasks.drift.evidently_report import (
    is_due,
    keep_distances,
    keep_report,
    run_evidently,
    with_summary,
)
from tasks.drift.examine import Yardstick, examine, yardstick_of
from tasks.drift.history import beyond_before, held_before, sequence_before
from tasks.drift.late_labels import check_performance
from tasks.drift.performance import find_cause, join_verdict
from tasks.drift.thresholds import monitored, without
from tasks.drift.verdict import judge
from tasks.ledger.entries import now
from tasks.ledger.reign import find_champion as reigning
from tasks.log.files import LogDamaged
from tasks.log.files import latest_window as latest
from tasks.log.windows import Window, read_window
from tasks.outside.blocks_of_run import PATIENT, lake, registry, service
from tasks.packages.expected_losses import expected_losses, losses_of
from tasks.packages.own_columns import as_champion
from tasks.packages.registered import open_package
from tasks.steps.provenance import page_of
from usecases.definition import UseCase, load

_ON_REQUEST = (
    "Evidently's report of this window: `laurel run drift_check {name} --param window={window} "
    "--param report=true`"
)


@task(**PATIENT)
def find_champion(use_case: str) -> ModelVersion:
    """Return the champion. Raises ``RegistryError`` if no version was crowned yet, and
    ``CrownUnclear`` if the champion is unclear."""
    reign = reigning(load(use_case).name)
    if reign is None:
        raise RegistryError(
            f"No champion for {use_case!r}. Train one: laurel run retrain {use_case}."
        )
    return reign


@task(**PATIENT)
def latest_window(use_case: str) -> str:
    """Return the latest window of the prediction log, which is not empty."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return latest(lake(), load(use_case), now).name


@task(task_run_name="check {window}", **PATIENT)
def check_window(champion: ModelVersion, window: str, seed: int, report: bool = False) -> Checked:
    """Compare the window's predictions with the champion's own reference. Evidently's report
    of a window beyond the limit is kept in the lake, or of any window if ``report`` asks for it.

    The columns are the champion's, with which its predictions were logged, whatever the use case
    has now."""
    with open_package(registry(), champion) as (package, folder):
        manifest, yardstick = package.manifest, yardstick_of(package.manifest, folder)
        losses = losses_of(folder)
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
    verdict = judge_window(case, package, yardstick, read, champion.number)
    expected = expected_losses(package, losses, read.rows, read.partly)
    performance = check_performance(lake(), case, manifest, champion.number, read, seed, expected)
    before = held_before(lake(), case.name, window, windows_needed(case, performance))
    joined = tell_coverage(case, join_verdict(verdict, performance), performance, before)
    path = url = None
    if joined.share is not None:
        if report or is_due(joined):
            path, url = _report(case, champion, yardstick, read, joined)
        else:
            keep_distances(champion, joined, _note(case, champion, joined, _ON_REQUEST))
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
    case: UseCase, package: Package, yardstick: Yardstick, read: Window, champion: str
) -> DriftVerdict:
    """Return the verdict on the predictions read of a window, against what the champion's package
    has; a sample of its answers is scored anew."""
    complete = not read.rows.is_empty() and not read.problems
    evidence = examine(
        case,
        yardstick,
        read.rows,
        window=read.name,
        counted=read.counted,
        problems=read.problems,
        answers=check_answers(package, read.rows, champion, read.partly) if complete else (),
        earlier=beyond_before(lake(), case.name, champion, read.name, case.drift.k_of_n[1] - 1),
        sequence=sequence_before(lake(), case.name, champion, read.name),
    )
    return replace(judge(case.drift, evidence), how=read.how)


def _report(
    case: UseCase,
    champion: ModelVersion,
    yardstick: Yardstick,
    read: Window,
    verdict: DriftVerdict,
) -> tuple[str, str]:
    """Return the report. Its columns are ordered by weight; one without a distance, which cannot
    count, is left out."""
    case, rows = by_traits(case, read.rows)
    columns = sorted(
        (
            column
            for column in monitored(case, verdict.distances)
            if verdict.distances[column.name] is not None
        ),
        key=lambda column: -weight(verdict, column.name),
    )
    _, html, text = run_evidently(
        columns,
        yardstick.reference,
        drop_impossible(case, rows),
        verdict.thresholds,
        yardstick.methods,
    )
    links = {f"champion {champion.number}": registry().version_url(champion)}
    pages = {"Laurel": service().page(case.name), "flow run": flow_run.ui_url, **links}
    page = with_summary(
        html, f"{case.name}: {_title(verdict)}", _facts(case, champion, verdict), pages
    )
    return keep_report(champion, verdict, page, text, _note(case, champion, verdict))


def _note(case: UseCase, champion: ModelVersion, verdict: DriftVerdict, report: str = "") -> str:
    """Return the head of the run's page in MLflow; ``report`` says how to get one."""
    words = [reasons_and_advice(verdict), report.format(name=case.name, window=verdict.window)]
    links = {f"champion {champion.number}": registry().version_url(champion)}
    return page_of(case, _title(verdict), "\n\n".join(filter(None, words)), links)


def _title(verdict: DriftVerdict) -> str:
    return f"drift check of {verdict.window}: {verdict.outcome}"


def _facts(case: UseCase, champion: ModelVersion, verdict: DriftVerdict) -> dict[str, str]:
    """Return what was decided, for the head of Evidently's report."""
    beyond = f"{len(drifted_columns(verdict))} of {len(verdict.distances)} columns"
    return {
        "use case": case.title,
        "window": verdict.window,
        "verdict": verdict.outcome,
        "judged on": f"{verdict.how or 'nothing'}, against champion {champion.number}",
        "share of drift": "not known" if verdict.share is None else f"{verdict.share:.1%}",
        "limit of the share": f"{verdict.limit:.0%}",
        "beyond their threshold": f"{beyond} {list_drifted(verdict)}".strip(),
        "why": reasons_and_advice(verdict),
    }


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
