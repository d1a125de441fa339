"""The ECS work pool on a real Prefect server and prefect-aws's own worker; moto plays ECS, and a
process plays the instance.

In the order of the file. What moto does not do is done as the cloud does it: the task's command is
run with the task's environment, and a lost task is told to the worker by its queue. Afterwards the
pool is gone, with its runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Crashed, Running

from blocks.clients.registry import CHAMPION
from blocks.lake import Lake
from blocks.registry import ModelRegistry
from blocks.settings import REPOSITORY, Settings
from deployments.apply.command import apply_now
from deployments.apply.pools import PoolError
from deployments.servers.environment import environment, prefect_auth
from deployments.servers.seaweedfs import BIN
from tasks.data.dataset import versions
from tests.conftest import FIXTURES
from tests.fakes.slack import SlackServer
from tests.fixtures.ecs import ROLES, Cloud, Instance
from tests.fixtures.processes import wait_until

CASE = "toy_retrain"
DEPLOYED = {"toy": ("ingest", "retrain"), CASE: ("retrain", "train", "close_lost_run")}
pytestmark = [
    pytest.mark.usefixtures("deployed_cases"),
    pytest.mark.nightly("runs as tasks of a pool that is a cluster"),
]


@dataclass(frozen=True)
class Place:
    """The pool ``ec2`` of type ``ecs``, with its server, its cloud, and instances as they are asked
    for.
    """

    settings: Settings
    cloud: Cloud
    prefect: SyncPrefectClient
    lake: Lake
    registry: ModelRegistry
    folder: Path

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        found = self.prefect.read_deployment_by_name(deployment)
        return self.prefect.create_flow_run_from_deployment(found.id, parameters=parameters)

    def task(self, run: FlowRun, attempt: int = 1) -> dict[str, Any]:
        """The ECS task that the worker started for that attempt of the run."""
        wait_until(
            lambda: len(self.cloud.tasks(run.id)) >= attempt,
            f"the worker starts task {attempt} of {run.name}",
            seconds=180,
        )
        return self.cloud.tasks(run.id)[attempt - 1]

    def instance(self, name: str) -> Instance:
        return Instance(self.cloud, self.folder / name, f"{REPOSITORY}{os.pathsep}{FIXTURES}")

    def state(self, run: FlowRun) -> str:
        state = self.prefect.read_flow_run(run.id).state
        return state.name if state and state.name else ""

    def past_states(self, run: FlowRun) -> list[str]:
        return [state.name or "" for state in self.prefect.read_flow_run_states(run.id)]

    def wait_for(self, run: FlowRun, *states: str) -> None:
        wait_until(
            lambda: self.state(run) in states,
            f"{run.name} is {' or '.join(states)}, not {self.state(run)}",
            seconds=180,
        )

    def steps(self, run: FlowRun) -> dict[str, list[str]]:
        """How each step ended, by its name: in every subflow of the run, the earlier ones first."""
        everything = self.prefect.read_flow_runs(limit=200)
        by_parent = {one.parent_task_run_id: one for one in everything if one.parent_task_run_id}
        found, ask = dict[str, list[str]](), [run.id]
        while ask:
            steps = self.prefect.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[ask.pop(0)])), limit=200
            )
            for step in sorted(steps, key=lambda step: str(step.start_time)):
                found.setdefault(step.name.partition("-")[0], []).append(step.state_name or "")
                ask += [by_parent[step.id].id] if step.id in by_parent else []
        return found


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with Cloud() as cloud:
        yield cloud


@pytest.fixture(scope="module")
def prefect(guarded_stack: Settings) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(
        guarded_stack.prefect_api_url, auth_string=prefect_auth(guarded_stack)
    ) as client:
        yield client


@pytest.fixture(scope="module")
def asked(guarded_stack: Settings, cloud: Cloud) -> Settings:
    """What ``apply --pool-type ecs`` is given."""
    arn = cloud.secret("laurel/prefect", prefect_auth(guarded_stack) or "")
    other = cloud.secret("laurel/warehouse", "postgresql://not-to-be-seen-either")
    return cloud.settings(
        guarded_stack, ecs_secrets=f"PREFECT_API_AUTH_STRING={arn}, WAREHOUSE_URL={other}"
    )


def changes(settings: Settings, **given: Any) -> dict[str, str]:
    return {
        one.name: one.change for one in apply_now(settings, **given) if one.change != "unchanged"
    }


def test_pool_of_another_type_is_refused_with_the_way_out(
    guarded_stack: Settings, asked: Settings, prefect: SyncPrefectClient
) -> None:
    assert prefect.read_work_pool("ec2").type == "process"
    with pytest.raises(
        PoolError, match="is of type 'process', and Prefect cannot change a pool's type"
    ) as refused:
        apply_now(asked, pool_type="ecs")
    assert "prefect work-pool delete ec2 && python -m deployments.apply --pool-type ecs" in str(
        refused.value
    )
    assert prefect.read_work_pool("ec2").type == "process" and prefect.read_deployments() == []
    found = changes(guarded_stack)
    assert found.pop("ec2 (process)") == "updated", (
        "the worker made the pool, without the command that starts runs"
    )
    assert {change for name, change in found.items() if "/" in name} == {"created"}
    assert prefect.read_deployment_by_name("retrain/toy").pull_steps == [
        {"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}
    ]


@pytest.fixture(scope="module")
def place(
    guarded_stack: Settings,
    asked: Settings,
    cloud: Cloud,
    prefect: SyncPrefectClient,
    tmp_path_factory: Any,
) -> Iterator[Place]:
    """By the way out that the refusal names."""
    control = [str(BIN / "supervisorctl"), "-c", "supervisord.conf", "stop", "worker"]
    subprocess.run(control, cwd=guarded_stack.state, check=True, capture_output=True)
    prefect.delete_work_pool("ec2")
    apply_now(asked, pool_type="ecs")
    for deployment in prefect.read_deployments():
        for schedule in deployment.schedules:
            prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
    folder = tmp_path_factory.mktemp("instances")
    worker = cloud.worker(asked, folder / "worker.log")
    lake, registry = Lake.of(guarded_stack), ModelRegistry.of(guarded_stack)
    yield Place(asked, cloud, prefect, lake, registry, folder)
    worker.terminate()
    worker.wait(30)
    for run in prefect.read_flow_runs():
        if run.state is None or not run.state.is_final():
            prefect.delete_flow_run(run.id)
    prefect.delete_work_pool("ec2")


def test_deployments_join_the_new_pool_and_applying_again_changes_nothing(place: Place) -> None:
    assert place.prefect.read_work_pool("ec2").type == "ecs"
    assert {one.work_pool_name for one in place.prefect.read_deployments()} == {"ec2"}
    assert changes(place.settings, pool_type="ecs") == {}


def test_pool_is_left_alone_where_no_type_is_asked_for(
    place: Place, guarded_stack: Settings
) -> None:
    """As somebody does who knows nothing of the cluster: neither the pool nor where its flow runs
    find the code may change.
    """
    knows_nothing = guarded_stack.model_copy(update={"ecs_home": place.settings.ecs_home})
    assert changes(knows_nothing) == {}


def test_image_that_changes_reaches_the_pool(place: Place) -> None:
    newer = place.settings.model_copy(update={"ecs_image": "laurel-flows:2"})
    assert changes(newer, pool_type="ecs") == {"ec2 (ecs)": "updated"}
    assert (
        place.prefect.read_work_pool("ec2").base_job_template["variables"]["properties"]["image"][
            "default"
        ]
        == "laurel-flows:2"
    )
    assert changes(place.settings, pool_type="ecs") == {"ec2 (ecs)": "updated"}


@pytest.fixture(scope="module")
def ingest(place: Place) -> FlowRun:
    return place.run("ingest/toy")


def test_run_becomes_a_task_on_the_capacity_provider_as_the_settings_say(
    place: Place, ingest: FlowRun
) -> None:
    task = place.task(ingest)
    definition = place.cloud.definition(task)
    container, override = definition["containerDefinitions"][0], task["overrides"]
    assert (definition["networkMode"], definition["requiresCompatibilities"]) == ("awsvpc", ["EC2"])
    assert (container["name"], container["image"], container["stopTimeout"]) == (
        "prefect",
        place.settings.ecs_image,
        90,
    )
    assert (override["taskRoleArn"], definition["executionRoleArn"]) == (
        f"{ROLES}/laurel-flow",
        f"{ROLES}/laurel-flow-execution",
    )
    assert container["logConfiguration"] == {
        "logDriver": "awslogs",
        "options": {
            "awslogs-create-group": "false",
            "awslogs-group": "/laurel/flows",
            "awslogs-region": "eu-central-1",
            "awslogs-stream-prefix": "flows",
        },
    }
    assert (task["capacityProviderName"], task.get("launchType", "")) == ("laurel-flows", "")
    assert task["containerInstanceArn"]
    assert override["containerOverrides"][0]["command"] == ["prefect", "flow-run", "execute"]


def test_size_of_the_task_is_the_deployments_own(place: Place, ingest: FlowRun) -> None:
    retrain = place.run("retrain/toy")
    sizes = []
    for run in (ingest, retrain):
        task = place.task(run)
        definition, override = place.cloud.definition(task), task["overrides"]
        sizes.append((definition["cpu"], definition["memory"], override["cpu"], override["memory"]))
    assert sizes == [("1024", "3072", "1024", "3072"), ("2048", "6144", "2048", "6144")]
    place.prefect.delete_flow_run(retrain.id)


def environment_of(task: dict[str, Any]) -> dict[str, str]:
    return {
        one["name"]: one["value"]
        for one in task["overrides"]["containerOverrides"][0]["environment"]
    }


def test_environment_of_the_task_is_the_images_and_not_the_workers(
    place: Place, ingest: FlowRun
) -> None:
    given = environment_of(place.task(ingest))
    assert given["PREFECT_API_URL"] == place.settings.prefect_url
    assert given["PREFECT_HOME"] == "/var/lib/laurel/prefect"
    assert (given["LAUREL_HOME"], given["LAUREL_STATE"]) == (str(REPOSITORY), "/var/lib/laurel")
    assert given["PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR"] == "reschedule"
    assert given["PREFECT__FLOW_RUN_ID"] == str(ingest.id)
    assert "PYTHONPATH" not in given, "the image knows where its packages are"


def test_no_secret_stands_in_a_task_in_plain_text(place: Place, ingest: FlowRun) -> None:
    task = place.task(ingest)
    definition = place.cloud.definition(task)
    everything = json.dumps(
        [task, definition, place.prefect.read_work_pool("ec2").base_job_template], default=str
    )
    settings = place.settings
    keys = [
        settings.prefect_auth,
        settings.mlflow_password,
        settings.serving_key,
        settings.s3_secret_key,
        settings.s3_access_key,
        settings.slack_token,
        settings.serving_webhook_secret,
    ]
    secrets = [key.get_secret_value() for key in keys if key is not None]
    secrets += [secrets[0].partition(":")[2], "not-to-be-seen-either"]
    assert len(secrets) == 9 and [secret for secret in secrets if secret in everything] == []
    assert "AWS_ACCESS_KEY_ID" not in environment_of(task)
    named = {
        one["name"]: one["valueFrom"] for one in definition["containerDefinitions"][0]["secrets"]
    }
    assert named.keys() == {"PREFECT_API_AUTH_STRING", "WAREHOUSE_URL"} and all(
        arn.startswith("arn:") for arn in named.values()
    )


def test_the_tasks_own_command_completes_the_run_on_an_empty_disk(
    place: Place, ingest: FlowRun
) -> None:
    process = place.instance("first").start(place.task(ingest))
    assert process.wait(240) == 0, (place.folder / "first" / "log").read_text()[-2000:]
    assert place.state(ingest) == "Completed"
    assert len(versions(place.lake, "toy")) == 1
    assert [path for path in place.lake.list("results") if path.endswith(".partial")] == []
    assert len(place.lake.list("results")) >= 3, "the steps kept no results"


@contextmanager
def in_mid_train(
    place: Place, run: FlowRun, name: str, attempt: int = 1
) -> Iterator[tuple[Instance, "subprocess.Popen[bytes]"]]:
    """The run on an instance of its own, held in the middle of its first fit. What is left of it is
    killed.
    """
    instance = place.instance(name)
    (instance.disk / "hold").touch()
    process = instance.start(place.task(run, attempt))
    try:
        wait_until(
            (instance.disk / "held").exists,
            f"{run.name} is in mid-train on {name}: {instance.disk / 'log'}",
            seconds=180,
        )
        yield instance, process
    finally:
        instance.take_away()
        process.wait(60)


def written(place: Place) -> dict[str, int | list[str]]:
    """How much of each kind there is for the use case, and its decisions in order."""
    entries = [json.loads(place.lake.read(path)) for path in place.lake.list(f"decisions/{CASE}")]
    return {
        "dataset versions": len(versions(place.lake, CASE)),
        "fitted models": len(place.registry.runs(CASE, {})),
        "registered versions": len(place.registry.versions(CASE)),
        "decisions": [f"{entry['kind']} {entry['verdict']}" for entry in entries],
    }


@pytest.fixture(scope="module")
def drained(place: Place) -> FlowRun:
    """A retrain whose instance gives a spot notice in mid-train: the agent drains the instance, and
    SIGTERM comes to the task first.
    """
    run = place.run(f"retrain/{CASE}", through="2024-03")
    with in_mid_train(place, run, "draining") as (_, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        place.wait_for(
            run, "AwaitingRetry", "Scheduled", "Pending", "Submitting", "InfrastructurePending"
        )
        place.cloud.tell_lost(place.task(run), exit_code=0)
    return run


@pytest.fixture(scope="module")
def lost(place: Place, drained: FlowRun) -> FlowRun:
    """The same run, whose next instance is taken away in mid-train, without a word: the worker
    hears of it from its queue.
    """
    with in_mid_train(place, drained, "taken-away", attempt=2) as (instance, _):
        instance.take_away()
        assert place.state(drained) == "Running"
        place.cloud.tell_lost(place.task(drained, attempt=2))
        wait_until(
            lambda: "Crashed" in place.past_states(drained),  # it is in the queue again soon after
            f"{drained.name} is crashed",
            seconds=180,
        )
    return drained


def test_run_on_an_instance_that_gives_notice_goes_back_into_the_queue(
    place: Place, drained: FlowRun
) -> None:
    assert place.task(drained, attempt=2)["taskArn"] != place.task(drained)["taskArn"]
    assert "Crashed" not in place.past_states(drained)
    assert written(place)["decisions"] == ["retrain started"]


def test_run_lost_with_its_instance_is_crashed_and_nothing_half_written_is_to_be_seen(
    place: Place, lost: FlowRun
) -> None:
    assert written(place) == {
        "dataset versions": 1,
        "fitted models": 0,
        "registered versions": 0,
        "decisions": ["retrain started"],
    }
    assert place.registry.at(CASE, CHAMPION) is None


def test_lost_run_completes_on_another_instance_and_finished_steps_are_not_done_again(
    place: Place, lost: FlowRun, slack: SlackServer
) -> None:
    place.wait_for(lost, "Scheduled", "Pending", "Submitting", "InfrastructurePending")
    told = len(slack.messages)
    process = place.instance("another").start(place.task(lost, attempt=3))
    assert process.wait(240) == 0, (place.folder / "another" / "log").read_text()[-3000:]
    assert place.state(lost) == "Completed"
    assert place.prefect.read_flow_run(lost.id).run_count == 3
    assert place.past_states(lost).count("Crashed") == 1 and place.cloud.tasks(lost.id)[3:] == [], (
        "what was rescheduled by itself was rescheduled again"
    )
    steps = place.steps(lost)
    again = {"ask_governor": 3, "check_service": 3}  # what they answer may have changed meanwhile
    assert {name: states.count("Completed") for name, states in steps.items()} == dict.fromkeys(
        steps, 1
    ) | {"ingest 2024": 3} | again
    assert [steps[name] for name in ("plan_training", "announce_training")] == [
        ["Completed", "Cached", "Cached"]
    ] * 2
    assert steps["fit logistic"] == ["Crashed", "Running", "Completed"], (
        "it was not the interrupted step that was done again"
    )
    decisions = ["retrain started", "contest promote", "crown crowned", "retrain promoted"]
    assert written(place) == {
        "dataset versions": 1,
        "fitted models": 3,
        "registered versions": 2,
        "decisions": decisions,
    }
    champion = place.registry.at(CASE, CHAMPION)
    assert champion is not None and champion.tags["laurel.holdout"] == "2024-03"
    assert [
        message["text"]
        for message in slack.messages[told:]
        if "training started" in message["text"]
    ] == [], "people were told twice"


def test_crowning_that_was_lost_half_way_gives_the_alias_back_to_who_was_crowned(
    place: Place,
) -> None:
    """Its first attempt gave the alias and was lost; in the second one the service does not take
    the new champion.
    """
    crowned = place.registry.at(CASE, CHAMPION)
    untried = next(
        one for one in place.registry.versions(CASE) if crowned and one.number != crowned.number
    )
    assert crowned is not None
    place.registry.set_alias(untried, CHAMPION)
    code = (
        "from prefect import flow\nfrom tasks.steps.crown import Crowning, crown\nfrom "
        "tasks.outside.blocks_of_run import registry\n"
    )
    why = f"Crowning({crowned.number!r}, ['a test'])"
    code += (
        f"flow(lambda: crown(registry().version({CASE!r}, {untried.number!r}), {why}), "
        "name='again')()"
    )
    supervisor = [str(BIN / "supervisorctl"), "-c", "supervisord.conf"]
    subprocess.run(
        [*supervisor, "stop", "service"], cwd=place.settings.state, check=True, capture_output=True
    )
    given = {
        **os.environ,
        **environment(place.settings),
        "LAUREL_PROMOTE_TIMEOUT_SECONDS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    subprocess.run(
        [*supervisor, "start", "service"], cwd=place.settings.state, check=True, capture_output=True
    )
    assert done.returncode != 0 and f"The alias is back at {crowned.number}." in done.stderr, (
        done.stderr[-2000:]
    )
    now = place.registry.at(CASE, CHAMPION)
    assert now is not None and now.number == crowned.number


def test_run_that_is_lost_three_times_stays_crashed(place: Place) -> None:
    doomed, witness = (
        place.run(f"train/{CASE}", holdout=holdout) for holdout in ("2024-02", "2024-03")
    )
    for attempt in (1, 2, 3):
        place.task(doomed, attempt)
        place.prefect.set_flow_run_state(doomed.id, Running(), force=True)
        place.prefect.set_flow_run_state(
            doomed.id, Crashed(message="as the observer says"), force=True
        )
        if attempt < 3:
            place.task(doomed, attempt + 1)
    place.task(witness)
    place.prefect.set_flow_run_state(witness.id, Running(), force=True)
    place.prefect.set_flow_run_state(
        witness.id, Crashed(message="as the observer says"), force=True
    )
    place.task(witness, 2)
    assert (place.state(doomed), len(place.cloud.tasks(doomed.id))) == ("Crashed", 3)
