"""Where the code of Laurel is, and whose project it works on.

In a checkout both are the same. Installed as a wheel, everything but the command lies in
``laurel/home``, and the project is the folder of the person who calls: the nearest one from the
working directory upward that has a folder ``usecases``."""

import os
import sys
import tomllib
from pathlib import Path

HOME = Path(__file__).resolve().parent / "home"


def is_installed() -> bool:
    """Whether this is a wheel and no checkout."""
    return HOME.is_dir()


def project(folder: Path) -> Path:
    """The project that ``folder`` belongs to; ``folder`` itself if it belongs to none."""
    for place in (folder, *folder.parents):
        if (place / "usecases").is_dir():
            return place
    return folder


def settle(folder: Path | None = None) -> None:
    """Of an installed Laurel, let this process and those that it starts import Laurel's code first
    and the project's use cases after it, and keep the state in the project. Variables that are set
    stay as they are."""
    if not is_installed():
        return
    own = project((folder or Path.cwd()).resolve())
    others = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    folders = list(dict.fromkeys([str(HOME), str(own), *others]))
    sys.path[:0] = [str(HOME)]
    sys.path += [entry for entry in folders if entry not in sys.path]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    os.environ.setdefault("LAUREL_STATE", str(own / ".laurel"))


def sources() -> Path:
    """The folder of Laurel's code."""
    return HOME if is_installed() else Path(__file__).resolve().parents[1]


def version() -> str:
    """Laurel's version, as pyproject.toml has it."""
    with (sources() / "pyproject.toml").open("rb") as file:
        stated: str = tomllib.load(file)["project"]["version"]
    return stated


def locked_versions() -> str:
    """A line for each package that this version was tested with."""
    lines = (sources() / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if line and not line.lstrip().startswith("#"))
