"""Evidently's report of a window: each column's distance, threshold and distributions, on one page
that is kept.

No data set drift of Evidently's own stands on it: it would count columns, and the verdict weighs
them."""

import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import polars as pl

from blocks.registry import ModelVersion
from serving.records.drift import DriftVerdict
from tasks.data.kinds import KINDS
from tasks.outside.blocks_of_run import lake, registry
from usecases.definition import Column, usual_method

_STYLE = (
    ".laurel-summary{font:16px/1.5 system-ui,sans-serif;margin:1.5rem 2rem}"
    ".laurel-summary h1{font-size:1.5rem;margin:0 0 .5rem}"
    ".laurel-summary table{border-collapse:collapse}"
    ".laurel-summary th,.laurel-summary td{border:1px solid #8886;padding:.25rem .6rem;"
    "text-align:left;vertical-align:top}"
)


def run_evidently(
    columns: Sequence[Column],
    reference: pl.DataFrame,
    current: pl.DataFrame,
    thresholds: Mapping[str, float],
    methods: Mapping[str, str],
) -> tuple[dict[str, float], str, str]:
    """Evidently's distance of each of ``columns``, in their order, with its report as HTML and as
    JSON text.
    """
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    roles: dict[str, list[str]] = {f"{kind.evidently}_columns": [] for kind in KINDS.values()}
    for column in columns:
        roles[f"{KINDS[column.kind].evidently}_columns"].append(column.name)
    definition = DataDefinition(**roles)
    names = [column.name for column in columns]
    sides = [
        Dataset.from_pandas(side.select(names).to_pandas(), definition)
        for side in (current, reference)
    ]
    metrics = [
        ValueDrift(
            column=column.name,
            method=methods.get(column.name, usual_method(column)),
            threshold=thresholds[column.name],
        )
        for column in columns
    ]
    report = Report(metrics, include_tests=True).run(*sides)
    values = {}
    for fingerprint, result in report.metric_results.items():
        metric = report.context.get_metric(fingerprint).metric
        if isinstance(metric, ValueDrift):
            values[metric.column] = float(result.value)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        report.save_html(str(page))
        return values, page.read_text(), report.json()


def with_summary(
    html: str, title: str, facts: Mapping[str, str], links: Mapping[str, str | None]
) -> str:
    """Put what was decided before Evidently's charts: a table of ``facts``, and links. Raises
    ``ValueError`` if the page has no body."""
    # The last one: values of the data, which may be any text, come before it.
    before, body, charts = html.rpartition("<body>")
    if not body:
        raise ValueError("Evidently's report is no page with a <body>.")
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(fact)}</td></tr>" for name, fact in facts.items()
    )
    pages = " · ".join(
        f'<a href="{escape(page)}" target="_blank" rel="noopener">{escape(words)}</a>'
        for words, page in links.items()
        if page
    )
    summary = f"<h1>{escape(title)}</h1><table>{rows}</table><p>{pages}</p>"
    return (
        f"{before}{body}<style>{_STYLE}</style>"
        f'<section class="laurel-summary">{summary}</section>{charts}'
    )


def is_due(verdict: DriftVerdict) -> bool:
    """Whether a window gets its report unasked: it drifted, or is beyond the limit and drifts if
    the next ones are too."""
    return verdict.outcome == "drifted" or bool(verdict.beyond)


def keep_report(
    champion: ModelVersion, verdict: DriftVerdict, html: str, text: str, note: str
) -> tuple[str, str]:
    """HTML and JSON into the lake, and the HTML into the MLflow run of the distances. Returns the
    path and the address of the page that shows it.
    """
    store, folder = lake(), f"reports/{champion.use_case}/{verdict.window}"
    store.write(f"{folder}/champion-{champion.number}.json", text.encode())
    store.write(f"{folder}/champion-{champion.number}.html", html.encode())
    run_id = keep_distances(champion, verdict, note, {"drift_report.html": html})
    return f"{folder}/champion-{champion.number}.html", registry().artifact_url(
        run_id, "drift_report.html"
    )


def keep_distances(
    champion: ModelVersion,
    verdict: DriftVerdict,
    note: str,
    texts: Mapping[str, str] | None = None,
) -> str:
    """Each column's distance, and ``texts``, into an MLflow run, whose page begins with ``note``.
    Returns its id."""
    distances = {name: far for name, far in verdict.distances.items() if far is not None}
    return registry().log_run(
        f"{champion.use_case}-drift",
        f"{verdict.window} against champion {champion.number}",
        params={"window": verdict.window, "champion": champion.number},
        metrics={f"distance.{name}": far for name, far in distances.items()},
        tags={"laurel.window": verdict.window, "laurel.verdict": verdict.outcome},
        texts=texts,
        note=note,
    )
