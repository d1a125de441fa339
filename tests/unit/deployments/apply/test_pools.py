"""Job templates: what an ECS pool takes from prefect-aws, from the repository and from the
settings; a process pool's command.
"""

from datetime import UTC, datetime
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.settings.models.root import Settings as PrefectSettings
from prefect.utilities.templating import apply_values, find_placeholders
from prefect.workers.process import ProcessWorker
from prefect_aws.workers.ecs_worker import ECSWorker
from pydantic import ValidationError

from blocks.settings import Settings
from deployments.apply.automations import (
    NEVER_STARTED,
    NOT_NEEDED,
    SILENT,
    close_lost_run,
    crash_on_lost_heartbeat,
    crash_on_lost_start,
    rerun_lost_run,
)
from deployments.apply.pools import (
    ENGINE,
    LAUNCHER,
    REQUIRED,
    PoolError,
    PoolType,
    ecs_template,
    process_template,
)
from deployments.apply.written import written_deployments
from deployments.servers.environment import environment, flow_run_environment
from tasks.ledger import lost_runs
from tasks.steps.approve import runs as approval_runs
from usecases.definition import load

SECRET_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:laurel/prefect-AbCdEf"  # noqa: S105 - an address
GIVEN = {f"ecs_{name}": f"the-{name}" for name in REQUIRED} | {
    "prefect_url": "http://prefect.internal:4200/api"
}


def template(**changed: Any) -> dict[str, Any]:
    return ecs_template(Settings.model_validate(GIVEN | changed))


def test_every_missing_setting_is_named_in_one_error() -> None:
    with pytest.raises(PoolError) as caught:
        ecs_template(Settings.model_validate({"ecs_cluster": "laurel"}))
    variables = {f"LAUREL_ECS_{name.upper()}" for name in REQUIRED if name != "cluster"} | {
        "LAUREL_PREFECT_URL"
    }
    assert {
        word.strip(":,") for word in str(caught.value).split() if word.startswith("LAUREL_")
    } == variables


@pytest.mark.parametrize(
    "text", ["hunter2", "PASSWORD=hunter2", f"A={SECRET_ARN},B=hunter2", "=hunter2"]
)
def test_secret_that_is_given_instead_of_its_address_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(PoolError, match="LAUREL_ECS_SECRETS is NAME=ARN") as caught:
        template(ecs_secrets=text)
    assert "hunter2" not in str(caught.value)


def test_all_fields_of_the_library_stay_and_every_field_that_is_used_is_there() -> None:
    own_template, library = template(), ECSWorker.get_default_base_job_template()
    fields = own_template["variables"]["properties"]
    assert fields.keys() > library["variables"]["properties"].keys()
    assert own_template["job_configuration"].keys() == library["job_configuration"].keys()
    assert {
        placeholder.name for placeholder in find_placeholders(own_template["job_configuration"])
    } <= fields.keys()
    assert all("title" in field for field in fields.values())


def test_password_of_prefect_is_given_as_the_worker_wants_it_and_other_secrets_as_ecs_does() -> (
    None
):
    fields = template(
        ecs_secrets=f"PREFECT_API_AUTH_STRING={SECRET_ARN}, WAREHOUSE_URL={SECRET_ARN}:url::"
    )["variables"]["properties"]
    assert fields["prefect_api_auth_string_secret_arn"]["default"] == SECRET_ARN
    assert fields["secrets"]["default"] == [
        {"name": "WAREHOUSE_URL", "valueFrom": f"{SECRET_ARN}:url::"}
    ]


def job_on(provider: str, **values: Any) -> dict[str, Any]:
    """What Prefect makes of the template for a run."""
    given = template(ecs_capacity_provider=provider)
    defaults = {
        name: field["default"]
        for name, field in given["variables"]["properties"].items()
        if field.get("default") is not None
    }
    return apply_values(given["job_configuration"], defaults | values)


def test_provider_says_whether_a_run_is_on_fargate() -> None:
    for provider in ("FARGATE", "FARGATE_SPOT"):
        job = job_on(provider, cpu=2048, memory=6144)
        definition, request = job["task_definition"], job["task_run_request"]
        assert definition["requiresCompatibilities"] == ["FARGATE"]
        assert definition["networkMode"] == "awsvpc"
        assert definition["ephemeralStorage"] == {"sizeInGiB": 50}
        assert (definition["cpu"], definition["memory"]) == (2048, 6144)
        # By it prefect-aws gives the whole task a size; then the provider takes its place.
        assert request["launchType"] == "FARGATE"
        (strategy,) = request["capacityProviderStrategy"]
        assert strategy["capacityProvider"] == provider
    on_instances = job_on("laurel-flows")
    assert on_instances["task_definition"]["requiresCompatibilities"] == ["EC2"]
    assert "ephemeralStorage" not in on_instances["task_definition"]
    assert on_instances["task_run_request"]["launchType"] == "EC2"


