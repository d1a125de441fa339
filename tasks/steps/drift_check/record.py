"""What a drift check leaves behind: verdict, quarantine and decision in the lake, artifacts, the
message, and the event of drift."""

from dataclasses import dataclass

from prefect import get_run_logger, task

from blocks.message import Message
from blocks.registry import ModelVersion
from serving.records.drift import Checked, DriftVerdict, Finding
from serving.records.ledger import Decision
from serving.records.performance import Performance
from serving.records.record import encode
from tasks.drift import coverage, quarantine
from tasks.drift.checks.broken import named_columns
from tasks.drift.drivers import (
    by_word,
    drifted_columns,
    explain,
    list_drifted,
    notes_of,
    ordered_columns,
    reasons_and_advice,
    times,
    weight,
)
from tasks.drift.history import last_notes
from tasks.drift.performance_report import performance_facts, performance_rows, say_performance
from tasks.ledger.entries import author, record, root_run
from tasks.measures import plots
from tasks.messages.announcements import (
    coverage_off,
    drift_checked,
    performance_worse,
    predictions_missing,
)
from tasks.outside.artifacts import show_table, show_text
from tasks.outside.blocks_of_run import PATIENT, lake, registry, service, tell
from tasks.outside.events import emit
from usecases.definition import load

EVENT = "laurel.drift.detected"


@dataclass(frozen=True)
class Recorded:
    """``place`` is that of the check in the ledger; ``news`` are the notes that the last check of
    the window did not have."""

    place: int
    news: list[str]


@task(**PATIENT)
def record_check(checked: Checked) -> Recorded:
    """Write the verdict into the lake and the ledger; a broken window goes into quarantine, and
    leaves it once a check finds it sound."""
    verdict, store, case = checked.verdict, lake(), load(checked.use_case)
    earlier = last_notes(store, case.name, verdict.window) if verdict.window else []
    known = {(note.check, note.column) for note in earlier}
    news = [note.reason for note in notes_of(verdict) if (note.check, note.column) not in known]
    if verdict.outcome != "silent":
        store.write(
            f"reports/{case.name}/{verdict.window}/verdict.json",
            encode(checked),
        )
    if verdict.outcome == "broken":
        quarantine.put(
            store,
            quarantine.Quarantine(
                use_case=case.name,
                window=verdict.window,
                columns=named_columns(case, verdict.reasons),
                reasons=verdict.reasons,
                champion=checked.champion,
                since=checked.time,
                by=author(),
            ),
        )
    elif verdict.share is not None and quarantine.lift(
        store, case.name, verdict.window, checked.time
    ):
        get_run_logger().info("quarantine lifted use_case=%s window=%s", case.name, verdict.window)
    entry = record(
        Decision(
            use_case=case.name,
            time=checked.time,
            kind="drift",
            verdict=verdict.outcome,
            reasons=verdict.reasons,
            window=verdict.window,
            champion=checked.champion,
            facts={
                "share": verdict.share,
                "limit": verdict.limit,
                "rows": float(verdict.rows),
                "read": verdict.how,
                "columns": list_drifted(verdict),
                "checks": ", ".join(_in_brief(finding) for finding in verdict.findings) or None,
                "report": checked.report_path,
                **performance_facts(checked.performance),
            },
            by=author(),
            run=root_run(),
        )
    )
    return Recorded(entry.sequence, news)


def _in_brief(finding: Finding) -> str:
    return f"{finding.check} {finding.column or ''}".strip() + f": {finding.word}"


@task(**PATIENT)
def report_check(checked: Checked, recorded: Recorded) -> None:
    """Write the run's artifacts, the message, and the line in the log. Of a stable window people
    are told only the news: notes that they were not told before."""
    verdict, case, news = checked.verdict, load(checked.use_case), recorded.news
    told = len(news)
    get_run_logger().info(
        "drift use_case=%s window=%s outcome=%s share=%s",
        case.name,
        verdict.window,
        verdict.outcome,
        verdict.share,
    )
    if verdict.outcome == "silent":
        tell(predictions_missing(case.name, reasons=verdict.reasons))
        return
    links = {"decision": service().page(case.name, recorded.place)}
    if checked.report_url:
        links["drift report"] = checked.report_url
    _show(checked, links)
    off = [finding for finding in verdict.findings if finding.check == coverage.CHECK]
    news = [reason for reason in news if reason not in {finding.reason for finding in off}]
    if len(news) < told:
        tell(_off(checked, off[0], links))
    if checked.cause == "performance" and checked.performance is not None:
        tell(_worse(checked, checked.performance, links))
        return
    message = drift_checked(
        case.name,
        verdict=verdict.outcome,
        window=verdict.window,
        share=verdict.share,
        limit=verdict.limit,
        columns={name: times(verdict, name) for name in drifted_columns(verdict)},
        reasons=verdict.reasons if verdict.outcome != "stable" else news,
        findings=by_word(verdict),
        retrain=verdict.retrain,
        tell_stable=bool(news),
        picture=_picture(verdict),
        links=links,
    )
    if message is not None:
        tell(message)


