"""The model card of a promoted version (Mitchell et al. 2019, "Model Cards for Model Reporting"):
what it is, and why it serves.

Markdown for people who read text, and the same as a page of HTML. All of it comes from records: the
package's manifest, the dataset version, the decision. Unknown facts are marked as unknown, and
nothing is judged here."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from serving.package.manifest import Coverage, Manifest
from serving.records.contest import Contest
from serving.records.ledger import Decision
from tasks.data.dataset import DatasetVersion
from tasks.messages.announcements import interval
from usecases.definition import UseCase

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 "
    "1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}th,td{border:1px solid "
    "#8886;padding:.25rem .6rem}"
)


def model_card(
    case: UseCase, manifest: Manifest, version: str, decision: Decision, dataset: DatasetVersion
) -> str:
    """Return the card as Markdown. ``decision`` is the one that gave ``version`` the crown."""
    parts = [
        f"# {case.title}: version {version}",
        manifest.question,
        _facts(case, manifest),
        "## Why it serves",
        _decision(decision),
        "## Scores on the hold-out",
        _scores(case, manifest, decision),
        *_coverage(manifest.coverage or None),
        "## Data",
        _data(manifest, dataset),
        "## Inputs, and how they are watched",
        _inputs(case, manifest),
        "## Proof",
        (
            f"The package answers as its fitted pipeline does: {manifest.parity.rows:,} "
            f"rows compared, largest difference {manifest.parity.largest_difference:.2g}, "
            f"{manifest.parity.changed_decisions} decisions or classes changed."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def as_page(markdown: str) -> str:
    """Return the card as one self-contained page of HTML."""
    from markdown_it import MarkdownIt

    title = markdown.partition("\n")[0].removeprefix("# ")
    # It contains text of the use case and of people: HTML in it is shown, not run.
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    return (
        '<!doctype html><html lang="en"><meta '
        f'charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>{body}</html>\n'
    )


def _facts(case: UseCase, manifest: Manifest) -> str:
    params = (
        ", ".join(f"{name} {_short(value)}" for name, value in manifest.params.items()) or "none"
    )
    rows = [
        ("recipe", manifest.recipe),
        ("parameters", params),
        ("answers", "; ".join(f"{o.name}: {o.description}" for o in manifest.outputs)),
        ("gate", f"{case.gate.metric.name} {case.gate.threshold:g}"),
        ("trained through", manifest.trained_through),
        ("made", manifest.created or datetime.now(UTC).isoformat(timespec="seconds")),
    ]
    return _table(("", ""), rows)


def _decision(decision: Decision) -> str:
    against = f"champion {decision.champion}" if decision.champion else "no champion"
    head = (
        f"**{decision.verdict}** on {decision.time}: challenger {decision.challenger} against "
        f"{against}, by {decision.by}."
    )
    return "\n".join([head, "", *(f"- {reason}" for reason in decision.reasons)])


def _scores(case: UseCase, manifest: Manifest, decision: Decision) -> str:
    """Return the recipe's scores, fitted before the hold-out; the version itself has learned the
    hold-out and has no score on it."""
    rows = []
    for name, value in manifest.metrics.items():
        low, high = manifest.holdout_intervals.get(name, (None, None))
        rows.append((name, f"{value:.4f}", interval(low, high)))
    sentence = (
        f"Of its recipe on {decision.holdout or 'the hold-out'}, fitted on earlier rows; this "
        "version has learned those rows too."
    )
    parts = [sentence, _table(("metric", "score", "90 % interval"), rows)]
    if decision.contest is not None:
        parts += ["### Against the champion", _contest(decision.contest)]
    else:
        parts.append("There was no champion to compare with.")
    unjudged = [
        name
        for name in case.promotion.slices
        if decision.contest is None or not any(s.startswith(name) for s in decision.contest.slices)
    ]
    if unjudged:
        parts.append(f"Not compared by {', '.join(unjudged)}.")
    return "\n\n".join(parts)


_METHODS = {
    "split": "all intervals are equally wide",
    "quantiles": "an interval is as wide as the errors on rows like this one",
    "set": "the classes whose probability is large enough",
}


def _coverage(coverage: Coverage | None) -> list[str]:
    """Return what the intervals or sets promise, and what they held; nothing without them."""
    if coverage is None:
        return []
    bounds = (
        "not known"
        if coverage.low is None or coverage.high is None
        else f"{coverage.low:.1%} – {coverage.high:.1%}"
    )
    rows = [
        ("made to hold", f"{coverage.promise:.0%} of the labels"),
        ("held where it was left out", _share(coverage.held)),
        ("90 % interval", bounds),
        ("method", f"{coverage.method}: {_METHODS[coverage.method]}"),
        ("calibrated on", f"{coverage.rows:,} rows of {', '.join(coverage.windows)}"),
    ]
    too_few = (
        [
            f"It takes {coverage.needed:,} rows to promise {coverage.promise:.0%}: these reach as "
            "far as the farthest error that was seen, and hold less."
        ]
        if coverage.rows < coverage.needed
        else []
    )
    return ["## Coverage of its answers", _table(("", ""), rows), *too_few]


def _contest(contest: Contest) -> str:
    named = [
        ("hold-out", contest.main),
        *(("guard", guard) for guard in contest.guards),
        *contest.slices.items(),
    ]
    rows = []
    for name, comparison in named:
        rows.append(
            (
                name,
                comparison.metric,
                _number(comparison.champion),
                _number(comparison.challenger),
                _number(comparison.gain, "+"),
                interval(comparison.low, comparison.high, signed=True),
                f"{comparison.rows:,}",
            )
        )
    return _table(
        (
            "",
            "metric",
            "champion",
            "challenger",
            "gain",
            f"interval, each bound at {100 * contest.confidence:.4g} %",
            "rows",
        ),
        rows,
    )


def _data(manifest: Manifest, dataset: DatasetVersion) -> str:
    rows = []
    for period in dataset.periods:
        if period.period in manifest.trained_on:
            bad = sum(period.quarantine.values())
            rows.append(
                (
                    period.period,
                    f"{period.rows:,}",
                    f"{period.labelled:,}",
                    f"{bad:,}",
                    f"`{period.sha256[:16]}`",
                )
            )
    fitted_on = f"a sample ({manifest.sample})" if manifest.sample else "the labelled rows"
    sentence = (
        f"Dataset version `{manifest.dataset_version}`, from {dataset.source}. It was fitted on "
        f"{fitted_on} of these periods:"
    )
    return "\n\n".join(
        [sentence, _table(("period", "rows", "labelled", "in quarantine", "SHA-256"), rows)]
    )


def _inputs(case: UseCase, manifest: Manifest) -> str:
    how = (
        (
            "The threshold of a column is calibrated on how far the training periods are from "
            "each other."
        )
        if manifest.drift_calibrated
        else (
            "There were too few training periods to calibrate: each threshold is the policy's "
            "floor, or its fixed one."
        )
    )
    rows = []
    for feature in sorted(
        manifest.features, key=lambda feature: -manifest.drift_importance.get(feature.name, 0.0)
    ):
        weight, limit = (
            manifest.drift_importance.get(feature.name),
            manifest.drift_thresholds.get(feature.name),
        )
        bounds = (
            ""
            if feature.low is None and feature.high is None
            else f"{_bound(feature.low)} to {_bound(feature.high)}"
        )
        values = f"{len(feature.categories)} categories" if feature.categories else bounds
        watched = "not watched" if limit is None else f"{limit:.3f}"
        rows.append(
            (
                feature.name,
                feature.kind,
                values,
                "yes" if feature.nullable else "no",
                _share(weight),
                watched,
                feature.description,
            )
        )
    limits = {
        name: far
        for name, far in manifest.drift_thresholds.items()
        if name not in {feature.name for feature in manifest.features}
    }
    others = [
        f"The distribution of its {name} is watched too, with threshold {far:.3f}."
        for name, far in limits.items()
    ]
    policy = (
        f"A window has drifted from a share of {case.drift.share:.0%} on and is judged from "
        f"{case.drift.minimum_rows:,} predictions."
    )
    head = ("input", "kind", "range", "may be null", "importance", "drift threshold", "what it is")
    return "\n\n".join([" ".join([how, policy, *others]), _table(head, rows)])


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(head), *map(list, rows)]
    pictures = [
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    ]
    return "\n".join([pictures[0], f"|{'---|' * len(lines[0])}", *pictures[1:]])


def _number(value: float | None, sign: str = "") -> str:
    return "not known" if value is None else f"{value:{sign}.4f}"


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.1%}"


def _bound(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
