"""The steps of ``drift_check``: the window from the prediction log, Evidently's report, the verdict, the event."""

import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from pydantic import BaseModel, ConfigDict

from blocks.registry import CHAMPION, ModelVersion, RegistryError
from serving import package as packages
from tasks.announcements import drift_checked
from tasks.champions import opened
from tasks.drift import DriftVerdict, evened, find_broken, judge, monitored, sample, without
from tasks.metrics import score
from tasks.outside import PATIENT, artifact_key, lake, registry, tell
from usecases.definition import UseCase, load

EVENT = "laurel.drift.detected"


class NoPredictions(LookupError):
    """The prediction log has nothing to check."""


class ColumnsChanged(ValueError):
    """The use case has columns that its champion does not know: there is no reference for them."""


class Checked(BaseModel):
    """A verdict with where its report lies, and the score on the labels that have come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    use_case: str
    champion: str
    verdict: DriftVerdict
    report_path: str | None
    report_url: str | None
    label_coverage: float
    scores: dict[str, float]


def resource_id(use_case: str) -> str:
    """The Prefect resource that drift events are about, and that the automation listens to."""
    return f"laurel.use-case.{use_case}"


@task(**PATIENT)
def find_champion(use_case: str) -> ModelVersion:
    """Raises ``RegistryError`` where nothing serves."""
    found = registry().at(load(use_case).name, CHAMPION)
    if found is None:
        raise RegistryError(f"No champion for {use_case!r}. Train one: prefect deployment run 'retrain/{use_case}'.")
    return found


@task(**PATIENT)
def choose_window(use_case: str, window: str | None) -> str:
    """The named window, or the latest month of the prediction log. Raises ``NoPredictions``."""
    months = sorted({_date_of(path)[:7] for path in lake().list(f"predictions/{use_case}")})
    if not months:
        raise NoPredictions(f"The prediction log of {use_case!r} is empty: nothing was predicted, or it was not uploaded yet.")
    if window is not None and window not in months:
        raise NoPredictions(f"The prediction log of {use_case!r} has no predictions of {window}; it has {', '.join(months)}.")
    return window or months[-1]


def _date_of(path: str) -> str:
    return next(part for part in path.split("/") if part.startswith("date=")).removeprefix("date=")


def read_log(kind: str, use_case: str, window: str) -> tuple[pl.DataFrame, set[str]]:
    """The ``predictions`` or ``feedback`` of a month, and the columns that a part of its files lacks.

    No rows and no columns where there are none. A column is in a part of the files where a champion of the month logged it
    and another left it out, or did not know it.
    """
    store = lake()
    paths = [path for path in store.list(f"{kind}/{use_case}") if _date_of(path).startswith(window)]
    with ThreadPoolExecutor(8) as readers:  # a month has a file or more for each day, and each is a round trip
        frames = [pl.read_parquet(io.BytesIO(data)) for data in readers.map(store.read, paths)]
    if not frames:
        return pl.DataFrame(), set()
    whole = pl.concat(frames, how="diagonal_relaxed")
    return whole, {name for name in whole.columns if any(name not in frame.columns for frame in frames)}


@task(task_run_name="check {window}", **PATIENT)
def check_window(champion: ModelVersion, window: str, seed: int) -> Checked:
    """Hold the window's predictions against the champion's own reference, and keep Evidently's report in the lake."""
    case = load(champion.use_case)
    with opened(registry(), champion) as (package, folder):
        manifest = package.manifest
        reference = pl.read_parquet(folder / packages.REFERENCE)
    logged, partly = read_log("predictions", case.name, window)
    logged = evened(logged, seed)
    case = without(case, {*case.prediction_log.leave_out, *manifest.log_leave_out, *partly})
    if unknown := [name for name in case.column_names if name not in reference.columns]:
        raise ColumnsChanged(
            f"Champion {champion.number} of {case.name!r} was trained before the columns {unknown} existed. "
            f"Retrain it: prefect deployment run 'retrain/{case.name}'."
        )
    current = sample(logged, case.drift.sample_rows, seed)
    broken = find_broken(case, reference, current)
    distances: dict[str, float] = {}
    path = url = None
    if len(logged) >= case.drift.minimum_rows and not broken:
        distances, html, text = run_evidently(case, reference, current, manifest.drift_thresholds)
        path, url = keep_report(case, champion, window, html, text, distances)
    verdict = judge(case.drift, window, len(logged), broken, distances, manifest.drift_thresholds, manifest.drift_calibrated)
    coverage, scores = score_labelled(case, logged, read_log("feedback", case.name, window)[0])
    return Checked(
        use_case=case.name,
        champion=champion.number,
        verdict=verdict,
        report_path=path,
        report_url=url,
        label_coverage=coverage,
        scores=scores,
    )


