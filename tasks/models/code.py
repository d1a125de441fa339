"""What a trial executes: libraries, Laurel's own code and the use case's. A record is of one code,
and workers elsewhere must have the same.
"""

import hashlib
import platform
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import tasks
import usecases.definition
from usecases.definition.files import file_of

_LIBRARIES = ("numpy", "scipy", "scikit-learn", "polars", "lightgbm", "xgboost", "catboost")


@lru_cache(maxsize=8)
def code_of_trials(use_case: str) -> dict[str, str]:
    """The version of each part, by its name; of code a digest. Read once by a process, as Python
    reads it."""
    own = file_of(use_case)
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        **{name: installed for name in _LIBRARIES if (installed := _version(name))},
        "Laurel": _digest(
            file
            for package in (tasks, usecases.definition)
            for file in Path(str(package.__file__)).parent.rglob("*.py")
        ),
        f"usecases/{use_case}": _digest(_files_of(own)) if own else "no file",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _files_of(own: Path) -> Iterator[Path]:
    """The use case's file, or those of its package, and the helpers beside it."""
    if own.name == "__init__.py":
        yield from own.parent.rglob("*.py")
        yield from own.parent.parent.glob("_*.py")
    else:
        yield own
        yield from own.parent.glob("_*.py")


def _digest(files: Iterator[Path]) -> str:
    whole = hashlib.sha256()
    for file in sorted(files):
        whole.update(file.name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()[:12]
