"""The stack of compose.yaml, from an empty machine to the second champion, and proof that it loses
nothing when its parts are killed.
"""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.compose.stack import LONG_RUNNING, REPOSITORY, Stack
from tests.compose.traffic import Traffic

# The first test builds the images and starts the stack.
pytestmark = pytest.mark.timeout(1200)
FLOWS = ("prefect", "mlflow", "worker", "apply", "bucket")
OURS = (*FLOWS, "serving")
# All but Prometheus; the service comes last, and only it may fail requests.
KILLED = ("worker", "prefect", "seaweedfs", "mlflow", "postgres", "serving")

LOAD_AND_READ = """
from sqlalchemy import create_engine, text
from blocks.settings import Settings
from blocks.warehouse import Warehouse
from tasks.data.tables import Query
from usecases.definition import MONTHS

settings = Settings.read()
with create_engine(settings.warehouse_url.get_secret_value()).begin() as connection:
    connection.execute(text("CREATE TABLE orders (id INT PRIMARY KEY, at DATETIME, returned BOOL)"))
    rows = "(1, '2024-01-03 10:00', 1), (2, '2024-01-04 11:00', 0)"
    connection.execute(text(f"INSERT INTO orders VALUES {rows}"))
warehouse = Warehouse.of(settings)
query = Query(warehouse, "SELECT * FROM orders", "at", MONTHS)
(month,) = query.periods()
print(month, len(query.read(month)))
"""
KEEP_RUN = """
import os
import mlflow

mlflow.set_tracking_uri(os.environ["STORE"])
mlflow.create_experiment("kept", artifact_location="mlflow-artifacts:/kept")
with mlflow.start_run(experiment_id=mlflow.get_experiment_by_name("kept").experiment_id) as run:
    mlflow.log_metric("roc_auc", 0.75)
assert mlflow.get_run(run.info.run_id).data.metrics == {"roc_auc": 0.75}
"""
COUNT = """
import collections, io, json, sys
import polars as pl
from blocks.lake import Lake
from blocks.settings import Settings

lake = Lake.of(Settings.read())
paths = [path for path in lake.list("predictions/flights") if path.endswith(".parquet")]
frames = [pl.read_parquet(io.BytesIO(lake.read(path)), columns=["id"]) for path in paths]
logged = collections.Counter(id for frame in frames for id in frame["id"].to_list())
acknowledged = json.load(sys.stdin)
missing = [id for id in acknowledged if not logged[id]]
print(json.dumps({
    "asked": len(acknowledged),
    "missing": missing[:5],
    "missing_count": len(missing),
    "repeated": [id for id, count in logged.items() if count > 1][:5],
}))
"""


def test_every_service_is_healthy_and_what_is_done_once_is_done(stack: Stack) -> None:
    assert {
        name: stack.container(name)["State"]["Health"]["Status"] for name in LONG_RUNNING
    } == dict.fromkeys(LONG_RUNNING, "healthy")
    ended = {name: stack.container(name)["State"] for name in ("bucket", "apply")}
    assert all(state["Status"] == "exited" and state["ExitCode"] == 0 for state in ended.values())


def test_nothing_is_published_but_on_loopback(stack: Stack) -> None:
    published = [
        (name, place["HostIp"])
        for name in LONG_RUNNING
        for places in stack.container(name)["NetworkSettings"]["Ports"].values()
        for place in places or []
    ]
    assert {name for name, _ in published} == {"prefect", "mlflow", "serving", "prometheus"}
    assert {address for _, address in published} == {"127.0.0.1"}


def test_containers_are_confined(stack: Stack) -> None:
    for name in (*LONG_RUNNING, "bucket", "apply"):
        host = stack.container(name)["HostConfig"]
        assert host["CapDrop"] == ["ALL"] and "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["ReadonlyRootfs"] or name == "prometheus", name
        assert not host["Privileged"], name
    assert {stack.container(name)["Config"]["User"] for name in OURS} == {"10001:10001"}


def test_no_secret_is_in_a_command_line_or_a_log(stack: Stack) -> None:
    output = stack.logs() + json.dumps(
        [stack.container(name)["Config"]["Cmd"] for name in (*LONG_RUNNING, "bucket", "apply")]
    )
    names = {
        "LAUREL_MLFLOW_USERNAME",
        "LAUREL_S3_ACCESS_KEY",
    }  # no secrets: SeaweedFS logs the name of the key in use
    assert [
        name
        for name, value in stack.secrets.items()
        if name not in names and value.rpartition(":")[2] in output
    ] == []


def test_images_carry_no_tests_and_no_secrets(stack: Stack) -> None:
    listing = stack.inside(
        "sh",
        "-c",
        "ls -A /opt/laurel; find / -xdev -name '.env*' -not -path '/proc/*' 2>/dev/null || true",
    )
    assert set(listing.split()) == {
        "blocks",
        "deployments",
        "flows",
        "prefect.yaml",
        "serving",
        "tasks",
        "usecases",
    }


@pytest.mark.parametrize(
    ("port", "path"),
    [
        ("LAUREL_PREFECT", "/api/flows/count"),
        ("LAUREL_MLFLOW", "/api/2.0/mlflow/experiments/search?max_results=1"),
    ],
)
def test_prefect_and_mlflow_ask_for_a_password(stack: Stack, port: str, path: str) -> None:
    url = f"http://127.0.0.1:{stack.ports[port]}{path}"
    user, _, password = stack.secrets["LAUREL_PREFECT_AUTH"].partition(":")
    auth = (
        (user, password)
        if port == "LAUREL_PREFECT"
        else (stack.secrets["LAUREL_MLFLOW_USERNAME"], stack.secrets["LAUREL_MLFLOW_PASSWORD"])
    )
    method = "POST" if port == "LAUREL_PREFECT" else "GET"
    assert httpx.request(method, url).status_code == 401
    assert httpx.request(method, url, auth=(auth[0], "another")).status_code == 401
    assert httpx.request(method, url, auth=auth).status_code == 200


