"""``deployments.apply`` on a real Prefect server: what it makes, what it mends, and what it leaves
alone.
"""

import asyncio
import importlib
import pkgutil
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.workers.process import ProcessWorker

import flows
import usecases
from blocks.settings import REPOSITORY, Settings
from deployments.apply import command as apply
from deployments.apply.automations import FLOOD_SECONDS, crash_on_lost_heartbeat
from deployments.apply.command import _automation, apply_now, main, remove_now
from deployments.apply.pools import OTHER_RUNS, TRAINING, TRAINING_RUNS, process_template
from deployments.apply.webhook import apply_webhook
from tests.fixtures.deployed import deploy, deploy_the_rest, deployed
from tests.integration.planting import Loop
from usecases.definition import known


@pytest.fixture(scope="module", autouse=True)
def use_cases(applied: Settings) -> Iterator[None]:
    """Those of the stack; by itself the command takes all that are known."""
    assert apply.known is known
    deploy(applied, "flights", "toy")
    deploy_the_rest(applied)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(apply, "known", deployed)
        yield


def changes(settings: Settings) -> dict[str, str]:
    """What applying does, without the objects that it leaves alone."""
    return {one.name: one.change for one in apply_now(settings) if one.change != "unchanged"}


def all_flows() -> list[Flow[Any, Any]]:
    modules = [
        importlib.import_module(f"flows.{found.name}")
        for found in pkgutil.iter_modules(flows.__path__)
    ]
    found = [
        value for module in modules for value in vars(module).values() if isinstance(value, Flow)
    ]
    return list({flow.name: flow for flow in found}.values())


def automations(loop: Loop, name: str) -> list[dict[str, Any]]:
    answer = httpx.post(
        f"{loop.settings.prefect_api_url}/automations/filter",
        json={"automations": {"name": {"any_": [name]}}},
    )
    answer.raise_for_status()
    return answer.json()


def deployment(loop: Loop, name: str) -> DeploymentResponse:
    return loop.prefect.read_deployment_by_name(name)


def test_applying_again_changes_nothing(loop: Loop) -> None:
    before = {one.name: (one.id, one.updated) for one in loop.prefect.read_deployments()}
    assert [changes(loop.settings), changes(loop.settings)] == [{}, {}]
    assert {one.name: (one.id, one.updated) for one in loop.prefect.read_deployments()} == before


def test_every_flow_is_deployed_for_every_use_case_on_the_pool_ec2(loop: Loop) -> None:
    assert len(all_flows()) >= 8
    for flow in all_flows():
        for use_case in deployed():
            found = deployment(loop, f"{flow.name}/{use_case}")
            assert (found.work_pool_name, found.parameters, found.tags) == (
                "ec2",
                {"use_case": use_case},
                ["laurel", use_case],
            )
            assert found.description and found.enforce_parameter_schema
            assert found.job_variables["env"]["PYTHONPATH"].split(":") == [
                str(REPOSITORY),
                str(REPOSITORY / "tests" / "fixtures"),
                str(REPOSITORY / "examples"),
            ]
            assert found.pull_steps == [
                {"prefect.deployments.steps.set_working_directory": {"directory": str(REPOSITORY)}}
            ]
            assert "use_case" in found.parameter_openapi_schema["properties"]


def test_runs_are_started_by_the_worker_itself_whoever_made_the_pool(loop: Loop) -> None:
    """A worker that comes first makes a pool of its own, without a command."""
    found = loop.prefect.read_work_pool("ec2")
    assert found.base_job_template == process_template()
    bare = ProcessWorker.get_default_base_job_template()
    httpx.patch(
        f"{loop.settings.prefect_api_url}/work_pools/ec2", json={"base_job_template": bare}
    ).raise_for_status()
    changes(loop.settings)
    assert loop.prefect.read_work_pool("ec2").base_job_template == process_template()


