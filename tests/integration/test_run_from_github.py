"""A retrain as the workflow runs it: started through the API, waited for, reported on a pull
request and in Slack. In the file's order.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Running

from blocks.service import ModelService
from blocks.settings import REPOSITORY
from deployments.checks.smoke import check_service
from deployments.github import pull_request_comment
from deployments.runs import run_and_wait
from flows.retrain import retrain
from tests.fakes.github import GitHubServer
from tests.fixtures.processes import free_port, wait_until
from tests.integration.planting import Loop

pytestmark = pytest.mark.nightly("runs on a worker, as GitHub starts them")

CASE, IDLE = "toy_github", "toy_idle"
DEPLOYED = {CASE: ("retrain", "close_lost_run")}


@dataclass(frozen=True)
class Ran:
    """What the command left: exit code, report, what it printed."""

    code: int
    report: str
    printed: str


Command = Callable[..., Ran]


@pytest.fixture
def command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """``python -m deployments.runs.run_and_wait``, in this process."""

    def run(use_case: str, *arguments: str) -> Ran:
        report = tmp_path / "report.md"
        code = run_and_wait.main(
            ["--use-case", use_case, "--report", str(report), "--poll-seconds", "0.5", *arguments]
        )
        return Ran(code, report.read_text(), "".join(capfd.readouterr()))

    return run


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubServer]:
    with GitHubServer() as server:
        server.pull_request(12)
        yield server


def comment(github: GitHubServer, report: Path) -> int:
    arguments = [
        str(report),
        "--repository",
        github.repository,
        "--number",
        "12",
        "--name",
        "contest",
        "--api-url",
        github.url,
    ]
    return pull_request_comment.main(arguments)


def test_retrain_started_from_outside_crowns_the_first_champion_and_says_so(
    loop: Loop, github: GitHubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process of its own, as the workflow starts it."""
    before, report = len(loop.slack.messages), tmp_path / "contest.md"
    told = [
        "--report",
        str(report),
        "--tell-slack",
        "--link",
        "pull request=https://github.example/team/models/pull/12",
    ]
    arguments = [
        "--use-case",
        CASE,
        "--parameter",
        "through=2024-03",
        "--parameter",
        "reason=pull request 12",
        *told,
    ]
    done = subprocess.run(
        [sys.executable, "-m", "deployments.runs.run_and_wait", *arguments],
        cwd=REPOSITORY,
        env=os.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    champion = loop.crowned(CASE)
    assert champion is not None and loop.served(CASE) == champion
    assert done.stdout.splitlines()[-1].startswith(
        f"Version {champion} is the first champion of {CASE}, "
    )
    assert "run: Running" in done.stdout and "promote: Completed" in done.stdout
    assert report.read_text().startswith(
        f"## {CASE}: Version {champion} is the first champion of {CASE}, "
    )
    assert "\n\n### Promote: challenger " in report.read_text()
    assert [text for text in loop.told(CASE, before) if "retrain from GitHub: Version" in text]
    assert "pull request: https://github.example/team/models/pull/12" in loop.told(CASE, before)[-1]
    monkeypatch.setenv("LAUREL_GITHUB_TOKEN", github.token)
    assert comment(github, report) == 0
    assert "Promote" in github.comments[0]["body"]


def test_next_contest_stands_in_the_same_comment_with_both_scores(
    loop: Loop,
    command: Command,
    github: GitHubServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = command(
        CASE,
        "--parameter",
        "through=2024-07",
        "--link",
        "workflow run=https://github.example/run/7",
    )
    assert ran.code == 0, ran.printed
    decision = loop.decisions(CASE, "contest")[-1]
    assert decision["champion"] is not None, ran.report
    assert (
        f"challenger {decision['challenger']} against champion {decision['champion']}" in ran.report
    )
    main = decision["contest"]["main"]
    assert (
        f"| hold-out | roc_auc | {main['champion']:.4f} | {main['challenger']:.4f} |" in ran.report
    )
    rows = [line for line in ran.report.splitlines() if line.endswith(" |")]
    steps = [row.split(" | ")[0] for row in rows[-4:]]
    assert steps == ["| ingest", "| train", "| evaluate", "| promote"]
    assert (
        "/runs/flow-run/" in ran.report
        and "[workflow run](https://github.example/run/7)" in ran.report
    )
    monkeypatch.setenv("LAUREL_GITHUB_TOKEN", github.token)
    assert comment(github, tmp_path / "report.md") == 0
    assert (
        len(github.comments) == 1
        and f"against champion {decision['champion']}" in github.comments[0]["body"]
    )


def test_the_workflow_s_scripts_retrain_and_comment_on_a_runner_and_say_that_nothing_is_newer(
    loop: Loop, github: GitHubServer, tmp_path: Path
) -> None:
    """The text of train.yml's own steps, in a checkout, with a runner's variables."""
    for one in [".venv", "deployments", "blocks", "flows", "usecases"]:
        (tmp_path / one).symlink_to(Path(sys.prefix) if one == ".venv" else REPOSITORY / one)
    job = yaml.safe_load((REPOSITORY / ".github/workflows/train.yml").read_text())["jobs"][
        "retrain"
    ]
    steps = {step["name"]: step for step in job["steps"] if "run" in step}
    unset = dict.fromkeys(["STACK", "LAUREL_PREFECT_AUTH", "LAUREL_SLACK_TOKEN"], "")
    given = {
        **unset,
        **{
            name: os.environ[name]
            for name in ("LAUREL_PREFECT_URL", "LAUREL_SLACK_CHANNEL")
            if name in os.environ
        },
        **{
            "USE_CASE": CASE,
            "THROUGH": "2024-07",
            "PAGE": "https://github.example/team/models/pull/12",
        },
        **{
            "RUN": "https://github.example/team/models/actions/runs/7",
            "NUMBER": "12",
            "LAUREL_GITHUB_TOKEN": github.token,
        },
    }
    runner = {name: value for name, value in os.environ.items() if name not in given}
    runner |= {
        "GITHUB_REPOSITORY": github.repository,
        "GITHUB_API_URL": github.url,
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    for name in (
        "Retrain and wait",
        "Show the contest on the run's page",
        "Comment on the pull request",
    ):
        # A step sees the job's variables and its own, and what is not set is empty there.
        own = {
            one: given[one] for one in {**job["env"], **steps[name].get("env", {})} if one in given
        }
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[name]["run"]],
            cwd=tmp_path, env={**runner, **own}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    (comment,) = [
        one["body"]
        for one in github.comments
        if one["body"].startswith("<!-- laurel:contest-toy_github -->")
    ]
    report = (tmp_path / "summary").read_text()
    assert comment.endswith(report)
    assert report.startswith(f"## {CASE}: Champion ") and "has learned 2024-07" in report
    assert "No contest was held." in report and "Promote" not in report
    assert "[change](https://github.example/team/models/pull/12) · [workflow run]" in comment


def test_failed_retrain_exits_1_and_the_report_has_its_error(command: Command) -> None:
    ran = command(CASE, "--parameter", "through=1999-01")
    assert ran.code == 1
    assert (
        ran.report.startswith(f"## {CASE}: retrain Failed")
        and "It ended as Failed: " in ran.report
        and "1999-01" in ran.report
    )


def test_the_service_answers_as_the_champion_that_was_crowned(loop: Loop) -> None:
    service = ModelService.of(loop.settings)
    champion = loop.crowned(CASE)
    assert check_service(service, CASE, champion).startswith(
        f"{CASE}: version {champion} answers, "
    )


def test_deployment_that_is_not_there_is_said_with_the_command_that_makes_it(
    command: Command,
) -> None:
    ran = command("nobody")
    assert (
        ran.code,
        "There is no deployment 'retrain/nobody'. Register it: python -m deployments.apply"
        in ran.report,
    ) == (1, True)


def test_use_case_that_is_new_in_an_image_runs_by_another_ones_deployment(
    loop: Loop, command: Command
) -> None:
    """The process pool of this stack cannot run images; the run is there all the same, and what a
    container would be told is on it.
    """
    command(
        "toy_left_out_of_nothing",
        "--image",
        "registry.example/laurel-flows@sha256:1",
        "--timeout-minutes",
        "0",
        "--worker-minutes",
        "9",
    )
    # Asked for by tag: an answer holds two hundred runs at most, and the stack may have had more of
    # them.
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=["toy_left_out_of_nothing"]))
    newest = max(
        loop.prefect.read_flow_runs(flow_run_filter=wanted), key=lambda run: str(run.created)
    )
    assert newest.parameters["use_case"] == "toy_left_out_of_nothing"
    assert newest.job_variables["image"] == "registry.example/laurel-flows@sha256:1"


