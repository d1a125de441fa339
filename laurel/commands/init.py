"""``laurel init``: a repository of one's own, whose use cases run on an installed Laurel."""

from pathlib import Path
from typing import Annotated

import typer

from laurel.output import CommandFailed, Json, print_json
from laurel.place import is_installed, locked_versions, sources, version

TEMPLATES = Path(__file__).resolve().parent.parent / "project"
# A dot in front would hide it from git's own rules in this repository.
NAMES = {"gitignore": ".gitignore"}
CONSTRAINTS = "constraints.txt"
HEAD = "# The versions that Laurel {version} was tested with, written by `laurel init`.\n"


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR")] = Path(),
    as_json: Json = False,
) -> None:
    """Make a repository for your own use cases, which Laurel's version number upgrades.

    Files that are there already stay as they are; only constraints.txt is renewed.

    Example: laurel init our-models
    """
    folder = folder.expanduser().resolve()
    _refuse(folder)
    texts = {**_templates(), CONSTRAINTS: HEAD.format(version=version()) + locked_versions()}
    done = {name: _write(folder / name, text) for name, text in texts.items()}
    if as_json:
        print_json({"folder": str(folder), "version": version(), "files": done})
        return
    for name, what in done.items():
        typer.echo(f"  {what:8} {name}")
    typer.echo(f"\nLaurel {version()} in {folder}. Next: README.md there says how to install it.")


def _refuse(folder: Path) -> None:
    """Raises ``CommandFailed`` for a place where no repository can be made."""
    if folder.exists() and not folder.is_dir():
        raise CommandFailed(f"{folder} is a file: name a folder.")
    if not is_installed() and folder.is_relative_to(sources()):
        raise CommandFailed(
            f"{folder} is in Laurel's own checkout, whose use cases are in usecases/: name a "
            "folder elsewhere."
        )


def _templates() -> dict[str, str]:
    """The files of a new repository, by their path in it."""
    texts = {}
    for path in sorted(TEMPLATES.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            name = path.relative_to(TEMPLATES).as_posix()
            text = path.read_text(encoding="utf-8")
            is_code = path.suffix == ".py"
            texts[NAMES.get(name, name)] = text if is_code else text.format(version=version())
    return texts


def _write(path: Path, text: str) -> str:
    """What was done: a file that is there stays, unless it is the constraints."""
    if path.exists():
        if path.name != CONSTRAINTS:
            return "kept"
        if path.read_text(encoding="utf-8") == text:
            return "same"
        what = "renewed"
    else:
        what = "written"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}.") from error
    return what