def _show(checked: Checked, links: dict[str, str]) -> None:
    """Show the verdict on the run's page. A window without distances has no table of columns."""
    verdict, use_case = checked.verdict, checked.use_case
    champion = ModelVersion(use_case, checked.champion, "", {})
    pages = {**links, f"champion {champion.number}": registry().version_url(champion)}
    head = f"drift check of {verdict.window}: {verdict.outcome}"
    sentence = f"{in_short(checked)} Judged on {verdict.how or 'nothing'}."
    if verdict.distances:
        show_table(use_case, "drift", _table(verdict), head, sentence, pages)
    else:
        show_text(use_case, "drift", f"# {verdict.outcome.capitalize()}", head, sentence, pages)
    if performance := checked.performance:
        title = f"performance in {verdict.window}: {performance.verdict}"
        rows, words = performance_rows(performance), say_performance(performance)
        show_table(use_case, "performance", rows, title, words, pages)
    if verdict.findings:
        show_table(use_case, "drift-checks", _findings(verdict), f"{head}, checks", links=pages)
    if report := checked.report_url:
        text = f"[Drift report {verdict.window}]({report})"
        show_text(use_case, "drift-report", text, f"{head}, Evidently's report", links=pages)


def in_short(checked: Checked) -> str:
    """Return the verdict with its reasons, in a line: the state of the run and the head of its
    artifacts."""
    verdict = checked.verdict
    basis = f"on {verdict.rows:,} predictions of version {checked.champion}"
    subject = f"{checked.use_case} {verdict.window}".strip()
    return f"{subject}: {verdict.outcome}, {basis}. {reasons_and_advice(verdict)}"


def _picture(verdict: DriftVerdict) -> bytes | None:
    """Return the picture of a window that drifted: people are told of no other."""
    if verdict.outcome != "drifted" or not verdict.distances:
        return None
    counts = {
        name: weight(verdict, name)
        for name in verdict.distances
        if verdict.importance and name not in verdict.described
    }
    distances = {name: far for name, far in verdict.distances.items() if far is not None}
    return plots.png(plots.drift_by_column(distances, verdict.thresholds, counts))


def _worse(checked: Checked, performance: Performance, links: dict[str, str]) -> Message:
    """Tell that the labels show a loss though the data look normal."""
    metric = load(checked.use_case).gate.metric.name
    holdout = performance.holdout[metric]
    return performance_worse(
        checked.use_case,
        window=checked.verdict.window,
        metric=metric,
        value=performance.metrics[metric].value,
        holdout=(holdout.low, holdout.high),
        coverage=performance.coverage,
        reasons=[*performance.reasons, *checked.verdict.reasons[:1]],
        links=links,
    )


def _off(checked: Checked, off: Finding, links: dict[str, str]) -> Message:
    """Tell that the intervals or sets do not hold what they promise, window after window."""
    case = load(checked.use_case)
    return coverage_off(
        case.name,
        window=checked.verdict.window,
        held=off.value,
        promised=off.limit,
        windows=case.labels.coverage_windows,
        fewer=checked.performance is not None and checked.performance.held == "fewer",
        reasons=[off.reason],
        links=links,
    )


def _table(verdict: DriftVerdict) -> list[dict[str, str | float | bool]]:
    """Return a row for each column: the drifted ones first, by weight. Each says whether it counts,
    and why."""
    drifted = set(drifted_columns(verdict))
    return [_row_of_column(verdict, name, name in drifted) for name in ordered_columns(verdict)]


def _findings(verdict: DriftVerdict) -> list[dict[str, str | float]]:
    """Return a row for each finding of the checks beside the distances."""
    return [
        {
            "check": finding.check,
            "column": finding.column or "",
            "means": finding.word,
            "value": "" if finding.value is None else round(finding.value, 4),
            "limit": "" if finding.limit is None else round(finding.limit, 4),
            "reason": finding.reason,
        }
        for finding in verdict.findings
    ]


def _row_of_column(
    verdict: DriftVerdict, name: str, drifted: bool
) -> dict[str, str | float | bool]:
    distance = verdict.distances[name]
    described = name in verdict.described
    return {
        "column": name,
        "distance": "not known" if distance is None else round(distance, 3),
        "threshold": round(verdict.thresholds[name], 3),
        "weight": "described only" if described else round(weight(verdict, name), 3),
        "drifted": drifted,
        "why": explain(verdict, name),
    }


@task(**PATIENT)
def emit_drift(checked: Checked) -> None:
    """Emit the event that deployments/apply/automations.py turns into a retrain."""
    verdict = checked.verdict
    drivers = [
        {
            "column": name,
            "distance": verdict.distances[name],
            "threshold": verdict.thresholds[name],
            "weight": weight(verdict, name),
        }
        for name in drifted_columns(verdict)
    ]
    emit(
        EVENT,
        checked.use_case,
        {
            "window": verdict.window,
            "share": verdict.share,
            "columns": drifted_columns(verdict),
            "drivers": drivers,
            "cause": checked.cause,
            "champion": checked.champion,
            "report": checked.report_url,
        },
    )
