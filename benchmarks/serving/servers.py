"""The servers that are compared: how each is started, asked, and read. Peers get their own best
form and one OpenMP thread.

laurel             ``python -m serving``: keys, prediction log, metrics and request ids on,
                   following a real MLflow registry
laurel-2-workers   the same with two workers
laurel-arrow       the same with one worker, rows and answers in Arrow
mlflow             ``mlflow models serve`` of the same model as MLflow logged it
mlserver           its scikit-learn runtime, Open Inference Protocol, adaptive batching within 1 ms
bentoml            a service of one worker with adaptive batching
plain-fastapi      ``peers/plain_fastapi.py``
floor-asgi         ``peers/floor.py``: no model at all
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.serving.model import DIGITS, FLIGHTS, REPOSITORY, Model, Row
from benchmarks.serving.process import BenchmarkFailed
from benchmarks.serving.registry import free_port

PEERS = REPOSITORY / "benchmarks" / "serving" / "peers"
ARROW = "application/vnd.apache.arrow.stream"
EVENT_TIMES = ("event_time", "arrived_at", "scanned_at")
# Threads that wait for each other on a busy machine cost peers up to a hundred times their
# throughput.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """One way to serve. ``body`` and ``scores`` are the inverse edges: rows to a request's body, an
    answer's body to scores.
    """

    name: str
    command: list[str]
    path: Callable[[int], str]
    body: Callable[[list[Row]], bytes]
    scores: Callable[[bytes], list[float]]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    folder: Path = REPOSITORY
    # Laurel only: the first start fetches the model from the registry, later ones find it on this
    # disk, as the peers do at each.
    fetches: bool = False
    # Laurel only: where it says how many predictions reached the log.
    described_at: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Place:
    """Where a server runs in this round: ``folder`` is its own and empty, ``port`` is free."""

    model: Model | None
    folder: Path
    port: int
    registry_url: str
    environments: Path

    @property
    def given_model(self) -> Model:
        assert self.model is not None, "this server answers with a model"
        return self.model


def laurel(place: Place, workers: int = 1) -> Server:
    use_case = place.given_model.use_case
    environment = {
        "LAUREL_STATE": str(place.folder / "state"),
        "LAUREL_LAKE": f"file://{place.folder / 'lake'}",
        "LAUREL_MLFLOW_URL": place.registry_url,
        "LAUREL_SERVING_PORT": str(place.port),
        "LAUREL_SERVING_USE_CASES": use_case,
        "LAUREL_SERVING_REQUIRE_KEYS": "true",
        "LAUREL_SERVING_KEYS_FILE": str(place.folder / "keys.json"),
        "LAUREL_SERVING_WORKERS": str(workers),
    }
    add_key = [
        sys.executable,
        "-m",
        "serving.keys",
        "add",
        "benchmark",
        "--scope",
        "predict",
        "--scope",
        "operate",
    ]
    process = subprocess.run(
        add_key,
        cwd=REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise BenchmarkFailed(f"No key for the service: {process.stderr.strip()}")
    return Server(
        "laurel" if workers == 1 else f"laurel-{workers}-workers",
        [sys.executable, "-m", "serving"],
        lambda rows: f"/v1/{use_case}/predict",
        rows_body,
        lambda answer: [_answered(row) for row in json.loads(answer)["predictions"]],
        place.port,
        environment,
        {"Authorization": f"Bearer {process.stdout.strip()}"},
        fetches=True,
        described_at=f"/v1/{use_case}",
    )


def laurel_arrow(place: Place) -> Server:
    server = laurel(place)
    return replace(
        server,
        name="laurel-arrow",
        body=arrow_body,
        scores=_arrow_scores,
        headers={**server.headers, "Content-Type": ARROW, "Accept": ARROW},
    )


def mlflow(place: Place) -> Server:
    # It starts uvicorn by name: without the virtual environment on PATH it ends with 127.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return Server(
        "mlflow",
        [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            str(place.given_model.mlflow_model),
            "--env-manager",
            "local",
        ]
        + ["--host", "127.0.0.1", "--port", str(place.port)],
        lambda rows: "/invocations",
        _split_body,
        lambda answer: [_scored(row) for row in json.loads(answer)["predictions"]],
        place.port,
        {**ONE_THREAD, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
    )


def mlserver(place: Place) -> Server:
    from benchmarks.environments import python_of

    use_case = place.given_model.use_case
    # The probabilities of all classes, or the number.
    output, width = {FLIGHTS: ("predict_proba", 2), DIGITS: ("predict_proba", 10)}.get(
        use_case, ("predict", 1)
    )
    folder = place.folder / use_case
    folder.mkdir()
    ports = {"http_port": place.port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "debug": False, **ports})
    )
    described = {
        "name": use_case,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(place.given_model.pipeline)},
        "max_batch_size": 1000,
        "max_batch_time": 0.001,
    }
    (folder / "model-settings.json").write_text(json.dumps(described))
    program = python_of("mlserver", place.environments).with_name("mlserver")
    path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**ONE_THREAD, "PATH": path}
    if use_case == DIGITS:  # its pipeline decodes pictures by our code
        environment["PYTHONPATH"] = str(REPOSITORY)
    return Server(
        "mlserver",
        [str(program), "start", "."],
        lambda rows: f"/v2/models/{use_case}/infer",
        lambda rows: _protocol_body(rows, output),
        lambda answer: [
            _scored(row) for row in _in_rows(json.loads(answer)["outputs"][0]["data"], width)
        ],
        place.port,
        environment,
        folder=folder,
    )


def bentoml(place: Place) -> Server:
    from benchmarks.environments import python_of

    program = python_of("bentoml", place.environments).with_name("bentoml")
    environment = {
        "PIPELINE": str(place.given_model.pipeline),
        "BENTOML_HOME": str(place.folder),
        "BENTOML_DO_NOT_TRACK": "true",
    }
    return Server(
        "bentoml",
        [
            str(program),
            "serve",
            "bentoml_service:Flights",
            "--host",
            "127.0.0.1",
            "--port",
            str(place.port),
        ],
        lambda rows: "/predict",
        _columns_body,
        json.loads,
        place.port,
        {**ONE_THREAD, **environment},
        folder=PEERS,
    )


def plain_fastapi(place: Place) -> Server:
    return Server(
        "plain-fastapi",
        _uvicorn("plain_fastapi", place.port),
        lambda rows: "/predict",
        _columns_body,
        lambda answer: json.loads(answer)["scores"],
        place.port,
        {**ONE_THREAD, "PIPELINE": str(place.given_model.pipeline)},
    )


def floor_asgi(place: Place) -> Server:
    return Server(
        "floor-asgi",
        _uvicorn("floor", place.port) + ["--no-access-log"],
        lambda rows: f"/{rows}",
        rows_body,
        lambda answer: [],
        place.port,
    )


SERVERS: dict[str, Callable[[Place], Server]] = {
    "laurel": laurel,
    "laurel-2-workers": lambda place: laurel(place, workers=2),
    "laurel-arrow": laurel_arrow,
    "mlflow": mlflow,
    "mlserver": mlserver,
    "bentoml": bentoml,
    "plain-fastapi": plain_fastapi,
    "floor-asgi": floor_asgi,
}
WITH_REGISTRY = ("laurel", "laurel-2-workers", "laurel-arrow")
WITHOUT_MODEL = ("floor-asgi",)
# They are written for the columns of the flights, or for a probability.
FLIGHTS_ONLY = ("bentoml", "plain-fastapi", "laurel-arrow")


def _uvicorn(module: str, port: int) -> list[str]:
    return [
        sys.executable,
        "-m",
        "uvicorn",
        f"benchmarks.serving.peers.{module}:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]


def _answered(row: dict[str, Any]) -> float:
    """What ``Model.scores`` holds, of a prediction of ours."""
    if "class" in row:
        return max(value for name, value in row.items() if name.startswith("score_"))
    return row["value"] if "value" in row else row["score"]


def _scored(answer: float | Sequence[float]) -> float:
    """What ``Model.scores`` holds, of what a pipeline answers to a row."""
    if isinstance(answer, float):
        return answer
    return answer[-1] if len(answer) <= 2 else max(answer)


def _in_rows(values: Sequence[float], width: int) -> list[Sequence[float]]:
    return [values[start : start + width] for start in range(0, len(values), width)]


def _json(content: Any) -> bytes:
    """On one line, which the load generators rely on."""
    return json.dumps(content, separators=(",", ":")).encode()


def _features(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in EVENT_TIMES}


def rows_body(rows: list[Row]) -> bytes:
    return _json({"rows": rows})


def arrow_body(rows: list[Row], *, encoded: bool = False) -> bytes:
    """``encoded``: texts are dictionaries, as data frames keep categories."""
    import pyarrow as pa

    text = pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string()

    table = pa.table(
        {
            name: pa.array(map(datetime.fromisoformat, values), pa.timestamp("us"))
            if name in EVENT_TIMES
            else pa.array(values, text if isinstance(values[0], str) else pa.float64())
            for name, values in ((name, [row[name] for row in rows]) for name in rows[0])
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _arrow_scores(answer: bytes) -> list[float]:
    import pyarrow as pa

    scores: list[float] = pa.ipc.open_stream(answer).read_all()["score"].to_pylist()
    return scores


def _columns_body(rows: list[Row]) -> bytes:
    """As the peers take rows: without the event time, which is for the prediction log."""
    return _json({"rows": [_features(row) for row in rows]})


def _split_body(rows: list[Row]) -> bytes:
    features = [_features(row) for row in rows]
    return _json(
        {
            "dataframe_split": {
                "columns": list(features[0]),
                "data": [list(row.values()) for row in features],
            }
        }
    )


def _protocol_body(rows: list[Row], output: str) -> bytes:
    """Open Inference Protocol v2, a tensor a column, read as a DataFrame; ``output`` is the
    estimator's method.
    """
    inputs = []
    for name in _features(rows[0]):
        values = [row[name] for row in rows]
        text = any(isinstance(value, str) for value in values)
        kind: dict[str, Any] = (
            {"datatype": "BYTES", "parameters": {"content_type": "str"}}
            if text
            else {"datatype": "FP64", "parameters": {"content_type": "np"}}
        )
        inputs.append({"name": name, "shape": [len(rows), 1], "data": values, **kind})
    return _json(
        {
            "inputs": inputs,
            "parameters": {"content_type": "pd"},
            "outputs": [{"name": output}],
        }
    )
