"""Answers and rollbacks by way of a real service and a real Prefect: a run that is suspended goes
on with what an operator said.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, suspend_flow_run
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.input import RunInput
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelled

from blocks.settings import Settings
from tests.fakes.registry import RegistryServer
from tests.fixtures.browser import CHROMIUM, MISSING, Browser
from tests.fixtures.lake_records import write_decision
from tests.fixtures.packages import write_package
from tests.fixtures.processes import ServiceProcess, wait_until
from tests.fixtures.slack_calls import SECRET, ReplyServer, form, payload, signed

CASE = "operated"
PATH = f"/v1/{CASE}"


class Answer(RunInput):
    approved: bool
    by: str
    why: str = ""


@flow(name="approve")
async def approve(use_case: str, version: str, asked_by: str) -> dict[str, Any]:
    """As the flow of that name waits: suspended, and with the same question."""
    said = await suspend_flow_run(wait_for_input=Answer, timeout=3600)
    return {"version": version, "approved": said.approved, "by": said.by, "why": said.why}


@flow(name="rollback")
async def rollback(use_case: str, version: str | None = None, reason: str = "asked for") -> None:
    """Never run here: only that a run of it is made is looked at."""


@flow(name="retrain")
async def retrain(use_case: str) -> Any:
    return await suspend_flow_run(wait_for_input=Answer, timeout=3600)


@dataclass
class Operated:
    """The service, Prefect as a client sees it, and where Slack gets its answers."""

    service: ServiceProcess
    prefect: SyncPrefectClient
    replies: ReplyServer
    deployments: dict[str, UUID]

    def suspended(self, one: Any = approve, deployment: str = "approve", **parameters: Any) -> str:
        """The id of a run that waits. It was begun in this process, as a worker does."""
        given = (
            {"use_case": CASE, "version": "3", "asked_by": "1"}
            if one is approve
            else {"use_case": CASE}
        )
        run = self.prefect.create_flow_run_from_deployment(
            self.deployments[deployment], parameters=given | parameters
        )
        self.go_on(one, str(run.id))
        assert self.state(str(run.id)) == "PAUSED"
        return str(run.id)

    def go_on(self, one: Any, run: str) -> Any:
        """What a worker does with a run that is scheduled; the result, or ``None`` for a run that
        was suspended.
        """
        found = self.prefect.read_flow_run(UUID(run))
        with suppress(Pause):
            return asyncio.run(run_flow(one, flow_run=found, parameters=found.parameters))  # type: ignore[arg-type]
        return None

    def state(self, run: str) -> str | None:
        state = self.prefect.read_flow_run(UUID(run)).state
        return state.type.value if state else None

    def press(self, action: str, value: dict[str, Any], **changed: Any) -> int:
        body = form(payload(action, value, f"{self.replies.url}/actions/1", **changed))
        return self.service.client.post(
            "/slack/actions", content=body, headers=signed(body)
        ).status_code

    def told(self, number: int) -> str:
        wait_until(lambda: len(self.replies.texts) >= number, "Slack is told")
        return self.replies.texts[number - 1]


@pytest.fixture(scope="module")
def operated(stack: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    folder = tmp_path_factory.mktemp("operated")
    given = {
        "serving_use_cases": CASE,
        "prefect_url": stack.prefect_api_url,
        "slack_signing_secret": SECRET,
    }
    with (
        RegistryServer(folder / "artifacts") as registry,
        ReplyServer() as replies,
        temporary_settings({PREFECT_API_URL: stack.prefect_api_url}),
        SyncPrefectClient(stack.prefect_api_url) as prefect,
    ):
        registry.register(CASE, 2, lambda package: write_package(package, CASE, bias=1.0))
        registry.crown(CASE, 2)
        deployments = {
            name: prefect.create_deployment(
                prefect.create_flow(one),
                CASE,
                parameter_openapi_schema={},
                enforce_parameter_schema=False,
            )
            for name, one in {"approve": approve, "rollback": rollback, "retrain": retrain}.items()
        }
        with ServiceProcess(
            folder, registry.url, slack_api_url=f"{replies.url}/api/", **given
        ) as service:
            wait_until(
                lambda: service.client.get(PATH).json()["version"] == "2", "version 2 is served"
            )
            yield Operated(service, prefect, replies, deployments)


@pytest.fixture(autouse=True)
def nothing_told(operated: Operated) -> None:
    operated.replies.messages.clear()


def by_route(operated: Operated, run: str, approved: bool) -> None:
    answer = operated.service.client.post(
        f"{PATH}/approvals/{run}", json={"approved": approved, "by": "minsu", "why": "as seen"}
    )
    assert answer.status_code == 200, answer.text


def by_button(operated: Operated, run: str, approved: bool) -> None:
    action = "laurel.approve" if approved else "laurel.reject"
    assert operated.press(action, {"use_case": CASE, "run": run}, why="as seen") == 200
    assert operated.told(1).startswith(
        "Approved by minsu (U012ABC)" if approved else "Rejected by minsu (U012ABC)"
    )


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("way", [by_route, by_button])
def test_a_run_that_is_suspended_goes_on_with_the_answer(
    operated: Operated, way: Callable[..., None], approved: bool
) -> None:
    run = operated.suspended()
    way(operated, run, approved)
    assert operated.state(run) == "SCHEDULED"
    said = operated.go_on(approve, run)
    assert (said["version"], said["approved"], said["why"]) == ("3", approved, "as seen") and said[
        "by"
    ].startswith("minsu")


def test_the_states_of_a_run_are_told_as_prefect_goes_through_them(operated: Operated) -> None:
    answers = []

    def answer(run: str) -> None:
        said = operated.service.client.post(
            f"{PATH}/approvals/{run}", json={"approved": True}
        ).json()
        answers.append(said["error"]["code"] if "error" in said else "taken")

    early = operated.prefect.create_flow_run_from_deployment(
        operated.deployments["approve"], parameters={"use_case": CASE}
    )
    answer(str(early.id))
    run = operated.suspended()
    answer(run)
    answer(run)
    operated.go_on(approve, run)
    answer(run)
    cancelled = operated.suspended()
    operated.prefect.set_flow_run_state(UUID(cancelled), Cancelled(), force=True)
    answer(cancelled)
    assert answers == ["not_yet", "taken", "answered", "over", "over"]


def test_of_answers_at_once_from_two_sides_one_counts(operated: Operated) -> None:
    for _ in range(3):
        run = operated.suspended()
        path = f"{PATH}/approvals/{run}"
        with ThreadPoolExecutor(4) as people:
            answers = list(
                people.map(
                    lambda n, to=path: operated.service.client.post(
                        to, json={"approved": n % 2 == 0, "by": str(n)}
                    ),
                    range(4),
                )
            )
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409], [
            answer.text for answer in answers
        ]
        (taken,) = [answer.json() for answer in answers if answer.status_code == 200]
        said = operated.go_on(approve, run)
        assert (said["approved"], said["by"]) == (taken["approved"], taken["by"])


def test_a_forged_run_lets_nothing_else_go_on(operated: Operated) -> None:
    other = operated.suspended(retrain, "retrain")
    foreign = operated.suspended(use_case="flights")
    for number, run in enumerate([other, foreign, "00000000-0000-4000-8000-000000000000"], 1):
        assert (
            operated.service.client.post(
                f"{PATH}/approvals/{run}", json={"approved": True}
            ).status_code
            == 404
        )
        assert operated.press("laurel.approve", {"use_case": CASE, "run": run}) == 200
        assert "has no such approve run" in operated.told(number)
    assert (operated.state(other), operated.state(foreign)) == ("PAUSED", "PAUSED")


def test_a_rollback_is_a_run_of_its_deployment_and_a_button_starts_one(operated: Operated) -> None:
    answer = operated.service.client.post(
        f"{PATH}/rollback", json={"version": "1", "why": "it is slow", "champion": "2"}
    )
    assert answer.status_code == 202, answer.text
    run = operated.prefect.read_flow_run(UUID(answer.json()["run"]))
    assert run.deployment_id == operated.deployments["rollback"]
    assert (run.parameters["use_case"], run.parameters["version"]) == (
        CASE,
        "1",
    ) and run.parameters["reason"].endswith("it is slow")
    value, message = (
        {"use_case": CASE, "version": None, "from": "2"},
        {"channel_id": "C01", "message_ts": str(time.time())},
    )
    for number, user in enumerate(["U1", "U2"], 1):
        assert operated.press("laurel.rollback", value, user=user, container=message) == 200
        operated.told(number)
    assert "rolls operated back" in operated.told(
        1
    ) and "already started a rollback" in operated.told(2)
    assert (
        operated.told(1).split("flow-run/")[1][:36] == operated.told(2).split("flow-run/")[1][:36]
    )


@pytest.mark.skipif(CHROMIUM is None, reason=MISSING)
def test_an_operator_approves_and_rolls_back_on_the_page(operated: Operated) -> None:
    run = operated.suspended()
    lake = operated.service.lake
    write_decision(lake, "2026-11-21T05:00:00.000+00:00", "keep", use_case=CASE)
    question = {
        "kind": "approval",
        "run": run,
        "facts": {"until": "2026-11-22T05:00:00+00:00"},
        "promoted": False,
    }
    write_decision(lake, "2026-11-21T05:00:01.000+00:00", "asked", use_case=CASE, **question)
    with Browser() as browser, browser.open(f"http://127.0.0.1:{operated.service.port}/") as page:
        page.wait_for("document.querySelector('.approvals button')", "the question is there")
        assert "May challenger 3 take the crown from champion 2?" in page.text(".approvals h3")
        page.evaluate(f"document.getElementById('answer-{CASE}-{run}-why').focus()")
        page.type_text("checked by hand")
        page.evaluate("document.querySelector('.approvals button.primary').focus()")
        page.press("Enter")
        page.wait_for("document.querySelector('.approvals [role=status]')", "the answer is taken")
        wait_until(lambda: operated.state(run) == "SCHEDULED", "the run goes on")
        page.evaluate("document.querySelector('.rollback summary').focus()")
        page.press("Enter")
        page.evaluate(f"document.getElementById('rollback-{CASE}-version').focus()")
        page.type_text("1")
        page.press("Enter")
        page.wait_for("document.querySelector('dialog[open]')", "it asks before anything happens")
        assert "Version 2 serves. Give the crown to version 1?" in page.text("dialog")
        page.evaluate("document.querySelector('dialog button.primary').focus()")
        page.press("Enter")
        page.wait_for(
            "document.querySelector('.rollback [role=status]')", "the rollback has started"
        )
        started = page.evaluate(
            "document.querySelector('.rollback [role=status] a').href"
        ).rpartition("/")[2]
        assert page.problems == []
    assert operated.prefect.read_flow_run(UUID(started)).parameters["version"] == "1"
    said = operated.go_on(approve, run)
    assert (said["approved"], said["why"]) == (True, "checked by hand")
