"""What is in the image, and how it runs."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow.parquet as pq
import pytest
import tritonclient.http as triton

from blocks.settings import REPOSITORY
from serving.keys.file import make_key
from tests.containers.conftest import DOCKERFILE, Run
from tests.containers.container import Container, docker
from tests.fixtures.packages import expected_score, write_package

ROW: dict[str, Any] = {
    "carrier": "AA",
    "distance": 800.0,
    "wind": 3.0,
    "time_hour": "2013-06-01T15:00:00",
}
MODEL = "/opt/ml/model"
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A package unpacked from an archive, readable for the container's user."""
    folder = tmp_path / "model"
    sha256 = write_package(folder, bias=1.0)
    (folder / "champion.json").write_bytes(msgspec.json.encode({"version": "7", "sha256": sha256}))
    folder.chmod(0o755)
    return folder


def keyed(run: Run, model: Path, volume: str | None = None, **settings: str) -> Container:
    """A container that serves ``model`` with a key in its environment; ``client`` has the key."""
    key = make_key()
    environment = {
        "LAUREL_SERVING_KEY": key,
        "LAUREL_SERVING_MODEL_FOLDER": MODEL,
        "LAUREL_LAKE": "none",
        **settings,
    }
    container = run(
        environment=environment,
        volumes={f"{model}": f"{MODEL}:ro"} | ({volume: "/var/lib/laurel"} if volume else {}),
    )
    container.client.headers["authorization"] = f"Bearer {key}"
    return container


def python(image: str, code: str) -> Any:
    """Run ``code`` in the image and parse its output as JSON."""
    return json.loads(
        docker("run", "--rm", "--read-only", "--entrypoint", "python", image, "-c", code)
    )


# What is in it


def test_it_holds_the_service_and_what_that_imports_and_no_way_to_become_root(image: str) -> None:
    contents = python(
        image,
        """
import importlib.util, json, os
from pathlib import Path

root = Path("/opt/laurel")
code = sorted(str(path.relative_to(root)) for path in root.rglob("*.py"))
forbidden = ["pip", "setuptools", "mlflow", "prefect", "pandas", "sklearn", "polars", "evidently"]
forbidden += ["optuna", "boto3", "pytest"]
cached = importlib.util.cache_from_source
paths = [path for top in ("/usr", "/opt", "/bin", "/sbin") for path in Path(top).rglob("*")]
print(json.dumps({
    "code": code,
    "forbidden": [name for name in forbidden if importlib.util.find_spec(name)],
    "setuid": [str(path) for path in paths if path.is_file() and path.stat().st_mode & 0o6000],
    "uncompiled": [name for name in code if not Path(root, cached(name)).exists()],
    "uid": os.getuid(),
    "gid": os.getgid(),
}))
""",
    )
    ours = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in ("blocks/clients", "serving")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert contents["code"] == sorted(["blocks/__init__.py", "blocks/settings.py", *ours])
    assert (contents["forbidden"], contents["setuid"], contents["uncompiled"]) == ([], [], [])
    assert (contents["uid"], contents["gid"]) == (10001, 10001)


def test_it_is_small(image: str) -> None:
    sizes = python(
        image,
        """
import json, os
def size(top):
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(top) for name in names]
    files = map(os.lstat, paths)
    return sum({(file.st_dev, file.st_ino): file.st_size for file in files}.values()) / 1e6
base = sum(map(size, ("/usr", "/etc", "/var")))
print(json.dumps({"packages": size("/opt/venv"), "code": size("/opt/laurel"), "base": base}))
""",
    )
    total = sum(sizes.values())
    print(
        "\nMB of files:",
        ", ".join(f"{name} {size:.0f}" for name, size in sizes.items()),
        f"in all {total:.0f}",
    )
    assert sizes["packages"] + sizes["code"] < 260


def test_building_again_gives_the_same_layers(image: str) -> None:
    docker(
        "build", "--no-cache", "--tag", f"{image}-again", "--file", str(DOCKERFILE), str(REPOSITORY)
    )
    first, again = (
        json.loads(docker("image", "inspect", name))[0] for name in (image, f"{image}-again")
    )
    docker("image", "rm", f"{image}-again")
    assert (
        first["Id"] != again["Id"] or first["Created"] == again["Created"]
    )  # it was built again, and only its time differs
    assert first["RootFS"]["Layers"] == again["RootFS"]["Layers"]


# How it runs


def test_it_serves_read_only_without_rights_and_its_health_check_turns_healthy(
    run: Run, model: Path
) -> None:
    container = keyed(run, model)
    container.wait_until_ready()
    answer = container.client.post("/v1/toy/predict", json={"rows": [ROW]})
    assert answer.json()["predictions"][0]["score"] == pytest.approx(
        expected_score(ROW, bias=1.0), rel=1e-5
    )
    container.wait_until(
        lambda: container.inspect()["State"]["Health"]["Status"] == "healthy",
        "Docker calls it healthy",
    )
    assert httpx.get(f"{container.client.base_url}/v1/toy", trust_env=False).status_code == 401


