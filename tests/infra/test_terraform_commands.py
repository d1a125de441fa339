"""Runs every command, entry point and health check of a stack's containers, taken from the plan,
with the task's environment.

A health check must fail until the program answers, and then succeed: if it never does, ECS ends the
deployment."""

import base64
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from blocks.settings import REPOSITORY
from tests.fixtures.network import Network, own_network
from tests.fixtures.postgres import PASSWORD, postgres, program
from tests.fixtures.processes import wait_until
from tests.infra.containers import Container, Image, parameters, task_containers
from tests.infra.terraform import Plan

BOX = REPOSITORY / "infra/terraform/single/box"
SERVERS = ("prefect", "mlflow", "worker", "serving")
NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
}
Tasks = dict[str, dict[str, Container]]
needs_postgres = pytest.mark.skipif(
    program("initdb") is None,
    reason="needs PostgreSQL's server (Debian: apt-get install postgresql)",
)


@pytest.fixture(scope="module")
def values(cluster_plan: Plan) -> dict[str, str]:
    """The contents of Parameter Store and Secrets Manager, with local host names and passwords."""
    known = {
        name: value.replace("prefect.laurel.internal", "127.0.0.1")
        for name, value in parameters(cluster_plan).items()
    }
    database = "127.0.0.1:5432"
    return known | {
        "LAUREL_MLFLOW_URL": "http://127.0.0.1:5000",
        "LAUREL_SERVING_URL": "http://127.0.0.1:8080",
        "LAUREL_PREFECT_AUTH": "laurel:prefect-password",
        "LAUREL_MLFLOW_PASSWORD": "mlflow-password",
        "LAUREL_SERVING_KEY": "laurel_0123456789012345678901234567890123456789012",
        "LAUREL_DATABASE_ADMIN": f"postgresql://laurel:{PASSWORD}@{database}/postgres",
        "LAUREL_PREFECT_DATABASE": f"postgresql+asyncpg://prefect:one@{database}/prefect",
        "LAUREL_MLFLOW_STORE": f"postgresql://mlflow:two@{database}/mlflow",
        "LAUREL_MLFLOW_AUTH_STORE": f"postgresql://mlflow:two@{database}/mlflow_auth",
    }  # fmt: skip


