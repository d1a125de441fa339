"""``/invocations`` and ``/ping`` beside the real ``mlflow models serve``, which serves the pipeline
that the package was made of.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from blocks.registry import ModelRegistry
from tasks.models import modelling
from tasks.packages.packaging import Origin, make_package
from tests.fakes.registry import RegistryServer
from tests.fixtures.packages import expected_score, write_package
from tests.fixtures.processes import ServiceProcess, free_port, wait_until
from usecases.definition import UseCase, load

JSON, CSV = "application/json", "text/csv"
NAMES = ["first", "second", "steady", "group"]
RECORDS: list[dict[str, Any]] = [
    {"first": 1.5, "second": 0.5, "steady": 5.25, "group": "a"},
    {"first": -1.0, "second": None, "steady": 4.0, "group": "never seen"},
    {"first": 0.25, "second": -0.75, "steady": 5.0, "group": "c"},
]
COLUMNS = {name: [record[name] for record in RECORDS] for name in NAMES}
DATA = [[record[name] for name in NAMES] for record in RECORDS]


@dataclass(frozen=True)
class Servers:
    """The real MLflow's address, and the service."""

    mlflow: httpx.Client
    laurel: ServiceProcess

    def ask(
        self, content: Any, kind: str = JSON, **headers: str
    ) -> tuple[httpx.Response, httpx.Response]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        sent = {"content": body, "headers": {"content-type": kind} | headers}
        return self.mlflow.post("/invocations", **sent), self.laurel.client.post(
            "/invocations", **sent
        )


