"""Evidently's report of a window: each column's distance, threshold and distributions, on one page
that is kept.

No data set drift of Evidently's own stands on it: it would count columns, and the verdict weighs
them."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from blocks.registry import ModelVersion
from tasks.outside.blocks_of_run import lake, registry
from usecases.definition import USUAL_METHODS, Column


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

    numbers = [column.name for column in columns if column.kind == "number"]
    categories = [column.name for column in columns if column.kind == "category"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [
        Dataset.from_pandas(side.select(numbers + categories).to_pandas(), definition)
        for side in (current, reference)
    ]
    metrics = [
        ValueDrift(
            column=name,
            method=methods.get(name, USUAL_METHODS[column.kind]),
            threshold=thresholds[name],
        )
        for name, column in zip([column.name for column in columns], columns, strict=True)
    ]
    found = Report(metrics, include_tests=True).run(*sides)
    values = {}
    for fingerprint, result in found.metric_results.items():
        metric = found.context.get_metric(fingerprint).metric
        if isinstance(metric, ValueDrift):
            values[metric.column] = float(result.value)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        found.save_html(str(page))
        return values, page.read_text(), found.json()


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
