"""What people are told, and in which words: plain values in, a message out. Nothing is sent here.

Every headline begins with the use case and holds the outcome, with both scores where two were compared, since a
notification shows no more than that. ``links`` are label to URL (MLflow run, drift report, ledger).
"""

import math
from collections.abc import Mapping, Sequence

from blocks.slack import RUN_LINK, Message

Links = Mapping[str, str]
NO_LINKS: Links = {}

_METRICS = {"roc_auc": "ROC AUC", "log_loss": "log loss", "brier": "Brier score"}

_VERDICTS = {
    "contest": {
        "promote": (":crown:", "challenger v{challenger} beats champion v{champion}"),
        "keep": (":shield:", "challenger v{challenger} is not promoted; {kept}"),
        "suspicious": (":rotating_light:", "challenger v{challenger} is refused, it looks like a leak; {kept}"),
        "unfair": (":no_entry:", "challenger v{challenger} is refused, the contest would be unfair; {kept}"),
        "inconclusive": (":grey_question:", "too little data to judge challenger v{challenger}; {kept}"),
    },
    "drift": {
        "stable": (":white_check_mark:", "no drift"),
        "drifted": (":ocean:", "the data drifted"),
        "broken": (":rotating_light:", "the data are broken, so nothing is retrained"),
        "inconclusive": (":grey_question:", "no verdict on drift"),
    },
}


def training_started(
    use_case: str, *, candidates: Sequence[str], window: str, holdout: str, rows: int, dataset_version: str, links: Links = NO_LINKS
) -> Message:
    """``rows`` of ``window`` are trained on; ``holdout`` is the later period that judges."""
    return Message(
        headline=f"{use_case}: training started on {window}, judged on {holdout}",
        facts={"candidates": ", ".join(candidates), "training rows": f"{rows:,}", "dataset version": dataset_version},
        links=links,
        emoji=":seedling:",
    )


def training_finished(
    use_case: str,
    *,
    metric: str,
    scores: Mapping[str, float],
    best: str,
    gate: float,
    passed: bool,
    holdout: str,
    hpo: bool = True,
    links: Links = NO_LINKS,
) -> Message:
    """``scores`` on the hold-out by candidate. Whether ``best`` passes is the gate's to say: it knows the metric's direction.

    ``hpo``: whether a search follows when it does not.
    """
    name = metric_name(metric)
    after = "so HPO starts" if hpo else "and no candidate has a search space, so no challenger is registered"
    outcome = f"passes the gate of {gate:g}" if passed else f"misses the gate of {gate:g}, {after}"
    return Message(
        headline=f"{use_case}: {best} scores {name} {number(scores[best])} on {holdout}: it {outcome}",
        facts={candidate: f"{name} {number(score)}" for candidate, score in scores.items()},
        links=links,
        emoji=":white_check_mark:" if passed else ":mag:",
    )


def tuning_finished(
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
    links: Links = NO_LINKS,
) -> Message:
    """``before`` is the best untuned candidate's score on the hold-out, ``after`` that of the best trial, refitted.

    ``why`` is how the search came to it: "best of 20 trials, 11 pruned".
    """
    outcome = "passes" if passed else "still misses"
    return Message(
        headline=f"{use_case}: HPO found {candidate} with {metric_name(metric)} {number(after)} (was {number(before)}); "
        f"it {outcome} the gate of {gate:g}",
        facts={"search": why, **{name: _short(value) for name, value in params.items()}},
        details=() if passed else ("No challenger is registered. The champion, where there is one, goes on serving.",),
        links=links,
        emoji=":white_check_mark:" if passed else ":no_entry:",
    )


def first_champion(
    use_case: str, *, version: str, candidate: str, metric: str, score: float, gate: float, links: Links = NO_LINKS
) -> Message:
    """There was nobody to contest: the gate alone decided."""
    return Message(
        headline=f"{use_case}: version {version} ({candidate}) becomes the first champion with {metric_name(metric)} {number(score)}, "
        f"gate {gate:g}",
        links=links,
        emoji=":crown:",
    )


def contest_decided(
    use_case: str,
    *,
    verdict: str,
    champion_version: str | None,
    challenger_version: str,
    metric: str,
    champion: float | None,
    challenger: float | None,
    gain: float | None,
    low: float | None,
    high: float | None,
    confidence: float,
    reasons: Sequence[str],
    rows: int | None = None,
    blocks: int | None = None,
    links: Links = NO_LINKS,
) -> Message:
    """``gain`` is positive when the challenger is better; ``low`` and ``high`` bound it, each one-sidedly at ``confidence``.

    A number that is ``None`` is not known. ``champion_version`` ``None``: there is no champion (and ``first_champion``
    tells of the one that becomes it).
    Raises ``ValueError`` for a verdict that is none of promote, keep, suspicious, unfair, inconclusive.
    """
    emoji, outcome = _known("contest", verdict)
    name = metric_name(metric)
    kept = f"champion v{champion_version} keeps the crown" if champion_version else "there is still no champion"
    said = outcome.format(challenger=challenger_version, champion=champion_version, kept=kept)
    scores = {f"challenger v{challenger_version}": number(challenger)}
    facts = {}
    if champion_version:
        scores[f"champion v{champion_version}"] = number(champion)
        interval = "not known" if low is None else f"{number(low, signed=True)} to {number(high, signed=True)}"
        within = f", {200 * confidence - 100:.3g} % interval {interval}"
        facts["gain"] = number(gain, signed=True) + (within if gain is not None else "")
    if rows is not None:
        facts["judged on"] = f"{rows:,} rows" + (f" in {blocks} blocks" if blocks is not None else "")
    both = ", ".join(f"{who.split()[0]} {score}" for who, score in scores.items())
    return Message(
        headline=f"{use_case}: {said} ({name}: {both})",
        facts={who: f"{name} {score}" for who, score in scores.items()} | facts,
        details=reasons,
        links=links,
        emoji=emoji,
    )