def log_model(folder: Path, case: UseCase) -> Path:
    """Fit, and log run and package as a training does; the folder of the logged model is
    returned.
    """
    import mlflow

    before = mlflow.get_tracking_uri()
    rows, candidate = case.source.read("2024-01"), case.candidates[1]
    fitted = modelling.fit(case, candidate, candidate.params, rows, seed=7)
    origin = Origin(
        candidate.name, dict(candidate.params), "0123456789ab", {"2024-01": "0"}, {"roc_auc": 0.8}
    )
    later = case.source.read("2024-02")
    package = make_package(
        folder / "package", case, fitted, origin, rows, later, seed=7, watched=False
    )
    registry = ModelRegistry(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    try:
        experiment = mlflow.MlflowClient(registry.tracking_uri).create_experiment(
            case.name, f"file://{folder}/artifacts"
        )
        example = modelling.inputs(case, rows.head(5))
        registry.log_run(
            case.name,
            "a run",
            params={},
            metrics={},
            tags={},
            model=fitted,
            example=example,
            package=package.folder,
        )
        (model,) = mlflow.MlflowClient(registry.tracking_uri).search_logged_models([experiment])
    finally:
        mlflow.set_tracking_uri(before)
    return Path(model.artifact_location.removeprefix("file://"))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("invocations")
    model, port = log_model(folder, load("toy")), free_port()
    environment = os.environ | {
        # MLflow looks for uvicorn there
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "--model-uri",
        str(model),
        "--env-manager",
        "local",
    ]
    with (folder / "mlflow.log").open("wb") as output:
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with (
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60
            ) as mlflow,
            RegistryServer(folder / "registry") as registry,
            ServiceProcess(folder, registry.url, serving_use_cases="toy,plain") as service,
        ):
            registry.register("toy", 3, lambda target: copy_package(folder / "package", target))
            registry.register("plain", 1, lambda target: write_package(target, "plain", bias=1.0))
            registry.crown("toy", 3)
            registry.crown("plain", 1)
            service.wait_for_version("3")
            wait_until(lambda: service.client.get("/ready").status_code == 200, "both are ready")
            wait_until(
                lambda: mlflow.get("/ping").status_code == 200,
                f"MLflow answers; it said: {folder}/mlflow.log",
                seconds=120,
            )
            yield Servers(mlflow, service)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def copy_package(package: Path, target: Path) -> str:
    """The digest of the copy's manifest."""
    from serving.package.manifest import MANIFEST, digest

    target.mkdir(parents=True)
    for file in package.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return digest((target / MANIFEST).read_bytes())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"dataframe_split": {"columns": NAMES, "data": DATA}}, JSON),
        (
            {
                "dataframe_split": {
                    "columns": NAMES[::-1],
                    "data": [row[::-1] for row in DATA],
                    "index": [5, 6, 7],
                }
            },
            JSON,
        ),
        (
            {
                "dataframe_split": {
                    "columns": [*NAMES, "more"],
                    "data": [[*row, "x"] for row in DATA],
                }
            },
            JSON,
        ),
        ({"dataframe_records": RECORDS}, JSON),
        (
            {"dataframe_records": [{**record, "more": 1} for record in RECORDS]},
            "application/json; charset=utf-8",
        ),
        ({"dataframe_records": [{**RECORDS[0], "second": 2, "first": "1.5"}]}, JSON),
        ({"dataframe_records": [{**RECORDS[0], "first": True}]}, JSON),
        (
            {
                "dataframe_records": [
                    RECORDS[0],
                    {name: RECORDS[1][name] for name in NAMES if name != "second"},
                ]
            },
            JSON,
        ),
        (
            b'{"dataframe_records": [{"first": 1.5, "second": NaN, "steady": 3, "group": "a"}]}',
            JSON,
        ),
        ({"instances": RECORDS}, JSON),
        ({"instances": COLUMNS}, JSON),
        ({"instances": RECORDS[0]}, JSON),
        ({"inputs": COLUMNS}, JSON),
        ({"inputs": {**COLUMNS, "more": [1, 2, 3]}}, JSON),
        ({"inputs": {**COLUMNS, "steady": 5.0}}, JSON),
        ({"inputs": RECORDS}, JSON),
        ({"inputs": RECORDS[0]}, JSON),
        ({"dataframe_records": RECORDS, "params": {"a": 1}}, JSON),
        ({"dataframe_records": RECORDS, "another": 1}, JSON),
        (b"first,second,steady,group\n1.5,0.5,5.25,a\n-1.0,,4.0,b\n", CSV),
        (
            b'more,"group",first,second,steady\n1,"a, ""b""",1.5,NaN,5.25\n',
            "text/csv; charset=utf-8",
        ),
        (b"first,second,steady,group\n1.5,NA,5.25,a\n1.5,null,5.25,a\n", CSV),
    ],
)
def test_a_request_is_answered_as_mlflow_answers_it(
    servers: Servers, content: Any, kind: str
) -> None:
    theirs, ours = servers.ask(content, kind)
    assert (theirs.status_code, ours.status_code) == (200, 200), (theirs.text, ours.text)
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.json().keys() == theirs.json().keys()
    expected, got = np.array(theirs.json()["predictions"]), np.array(ours.json()["predictions"])
    assert got.shape == expected.shape
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b'{"dataframe_records": [{"group": "\xff"}]}', JSON),
        (RECORDS, JSON),
        ({"rows": RECORDS}, JSON),
        ({"dataframe_records": RECORDS, "inputs": COLUMNS}, JSON),
        ({"dataframe_records": {}}, JSON),
        ({"dataframe_records": []}, JSON),
        ({"dataframe_records": DATA}, JSON),
        ({"dataframe_records": [{**RECORDS[0], "first": "far"}]}, JSON),
        ({"dataframe_records": [{"second": 1, "group": "a"}]}, JSON),
        ({"dataframe_split": [1]}, JSON),
        ({"dataframe_split": {"data": DATA}}, JSON),
        ({"dataframe_split": {"columns": NAMES, "data": []}}, JSON),
        ({"dataframe_split": {"columns": NAMES, "data": DATA, "more": 1}}, JSON),
        ({"dataframe_split": {"columns": NAMES, "data": DATA, "index": [1]}}, JSON),
        ({"dataframe_split": {"columns": NAMES[:3], "data": DATA}}, JSON),
        (
            {
                "dataframe_split": {
                    "columns": [*NAMES, "first"],
                    "data": [[*row, 1.0] for row in DATA],
                }
            },
            JSON,
        ),
        ({"instances": DATA}, JSON),
        ({"instances": []}, JSON),
        ({"inputs": DATA}, JSON),
        ({"inputs": {**COLUMNS, "first": [1.5]}}, JSON),
        (
            {"inputs": {name: [[value] for value in values] for name, values in COLUMNS.items()}},
            JSON,
        ),
        ({"inputs": "x"}, JSON),
        (b"", CSV),
        (b"first,second,steady,group\n", CSV),
        (b"first,second,group\n1.5,0.5,a\n", CSV),
        (b"first,second,steady,group\nfar,0.5,5.25,a\n", CSV),
        (b"first,second,steady,group\n1.5,0.5,5.25,a,9,9\n", CSV),
        (b"first,second,steady,group\n1.5,0.5,5.25,\xff\n", CSV),
    ],
)
def test_a_bad_request_is_refused_with_mlflow_s_status_and_shape(
    servers: Servers, content: Any, kind: str
) -> None:
    theirs, ours = servers.ask(content, kind)
    assert (theirs.status_code, ours.status_code) == (400, 400), (theirs.text, ours.text)
    assert {"error_code", "message"} == ours.json().keys() <= theirs.json().keys()
    assert ours.json()["error_code"] == "BAD_REQUEST" and "Traceback" not in ours.text


@pytest.mark.parametrize(
    "kind",
    ["application/xml", "text/csv; charset=latin-1", "application/json; format=pandas-split"],
)
def test_another_content_type_is_refused_with_mlflow_s_status(servers: Servers, kind: str) -> None:
    theirs, ours = servers.ask({"dataframe_records": RECORDS}, kind)
    assert theirs.status_code == ours.status_code == 415
    assert ours.json()["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"first": 1e6}, "Row 0, field 'first': expected `float` <= 20.0, got 1000000.0."),
        ({"steady": None}, "Row 0, field 'steady': expected `float`, got `null`."),
        ({"group": 7}, "Row 0, field 'group': expected `str`, got `int`."),
    ],
)
def test_what_the_package_s_schema_forbids_is_refused_though_mlflow_would_guess(
    servers: Servers, changed: dict[str, Any], told: str
) -> None:
    theirs, ours = servers.ask({"dataframe_records": [RECORDS[0] | changed]})
    assert (theirs.status_code, ours.status_code) == (200, 400)
    assert ours.json()["message"] == told