def test_every_deployment_has_a_size_that_fargate_has() -> None:
    most = {1024: 8192, 2048: 16384, 4096: 30720}
    pool = template(ecs_capacity_provider="FARGATE")["variables"]["properties"]
    for deployment in written_deployments(Settings(), {"toy": load("toy")}, "ecs"):
        asked = deployment["work_pool"]["job_variables"]
        cpu = asked.get("cpu", pool["cpu"]["default"])
        memory = asked.get("memory", pool["memory"]["default"])
        assert 2 * cpu <= memory <= most[cpu] and memory % 1024 == 0, deployment["name"]


def test_secrets_of_the_settings_are_in_no_template() -> None:
    secrets = {
        "s3_access_key": "key-1",
        "s3_secret_key": "key-2",
        "slack_token": "key-3",
        "serving_key": "key-4",
        "prefect_auth": "key:5",
    }
    text = str(template(**secrets))
    assert [secret for secret in secrets.values() if secret in text] == []


def test_process_pool_gets_the_command_unless_somebody_chose_one_and_nothing_else_is_touched() -> (
    None
):
    default = ProcessWorker.get_default_base_job_template()
    completed = process_template(default)
    command = completed["variables"]["properties"]["command"]
    assert command["default"] == LAUNCHER
    command["default"] = ENGINE
    assert process_template(completed) == process_template(default), "what Laurel set before"
    del completed["variables"]["properties"]["command"]
    assert default["variables"]["properties"].pop("command")["default"] is None
    assert completed == default
    custom = process_template()
    custom["variables"]["properties"]["command"]["default"] = "nice python -m prefect.engine"
    assert process_template(custom) == custom
    del custom["variables"]["properties"]["command"]
    assert process_template(custom) == custom


def event(
    name: str, runs: int, *, state: str = "Crashed", of_deployment: bool = True
) -> ReceivedEvent:
    """An event of Prefect's server about a flow run in its attempt number ``runs``."""
    role = "deployment" if of_deployment else "flow"
    return ReceivedEvent.model_validate(
        {
            "occurred": datetime.now(UTC),
            "received": datetime.now(UTC),
            "event": f"prefect.flow-run.{name}",
            "id": uuid4(),
            "resource": {
                "prefect.resource.id": f"prefect.flow-run.{uuid4()}",
                "prefect.run-count": str(runs),
                "prefect.state-name": state,
                "prefect.state-type": "CRASHED",
            },
            "related": [
                {"prefect.resource.id": f"prefect.{role}.{uuid4()}", "prefect.resource.role": role}
            ],
        }
    )


@pytest.mark.parametrize(
    ("received", "again"),
    [
        (event("Crashed", 1), True),
        (event("Crashed", 2), True),
        (event("Crashed", 3), False),
        (event("Crashed", 0), False),
        (event("Crashed", 1, of_deployment=False), False),
        (event(SILENT, 1, state=SILENT), False),
        (event("Failed", 1), False),
    ],
    ids=["first", "second", "third", "never started", "subflow", "perhaps alive", "failed"],
)
def test_only_a_run_that_is_surely_gone_is_run_again_and_not_for_ever(
    received: ReceivedEvent, again: bool
) -> None:
    """By the server's own matching."""
    trigger = ServerTrigger.model_validate_json(rerun_lost_run().trigger.model_dump_json())
    assert (trigger.covers(received) and trigger.starts_after(received.event)) == again


def test_silent_run_is_crashed_under_a_name_that_is_not_run_again() -> None:
    action: Any = crash_on_lost_heartbeat(30).actions[0]
    assert (action.name, action.state.value) == (SILENT, "CRASHED")


