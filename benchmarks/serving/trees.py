"""What a request costs where the model is CatBoost's symmetric trees: scored in numpy, by ONNX
Runtime alone, and by `mlflow models serve`, in one run.

Whether a flight is late, by 200 trees of depth 6 on the columns of the flights. Both servers of
Laurel have the same package, one of them without its symmetric trees. Bodies of fresh rows rotate
(``load.BODIES``): the same rows again would make any walk through trees look faster."""

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.serving import figures, servers, targets
from benchmarks.serving.model import Model
from benchmarks.serving.registry import free_port
from benchmarks.serving.servers import Place, Server
from benchmarks.serving.targets import BINARY, Packaged
from benchmarks.serving.visit import Case, LoadPlan, visit
from serving.package.manifest import MANIFEST, SYMMETRIC_TREES, read_manifest, write

CASES: list[Case] = [(1, 1), (1, 32), (100, 1), (1000, 1)]
NUMPY, ONNX, MLFLOW = ENGINES = ("numpy", "ONNX Runtime", "mlflow")
_MLFLOW_CASES: list[Case] = [case for case in CASES if case[1] == 1]
_PARAMS = {"iterations": 200, "depth": 6, "learning_rate": 0.1}

Micros = Mapping[str, Mapping[Case, Sequence[float]]]


@dataclass(frozen=True)
class _Saved(Model):
    """A pipeline that MLflow alone serves."""

    @property
    def mlflow_model(self) -> Path:
        return self.folder


def run(seconds: float, rounds: int, generator: str, file: Path | None) -> int:
    """Print the table, and write the figures to ``file``. Raises ``BenchmarkFailed`` for a wrong
    answer or a failed request.
    """
    machine = figures.machine()
    with tempfile.TemporaryDirectory(prefix="laurel-trees-") as folder:
        packaged, model = _prepare(Path(folder))
        micros: dict[str, dict[Case, list[float]]] = {engine: {} for engine in ENGINES}
        for number in range(rounds):
            for engine in (*ENGINES[number % 3 :], *ENGINES[: number % 3]):
                own = Path(tempfile.mkdtemp(dir=folder))
                plan = LoadPlan(packaged.rows, packaged.values, own, generator, seconds, 1.0)
                cases = _MLFLOW_CASES if engine == MLFLOW else CASES
                server = _server(engine, packaged, model, own)
                for case, measure in visit(server, plan, cases).measures.items():
                    micros[engine].setdefault(case, []).append(measure.cpu_us)
    print(f"load average before {machine['load_average'][0]}, {rounds} rounds of {seconds:g} s\n")
    print(table(micros))
    if file:
        cpu_us = {
            engine: {targets.title(case): values for case, values in of.items()}
            for engine, of in micros.items()
        }
        document = {"machine": machine, "generator": generator, "cpu_us": cpu_us}
        file.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def table(micros: Micros) -> str:
    """Markdown: medians, and medians of the ratios to ONNX Runtime of the same round."""
    lines = [
        f"| CPU µs for each request | {' | '.join(map(targets.title, CASES))} |",
        "|---|" + "---|" * len(CASES),
    ]
    for engine, of in micros.items():
        cells = []
        for case in CASES:
            if case not in of:
                cells.append("–")
                continue
            pairs = zip(micros[ONNX][case], of[case], strict=True)
            ratio = statistics.median(other / value for other, value in pairs)
            beside = "" if engine == ONNX else f" ({ratio:.2g}× as fast)"
            cells.append(f"{statistics.median(of[case]):,.0f}{beside}")
        lines.append(f"| {engine} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _prepare(folder: Path) -> tuple[Packaged, Model]:
    """The package, and the pipeline as MLflow saves it."""
    import mlflow

    from blocks.saved_models import saved_types

    packaged, fitted = targets.package(folder, BINARY, _catboost, _PARAMS)
    mlflow.sklearn.save_model(
        fitted,
        str(folder / MLFLOW),
        pyfunc_predict_fn="predict_proba",
        skops_trusted_types=saved_types(fitted)[0],
    )
    return packaged, _Saved(folder / MLFLOW, BINARY)


def _catboost(params: Any, layout: Any, seed: int) -> Any:
    from catboost import CatBoostClassifier

    return CatBoostClassifier(**params)


def _server(engine: str, packaged: Packaged, model: Model, own: Path) -> Server:
    if engine == MLFLOW:
        return servers.mlflow(Place(model, own, free_port(), "", own))
    if engine == ONNX:
        packaged = replace(packaged, folder=_without_trees(packaged.folder, own / "package"))
    return targets.server(packaged, own)


def _without_trees(folder: Path, to: Path) -> Path:
    """The package as it was made before there were symmetric trees."""
    manifest = read_manifest((folder / MANIFEST).read_bytes())
    names = [name for name in manifest.files if name != SYMMETRIC_TREES]
    write(to, {name: (folder / name).read_bytes() for name in names}, manifest)
    return to