def limits(loop: Loop) -> tuple[int | None, int | None]:
    """Of the pool and of the queue in which models are fitted."""
    pool, queue = (
        loop.prefect.read_work_pool("ec2"),
        httpx.get(f"{loop.settings.prefect_api_url}/work_pools/ec2/queues/training"),
    )
    return pool.concurrency_limit, queue.raise_for_status().json()["concurrency_limit"]


def test_runs_that_train_wait_for_each_other_and_a_limit_that_somebody_set_stays(
    loop: Loop,
) -> None:
    usual = TRAINING_RUNS["process"]
    assert limits(loop) == (usual + OTHER_RUNS, usual)
    queues = {
        name: deployment(loop, f"{name}/toy").work_queue_name
        for name in ("retrain", "train", "rollback", "close_lost_run")
    }
    assert queues == {
        "retrain": TRAINING,
        "train": TRAINING,
        "rollback": "default",
        "close_lost_run": "default",
    }
    httpx.patch(
        f"{loop.settings.prefect_api_url}/work_pools/ec2", json={"concurrency_limit": 3}
    ).raise_for_status()
    assert (changes(loop.settings), limits(loop)) == ({}, (3, usual))
    own = loop.settings.model_copy(update={"concurrent_runs": 4})
    assert (changes(own), limits(loop)) == ({"ec2/training": "updated"}, (4 + OTHER_RUNS, 4))
    assert changes(loop.settings) == {}
    changes(loop.settings.model_copy(update={"concurrent_runs": usual}))


def test_what_was_changed_on_the_server_is_brought_back_and_nothing_else_is_touched(
    loop: Loop,
) -> None:
    changed: dict[str, dict[str, Any]] = {
        "train/flights": {"description": "of somebody's own"},
        "ingest/flights": {"parameters": {"use_case": "flights", "through": "2013-01"}},
        "promote/toy": {"tags": ["other"]},
        "compare/toy": {"entrypoint": "flows.train.train"},
    }
    before = {name: deployment(loop, name) for name in changed}
    for name, change in changed.items():
        loop.prefect.update_deployment(before[name].id, DeploymentUpdate.model_validate(change))
    removed = deployment(loop, "drift_check/flights")
    loop.prefect.delete_deployment_schedule(removed.id, removed.schedules[0].id)
    assert changes(loop.settings) == dict.fromkeys([*changed, "drift_check/flights"], "updated")
    for name, change in changed.items():
        after = deployment(loop, name)
        assert {field: getattr(after, field) for field in change} == {
            field: getattr(before[name], field) for field in change
        }
        assert after.id == before[name].id
    assert [one.schedule.cron for one in deployment(loop, "drift_check/flights").schedules] == [
        "0 6 * * *"
    ]
    assert changes(loop.settings) == {}


def test_what_somebody_switched_on_or_off_stays_so_even_when_the_rest_is_updated(
    loop: Loop,
) -> None:
    switched = {"ingest/flights": False, "retrain/flights": True}
    for name, active in switched.items():
        found = deployment(loop, name)
        loop.prefect.update_deployment_schedule(found.id, found.schedules[0].id, active=active)
        loop.prefect.update_deployment(found.id, DeploymentUpdate(description="of somebody's own"))
    automation = automations(loop, "retrain toy on drift")[0]["id"]
    httpx.patch(
        f"{loop.settings.prefect_api_url}/automations/{automation}", json={"enabled": False}
    ).raise_for_status()
    assert changes(loop.settings) == dict.fromkeys(switched, "updated")
    assert {name: deployment(loop, name).schedules[0].active for name in switched} == switched
    assert [one["enabled"] for one in automations(loop, "retrain toy on drift")] == [False]
    for name, active in switched.items():
        found = deployment(loop, name)
        loop.prefect.update_deployment_schedule(found.id, found.schedules[0].id, active=not active)
    httpx.patch(
        f"{loop.settings.prefect_api_url}/automations/{automation}", json={"enabled": True}
    ).raise_for_status()


