"""Tags follow the content of the images: the tests change one file after the other in a copy of
this repository.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from blocks.settings import REPOSITORY
from deployments.aws import image_tags

FLOWS, SERVERS, SERVING = "image_tag", "servers_image_tag", "serving_image_tag"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout, committed in a separate repository."""
    folder = tmp_path_factory.mktemp("repository")
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listing.stdout.splitlines():
        if (REPOSITORY / name).is_file() and not name.startswith(("tests/", "docs/images/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture
def checkout(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(image_tags, "ROOT", copy)
    subprocess.run(["git", "add", "--all"], cwd=copy, check=True)
    yield copy


def changed_by(checkout: Path, name: str) -> set[str]:
    """The variables whose tag changes after a line is added to the file; the file is restored
    afterwards.
    """
    before = image_tags.tags("202611")
    path = checkout / name
    text = path.read_bytes()
    path.write_bytes(text + b"\n# another line\n")
    subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
    after = image_tags.tags("202611")
    path.write_bytes(text)
    subprocess.run(["git", "add", "--all"], cwd=checkout, check=True)
    assert image_tags.tags("202611") == before
    return {variable for variable in before if after[variable] != before[variable]}


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("docs/aws.md", set()),
        ("README.md", set()),
        ("infra/terraform/cluster/main.tf", set()),
        ("Makefile", set()),
        ("usecases/flights.py", {FLOWS}),
        ("flows/retrain.py", {FLOWS}),
        ("laurel/main.py", {FLOWS}),
        ("serving/server/app.py", {FLOWS, SERVING}),
        ("deployments/servers/prefect_server.py", {FLOWS, SERVERS}),
        ("blocks/settings.py", {FLOWS, SERVERS, SERVING}),
        ("blocks/clients/objects.py", {FLOWS, SERVERS, SERVING}),
        ("blocks/slack.py", {FLOWS, SERVERS}),
        ("requirements.lock", {FLOWS, SERVERS}),
        ("requirements-serving.lock", {SERVING}),
        ("infra/images/serving/Dockerfile", {SERVING}),
        ("infra/images/flows/Dockerfile", {FLOWS, SERVERS}),
    ],
)
def test_an_image_has_another_tag_when_what_is_in_it_changes_and_only_then(
    checkout: Path, name: str, changed: set[str]
) -> None:
    assert changed_by(checkout, name) == changed


def test_a_month_later_every_tag_is_another_one(checkout: Path) -> None:
    november, december = image_tags.tags("202611"), image_tags.tags("202612")
    assert set(november) == {FLOWS, SERVERS, SERVING}
    assert not set(november.values()) & set(december.values())
    assert all(len(tag) <= 128 and tag.replace("-", "").isalnum() for tag in november.values())


def test_a_path_that_git_does_not_know_is_refused(checkout: Path) -> None:
    with pytest.raises(ValueError, match="git does not track no/such/file"):
        image_tags.digest(["blocks", "no/such/file"])


def test_the_command_prints_what_github_s_environment_takes() -> None:
    line = [sys.executable, "-S", "-m", "deployments.aws.image_tags", "--month", "202611"]
    process = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert [text.partition("=")[0] for text in process.stdout.splitlines()] == [
        f"TF_VAR_{name}" for name in (FLOWS, SERVERS, SERVING)
    ]


def test_servers_import_nothing_of_the_repository_but_what_their_tag_is_made_of() -> None:
    modules = ", ".join(
        f"deployments.servers.{name}"
        for name in ("prefect_server", "mlflow_server", "worker", "databases")
    )
    program = (
        f"import sys, {modules}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"flows", "serving", "tasks", "usecases"} & set(loaded)
    assert {"blocks", "deployments"} <= set(loaded)


def test_the_service_imports_nothing_of_the_repository_but_what_its_image_has() -> None:
    names = sorted(
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for path in (REPOSITORY / "serving").rglob("*.py")
        if path.name != "__main__.py"
    )
    program = (
        f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
        "for module in list(sys.modules.values()): print(getattr(module, '__file__', None))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    tops = ("blocks", "deployments", "flows", "serving", "tasks", "usecases")
    ours = [path for top in tops for path in loaded if path.startswith(f"{REPOSITORY / top}/")]
    image = image_tags.copied(REPOSITORY / "infra/images/serving/Dockerfile")
    assert len(ours) > len(names)
    assert [
        path
        for path in ours
        if not any(Path(path).is_relative_to(REPOSITORY / part) for part in image)
    ] == []


def test_a_push_deploys_when_it_touches_what_images_or_stack_are_made_of() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/deploy.yml").read_text())
    paths = workflow[True]["push"]["paths"]
    made_of = {
        path
        for name in ("flows", "serving")
        for path in image_tags.copied(REPOSITORY / "infra/images" / name / "Dockerfile")
    }
    assert [
        path
        for path in made_of
        if not any(Path(path, "x").match(glob) or Path(path).match(glob) for glob in paths)
    ] == []
    assert paths[-1] == "!**/*.md"
    assert not [path for path in paths if path.startswith(("docs", "tests", "README", "**"))]
    assert workflow[True]["schedule"], "what images are built on is never renewed"
