"""What people are told of a retrain until there is a challenger."""

from collections.abc import Mapping, Sequence

from blocks.message import Message, Status
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken


@spoken
def retrain_started(say: Say, use_case: str, *, reason: str, links: Links = NO_LINKS) -> Message:
    """Open the run's thread: why it runs, and the stages ahead."""
    return Message(
        headline=say("retrain.started", use_case=use_case, reason=reason),
        links=links,
        emoji=":arrows_counterclockwise:",
        steps=(
            say.step("start", "running", reason),
            *(say.step(stage, "pending") for stage in ("gate", "contest", "deploy")),
        ),
    )


@spoken
def retrain_ended(say: Say, use_case: str, *, outcome: str, links: Links = NO_LINKS) -> Message:
    """Tell of a retrain that ends without another message because it found nothing to do."""
    return Message(
        headline=say("retrain.ended", use_case=use_case, outcome=outcome),
        links=links,
        emoji=":fast_forward:",
        steps=(say.step("start", "done", outcome),),
        closes="skipped",
    )


@spoken
def retrain_skipped(say: Say, use_case: str, *, reason: str, links: Links = NO_LINKS) -> Message:
    """Tell that the governor, or another retrain, did not let it start."""
    return Message(
        headline=say("retrain.skipped", use_case=use_case, reason=reason),
        links=links,
        emoji=":fast_forward:",
        closes="skipped",
    )


@spoken
def ingest_refused(
    say: Say, use_case: str, *, period: str, problems: Sequence[str], links: Links = NO_LINKS
) -> Message:
    return Message(
        headline=say("ingest.refused", use_case=use_case, period=period),
        details=problems,
        links=links,
        emoji=":rotating_light:",
        broadcast=True,
    )


@spoken
def training_started(
    say: Say,
    use_case: str,
    *,
    candidates: Sequence[str],
    window: str,
    holdout: str,
    rows: int,
    dataset_version: str,
    links: Links = NO_LINKS,
) -> Message:
    """Tell that training uses ``rows`` of ``window``; the later ``holdout`` judges."""
    return Message(
        headline=say("training.started", use_case=use_case, window=window, holdout=holdout),
        facts={
            say("candidates"): ", ".join(candidates),
            say("training rows"): f"{rows:,}",
            say("dataset version"): dataset_version,
        },
        links=links,
        emoji=":seedling:",
        steps=(say.step("start", "done", say("training.step", window=window, rows=rows)),),
    )


@spoken
def training_finished(
    say: Say,
    use_case: str,
    *,
    metric: str,
    scores: Mapping[str, float],
    best: str,
    gate: float,
    passed: bool,
    holdout: str,
    rows: int | None = None,
    hpo: bool = True,
    outcome: str = "",
    links: Links = NO_LINKS,
) -> Message:
    """Tell the ``scores`` on the hold-out by candidate, and whether ``best`` passes.

    The gate decides that, because it knows the metric's direction. ``hpo``: whether a search
    follows a miss; if not, ``outcome`` says how the run ends. The hold-out has ``rows``."""
    name, score = say.metric(metric), say.number(scores[best])
    key = "gate.passed" if passed else "gate.missed.hpo" if hpo else "gate.missed"
    short = "gate.passed.step" if passed else "gate.hpo.step" if hpo else "gate.missed.step"
    status: Status = "done" if passed else "running" if hpo else "failed"
    return Message(
        headline=say(
            key, use_case=use_case, best=best, metric=name, score=score, holdout=holdout, gate=gate
        ),
        facts={
            **{candidate: f"{name} {say.number(value)}" for candidate, value in scores.items()},
            **({} if rows is None else {say("judged on"): say("rows", rows=rows)}),
        },
        details=(outcome,) if outcome and not (passed or hpo) else (),
        links=links,
        emoji=":white_check_mark:" if passed else ":mag:",
        steps=(
            say.step("gate", status, say(short, best=best, metric=name, score=score, gate=gate)),
        ),
        closes="" if passed or hpo else "skipped",
    )


@spoken
def tuning_finished(
    say: Say,
    use_case: str,
    *,
    metric: str,
    candidate: str,
    before: float,
    after: float,
    gate: float,
    passed: bool,
    why: str,
    params: Mapping[str, object],
    outcome: str = "",
    links: Links = NO_LINKS,
) -> Message:
    """Tell what HPO brought: ``before`` is the best untuned score on the hold-out, ``after`` that
    of the best trial, refitted.

    ``why`` says how the search found it: "best of 20 trials, 11 pruned". ``outcome`` says how the
    run ends if that score does not pass."""
    values = {
        "candidate": candidate,
        "metric": say.metric(metric),
        "after": say.number(after),
        "gate": gate,
    }
    key = "hpo.passed" if passed else "hpo.missed"
    return Message(
        headline=say(key, use_case=use_case, before=say.number(before), **values),
        facts={say("search"): why, **{name: _short(value) for name, value in params.items()}},
        details=() if passed else (say("hpo.none"), *([outcome] if outcome else [])),
        links=links,
        emoji=":white_check_mark:" if passed else ":no_entry:",
        steps=(say.step("gate", "done" if passed else "failed", say(f"{key}.step", **values)),),
        closes="" if passed else "skipped",
    )


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
