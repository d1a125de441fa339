"""Which use cases a change touches, in real git repositories."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from blocks.settings import REPOSITORY
from deployments.github.changed_use_cases import FOLDER, GitFailed, changed_files, main, touched

FILES = {
    "usecases/__init__.py": "",
    "usecases/definition/__init__.py": "class UseCase: ...\n",
    "usecases/flights.py": (
        "from usecases._flights_source import Source\nfrom usecases.definition import UseCase\n"
    ),
    "usecases/_flights_source.py": (
        "def read():\n    from usecases import _columns\n    from usecases.orders.invent import x\n"
    ),
    "usecases/_columns.py": "import numpy\n",
    "usecases/orders/invent.py": "x = 1\n",
    "usecases/churn.py": "import usecases.definition\nfrom . import _columns\n",
    "usecases/returns.py": "from ._alone import y\n",
    "usecases/_alone.py": "y = 1\n",
    "README.md": "read me\n",
}


class Repository:
    """A git repository with ``FILES`` as its first commit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(FILES)

    def git(self, *arguments: str) -> str:
        identity = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "commit.gpgsign=false",
        ]
        return subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def commit(self, files: dict[str, str | None]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def printed(
    repository: Repository, base: str, head: str, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    assert main([base, head, "--repository", str(repository.folder)]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"README.md": "other\n"}, []),
        ({"usecases/churn.py": "x = 2\n"}, ["churn"]),
        ({"usecases/new_one.py": "x = 2\n"}, ["new_one"]),
        ({"usecases/returns.py": None}, []),
        (
            {"usecases/_flights_source.py": FILES["usecases/_flights_source.py"] + "# more\n"},
            ["flights"],
        ),
        ({"usecases/_columns.py": "import polars\n"}, ["churn", "flights"]),
        ({"usecases/_alone.py": "y = 2\n"}, ["returns"]),
        ({"usecases/orders/invent.py": "x = 2\n"}, ["flights"]),
        (
            {"usecases/definition/columns.py": "class Column: pass\n"},
            ["churn", "flights", "returns"],
        ),
        ({"usecases/it's $(odd).py": "x = 2\n"}, []),
        ({"elsewhere/usecases/churn.py": "x = 2\n"}, []),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_use_cases_whose_own_or_imported_files_changed(
    changed: dict[str, str | None],
    names: list[str],
    repository: Repository,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository.commit(changed)
    assert printed(repository, "HEAD~1", "HEAD", capsys) == names


def test_what_happened_on_main_meanwhile_is_not_the_branchs_change(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.git("checkout", "--quiet", "-b", "branch")
    repository.commit({"usecases/churn.py": "x = 2\n"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"usecases/returns.py": "x = 2\n"})
    assert printed(repository, "main", "branch", capsys) == ["churn"]


@pytest.mark.parametrize("commit", ["0" * 40, "no-such-branch"])
def test_commit_that_git_does_not_know_is_said(
    commit: str, repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([commit, "HEAD", "--repository", str(repository.folder)]) == 1
    assert "is the whole history checked out?" in capsys.readouterr().err


def test_commit_that_looks_like_an_option_of_git_is_none(repository: Repository) -> None:
    with pytest.raises(GitFailed):
        changed_files(repository.folder, "--output=written", "HEAD")
    assert not list(repository.folder.glob("written*"))


def test_use_case_that_is_asked_for_by_name_has_to_be_there(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--use-case", "churn", "--repository", str(repository.folder)]) == 0
    assert capsys.readouterr().out == '["churn"]\n'
    for name in ("_columns", "definition", "nobody", "../churn", "churn; true", "orders"):
        assert main(["--use-case", name, "--repository", str(repository.folder)]) == 1
        assert f"There is no use case {name!r}" in capsys.readouterr().err


def test_command_runs_without_any_package(repository: Repository) -> None:
    """The workflow calls it before anything is installed."""
    bare = [
        sys.executable,
        "-I",
        "-S",
        str(REPOSITORY / "deployments" / "github" / "changed_use_cases.py"),
    ]
    process = subprocess.run(
        [*bare, "HEAD", "HEAD", "--repository", str(repository.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stdout) == (0, "[]\n"), process.stderr


def test_modules_that_import_each_other_are_followed_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("from usecases import _a\n")
    (tmp_path / "_a.py").write_text("from usecases import _b\n")
    (tmp_path / "_b.py").write_text("from usecases import _a\n")
    assert touched(tmp_path, [f"{FOLDER}/_b.py"]) == ["one"]


def test_the_repositorys_own_use_case_is_touched_by_its_parts() -> None:
    folder = REPOSITORY / FOLDER
    for part in ("flights.py", "_flights_source.py", "_flights_features.py"):
        assert touched(folder, [f"{FOLDER}/{part}"]) == ["flights"]


def test_file_with_a_syntax_error_keeps_no_other_from_being_found(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def (:\n")
    (tmp_path / "whole.py").write_text("from usecases import _shared\n")
    (tmp_path / "_shared.py").write_text("")
    assert touched(tmp_path, [f"{FOLDER}/_shared.py"]) == ["whole"]
    assert touched(tmp_path, [f"{FOLDER}/broken.py"]) == ["broken"]