def test_active_schedules_make_runs_and_others_none(loop: Loop) -> None:
    def scheduled(name: str) -> int:
        one = DeploymentFilter(id=DeploymentFilterId(any_=[deployment(loop, name).id]))
        state = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        )
        return len(loop.prefect.read_flow_runs(deployment_filter=one, flow_run_filter=state))

    deadline = time.monotonic() + 90
    while not (scheduled("ingest/flights") and scheduled("drift_check/flights")):
        assert time.monotonic() < deadline, "the scheduler made no runs"
        time.sleep(0.5)
    assert scheduled("retrain/flights") == scheduled("train/flights") == 0


def test_a_second_automation_of_the_same_name_is_removed(loop: Loop) -> None:
    name = "retrain toy on drift"
    first = automations(loop, name)
    assert len(first) == 1
    twin = {
        key: first[0][key]
        for key in ("name", "description", "enabled", "tags", "trigger", "actions")
    }
    httpx.post(f"{loop.settings.prefect_api_url}/automations/", json=twin).raise_for_status()
    assert len(automations(loop, name)) == 2
    assert changes(loop.settings) == {}
    assert len(automations(loop, name)) == 1


def test_automation_is_the_same_in_whatever_order_its_events_are_listed(loop: Loop) -> None:
    """The order of a set of strings differs from process to process, and the server is another
    process.
    """
    events = [f"laurel.test.{number}" for number in range(100)]
    one, other = next((a, b) for a in events for b in events if list({a, b}) != list({b, a}))

    def automation(expect: set[str]) -> AutomationCore:
        trigger = EventTrigger(
            expect=expect, posture=Posture.Reactive, threshold=1, within=timedelta(0)
        )
        return AutomationCore(name="for a test", trigger=trigger, actions=[DoNothing()])

    async def apply_in_both_orders() -> list[str]:
        async with get_client() as client:
            changes = [
                await _automation(client, automation(expect))
                for expect in ({one, other}, {one, other}, {other, one})
            ]
            await client.delete_automation(
                (await client.read_automations_by_name("for a test"))[0].id
            )
            return changes

    assert asyncio.run(apply_in_both_orders()) == ["created", "unchanged", "unchanged"]


@pytest.mark.parametrize(
    "outcome",
    [
        "Completed",
        "Failed",
        "Champion stays",
        "Below the gate",
        "Nothing to do",
        "Skipped",
        "heartbeat",
    ],
)
def test_run_that_ended_is_not_waited_for(outcome: str) -> None:
    """By the server's own matching: else each run with an outcome of its own would be marked as
    crashed minutes later.
    """
    from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger

    trigger = ServerTrigger.model_validate_json(
        crash_on_lost_heartbeat(30).trigger.model_dump_json()
    )
    assert trigger.expects(f"prefect.flow-run.{outcome}")


def test_an_automation_that_is_another_than_it_should_be_is_brought_back(loop: Loop) -> None:
    """As one of an earlier version of Laurel."""
    found = automations(loop, "retrain toy on drift")[0]
    earlier = {
        key: found[key] for key in ("name", "description", "enabled", "tags", "trigger", "actions")
    }
    earlier["trigger"] = {**found["trigger"], "within": 3600}
    httpx.put(
        f"{loop.settings.prefect_api_url}/automations/{found['id']}", json=earlier
    ).raise_for_status()
    assert [one["trigger"]["within"] for one in automations(loop, "retrain toy on drift")] == [3600]
    assert changes(loop.settings) == {"retrain toy on drift": "updated"}
    assert [one["trigger"]["within"] for one in automations(loop, "retrain toy on drift")] == [
        FLOOD_SECONDS
    ]


def test_a_setting_that_changes_reaches_its_block(loop: Loop) -> None:
    changed = loop.settings.model_copy(update={"slack_channel": "#other"})
    expected = {"laurel-slack-notifier/slack": "updated"}
    try:
        assert changes(changed) == expected
    finally:
        back = changes(loop.settings)
    assert back == expected


