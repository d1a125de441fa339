"""What people are told of monitoring: drift, the prediction log, failures, the breaker, the
ledger."""

from collections.abc import Mapping, Sequence

from blocks.message import Message, Picture
from tasks.messages.links import NO_LINKS, Links
from tasks.messages.wording import Say, spoken

_DRIFT = {
    "stable": ":white_check_mark:",
    "drifted": ":ocean:",
    "broken": ":rotating_light:",
    "inconclusive": ":grey_question:",
}
_MOST_FAULTS = 5
_PREFECT_SAYS = "Flow run encountered an exception: "


@spoken
def drift_checked(
    say: Say,
    use_case: str,
    *,
    verdict: str,
    window: str,
    share: float | None,
    limit: float,
    columns: Mapping[str, float],
    reasons: Sequence[str] = (),
    findings: Mapping[str, Sequence[str]] = {},
    retrain: bool = True,
    tell_stable: bool = False,
    picture: bytes | None = None,
    links: Links = NO_LINKS,
) -> Message | None:
    """Tell the verdict on a window, and in one sentence what to do; ``None`` for a stable one,
    unless ``tell_stable``: there are notes on it.

    A daily "all is well" teaches people to look away. ``retrain``: whether drift starts one.
    ``findings`` are the checks whose word is said, unjudged or uncalibrated, by the word.
    ``share`` (0-1) is the weight of the columns beyond their threshold (``None``: not computed),
    and drift begins at ``limit``; ``columns`` are the drifted ones with their distance as a
    multiple of their threshold, in the order of the verdict: the main cause first. ``picture`` is a
    PNG of the distances of all columns. Raises ``ValueError`` for an unknown verdict."""
    if verdict not in _DRIFT:
        raise ValueError(f"Unknown drift verdict {verdict!r}; known: {', '.join(_DRIFT)}.")
    if verdict == "stable" and not tell_stable:
        return None
    message = say(f"drift.{verdict}", use_case=use_case, window=window)
    listed = ", ".join(f"{name} {times:.1f}×" for name, times in columns.items()) or say("none")
    return Message(
        headline=message
        if share is None
        else say(
            "drift.measured", sentence=message, share=say.percent(share), limit=say.percent(limit)
        ),
        facts=({say("drift.columns"): listed} if columns else {})
        | {say(f"drift.word.{word}"): ", ".join(checks) for word, checks in findings.items()},
        details=(
            *reasons,
            *([say("drift.quarantined")] if verdict == "broken" else []),
            say(_advice(verdict, retrain, noted=tell_stable)),
        ),
        links=links,
        emoji=_DRIFT[verdict],
        pictures=(
            Picture(
                picture,
                say("drift.picture", window=window),
                say("drift.picture.alt", columns=listed),
            ),
        )
        if picture
        else (),
        broadcast=verdict != "stable",
    )


@spoken
def scores_checked(
    say: Say,
    use_case: str,
    *,
    version: str,
    verdict: str,
    window: str,
    columns: Mapping[str, float],
    reasons: Sequence[str],
) -> Message:
    """Tell that rows which ``version`` scored in a batch are *drifted* or *broken*. ``columns`` are
    as in ``drift_checked``."""
    listed = ", ".join(f"{name} {times:.1f}×" for name, times in columns.items())
    return Message(
        headline=say(f"scores.{verdict}", use_case=use_case, window=window, version=version),
        facts={say("drift.columns"): listed} if columns else {},
        details=(*reasons, say("scores.advice")),
        emoji=_DRIFT[verdict],
    )


def advice(verdict: str, *, retrain: bool = True, noted: bool = False) -> str:
    """Return in one English sentence what a person should do about a drift verdict. ``retrain``:
    whether a drift starts one; ``noted``: whether something was said of a stable window."""
    return Say("en")(_advice(verdict, retrain, noted))


def _advice(verdict: str, retrain: bool, noted: bool) -> str:
    if verdict == "drifted" and not retrain:
        return "drift.advice.presence"
    return "drift.advice.noted" if verdict == "stable" and noted else f"drift.advice.{verdict}"


@spoken
def performance_worse(
    say: Say,
    use_case: str,
    *,
    window: str,
    metric: str,
    value: float | None,
    holdout: tuple[float | None, float | None],
    coverage: float,
    reasons: Sequence[str],
    links: Links = NO_LINKS,
) -> Message:
    """Tell that the champion is below its ``holdout`` interval though the data look normal.

    ``coverage`` (0-1) is the share of the window that has labels."""
    return Message(
        headline=say(
            "performance.worse",
            use_case=use_case,
            window=window,
            metric=say.metric(metric),
            value=say.number(value),
        ),
        facts={
            say("performance.holdout"): say.interval(*holdout),
            say("performance.coverage"): say.percent(coverage),
        },
        details=reasons,
        links=links,
        emoji=":chart_with_downwards_trend:",
        broadcast=True,
    )