def deployed(use_case: str, *, version: str, seconds: float, smoke_rows: int, links: Links = NO_LINKS) -> Message:
    """``seconds`` from the alias to the service's own word that it serves ``version``."""
    return Message(
        headline=f"{use_case}: version {version} serves after {seconds:.1f} s, and {smoke_rows} smoke requests passed",
        links=links,
        emoji=":rocket:",
    )


def deployment_failed(use_case: str, *, version: str, reason: str, restored_version: str | None, links: Links = NO_LINKS) -> Message:
    """``restored_version`` has the champion alias again; ``None`` where there was no champion before."""
    after = f"the alias is back at version {restored_version}" if restored_version else "the alias is removed; there is no earlier champion"
    return Message(
        headline=f"{use_case}: deployment of version {version} failed, {after}", details=(reason,), links=links, emoji=":rotating_light:"
    )


def drift_checked(
    use_case: str,
    *,
    verdict: str,
    window: str,
    share: float | None,
    limit: float,
    columns: Mapping[str, float],
    reasons: Sequence[str] = (),
    tell_stable: bool = False,
    links: Links = NO_LINKS,
) -> Message | None:
    """``None`` for a stable window, unless ``tell_stable``: a daily "all is well" teaches people to look away.

    ``share`` (0-1) of the monitored columns is beyond its threshold (``None``: not computed), drift begins at ``limit``;
    ``columns`` are the drifted ones with their distance as a multiple of their threshold. Raises ``ValueError`` for an unknown verdict.
    """
    emoji, outcome = _known("drift", verdict)
    if verdict == "stable" and not tell_stable:
        return None
    measured = "" if share is None else f", {_percent(share)} of the columns beyond their threshold (limit {_percent(limit)})"
    worst = sorted(columns.items(), key=lambda pair: -pair[1])
    listed = {"drifted columns": ", ".join(f"{name} {times:.1f}×" for name, times in worst)} if worst else {}
    return Message(headline=f"{use_case}: {outcome} in {window}{measured}", facts=listed, details=reasons, links=links, emoji=emoji)


def ingest_refused(use_case: str, *, period: str, problems: Sequence[str], links: Links = NO_LINKS) -> Message:
    return Message(
        headline=f"{use_case}: the batch of {period} was refused and nothing was written",
        details=problems,
        links=links,
        emoji=":rotating_light:",
    )


def retrain_skipped(use_case: str, *, reason: str, links: Links = NO_LINKS) -> Message:
    return Message(headline=f"{use_case}: retrain skipped: {reason}", links=links, emoji=":fast_forward:")


_PREFECT_SAYS = "Flow run encountered an exception: "


def flow_failed(use_case: str, *, flow: str, error: str, run_url: str | None = None, links: Links = NO_LINKS) -> Message:
    """``error`` is the exception's own message, or that of the failed state.

    ``run_url`` is for callers outside of the run: inside, the link comes by itself.
    """
    first, _, rest = error.removeprefix(_PREFECT_SAYS).strip().partition("\n")
    run = {RUN_LINK: run_url} if run_url else {}
    return Message(
        headline=f"{use_case}: flow {flow} failed: {first}",
        details=(rest,) if rest else (),
        links={**links, **run},
        emoji=":rotating_light:",
    )


def rolled_back(use_case: str, *, version: str, from_version: str, reason: str, links: Links = NO_LINKS) -> Message:
    return Message(
        headline=f"{use_case}: rolled back from version {from_version} to version {version}",
        details=(reason,) if reason else (),
        links=links,
        emoji=":rewind:",
    )


def metric_name(metric: str) -> str:
    """As people write it: ``roc_auc`` is ROC AUC."""
    return _METRICS.get(metric, metric.replace("_", " "))


def number(value: float | None, signed: bool = False) -> str:
    """Four decimals, or the words for a score that does not exist."""
    if value is None or not math.isfinite(value):
        return "not known"
    return f"{value:+.4f}" if signed else f"{value:.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if math.isfinite(share) else "an unknown share"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _known(of: str, verdict: str) -> tuple[str, str]:
    """Emoji and words of the verdict. Raises ``ValueError`` for an unknown one, with those that are known."""
    if verdict not in _VERDICTS[of]:
        raise ValueError(f"Unknown {of} verdict {verdict!r}; known: {', '.join(_VERDICTS[of])}.")
    return _VERDICTS[of][verdict]