def run_evidently(
    case: UseCase, reference: pl.DataFrame, current: pl.DataFrame, thresholds: dict[str, float]
) -> tuple[dict[str, float], str, str]:
    """Evidently's distance of each monitored column, with its report as HTML and as JSON text."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.presets import DataDriftPreset

    columns = monitored(case)
    numbers = [column.name for column in columns if column.kind == "number"]
    categories = [column.name for column in columns if column.kind == "category"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    sides = [Dataset.from_pandas(side.select(numbers + categories).to_pandas(), definition) for side in (current, reference)]
    limits = {name: thresholds[name] for name in numbers + categories}
    preset = DataDriftPreset(
        columns=numbers + categories,
        num_method="wasserstein",
        cat_method="jensenshannon",
        per_column_threshold=limits,
        drift_share=case.drift.share,
    )
    found = Report([preset], include_tests=True).run(*sides)
    values = {}
    for fingerprint, result in found.metric_results.items():
        metric = found.context.get_metric(fingerprint).metric
        if isinstance(metric, ValueDrift):
            values[metric.column] = float(result.value)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        found.save_html(str(page))
        return values, page.read_text(), found.json()


def keep_report(case: UseCase, champion: ModelVersion, window: str, html: str, text: str, distances: dict[str, float]) -> tuple[str, str]:
    """HTML and JSON into the lake, and the HTML into an MLflow run, whose page shows it. Returns the path and that address."""
    store, folder = lake(), f"reports/{case.name}/{window}"
    store.write(f"{folder}/champion-{champion.number}.json", text.encode())
    store.write(f"{folder}/champion-{champion.number}.html", html.encode())
    run_id = registry().log_run(
        f"{case.name}-drift",
        f"{window} against champion {champion.number}",
        params={"window": window, "champion": champion.number},
        metrics={f"distance.{name}": far for name, far in distances.items()},
        tags={"laurel.window": window},
        texts={"drift_report.html": html},
    )
    return f"{folder}/champion-{champion.number}.html", registry().artifact_url(run_id, "drift_report.html")


def score_labelled(case: UseCase, logged: pl.DataFrame, feedback: pl.DataFrame) -> tuple[float, dict[str, float]]:
    """The share of predictions whose label has come (0-1), and the scores on those. The last label of an id counts."""
    if logged.is_empty() or feedback.is_empty():
        return 0.0, {}
    last = feedback.sort("time").unique("id", keep="last").select("id", "label")
    joined = logged.join(last, on="id", how="inner")
    metrics = [case.gate.metric, *(guard.metric for guard in case.promotion.guards)]
    scores: dict[str, float] = {metric.name: score(metric, joined["label"].to_numpy(), joined["score"].to_numpy()) for metric in metrics}
    return len(joined) / len(logged), scores


@task(**PATIENT)
def report_check(checked: Checked) -> None:
    """The verdict beside the report in the lake, the run's artifacts, the message, and the line in the log."""
    verdict, case = checked.verdict, load(checked.use_case)
    limits = verdict.thresholds
    table = [
        {"column": name, "distance": round(far, 3), "threshold": round(limits[name], 3), "drifted": far >= limits[name]}
        for name, far in sorted(verdict.distances.items(), key=lambda pair: -pair[1] / limits[pair[0]])
    ]
    said = f"{case.name} {verdict.window}: {verdict.outcome}. {'; '.join(verdict.reasons)}."
    labelled = ", ".join(f"{name} {value:.4f}" for name, value in checked.scores.items()) or "none yet"
    about = f"{said} Labels for {checked.label_coverage:.0%} of {verdict.rows:,} predictions: {labelled}."
    create_table_artifact(table, key=artifact_key(case.name, "drift"), description=about)
    links = {}
    if checked.report_url:
        key, text = artifact_key(case.name, "drift-report"), f"Drift report {verdict.window}"
        create_link_artifact(checked.report_url, link_text=text, key=key, description=said)
        links["drift report"] = checked.report_url
    drifted = {name: verdict.distances[name] / limits[name] for name in verdict.drifted_columns}
    message = drift_checked(
        case.name,
        verdict=verdict.outcome,
        window=verdict.window,
        share=verdict.share,
        limit=verdict.limit,
        columns=drifted,
        reasons=verdict.reasons,
        links=links,
    )
    if message is not None:
        tell(message)
    lake().write(f"reports/{case.name}/{verdict.window}/verdict.json", checked.model_dump_json(indent=1).encode())
    get_run_logger().info("drift use_case=%s window=%s outcome=%s share=%s", case.name, verdict.window, verdict.outcome, verdict.share)


@task(cache_policy=NO_CACHE)
def emit_drift(checked: Checked) -> None:
    """Say it to Prefect: the automation of deployments/automations.py turns this event into a retrain."""
    verdict = checked.verdict
    emit_event(
        EVENT,
        resource={"prefect.resource.id": resource_id(checked.use_case), "prefect.resource.name": checked.use_case},
        payload={
            "use_case": checked.use_case,
            "window": verdict.window,
            "share": verdict.share,
            "columns": verdict.drifted_columns,
            "champion": checked.champion,
            "report": checked.report_url,
        },
    )