def test_a_nullable_field_may_be_left_out_though_mlflow_asks_for_it(servers: Servers) -> None:
    rows = [{name: record[name] for name in NAMES if name != "second"} for record in RECORDS]
    theirs, ours = servers.ask({"dataframe_records": rows})
    assert (theirs.status_code, ours.status_code) == (400, 200)


def test_mlflow_s_own_client_changes_only_the_address(servers: Servers) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    frame = pd.DataFrame(RECORDS)
    answers = [
        ScoringServerClient(url.host, url.port).invoke(frame).get_predictions()
        for url in (servers.mlflow.base_url, servers.laurel.client.base_url)
    ]
    assert np.abs(answers[0].to_numpy() - answers[1].to_numpy()).max() < 1e-6


def test_a_thousand_rows_in_every_shape(servers: Servers) -> None:
    chance = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "first": chance.normal(0, 1, 1000),
            "second": np.where(chance.random(1000) < 0.1, np.nan, chance.normal(0, 1, 1000)),
            "steady": chance.normal(5, 1, 1000),
            "group": chance.choice(["a", "b", "c", "x"], 1000),
        }
    )
    plain = json.loads(frame.to_json(orient="split", double_precision=15))
    contents: list[tuple[Any, str]] = [
        ({"dataframe_split": plain}, JSON),
        (
            {
                "dataframe_records": [
                    dict(zip(plain["columns"], row, strict=True)) for row in plain["data"]
                ]
            },
            JSON,
        ),
        (
            {
                "inputs": dict(
                    zip(plain["columns"], map(list, zip(*plain["data"], strict=True)), strict=True)
                )
            },
            JSON,
        ),
        (frame.to_csv(index=False).encode(), CSV),
    ]
    for content, kind in contents:
        theirs, ours = servers.ask(content, kind)
        assert ours.status_code == 200, ours.text
        assert (
            np.abs(
                np.array(theirs.json()["predictions"]) - np.array(ours.json()["predictions"])
            ).max()
            < 1e-6
        )


@pytest.mark.parametrize(
    ("header", "value"),
    [("x-laurel-use-case", "plain"), ("x-amzn-sagemaker-target-model", "plain.tar.gz")],
)
def test_the_caller_may_name_another_use_case(servers: Servers, header: str, value: str) -> None:
    row = {"carrier": "AA", "distance": 800.0, "wind": 3.0}
    answer = servers.laurel.client.post(
        "/invocations", json={"dataframe_records": [row]}, headers={header: value}
    )
    assert answer.json()["predictions"][0][1] == pytest.approx(
        expected_score(row, bias=1.0), rel=1e-5
    )


def test_an_unknown_use_case_is_answered_in_mlflow_s_shape(servers: Servers) -> None:
    answer = servers.laurel.client.post(
        "/invocations", json={"inputs": []}, headers={"x-laurel-use-case": "flihgts"}
    )
    assert answer.status_code == 404
    assert answer.json() == {
        "error_code": "RESOURCE_DOES_NOT_EXIST",
        "message": "Unknown use case 'flihgts'. Served here: toy, plain.",
    }


def test_ping_is_mlflow_s(servers: Servers) -> None:
    theirs, ours = servers.mlflow.get("/ping"), servers.laurel.client.get("/ping")
    assert (theirs.status_code, theirs.content) == (ours.status_code, ours.content) == (200, b"\n")


def test_without_a_champion_ping_and_invocations_say_that_they_are_not_ready(
    tmp_path: Path,
) -> None:
    with ServiceProcess(tmp_path, "http://127.0.0.1:1") as service:
        ping = service.client.get("/ping")
        asked = service.client.post("/invocations", json={"dataframe_records": RECORDS})
        assert ping.status_code == asked.status_code == 503
        assert int(ping.headers["retry-after"]) > 0 and int(asked.headers["retry-after"]) > 0
        assert asked.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


def test_rows_reach_the_prediction_log_as_all_others_do(servers: Servers) -> None:
    marked = RECORDS[0] | {"first": 7.125, "at": "2024-03-01T12:00:00"}
    _, ours = servers.ask({"inputs": {name: [value] for name, value in marked.items()}})
    unlogged = servers.laurel.client.post(
        "/invocations?log=false", json={"dataframe_records": [marked | {"first": 7.25}]}
    )
    assert ours.status_code == unlogged.status_code == 200
    servers.laurel.wait_until_uploaded()
    logged = {row["first"]: row for row in servers.laurel.in_lake("predictions") if "first" in row}
    kept = logged[7.125]
    assert {name: kept[name] for name in NAMES} == {name: marked[name] for name in NAMES}
    assert kept["event_time"].isoformat() == marked["at"]
    assert kept["score"] == pytest.approx(ours.json()["predictions"][0][1])
    assert 7.25 not in logged
