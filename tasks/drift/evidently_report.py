"""Evidently's report of a window: each column's distance, threshold and distributions, on one page
that is kept.

No data set drift of Evidently's own stands on it: it would count columns, and the verdict weighs
them."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from blocks.registry import ModelVersion
from tasks.data.kinds import KINDS
from tasks.outside.blocks_of_run import lake, registry
from usecases.definition import Column, usual_method


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


def keep_report(
    champion: ModelVersion, window: str, html: str, text: str, distances: Mapping[str, float]
) -> tuple[str, str]:
    """HTML and JSON into the lake, and the HTML into an MLflow run, whose page shows it. Returns
    the path and that address.
    """
    store, folder = lake(), f"reports/{champion.use_case}/{window}"
    store.write(f"{folder}/champion-{champion.number}.json", text.encode())
    store.write(f"{folder}/champion-{champion.number}.html", html.encode())
    run_id = registry().log_run(
        f"{champion.use_case}-drift",
        f"{window} against champion {champion.number}",
        params={"window": window, "champion": champion.number},
        metrics={f"distance.{name}": far for name, far in distances.items()},
        tags={"laurel.window": window},
        texts={"drift_report.html": html},
    )
    return f"{folder}/champion-{champion.number}.html", registry().artifact_url(
        run_id, "drift_report.html"
    )