def test_kserve_s_protocol_is_answered_to_nvidia_s_client(run: Run, model: Path) -> None:
    container = keyed(run, model)
    container.wait_until_ready()
    headers = {"authorization": container.client.headers["authorization"]}
    client = triton.InferenceServerClient(
        str(container.client.base_url).removeprefix("http://").strip("/")
    )
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("toy")
    metadata = client.get_model_metadata("toy", headers=headers)
    assert metadata["versions"] == ["7"]
    values = {"BYTES": "AA", "FP32": 800.0, "FP64": 800.0}
    inputs = []
    for field in metadata["inputs"]:
        tensor = triton.InferInput(field["name"], [1, 1], field["datatype"])
        tensor.set_data_from_numpy(_array(ROW[field["name"]], field["datatype"]), binary_data=True)
        inputs.append(tensor)
    assert {field["datatype"] for field in metadata["inputs"]} <= set(values)
    answer = client.infer("toy", inputs, headers=headers)
    score = answer.as_numpy(metadata["outputs"][0]["name"])
    assert score is not None and float(score.ravel()[0]) == pytest.approx(
        expected_score(ROW, bias=1.0), rel=1e-5
    )


def _array(value: Any, datatype: str) -> Any:
    import numpy as np

    kind = {"BYTES": object, "FP32": np.float32, "FP64": np.float64}[datatype]
    return np.array([[value.encode() if datatype == "BYTES" else value]], dtype=kind)


def test_without_a_key_it_refuses_to_start_and_says_what_to_set(run: Run) -> None:
    container = run(environment={"LAUREL_MLFLOW_URL": NOWHERE})
    assert container.wait() == 1
    log = container.logs()
    assert (
        "requires keys on 0.0.0.0" in log and "LAUREL_SERVING_KEY" in log and "Traceback" not in log
    )


def test_as_sagemaker_starts_it_it_answers_on_8080_without_a_key(run: Run, model: Path) -> None:
    container = run("serve", volumes={f"{model}": f"{MODEL}:ro"})
    container.wait_until(
        lambda: container.client.get("/ping").status_code == 200, "it answers SageMaker's ping"
    )
    answer = container.client.post(
        "/invocations", json={"dataframe_records": [ROW]}, headers={"host": "sagemaker.example"}
    )
    assert answer.json()["predictions"][0][1] == pytest.approx(
        expected_score(ROW, bias=1.0), rel=1e-5
    )
    assert container.client.get("/v1/toy").status_code == 401
    docker("stop", container.id)
    assert container.wait() == 0


def test_two_workers_of_sagemaker_s_answer_and_end(run: Run, model: Path) -> None:
    container = run(
        "serve", environment={"LAUREL_SERVING_WORKERS": "2"}, volumes={f"{model}": f"{MODEL}:ro"}
    )
    container.wait_until(
        lambda: container.client.get("/ping").status_code == 200, "it answers SageMaker's ping"
    )
    docker("stop", container.id)
    assert container.wait() == 0


def test_it_starts_from_the_package_that_it_kept_though_registry_and_model_are_gone(
    run: Run, model: Path, volume: str
) -> None:
    first = keyed(run, model, volume)
    first.wait_until_ready()
    docker("stop", first.id)
    key = make_key()
    settings = {
        "LAUREL_SERVING_KEY": key,
        "LAUREL_SERVING_USE_CASES": "toy",
        "LAUREL_MLFLOW_URL": NOWHERE,
        "LAUREL_LAKE": "none",
    }
    second = run(environment=settings, volumes={volume: "/var/lib/laurel"})
    headers = {"x-api-key": key}
    second.wait_until(
        lambda: (
            second.client.post("/v1/toy/predict", json={"rows": [ROW]}, headers=headers).status_code
            == 200
        ),
        "it answers",
    )
    print(
        f"\nfirst answer {time.monotonic() - second.began:.2f} s after docker run, from a "
        "kept package"
    )
    assert second.client.get("/v1/toy", headers=headers).json()["version"] == "7"


def test_a_container_that_is_stopped_under_load_loses_nothing_that_it_acknowledged(
    run: Run, model: Path, volume: str, tmp_path: Path
) -> None:
    container = keyed(run, model, volume, LAUREL_LAKE="file:///var/lib/laurel/lake")
    container.wait_until_ready()
    acknowledged: list[str] = []
    stopping, enough = threading.Event(), threading.Event()

    def ask() -> None:
        with httpx.Client(
            base_url=container.client.base_url, headers=container.client.headers, trust_env=False
        ) as client:
            while True:
                try:
                    answer = client.post("/v1/toy/predict", json={"rows": [ROW]})
                except httpx.TransportError:
                    assert stopping.is_set(), (
                        "a request failed before the container was told to stop"
                    )
                    return
                assert answer.status_code == 200, answer.text
                acknowledged.append(answer.json()["predictions"][0]["id"])
                if len(acknowledged) > 500:
                    enough.set()

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    assert enough.wait(60)
    stopping.set()
    docker("stop", container.id)
    for caller in callers:
        caller.join(60)
    assert container.wait() == 0
    docker("cp", f"{container.id}:/var/lib/laurel/lake", str(tmp_path / "lake"))
    logged = [
        row["id"]
        for path in (tmp_path / "lake").rglob("*.parquet")
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert len(logged) == len(set(logged)) and set(acknowledged) <= set(logged)
    print(f"\n{len(acknowledged)} acknowledged, {len(logged)} in the lake")