@pytest.fixture(scope="module")
def idle(loop: Loop) -> str:
    """A deployment on a pool that no worker serves: its runs stay as they are put. Returns the
    pool's name.
    """
    loop.prefect.create_work_pool(WorkPoolCreate(name="nobody-works", type="process"))
    flow_id = loop.prefect.create_flow(retrain)
    loop.prefect.create_deployment(
        flow_id, IDLE, work_pool_name="nobody-works", entrypoint="flows.retrain.retrain"
    )
    return "nobody-works"


def idle_runs(loop: Loop) -> list[FlowRun]:
    deployment = loop.prefect.read_deployment_by_name(f"retrain/{IDLE}")
    found = loop.prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
    )
    return sorted(found, key=lambda run: str(run.created))


def test_pool_without_a_worker_is_said_and_the_run_never_begins(
    loop: Loop, idle: str, command: Command
) -> None:
    ran = command(IDLE, "--worker-minutes", "0.01")
    assert ran.code == 1
    assert (
        f"no worker of the work pool '{idle}' is online. Start one: prefect worker start "
        f"--pool {idle}"
    ) in ran.report
    assert idle_runs(loop)[-1].state_name == "Cancelled"


def test_run_that_never_begins_is_cancelled_when_the_time_is_over(
    loop: Loop, idle: str, command: Command
) -> None:
    ran = command(IDLE, "--timeout-minutes", "0.01")
    assert ran.code == 1 and "it had not started (no machine free in the work pool" in ran.report
    assert idle_runs(loop)[-1].state_name == "Cancelled"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Cancelled(message="by hand"), "It ended as Cancelled: by hand"),
        (Crashed(message="the machine went away"), "It ended as Crashed: the machine went away"),
        (
            Completed(message="out of thin air"),
            "It completed, but left no decision among its artifacts",
        ),
        (
            Completed(name="Skipped", message="another retrain of 'toy' is at work"),
            "It was skipped: another retrain of 'toy' is at work.",
        ),
        (Running(), "The run did not end within 3 s and continues unwatched."),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else "",
)
def test_whatever_else_becomes_of_the_run_is_exit_1_and_in_the_report(
    state: object, said: str, loop: Loop, idle: str, command: Command
) -> None:
    known = len(idle_runs(loop))
    with ThreadPoolExecutor(1) as aside:

        def settle() -> None:
            wait_until(lambda: len(idle_runs(loop)) > known, "the run is there")
            loop.prefect.set_flow_run_state(idle_runs(loop)[-1].id, state, force=True)  # type: ignore[arg-type]

        settled = aside.submit(settle)
        ran = command(IDLE, "--timeout-minutes", "0.05")
        settled.result()
    assert (ran.code, said in ran.report) == (1, True), ran.report


def test_server_that_is_away_is_said_with_its_address(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_PREFECT_URL", f"http://127.0.0.1:{free_port()}/api")
    ran = command(CASE)
    assert (
        ran.code == 1
        and "does not answer (ConnectError). Is LAUREL_PREFECT_URL right" in ran.report
    )