@spoken
def coverage_off(
    say: Say,
    use_case: str,
    *,
    window: str,
    held: float | None,
    promised: float | None,
    windows: int,
    fewer: bool,
    reasons: Sequence[str],
    links: Links = NO_LINKS,
) -> Message:
    """Tell that the answers' intervals or sets ``held`` surely ``fewer`` of the labels (or more)
    than the share ``promised`` (0-1), in so many ``windows`` in a row."""
    known = {
        name: say("unknown share") if share is None else say.percent(share)
        for name, share in (("held", held), ("promised", promised))
    }
    return Message(
        headline=say(
            f"coverage.{'fewer' if fewer else 'more'}", use_case=use_case, window=window, **known
        ),
        facts={say("coverage.windows"): str(windows)},
        details=(*reasons, say("coverage.advice")),
        links=links,
        emoji=":straight_ruler:",
        broadcast=True,
    )


@spoken
def predictions_missing(
    say: Say, use_case: str, *, reasons: Sequence[str], links: Links = NO_LINKS
) -> Message:
    """Tell that no predictions can be checked: the first of ``reasons`` says why."""
    return Message(
        headline=say("silent", use_case=use_case),
        details=(*reasons, say("drift.advice.silent")),
        links=links,
        emoji=":mute:",
        broadcast=True,
    )


@spoken
def flow_failed(
    say: Say,
    use_case: str,
    *,
    flow: str,
    error: str,
    run_url: str | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """Tell of a failure. ``error`` is the message of the exception or of the failed state.

    ``run_url`` is for callers outside the run: inside it, the link is added automatically."""
    first, _, rest = error.removeprefix(_PREFECT_SAYS).strip().partition("\n")
    run = {say("flow run"): run_url} if run_url else {}
    return Message(
        headline=say("flow failed", use_case=use_case, flow=flow, error=first),
        details=(rest,) if rest else (),
        links={**links, **run},
        emoji=":rotating_light:",
        closes="failed",
        broadcast=True,
    )


@spoken
def run_cancelled(
    say: Say,
    use_case: str,
    *,
    flow: str,
    why: str,
    run_url: str | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """Tell that somebody cancelled a started run. ``why`` is the message of Prefect's state."""
    return Message(
        headline=say("run cancelled", use_case=use_case, flow=flow),
        details=(why,) if why else (),
        links={**links, **({say("flow run"): run_url} if run_url else {})},
        emoji=":black_square_for_stop:",
        closes="skipped",
        broadcast=True,
    )


@spoken
def ledger_accepted(
    say: Say, use_case: str, *, by: str, why: str, faults: Sequence[str], links: Links = NO_LINKS
) -> Message:
    """Tell that a person accepted a ledger that differs from what MLflow vouches for."""
    return Message(
        headline=say("ledger accepted", use_case=use_case, by=by, faults=len(faults)),
        details=(why, *faults[:_MOST_FAULTS]),
        links=links,
        emoji=":scroll:",
    )


@spoken
def breaker_closed(
    say: Say, use_case: str, *, by: str, why: str, rejections: int, links: Links = NO_LINKS
) -> Message:
    """Tell that the breaker is closed after ``rejections`` in a row, and that the count starts
    again."""
    return Message(
        headline=say("breaker closed", use_case=use_case, by=by, rejections=rejections),
        details=(why,) if why else (),
        links=links,
        emoji=":electric_plug:",
    )


@spoken
def tidied(
    say: Say,
    use_case: str,
    *,
    removed: Mapping[str, int],
    announced: Mapping[str, int],
    settings: Sequence[str],
) -> Message:
    """Tell what ``tidy`` removed, and what it will remove from tomorrow on unless one of the
    ``settings`` is changed; both in numbers by kind."""

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{say(f'tidied.{kind}')}: {count:,}" for kind, count in counts.items())

    key = "tidied.removed" if removed else "tidied.announced"
    headline = say(key, use_case=use_case, what=listed(removed or announced))
    later = say("tidied.later", what=listed(announced)) if removed and announced else ""
    keep = say("tidied.keep", settings=", ".join(settings)) if announced else ""
    return Message(
        headline=headline,
        details=tuple(line for line in (later, keep) if line),
        emoji=":broom:",
    )