def test_secrets_of_blocks_are_not_told_by_the_api(loop: Loop) -> None:
    settings, url = loop.settings, loop.settings.prefect_api_url
    assert settings.s3_secret_key and settings.slack_token
    secrets = [settings.s3_secret_key.get_secret_value(), settings.slack_token.get_secret_value()]
    shown = httpx.post(f"{url}/block_documents/filter", json={}).text
    whole = httpx.post(f"{url}/block_documents/filter", json={"include_secrets": True}).text
    assert "laurel-slack-notifier" in shown
    assert [secret in shown for secret in secrets] == [False, False]
    assert [secret in whole for secret in secrets] == [True, True], (
        "the blocks do not hold them at all"
    )
    elsewhere = (
        httpx.post(f"{url}/deployments/filter", json={}).text
        + httpx.post(f"{url}/work_pools/filter", json={}).text
    )
    assert not any(secret in elsewhere for secret in secrets)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody's own use cases beside those of the tests."""
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(tmp_path)])
    return tmp_path


COPY = """
from usecases.toy import USE_CASE as TOY

USE_CASE = TOY.model_copy(update={"name": "here_today"})
"""


def test_broken_file_is_told_in_a_line_and_every_other_use_case_is_applied(
    loop: Loop, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a_broken_file.py").write_text("import no_such_library\n")
    (folder / "helper.py").write_text("def clean(rows):\n    return rows\n")
    before = {one.name: one.updated for one in loop.prefect.read_deployments()}
    monkeypatch.setattr("sys.argv", ["apply"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 1
    assert "usecases/a_broken_file.py line 1: No module named 'no_such_library'." in printed.err
    assert "usecases/helper.py has no constant USE_CASE" in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert "unchanged  deployment retrain/toy\n" in printed.out
    assert {one.name: one.updated for one in loop.prefect.read_deployments()} == before
    monkeypatch.setattr("sys.argv", ["apply", "--tolerate-broken"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_removed_use_case_is_told_and_goes_only_when_a_person_says_so(
    loop: Loop, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names() -> set[str]:
        wanted = DeploymentFilter(name=DeploymentFilterName(any_=["here_today"]))
        return {str(one.id) for one in loop.prefect.read_deployments(deployment_filter=wanted)}

    file = folder / "here_today.py"
    file.write_text(COPY)
    apply_now(loop.settings)
    made, other = names(), deployment(loop, "train/toy").id
    assert len(made) == len(all_flows())
    with pytest.raises(ValueError, match=r"'here_today' has a file in usecases/"):
        remove_now(loop.settings, "here_today")
    file.unlink()
    told = [name for name, change in changes(loop.settings).items() if change == "no file"]
    assert [name.split(":")[0] for name in told] == [
        f"here_today still has {len(made)} deployments"
    ]
    assert "python -m deployments.apply --remove here_today" in told[0]
    assert names() == made
    gone = remove_now(loop.settings, "here_today")
    assert (
        "deployment retrain/here_today" in gone and "automation retrain here_today on drift" in gone
    )
    assert (names(), automations(loop, "retrain here_today on drift")) == (set(), [])
    assert deployment(loop, "train/toy").id == other
    assert changes(loop.settings) == {}
    with pytest.raises(
        ValueError, match="no deployment or automation that Laurel made for 'here_today'"
    ):
        remove_now(loop.settings, "here_today")


def test_the_local_stack_s_mlflow_calls_its_service(applied: Settings) -> None:
    (webhook,) = httpx.get(
        f"{applied.mlflow_tracking_uri}/api/2.0/mlflow/webhooks", trust_env=False
    ).json()["webhooks"]
    test = f"{applied.mlflow_tracking_uri}/api/2.0/mlflow/webhooks/{webhook['webhook_id']}/test"
    answer = httpx.post(test, json={}, trust_env=False, timeout=30).json()
    assert answer["result"]["response_status"] == 202, answer
    assert apply_webhook(applied) == "unchanged"


def test_a_server_that_is_away_is_an_error(loop: Loop) -> None:
    with pytest.raises(httpx.HTTPError):
        apply_now(loop.settings.model_copy(update={"prefect_url": "http://127.0.0.1:1/api"}))
