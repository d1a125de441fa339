"""List the use cases that a change touches: their file, or a file in ``usecases/`` that it imports,
differs between two commits.

    python -m deployments.github.changed_use_cases origin/main HEAD        ["flights"]

The files are parsed but never run: they may come from a pull request.
"""

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

FOLDER = "usecases"
# Modules that every use case is built on. A use case's name is a module's name; nothing else gets
# into a workflow.
_SHARED = ("definition", "__init__")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class GitFailed(RuntimeError):
    """git does not know a commit, or there is no repository; the message is from git."""


def changed_files(repository: Path, base: str, head: str) -> list[str]:
    """Files in ``usecases/`` that differ between ``head`` and its merge base with ``base``. Raises
    ``GitFailed``.
    """
    command = [
        "git",
        "diff",
        "--name-only",
        "--no-renames",
        "-z",
        "--end-of-options",
        f"{base}...{head}",
        "--",
        FOLDER,
    ]
    diff = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    if diff.returncode:
        raise GitFailed(
            f"git cannot compare {base!r} and {head!r} (is the whole history checked out?): "
            f"{diff.stderr.strip()}"
        )
    return [name for name in diff.stdout.split("\0") if name]


def touched(folder: Path, files: Iterable[str]) -> list[str]:
    """Use cases in ``folder`` that are, or import, one of ``files`` (``usecases/...``); sorted.
    Deleted use cases are not among them.
    """
    changed = {
        name.removeprefix(f"{FOLDER}/").partition("/")[0].removesuffix(".py") for name in files
    }
    modules = {path.stem: path for path in folder.glob("*.py")}
    cases = sorted(name for name in modules if name not in _SHARED and _NAME.fullmatch(name))
    return [name for name in cases if changed & {*_SHARED, *_needs(name, modules)}]


def _needs(name: str, modules: dict[str, Path]) -> set[str]:
    """``name`` and every module and subpackage of ``usecases`` that it imports, directly or not."""
    needed, pending = set[str](), [name]
    while pending:
        module = pending.pop()
        if module in needed or module in _SHARED:
            continue
        needed.add(module)
        if module in modules:
            pending += _imports(modules[module])
    return needed


def _imports(path: Path) -> list[str]:
    names = list[str]()
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError):
        # a broken file counts as touched if it changed itself, and its own run then reports the
        # error; others go on
        return []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ".".join(part for part in (FOLDER if node.level else "", node.module) if part)
            names += [package, *(f"{package}.{alias.name}" for alias in node.names)]
    return [name.split(".")[1] for name in names if name.startswith(f"{FOLDER}.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: prints the names as a JSON array for a workflow's matrix."""
    parser = argparse.ArgumentParser(
        prog="python -m deployments.github.changed_use_cases",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("base", nargs="?", help="the commit to compare with")
    parser.add_argument(
        "head", nargs="?", default="HEAD", help="the checked-out commit (default: HEAD)"
    )
    parser.add_argument("--use-case", help="this use case, changed or not, if its file exists")
    parser.add_argument("--repository", type=Path, default=Path(), help="default: this folder")
    options = parser.parse_args(arguments)
    if options.use_case:
        names = touched(options.repository / FOLDER, [f"{FOLDER}/{options.use_case}.py"])
        if options.use_case not in names:
            print(
                f"There is no use case {options.use_case!r}: no such file in {FOLDER}/.",
                file=sys.stderr,
            )
            return 1
        print(json.dumps([options.use_case]))
        return 0
    if not options.base:
        parser.error("name a commit to compare with, or a use case")
    try:
        files = changed_files(options.repository, options.base, options.head)
    except GitFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(touched(options.repository / FOLDER, files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
