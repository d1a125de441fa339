"""What a number and classes cost beside a yes or no: the same columns, rows and number of trees,
served by the same service, with ratios of one run.

The columns are those of the flights. The yes or no is whether a flight is late; the number and the
three classes are made of the delays at its origin with noise, since only the cost of an answer is
measured. Each has 201 trees of 31 leaves: 67 iterations of three classes are 201 trees."""

import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving import figures
from benchmarks.serving.model import REPOSITORY, ROWS, SEED, Row
from benchmarks.serving.registry import free_port
from benchmarks.serving.servers import Server
from benchmarks.serving.visit import Case, LoadPlan, visit

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

CASES: list[Case] = [(1, 1), (1, 32), (1000, 1)]
TREES = 201
KINDS = BINARY, NUMBER, CLASSES = ("yes_or_no", "number", "classes")
_NAMES = ("early", "usual", "late")
_TRAINING, _PROOF = "2013-02", "2013-03"


@dataclass(frozen=True)
class Packaged:
    """A package in ``folder``, and what its pipeline says of the rows: the field ``answer``."""

    kind: str
    folder: Path
    answer: str
    rows: list[Row]
    values: list[float]


def run(seconds: float, rounds: int, generator: str, file: Path | None) -> int:
    """Print the table, and write the figures to ``file``. Raises ``BenchmarkFailed`` for a wrong
    answer or a failed request.
    """
    machine = figures.machine()
    with tempfile.TemporaryDirectory(prefix="laurel-targets-") as folder:
        packaged = [package(Path(folder), kind)[0] for kind in KINDS]
        micros = _measure(packaged, Path(folder), seconds, rounds, generator)
    document = {
        "machine": machine,
        "generator": generator,
        "rounds": rounds,
        "seconds": seconds,
        "cpu_us": {
            kind: {title(case): values for case, values in of.items()}
            for kind, of in micros.items()
        },
    }
    load = machine["load_average"][0]
    print(f"load average before {load}, medians of {rounds} rounds of {seconds:g} s\n")
    print(table(micros))
    if file:
        file.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _measure(
    packaged: Sequence[Packaged], folder: Path, seconds: float, rounds: int, generator: str
) -> dict[str, dict[Case, list[float]]]:
    """CPU microseconds of the service for each answer, by kind and case, a value a round. Each
    round begins with another kind.
    """
    micros: dict[str, dict[Case, list[float]]] = {
        one.kind: {case: [] for case in CASES} for one in packaged
    }
    for number in range(rounds):
        turn = number % len(packaged)
        for one in [*packaged[turn:], *packaged[:turn]]:
            own = Path(tempfile.mkdtemp(dir=folder))
            plan = LoadPlan(one.rows, one.values, own, generator, seconds, 1.0)
            for case, measure in visit(server(one, own), plan, CASES).measures.items():
                micros[one.kind][case].append(measure.cpu_us)
    return micros