@pytest.mark.parametrize("seconds", [30, 60, 300])
def test_three_heartbeats_may_be_missed_and_the_server_be_away_for_a_minute(seconds: int) -> None:
    settings = Settings.model_validate({"heartbeat_seconds": seconds})
    trigger: Any = crash_on_lost_heartbeat(settings.heartbeat_seconds).trigger
    assert trigger.within.total_seconds() == 3 * seconds + 60
    assert environment(settings)["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(seconds)
    for pool_type in get_args(PoolType):
        for spec in written_deployments(settings, {"toy": load("toy")}, pool_type):
            assert spec["work_pool"]["job_variables"]["env"][
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
            ] == str(seconds)
    assert template(heartbeat_seconds=seconds)["variables"]["properties"]["env"]["default"][
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    ] == str(seconds)


def test_the_address_of_dask_reaches_every_run_if_there_is_one() -> None:
    address = "tcp://10.0.1.7:8786"
    for pool_type in get_args(PoolType):
        for given in (None, address):
            settings = Settings(dask_address=given)
            for spec in written_deployments(settings, {"toy": load("toy")}, pool_type):
                env = spec["work_pool"]["job_variables"]["env"]
                assert env.get("LAUREL_DASK_ADDRESS") == given


def test_prefect_beats_as_often_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by Prefect itself: Prefect may change the variable's name."""
    for name, value in flow_run_environment(Settings()).items():
        monkeypatch.setenv(name, value)
    prefect_settings = PrefectSettings()
    assert (prefect_settings.flows.heartbeat_frequency, prefect_settings.client.max_retries) == (
        30,
        6,
    )


def test_a_frequency_that_prefect_would_refuse_is_refused_when_it_is_read() -> None:
    with pytest.raises(ValidationError, match="heartbeat_seconds"):
        Settings.model_validate({"heartbeat_seconds": 29})


def heartbeat(*tags: str) -> ReceivedEvent:
    related = [
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
        for tag in tags
    ]
    related.append(
        {
            "prefect.resource.id": f"prefect.deployment.{uuid4()}",
            "prefect.resource.role": "deployment",
        }
    )
    beat = event("heartbeat", 1)
    return beat.model_copy(
        update={
            "related": ReceivedEvent.model_validate(
                beat.model_dump() | {"related": related}
            ).related
        }
    )


@pytest.mark.parametrize(
    ("beat", "watched"),
    [(heartbeat("laurel", "toy"), True), (heartbeat("their-own"), False), (heartbeat(), False)],
)
def test_only_runs_that_beat_as_laurel_told_them_are_watched(
    beat: ReceivedEvent, watched: bool
) -> None:
    """By the server's own matching: another team's flows on the same server beat every 180 s."""
    trigger = ServerTrigger.model_validate_json(
        crash_on_lost_heartbeat(30).trigger.model_dump_json()
    )
    assert trigger.covers(beat) == watched


@pytest.mark.parametrize(
    "name", ["Suspended", "Resuming", "Running", "AwaitingRetry", "Champion stays", "Cancelled"]
)
def test_run_that_waits_or_came_to_an_end_is_owed_no_heartbeat_and_no_start(name: str) -> None:
    """By the server's own matching: any event of the run ends the wait, and none of these starts
    another.
    """
    happened = heartbeat("laurel").model_copy(update={"event": f"prefect.flow-run.{name}"})
    for automation in (crash_on_lost_heartbeat(30), crash_on_lost_start()):
        trigger = ServerTrigger.model_validate_json(automation.trigger.model_dump_json())
        assert (
            trigger.covers(happened)
            and trigger.expects(happened.event)
            and not trigger.starts_after(happened.event)
        )


CLOSER, WATCHED = uuid4(), uuid4()


@pytest.mark.parametrize(
    ("name", "message", "deployment", "closes"),
    [
        ("Crashed", "it died", WATCHED, True),
        ("Cancelled", "", WATCHED, True),
        (SILENT, "", WATCHED, True),
        (NEVER_STARTED, "", WATCHED, True),
        ("Cancelled", f"{NOT_NEEDED}approved", WATCHED, False),
        ("Crashed", "it died", CLOSER, False),
        ("Crashed", "it died", uuid4(), False),
        ("Failed", "it said so itself", WATCHED, False),
    ],
)
def test_whatever_ends_a_run_without_a_word_is_told_and_nothing_else(
    name: str, message: str, deployment: UUID, closes: bool
) -> None:
    """By the server's own matching. The closer's own crash would start another closer, and so
    on.
    """
    assert approval_runs.NOT_NEEDED == NOT_NEEDED and lost_runs.SILENT == SILENT
    trigger = ServerTrigger.model_validate_json(
        close_lost_run("toy", CLOSER, [WATCHED]).trigger.model_dump_json()
    )
    fields = event(name, 1, state=name).model_dump()
    fields["resource"]["prefect.state-message"] = message
    fields["related"] = [
        {
            "prefect.resource.id": f"prefect.deployment.{deployment}",
            "prefect.resource.role": "deployment",
        }
    ]
    happened = ReceivedEvent.model_validate(fields)
    assert (trigger.covers(happened) and trigger.expects(happened.event)) == closes
