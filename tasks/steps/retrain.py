"""What surrounds a retrain: one at a time for each use case, the governor's answer, and what the
ledger and people learn."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from prefect import get_run_logger, task
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext, TaskRunContext

from blocks.clients.registry import CHAMPION
from serving.records.ledger import Decision, Entry
from serving.records.reasons import because
from tasks.ledger.entries import Overtaken, read, read_back, record, root_run, stamp
from tasks.ledger.governor import Refusal, breaker_of, is_enough, may_retrain, open_starts
from tasks.ledger.lost_runs import Loss, find_run, report_loss
from tasks.ledger.outcomes import retold
from tasks.messages.announcements import (
    breaker_closed,
    metric_name,
    number,
    retrain_ended,
    retrain_skipped,
    retrain_started,
)
from tasks.outside.artifacts import show_text
from tasks.outside.blocks_of_run import PATIENT, RESUMED, lake, registry, service, tell
from tasks.packages.registered import read_manifest
from tasks.steps.requests import why_asked
from usecases.definition import RetrainPolicy, load

_RECENT = 50  # entries: a run writes a handful, and others few between them


@task(**PATIENT)
def ask_governor(use_case: str, reason: str, by_hand: bool) -> Refusal | None:
    """Note the start in the ledger, unless another retrain is running or the governor refuses.

    The governor does not refuse a person's run, and counts it as any other; a run that a schedule
    starts was not started by hand.

    The start is the use case's place: of runs that start at once one writes it, and it is free when
    the run's end is there. The start of a run that died without an end is closed here. A run that
    goes on finds its own start, and is not refused by it; one that is started again asks again,
    because its start may have been closed and its place have gone to another. Raises
    ``UseCaseError`` before anything is noted."""
    policy, reason = load(use_case).retrain, why_asked(reason)
    while True:
        entries = _read_for_governor(use_case, policy)
        starts = open_starts(entries)
        if any(start.run is not None and start.run == root_run() for start in starts):
            if (
                context := TaskRunContext.get()
            ) and context.task_run.run_count > 1:  # it was noted but not announced
                tell(retrain_started(use_case, reason=reason))
            return None
        for start in starts:
            note = (
                "a retrain of use_case=%s has started and not ended: checking whether its run %s "
                "is alive, for three minutes at most"
            )
            get_run_logger().info(note, use_case, start.run)
        runs = [find_run(start.run) for start in starts]
        losses = [run for run in runs if isinstance(run, Loss)]
        for loss in losses:
            report_loss(use_case, loss)
        if losses:
            continue
        refusal = _refuse_second(
            use_case, [run for run in runs if isinstance(run, FlowRun)]
        ) or _refuse(use_case, policy, by_hand, entries)
        if refusal is not None:
            return refusal
        try:
            _start(use_case, reason, by_hand, entries)
        except Overtaken:
            continue
        tell(retrain_started(use_case, reason=reason))
        return None


def _refuse_second(use_case: str, holders: list[FlowRun]) -> Refusal | None:
    """Refuse because another run holds the place, and say how to free it."""
    reason = because(
        "other_retrain_runs",
        use_case=use_case,
        runs=[f"{run.name!r} ({run.id})" for run in holders],
        ways=[f"laurel cancel {run.id}" for run in holders],
    )
    return Refusal("running", reason) if holders else None


def _read_for_governor(use_case: str, policy: RetrainPolicy) -> list[Entry]:
    now = datetime.now(UTC)
    return read_back(lake(), use_case, lambda entries: is_enough(policy, entries, now))


def _refuse(
    use_case: str, policy: RetrainPolicy, by_hand: bool, entries: list[Entry]
) -> Refusal | None:
    if by_hand and not _is_scheduled():
        return None
    refusal = may_retrain(policy, entries, datetime.now(UTC))
    if refusal is None or refusal.verdict != "breaker":
        return refusal
    # How many were rejected in a row may go further back.
    return may_retrain(policy, read(lake(), use_case), datetime.now(UTC))


def _is_scheduled() -> bool:
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.auto_scheduled)


def _start(use_case: str, reason: str, by_hand: bool, entries: list[Entry]) -> None:
    author = "the schedule" if _is_scheduled() else "a person" if by_hand else "the automation"
    start = Decision(
        use_case=use_case,
        kind="retrain",
        verdict="started",
        reasons=[reason],
        facts={"started_by": author},
        **stamp(),
    )
    record(start, after=entries[-1].sequence if entries else 0)


@task(**RESUMED)
def skip_retrain(use_case: str, reason: str, refusal: Refusal) -> None:
    """Record the refusal and tell people. ``reason`` is why a retrain was requested."""
    until = refusal.until.isoformat(timespec="milliseconds") if refusal.until else None
    facts: dict[str, float | str | None] = {"until": until, "wanted": why_asked(reason)}
    record(
        Decision(
            use_case=use_case,
            kind="refusal",
            verdict=refusal.verdict,
            reasons=[refusal.reason],
            facts=facts,
            **stamp(),
        )
    )
    get_run_logger().info(
        "retrain use_case=%s refused=%s until=%s: %s",
        use_case,
        refusal.verdict,
        until,
        refusal.reason,
    )
    tell(retrain_skipped(use_case, reason=refusal.reason))


@contextmanager
def failure_recorded(use_case: str) -> Iterator[None]:
    """Record the failure of a run in the ledger, and then fail. A killed run cannot:
    ``close_lost_run`` records it then."""
    try:
        yield
    except Exception as error:
        with suppress(ConnectionError):  # the run may have failed because the lake is unreachable
            record_end(use_case, "failed", f"{type(error).__name__}: {error}")
        raise


@task(**PATIENT)
def record_end(use_case: str, verdict: str, message: str, version: str | None = None) -> int:
    """Record how a retrain ended, in a word of ``Decision`` and a sentence; ``version`` is the one
    that it crowned. Returns the place of the entry in the ledger.

    A run that is started again and ends the same way records it again: without an end it would hold
    its place."""
    promoted = version is not None
    if promoted:
        message = retold(_written_by(use_case, root_run()), message)
    entry = record(
        Decision(
            use_case=use_case,
            kind="retrain",
            verdict=verdict,
            reasons=[message],
            version=version,
            promoted=promoted,
            **stamp(),
        )
    )
    if verdict == "nothing to do":  # the step that led to any other end has announced it
        tell(retrain_ended(use_case, outcome=message))
    return entry.sequence


def _written_by(use_case: str, run: str | None) -> list[Entry]:
    """Return what the run has written into the ledger lately."""
    return [entry for entry in read(lake(), use_case, _RECENT) if run and entry.run == run]


@task(**RESUMED)
def report_retrain(use_case: str, reason: str, verdict: str, outcome: str, place: int) -> None:
    """Write one card: why the retrain ran, how it ended, and who is champion now. ``place`` is that
    of its end in the ledger."""
    store, case = registry(), load(use_case)
    lines = [f"# {case.title}", f"**Why:** {reason}", f"**Outcome:** {outcome}"]
    champion = store.at(use_case, CHAMPION)
    if champion is None:
        lines.append("**Champion now:** none")
    else:
        manifest = read_manifest(store, champion)
        scores = ", ".join(
            f"{metric_name(name)} {number(value)}" for name, value in manifest.metrics.items()
        )
        page = store.version_url(champion)
        lines.append(
            f"**Champion now:** [version {champion.number}]({page}), {manifest.recipe} "
            f"through {manifest.trained_through}"
        )
        lines.append(f"**Its recipe on the hold-out:** {scores}")
    links = {"decision": service().page(use_case, place)}
    show_text(use_case, "retrain", "\n\n".join(lines), f"retrain, {verdict}", links=links)
    get_run_logger().info("retrain use_case=%s reason=%r: %s", use_case, reason, outcome)


@task(**PATIENT)
def close(use_case: str, by: str, why: str) -> int:
    """Close the breaker. Returns how many rejections in a row are forgiven; 0, and nothing is
    recorded, if it never opened."""
    policy, entries = load(use_case).retrain, read(lake(), use_case)
    own = [
        entry
        for entry in entries
        if entry.kind == "breaker" and entry.run is not None and entry.run == root_run()
    ]
    if own:  # closed by the previous try
        return int(own[-1].facts["rejections"] or 0)
    rejections = breaker_of(policy, entries, datetime.now(UTC)).rejections
    if rejections < policy.breaker_rejections:
        return 0
    facts: dict[str, float | str | None] = {"by": by, "why": why, "rejections": rejections}
    record(
        Decision(
            use_case=use_case,
            kind="breaker",
            verdict="closed",
            reasons=[because("breaker_closed", by=by, why=why)],
            facts=facts,
            **stamp(),
        )
    )
    tell(breaker_closed(use_case, by=by, why=why, rejections=rejections))
    return rejections
