"""A repository of one's own: what is written, what is kept, and Laurel as a wheel in it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from blocks.settings import REPOSITORY
from laurel.main import main
from laurel.place import project, version
from tests.fixtures.wheel import install
from usecases.definition import known

OWN = ["toy"]


def test_a_repository_is_written_once_and_only_its_constraints_are_renewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "our models 모델"
    assert main(["init", str(folder), "--json"]) == 0
    first = json.loads(capsys.readouterr().out)["files"]
    assert set(first.values()) == {"written"} and ".gitignore" in first
    (folder / "requirements.txt").write_text("laurel-loop==9\nlightgbm==4.7.0\n")
    (folder / "constraints.txt").write_text("an older version's\n")
    assert main(["init", str(folder), "--json"]) == 0
    second = json.loads(capsys.readouterr().out)["files"]
    assert second == dict.fromkeys(first, "kept") | {"constraints.txt": "renewed"}
    assert (folder / "requirements.txt").read_text() == "laurel-loop==9\nlightgbm==4.7.0\n"


def test_constraints_are_what_pip_takes(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "ours")]) == 0
    lines = (tmp_path / "ours" / "constraints.txt").read_text().splitlines()[1:]
    assert len(lines) > 100
    assert not [line for line in lines if not re.match(r"[\w.-]+==[\w.!+]+(?: ;.*)?$", line)]
    assert f"laurel-loop=={version()}" in (tmp_path / "ours" / "requirements.txt").read_text()


def test_the_workflow_and_the_image_are_whole(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "ours")]) == 0
    workflow = yaml.safe_load((tmp_path / "ours" / ".github/workflows/checks.yml").read_text())
    assert workflow["permissions"] == {}
    scripts = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    for script in scripts:
        subprocess.run(["bash", "-n", "-c", script], check=True)
    image = (tmp_path / "ours" / "Dockerfile").read_text()
    assert "FROM ${LAUREL}\n" in image and f"ARG LAUREL=laurel-flows:{version()}\n" in image
    assert re.findall(r"^USER (\S+)", image, re.MULTILINE)[-1] == "10001:10001"


def test_actions_are_those_of_our_own_workflows(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path / "ours")]) == 0
    text = (tmp_path / "ours" / ".github/workflows/checks.yml").read_text()
    ours = (REPOSITORY / ".github" / "workflows" / "ci.yml").read_text()
    for action in re.findall(r"uses: (.+)$", text, re.MULTILINE):
        assert action in ours


def test_a_file_and_our_own_checkout_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["init", str(tmp_path / "file")]) == 1
    assert "is a file: name a folder" in capsys.readouterr().err
    assert main(["init", str(REPOSITORY / "ours")]) == 1
    assert "in Laurel's own checkout" in capsys.readouterr().err
    assert not (REPOSITORY / "ours").exists()


def test_the_project_is_the_nearest_folder_with_use_cases(tmp_path: Path) -> None:
    (tmp_path / "ours" / "usecases").mkdir(parents=True)
    (tmp_path / "ours" / "notebooks" / "old").mkdir(parents=True)
    assert project(tmp_path / "ours" / "notebooks" / "old") == tmp_path / "ours"
    assert project(tmp_path) == tmp_path


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ours = install(tmp_path_factory.mktemp("wheel"))
    shutil.copy(REPOSITORY / "tests/fixtures/usecases/toy.py", ours / "usecases")
    return ours


def in_project(ours: Path, program: str, folder: str = ".") -> str:
    """What ``program`` prints in a process that began as the command does."""
    begin = "import laurel.place; laurel.place.settle()\n"
    ended = subprocess.run(
        [ours / ".venv" / "bin" / "python", "-P", "-c", begin + program],
        cwd=ours / folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.slow(reason="builds a wheel")
def test_an_installed_laurel_imports_its_own_code_and_the_projects_use_cases(
    installed: Path,
) -> None:
    program = (
        "import flows.retrain, tasks, json, os\n"
        "from blocks.settings import Settings, own_state\n"
        "from usecases.definition import known, load\n"
        "load('toy')\n"
        "print(json.dumps([known(), flows.__file__, tasks.__file__, str(own_state()), "
        "str(Settings.read().home), Settings.read().flow_run_pythonpath]))"
    )
    (installed / "notebooks").mkdir(exist_ok=True)
    for folder in (".", "notebooks"):
        names, flows, tasks, state, home, path = json.loads(in_project(installed, program, folder))
        assert names == OWN != known()
        assert Path(flows).is_relative_to(home) and Path(tasks).is_relative_to(home)
        assert Path(home).is_relative_to(installed / ".venv")
        assert state == str(installed / ".laurel")
        assert path == f"{home}:{installed}"


@pytest.mark.slow(reason="builds a wheel")
def test_deployments_are_of_its_own_flows(installed: Path) -> None:
    program = (
        "import asyncio\n"
        "from types import SimpleNamespace as Client\n"
        "from deployments.apply.command import _PrefectObjects\n"
        "async def create(flow): print(flow.fn.__module__)\n"
        "asyncio.run(_PrefectObjects(Client(create_flow=create)).flow('flows.retrain.retrain'))"
    )
    assert in_project(installed, program) == "flows.retrain"


@pytest.mark.slow(reason="builds a wheel")
def test_processes_that_it_starts_import_the_same(installed: Path) -> None:
    """A program of the stack runs in Laurel's home, and a flow run where the worker is told."""
    program = (
        "import subprocess, sys\n"
        "from blocks.settings import Settings\n"
        "code = 'import tasks, flows; from usecases.definition import known; print(known())'\n"
        "print(subprocess.run([sys.executable, '-c', code], cwd=Settings.read().home, "
        "capture_output=True, text=True, check=True).stdout)"
    )
    assert in_project(installed, program) == str(OWN)


@pytest.mark.slow(reason="builds a wheel")
def test_the_wheel_has_what_runs_and_nothing_of_a_persons(installed: Path) -> None:
    def names(folder: Path) -> list[str]:
        return sorted(path.name for path in folder.iterdir() if path.name != "__pycache__")

    (home,) = (installed / ".venv" / "lib").glob("python*/site-packages/laurel/home")
    assert names(home) == [
        "blocks",
        "deployments",
        "flows",
        "prefect.yaml",
        "pyproject.toml",
        "requirements.lock",
        "serving",
        "tasks",
        "usecases",
    ]
    assert (home / "serving" / "routes" / "pages" / "page.html").exists()
    assert names(home / "usecases") == ["__init__.py", "definition"]
