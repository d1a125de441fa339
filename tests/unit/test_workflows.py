"""GitHub's workflows: pinned, with time limits, without needless rights, and calling only what
exists.
"""

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from blocks.settings import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (REPOSITORY / "Makefile").read_text()
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    """Return the workflow; ``on`` is a boolean in YAML 1.1, and a name here."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in document.items()}


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    return read(path)["jobs"]


def runs(path: Path) -> list[str]:
    """Return the script of every step."""
    return [step["run"] for job in jobs(path).values() for step in job["steps"] if "run" in step]


def modules(script: str) -> list[str]:
    return re.findall(r"python -m ((?:\w+\.)*\w+)", script)


def test_there_are_five_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "deploy", "nightly", "release", "train"]


@each_workflow
def test_every_action_is_pinned_by_a_commit_with_its_version_beside_it(path: Path) -> None:
    uses = re.findall(r"^\s*(?:- )?uses: (.+)$", path.read_text(), re.MULTILINE)
    assert len(uses) == sum("uses" in step for job in jobs(path).values() for step in job["steps"])
    assert [
        line
        for line in uses
        if not re.fullmatch(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)
    ] == []


def test_an_action_has_one_commit_everywhere() -> None:
    actions = {
        line
        for path in WORKFLOWS
        for line in re.findall(r"uses: (.+)$", path.read_text(), re.MULTILINE)
    }
    assert len({line.partition("@")[0] for line in actions}) == len(actions)


@each_workflow
def test_every_job_has_a_time_limit_and_its_own_permissions(path: Path) -> None:
    assert read(path)["permissions"] == {}
    assert {
        name for name, job in jobs(path).items() if not 0 < job.get("timeout-minutes", 0) <= 150
    } == set()
    assert {name for name, job in jobs(path).items() if not job.get("permissions")} == set()


def test_only_those_jobs_may_write_that_have_to() -> None:
    writes = {
        (path.stem, name): {
            right for right, level in job["permissions"].items() if level == "write"
        }
        for path in WORKFLOWS
        for name, job in jobs(path).items()
    }
    assert {place: rights for place, rights in writes.items() if rights} == {
        ("deploy", "plan"): {"id-token", "pull-requests"},
        ("deploy", "deploy"): {"id-token"},
        ("release", "release"): {"attestations", "contents", "id-token", "packages"},
        ("train", "retrain"): {"id-token", "pull-requests"},
    }


@each_workflow
def test_no_workflow_runs_with_the_rights_of_the_base_for_code_of_a_pull_request(
    path: Path,
) -> None:
    assert set(read(path)["on"]) <= {"pull_request", "push", "schedule", "workflow_dispatch"}


@each_workflow
def test_checkouts_keep_no_token(path: Path) -> None:
    checkouts = [
        step
        for job in jobs(path).values()
        for step in job["steps"]
        if "actions/checkout@" in step.get("uses", "")
    ]
    assert checkouts and all(step["with"]["persist-credentials"] is False for step in checkouts)


@each_workflow
def test_no_expression_stands_in_a_script(path: Path) -> None:
    """An expression's value becomes part of the script: a branch named ``$(...)`` would run."""
    assert [script for script in runs(path) if "${{" in script] == []


@each_workflow
def test_jobs_with_rights_on_pull_requests_are_closed_to_forks(path: Path) -> None:
    for name, job in jobs(path).items():
        if "pull_request" in read(path)["on"] and "id-token" in job["permissions"]:
            condition = " ".join(job["if"].split())
            closed = (
                "github.event.pull_request.head.repo.full_name == github.repository" in condition
            )
            assert closed or "github.event_name != 'pull_request'" in condition, name


@each_workflow
def test_secrets_are_given_to_jobs_of_an_environment_only(path: Path) -> None:
    for name, job in jobs(path).items():
        secrets = set(re.findall(r"secrets\.(\w+)", yaml.safe_dump(job)))
        assert not secrets or "environment" in job, (name, secrets)


@each_workflow
def test_no_cache_is_read_or_written(path: Path) -> None:
    """A pull request could poison it for the next deployment."""
    assert "actions/cache" not in path.read_text() and not re.search(
        r"^\s+cache: ", path.read_text(), re.MULTILINE
    )


@each_workflow
def test_every_command_of_make_is_there(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    names = {target for script in runs(path) for target in re.findall(r"\bmake ([a-z-]+)", script)}
    assert names and names <= targets


@each_workflow
def test_every_module_that_is_run_is_there_and_takes_the_options_that_it_is_given(
    path: Path,
) -> None:
    for script in runs(path):
        for module in modules(script):
            assert file_of(module).exists(), module
    used = {
        option
        for script in runs(path)
        for line in script.splitlines()
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]+", line)
    }
    ours = {module for script in runs(path) for module in modules(script)}
    own = {option for module in ours for option in options(file_of(module))}
    foreign = {
        "--tag",
        "--file",
        "--quiet",
        "--names",
        "--query",
        "--output",
        "--repository-name",
        "--image-ids",
        "--hypothesis-profile",
        "--notes-file",
        "--repo",
        "--title",
        "--verify-tag",
    }
    assert used - own - foreign == set()


def file_of(module: str) -> Path:
    """Return the file of ``python -m module``; a folder's is its module ``command``."""
    path = REPOSITORY / module.replace(".", "/")
    return path / "command.py" if (path / "__main__.py").exists() else path.with_suffix(".py")


def options(file: Path) -> set[str]:
    """Return the options of the module's parser, read from its source."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return {text for text in texts if re.fullmatch(r"--[a-z][a-z-]+", text)}


def test_python_versions_are_those_that_the_project_takes() -> None:
    required = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"][
        "requires-python"
    ]
    tested = jobs(REPOSITORY / ".github/workflows/ci.yml")["test"]["strategy"]["matrix"]["python"]
    assert required == f">={tested[0]}"
    assert set(tested) == set(re.findall(r"\bpython(3\.\d+)\b", MAKEFILE))


def test_terraform_is_of_one_version_and_one_that_the_stacks_take() -> None:
    used = {
        step["with"]["terraform_version"]
        for path in WORKFLOWS
        for job in jobs(path).values()
        for step in job["steps"]
        if "setup-terraform" in step.get("uses", "")
    }
    assert len(used) == 1
    least = re.search(
        r'required_version = ">= ([\d.]+)"',
        (REPOSITORY / "infra/terraform/cluster/versions.tf").read_text(),
    )
    assert least and tuple(map(int, least[1].split("."))) <= tuple(map(int, used.pop().split(".")))


@each_workflow
def test_every_script_is_one_that_bash_can_read(path: Path) -> None:
    for script in runs(path):
        process = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert process.returncode == 0, process.stderr


def test_every_folder_that_dependabot_looks_into_is_there() -> None:
    updates = yaml.safe_load((REPOSITORY / ".github/dependabot.yml").read_text())["updates"]
    folders = [
        folder
        for update in updates
        for folder in update.get("directories", [update.get("directory")])
    ]
    assert [folder for folder in folders if not (REPOSITORY / folder.lstrip("/")).is_dir()] == []


def variables_and_secrets() -> set[str]:
    text = "\n".join(path.read_text() for path in WORKFLOWS)
    return set(re.findall(r"(?:vars|secrets)\.(\w+)", text))


def test_every_variable_and_secret_is_in_the_guide() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \|", (REPOSITORY / "docs" / "github.md").read_text(), re.MULTILINE
    )
    assert set(rows) == variables_and_secrets()