@pytest.fixture(scope="module")
def containers(
    cluster_plan: Plan, values: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Tasks:
    """Task -> its containers by name; they cannot reach AWS."""
    folder = tmp_path_factory.mktemp("tasks")
    tasks = {}
    for service in (*SERVERS, "command"):
        task = task_containers(cluster_plan, f"laurel-{service}", values, folder / service)
        for container in task.values():
            container.environment.update(NOWHERE)
        tasks[service] = task
    return tasks


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with own_network() as network:
        if taken_ports := network.refuses(4200, 5000, 5432, 8080):
            pytest.skip(
                f"needs root on Linux for a network of its own, or the ports {taken_ports} of "
                "this machine"
            )
        yield network


@pytest.fixture(scope="module")
def stack(network: Network, containers: Tasks) -> Iterator[set[str]]:
    """Prefect, MLflow and the worker at once, each after its preparation, as ECS starts them;
    returns the names of the healthy ones.
    """
    with ExitStack() as running, network.inside():
        running.enter_context(postgres(5432))
        for service, by_name in containers.items():
            if "preparation" in by_name:
                ended = by_name["preparation"].run()
                assert ended.returncode == 0, f"preparation of {service}: {ended.stderr}"
        started = []
        for service in ("prefect", "mlflow", "worker"):
            assert not containers[service][service].is_healthy(), (
                f"{service} is healthy before it runs"
            )
            started.append(running.enter_context(containers[service][service].running()))
        for program in started:
            wait_until(
                program.is_well,
                f"{program.container.name} is well; see {program.container.folder}",
                seconds=600,
            )
        with network.outside():
            yield {program.container.name for program in started}


@needs_postgres
def test_prefect_mlflow_and_worker_get_well_with_the_environment_of_their_tasks(
    stack: set[str],
) -> None:
    """The worker before there is a pool: a later command makes the pool, once all services are
    healthy.
    """
    assert stack == {"prefect", "mlflow", "worker"}


@needs_postgres
def test_servers_find_the_databases_that_their_preparation_made(
    stack: set[str], containers: Tasks
) -> None:
    assert "LAUREL_DATABASE_ADMIN" in containers["prefect"]["preparation"].environment
    assert not [
        name for name in SERVERS if "LAUREL_DATABASE_ADMIN" in containers[name][name].environment
    ]
    assert "LAUREL_MLFLOW_STORE" not in containers["prefect"]["prefect"].environment
    assert "LAUREL_PREFECT_DATABASE" not in containers["mlflow"]["mlflow"].environment


@needs_postgres
def test_health_checks_of_compose_find_the_same_servers_well(
    stack: set[str], network: Network, containers: Tasks
) -> None:
    services = yaml.safe_load((REPOSITORY / "compose.yaml").read_text())["services"]
    for service in sorted(stack):
        with network.inside():
            assert containers[service][service].is_healthy(
                services[service]["healthcheck"]["test"]
            ), service
    path = f"{Path(str(program('pg_isready'))).parent}:/usr/bin:/bin"
    checked = services["postgres"]["healthcheck"]["test"]
    with network.inside():
        assert subprocess.run(checked[1:], env={"PATH": path}, check=False).returncode == 0


@needs_postgres
def test_a_command_runs_with_the_environment_of_its_task(
    stack: set[str], network: Network, containers: Tasks, cluster_plan: Plan
) -> None:
    """The command that EventBridge starts for a new object: it reaches Prefect, and says that the
    deployment does not exist yet.
    """
    command = containers["command"]["command"]
    assert command.run().returncode == 0  # the image's own: Prefect's version
    (target,) = [
        target
        for target in cluster_plan.planned("aws_cloudwatch_event_target").values()
        if target.get("input_transformer")
    ]
    filled = (
        target["input_transformer"][0]["input_template"]
        .replace("<key>", "incoming/flights/2013-03.csv")
        .replace("<write>", "0055AED6")
    )
    (override,) = json.loads(filled)["containerOverrides"]
    with network.inside():
        ended = command.run(override["command"])
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "ingest" in ended.stderr


def test_the_model_service_is_well_by_its_own_check_and_by_that_of_its_image(
    containers: Tasks,
) -> None:
    serving, image = containers["serving"]["serving"], Image.read("serving")
    with own_network() as network, network.inside():
        if network.refuses(8080):
            pytest.skip(
                "needs root on Linux for a network of its own, or the port 8080 of this machine"
            )
        for check in (serving.health, image.health):
            assert not serving.is_healthy(check)
        with serving.running() as running:
            wait_until(running.is_well, f"the service is well; it said:\n{running.log()}")
            assert serving.is_healthy(image.health)
        for check in (serving.health, image.health):
            assert not serving.is_healthy(check)


def test_the_health_check_of_the_service_says_which_argument_it_lacks(containers: Tasks) -> None:
    ended = containers["serving"]["serving"].run(["python", "-m", "serving.health"])
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "python -m serving.health <port>" in ended.stderr


def test_every_container_of_the_plan_is_one_that_is_run_here(
    cluster_plan: Plan, containers: Tasks
) -> None:
    planned = {
        definition["family"].removeprefix("laurel-")
        for definition in cluster_plan.planned("aws_ecs_task_definition").values()
    }
    assert planned == set(containers)
    assert {name for made in containers.values() for name in made} == {
        *SERVERS,
        "command",
        "preparation",
    }
    for service in SERVERS:
        assert containers[service][service].health, f"nobody looks whether {service} is well"


def test_an_instance_tells_the_agent_what_the_agent_knows(
    cluster_plan: Plan, tmp_path: Path
) -> None:
    """Run the user data, with /etc/ecs elsewhere. The agent ignores unknown names."""
    for template in cluster_plan.planned("aws_launch_template").values():
        script = (
            base64.b64decode(template["user_data"]).decode().replace("/etc/ecs/", f"{tmp_path}/")
        )
        (tmp_path / "ecs.config").unlink(missing_ok=True)
        subprocess.run(["sh", "-eu"], input=script, text=True, check=True)
        agent_settings = dict(
            line.split("=", 1) for line in (tmp_path / "ecs.config").read_text().splitlines()
        )
        assert agent_settings["ECS_CLUSTER"] == "laurel"
        # Unused images are removed; prefer-cached would keep every image, and the disk would fill
        # up.
        assert agent_settings["ECS_IMAGE_PULL_BEHAVIOR"] in ("once", "default")
        assert agent_settings["ECS_DISABLE_IMAGE_CLEANUP"] == "false"
        assert set(agent_settings) <= AGENT


# From the README of https://github.com/aws/amazon-ecs-agent: the variables in use, and likely
# additions.
AGENT = {
    "ECS_CLUSTER",
    "ECS_ENABLE_SPOT_INSTANCE_DRAINING",
    "ECS_AWSVPC_BLOCK_IMDS",
    "ECS_CONTAINER_STOP_TIMEOUT",
    "ECS_IMAGE_PULL_BEHAVIOR",
    "ECS_DISABLE_IMAGE_CLEANUP",
    "ECS_IMAGE_CLEANUP_INTERVAL",
    "ECS_IMAGE_MINIMUM_CLEANUP_AGE",
    "ECS_NUM_IMAGES_DELETE_PER_CYCLE",
    "ECS_ENGINE_TASK_CLEANUP_WAIT_DURATION",
    "ECS_ENABLE_CONTAINER_METADATA",
    "ECS_RESERVED_MEMORY",
    "ECS_LOGLEVEL",
}


@pytest.fixture
def box(tmp_path: Path) -> dict[str, str]:
    """A box on which /srv/laurel and /etc/laurel are test folders, and docker and mountpoint print
    their arguments.
    """
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name in ("laurel-install", "laurel-compose"):
        text = (
            (BOX / name)
            .read_text()
            .replace("/srv/laurel", f"{tmp_path}/srv")
            .replace("/etc/laurel", f"{tmp_path}/etc")
        )
        (bin_folder / name).write_text(text)
    (bin_folder / "docker").write_text(f'#!/bin/sh\necho "docker $*" >> {tmp_path}/asked\n')
    (bin_folder / "mountpoint").write_text("#!/bin/sh\nexit 0\n")
    for path in bin_folder.iterdir():
        path.chmod(0o755)
    for name in ("srv", "etc"):
        (tmp_path / name).mkdir()
    return {**os.environ, "PATH": f"{bin_folder}:/usr/bin:/bin", "HOME": str(tmp_path)}


def test_the_box_fetches_its_revision_once_and_starts_compose(
    single_plan: Plan, box: dict[str, str], tmp_path: Path
) -> None:
    """The units' commands of cloud-init, run in their order; the repository is this one."""
    cloud = yaml.safe_load(single_plan.document["planned_values"]["outputs"]["cloud_init"]["value"])
    files = {file["path"]: file["content"] for file in cloud["write_files"]}
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.strip()
    variables = files["/etc/laurel/box.env"].replace(
        "https://git.example.org/laurel.git", f"file://{REPOSITORY}"
    )
    variables = re.sub(r"BOX_REVISION=.*", f"BOX_REVISION={revision}", variables)
    (tmp_path / "etc/box.env").write_text(variables)
    environment = box | dict(line.split("=", 1) for line in variables.splitlines())
    unit = files["/etc/systemd/system/laurel.service"]
    lines = [
        line.partition("=")[2].removeprefix("/usr/local/sbin/").split()
        for line in unit.splitlines()
        if re.match(r"ExecStart(Pre)?=", line)
    ]
    assert [line[0] for line in lines] == ["laurel-install", "laurel-compose"]
    for _ in range(2):
        for line in lines:
            ended = subprocess.run(
                [f"{tmp_path}/bin/{line[0]}", *line[1:]],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ended.returncode == 0, ended.stderr
    app = tmp_path / "srv/app"
    files_of = f"--file {app}/compose.yaml --file {app}/infra/terraform/single/box/compose.yaml"
    up = f"docker compose --project-directory {app} {files_of} up --detach --remove-orphans"
    built = f"docker compose --project-directory {app} {files_of} build --quiet"
    assert (tmp_path / "asked").read_text().splitlines() == [built, up, up]
    assert (app / ".env").stat().st_mode & 0o777 == 0o600