def table(micros: dict[str, dict[Case, list[float]]]) -> str:
    """Markdown: medians, and medians of the ratios to the yes or no of the same round."""
    lines = [
        f"| CPU µs for each request | {' | '.join(map(title, CASES))} |",
        "|---|" + "---|" * len(CASES),
    ]
    for kind, of in micros.items():
        cells = []
        for case in CASES:
            ratio = statistics.median(
                value / other for value, other in zip(of[case], micros[BINARY][case], strict=True)
            )
            beside = "" if kind == BINARY else f" ({ratio:.2f}×)"
            cells.append(f"{statistics.median(of[case]):,.1f}{beside}")
        lines.append(f"| {kind.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def title(case: Case) -> str:
    rows, connections = case
    return f"{rows} row{'s' * (rows > 1)}, {connections} connection{'s' * (connections > 1)}"


def server(packaged: Packaged, folder: Path) -> Server:
    port = free_port()
    environment = {
        "LAUREL_STATE": str(folder / "state"),
        "LAUREL_LAKE": f"file://{folder / 'lake'}",
        "LAUREL_SERVING_PORT": str(port),
        "LAUREL_SERVING_MODEL_FOLDER": str(packaged.folder),
    }
    return Server(
        packaged.kind,
        [sys.executable, "-m", "serving"],
        lambda rows: f"/v1/{packaged.kind}/predict",
        lambda rows: json.dumps({"rows": rows}, separators=(",", ":")).encode(),
        lambda answer: [row[packaged.answer] for row in json.loads(answer)["predictions"]],
        port,
        environment,
        folder=REPOSITORY,
    )


def package(
    folder: Path, kind: str, build: Any = None, params: Any = None
) -> tuple[Packaged, "Pipeline"]:
    """Fit and package the candidate of ``kind``, or what ``build`` makes of ``params``."""
    from deployments.demo.replay import as_rows
    from tasks.models.modelling import fit, predict
    from tasks.packages.packaging import Origin, make_package
    from usecases.definition import Candidate

    case, field, place = _case(kind)
    if build is not None:
        own = Candidate(name="own", build=build, params=params)
        case = case.model_copy(update={"candidates": (own,)})
    training, proof = (
        _labelled(case, case.source.read(month)).sample(ROWS, seed=SEED, shuffle=True)
        for month in (_TRAINING, _PROOF)
    )
    candidate = case.candidates[0]
    fitted = fit(case, candidate, candidate.params, training, SEED)
    origin = Origin(candidate.name, dict(candidate.params), "benchmark", {_TRAINING: ""}, {})
    saved = make_package(folder / kind, case, fitted, origin, training, proof, SEED)
    answers = predict(fitted, case, proof)
    values = answers if place is None else answers[:, place]
    rows = as_rows(case, proof)
    return Packaged(kind, saved.folder, field, rows, values.tolist()), fitted


def _case(kind: str) -> tuple[Any, str, int | None]:
    """The use case, the field of its answer that is compared, and the column of it in what the
    pipeline predicts; ``None`` if that is one value a row.
    """
    from usecases.definition import (
        LOG_LOSS,
        RMSE,
        ROC_AUC,
        Binary,
        Candidate,
        Classes,
        Gate,
        Number,
        UseCase,
        load,
    )

    flights = load("flights")
    target, metric, field, place = {
        BINARY: (Binary(label="late"), ROC_AUC, "score", None),
        NUMBER: (Number(label="made"), RMSE, "value", None),
        CLASSES: (Classes(label="made", classes=_NAMES), LOG_LOSS, f"score_{_NAMES[0]}", 0),
    }[kind]
    iterations = TREES // len(_NAMES) if kind == CLASSES else TREES
    case = UseCase(
        name=kind,
        title=kind,
        question=kind,
        source=flights.source,
        columns=flights.columns,
        target=target,
        event_time=flights.event_time,
        key=flights.key,
        candidates=(
            Candidate(
                name="boosting",
                build=_regressor if kind == NUMBER else _classifier,
                params={"max_iter": iterations, "learning_rate": 0.1, "max_leaf_nodes": 31},
            ),
        ),
        gate=Gate(metric=metric, threshold=0.5 if kind == BINARY else 100.0),
        event_times=flights.event_times,
    )
    return case, field, place


def _classifier(params: Any, layout: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed, **params)


def _regressor(params: Any, layout: Any, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(early_stopping=False, random_state=seed, **params)


def _labelled(case: Any, rows: Any) -> Any:
    """The rows that have a label of the case."""
    import numpy as np
    import polars as pl

    if case.label == "late":
        return rows.filter(pl.col("late").is_not_null())
    noise = pl.Series(np.random.default_rng(SEED).normal(0, 20, len(rows)))
    made = pl.col("origin_mean_delay_2h").fill_null(0) + pl.col("network_mean_delay_3h").fill_null(
        0
    )
    rows = rows.drop("late").with_columns(made=made + noise)
    if case.name != CLASSES:
        return rows
    early, usual, late = map(pl.lit, _NAMES)
    by_delay = pl.when(pl.col("made") < -10).then(early).when(pl.col("made") < 20).then(usual)
    return rows.with_columns(made=by_delay.otherwise(late))