def test_the_service_asks_for_a_key(stack: Stack) -> None:
    assert httpx.get(f"{stack.serving_url}/v1/flights").status_code == 401
    assert httpx.get(f"{stack.serving_url}/metrics").status_code == 401
    assert httpx.get(f"{stack.serving_url}/health").status_code == 200


def test_applied_again_nothing_changes(stack: Stack) -> None:
    lines = stack.inside("python", "-m", "deployments.apply").splitlines()
    assert lines and {line.split()[0] for line in lines} == {"unchanged"}


def test_the_demo_closes_the_loop(stack: Stack) -> None:
    output = stack.inside("python", "-m", "deployments.demo", "--against-running")
    print(output)
    assert " 0 failed" in output and "Champion 2" in output


@pytest.mark.parametrize("service", KILLED)
def test_a_killed_container_heals_and_fails_nobody_but_the_services_own_callers(
    stack: Stack, traffic: Traffic, service: str
) -> None:
    time.sleep(3)  # some traffic before
    acknowledged_before, failures_before = len(traffic.acknowledged), len(traffic.failures)
    before = stack.container(service)
    killed = time.time()
    stack.kill(service)
    seconds = stack.wait_until_healed(service, before)
    healed = time.time()
    time.sleep(5)  # and after
    failures = traffic.failures[failures_before:]
    acknowledged = len(traffic.acknowledged) - acknowledged_before
    print(
        f"\n{service} killed: healthy after {seconds:.1f} s, {len(failures)} requests "
        f"failed, {acknowledged} rows answered"
    )
    assert acknowledged > 0
    if service == "serving":
        assert all(killed - 1 <= failure.sent <= healed for failure in failures)
    else:
        assert failures == []


def test_after_all_that_every_service_is_healthy(stack: Stack) -> None:
    stack.up()
    test_every_service_is_healthy_and_what_is_done_once_is_done(stack)


def expressions() -> list[str]:
    """The Prometheus queries of the dashboard's panels and annotations."""
    board = json.loads((REPOSITORY / "infra/grafana/dashboards/serving.json").read_text())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return [*queries, *(annotation["expr"] for annotation in board["annotations"]["list"])]


@pytest.mark.parametrize("expression", expressions())
def test_prometheus_answers_what_the_dashboard_asks(stack: Stack, expression: str) -> None:
    """Every figure on the board is one that the service has. An empty answer is right only for
    events that may never have happened.
    """
    query = expression.replace("$use_case", ".*")
    answer = httpx.get(
        f"http://127.0.0.1:{stack.ports['PROMETHEUS']}/api/v1/query", params={"query": query}
    ).json()
    assert answer["status"] == "success", answer
    may_be_empty = any(event in query for event in ("swap", "laurel_rollout", "laurel_shadow"))
    assert answer["data"]["result"] or may_be_empty, f"{query} gives nothing"


def test_mysql_is_a_warehouse_and_can_keep_mlflows_runs(stack: Stack) -> None:
    stack.compose("up", "--detach", "--wait", "mysql")
    address = f"mysql+pymysql://laurel:{stack.secrets['MYSQL_PASSWORD']}@mysql"
    assert stack.inside(
        "python", "-c", LOAD_AND_READ, LAUREL_WAREHOUSE_URL=f"{address}/warehouse"
    ).split() == ["2024-01", "2"]
    # MLflow's own command makes its tables there.
    stack.inside("python", "-c", KEEP_RUN, STORE=f"{address}/mlflow")
    stack.compose("rm", "--stop", "--force", "mysql")


def test_a_retrain_still_works(stack: Stack, traffic: Traffic) -> None:
    served = stack.champion()["trained_through"]
    print(stack.retrain("2013-08"))
    assert stack.champion()["trained_through"] >= served
    assert traffic.failures == [] or all(
        failure.sent < time.time() - 5 for failure in traffic.failures
    )


def test_every_acknowledged_prediction_is_in_the_lake_once(stack: Stack, traffic: Traffic) -> None:
    traffic.end()
    for _ in range(120):
        if stack.champion()["log"]["rows_waiting"] == 0:
            break
        time.sleep(1)
    counts = json.loads(stack.inside("python", "-c", COUNT, stdin=json.dumps(traffic.acknowledged)))
    print(f"\n{counts['asked']} rows were acknowledged, {len(traffic.failures)} requests failed")
    assert counts["asked"] > 1000 and counts["missing_count"] == 0 and counts["repeated"] == []


def test_a_backup_brings_everything_back(stack: Stack, tmp_path: Path) -> None:
    before = stack.champion()
    logged = _objects(stack)
    print(stack.run("infra/compose/volumes", "save", str(tmp_path)))
    assert stack.champion()["version"] == before["version"]
    with pytest.raises(AssertionError, match="stay as they are"):
        stack.run("infra/compose/volumes", "restore", str(tmp_path))
    stack.down()
    print(stack.run("infra/compose/volumes", "restore", str(tmp_path)))
    stack.up()
    after = stack.champion()
    assert (after["version"], after["trained_through"]) == (
        before["version"],
        before["trained_through"],
    )
    assert _objects(stack) >= logged
    lines = stack.inside("python", "-m", "deployments.apply").splitlines()
    assert {line.split()[0] for line in lines} == {"unchanged"}


def _objects(stack: Stack) -> set[str]:
    script = (
        "from blocks.lake import Lake; from blocks.settings import Settings; "
        "print(*Lake.of(Settings.read()).list('predictions/flights'))"
    )
    return set(stack.inside("python", "-c", script).split())
