"""List the use cases that a service serves: those that ``LAUREL_SERVING_USE_CASES`` names, and with
``*``, its default, all existing ones.

Existing use cases are the files in ``usecases/``, here and on ``PYTHONPATH``, Laurel's models in
the registry, and those whose last good package is on this disk. Only the name of a file is used: an
import would load the training libraries. An image has no files, and asks the registry."""

import difflib
import logging
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from blocks.clients.registry import CHAMPION
from blocks.settings import Settings
from serving.errors import RegistryAway
from serving.outside.registry import Registry

ALL = "*"
RECORD_SUFFIX = (
    ".json"  # in a use case's folder of the service's disk: the last version of each role
)
_RECORD = f"{CHAMPION}{RECORD_SUFFIX}"
MOST = 100  # each is looked up in the registry every few seconds, and is a series of each metric
_RESERVED = ("log", "workers")  # folders beside those of the use cases
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_USE_CASE = re.compile(rb"^USE_CASE\b", re.MULTILINE)

logger = logging.getLogger(__name__)


def named_by(settings: Settings) -> list[str]:
    """The use cases that the settings name, in their order, without ``*``. Raises ``ValueError``
    for an impossible name.
    """
    names = _names_in(settings)
    if not names or not all(name == ALL or is_name(name) for name in names):
        raise ValueError(
            f"LAUREL_SERVING_USE_CASES is {settings.serving_use_cases!r}; it must name use "
            "cases, such as 'flights' or 'flights,digits', or be '*', which serves all of them."
        )
    return [name for name in dict.fromkeys(names) if name != ALL]


def serves_all(settings: Settings) -> bool:
    """Whether the service also serves use cases that the settings do not name."""
    return ALL in _names_in(settings)


def _names_in(settings: Settings) -> list[str]:
    return [name.strip() for name in settings.serving_use_cases.split(",") if name.strip()]


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _RESERVED


def files_of(settings: Settings) -> set[str]:
    """Names of the use cases that have a file here; none in an image, which has no use cases."""
    folders = [
        settings.home,
        *(Path(folder) for folder in settings.pythonpath.split(os.pathsep) if folder),
    ]
    names = set()
    for folder in folders:
        for path in (folder / "usecases").glob("[!_]*"):
            file = path / "__init__.py" if path.is_dir() else path
            if (
                file.suffix == ".py"
                and path.name != "definition"
                and is_name(path.stem)
                and _defines(file)
            ):
                names.add(path.stem)
    return names


def _defines(file: Path) -> bool:
    try:
        return _USE_CASE.search(file.read_bytes()) is not None
    except OSError:
        return False


def cached_in(state: Path) -> set[str]:
    """Use cases whose last good package is on this disk: they serve at once, even without the
    registry.
    """
    return {
        path.parent.name
        for path in (state / "serving").glob(f"*/{_RECORD}")
        if is_name(path.parent.name)
    }


def refuse_misspelled(settings: Settings, registry: Registry) -> None:
    """Refuse an unknown name, and suggest the nearest known one. Raises ``ValueError``.

    A name that resembles no other may belong to an untrained model: it is only logged. An image has
    no files to know the names from, and accepts all names."""
    files = files_of(settings)
    known_names = files | cached_in(settings.state)
    unknown_names = [name for name in named_by(settings) if name not in known_names]
    if not unknown_names or not files:
        return
    try:
        known_names |= set(registry.models())
    except RegistryAway as error:
        logger.warning("the registry cannot list its use cases: %s", error)
    for name in unknown_names:
        nearest = difflib.get_close_matches(name, known_names, n=1)
        if name not in known_names and nearest:
            raise ValueError(
                f"LAUREL_SERVING_USE_CASES names {name!r}, which has neither a file in "
                "usecases/ nor a model in the registry. "
                f"Did you mean {nearest[0]!r}? Known: {', '.join(sorted(known_names))}. Leave it "
                "unset, or '*', to serve all of them."
            )
        if name not in known_names:
            logger.warning(
                "use case %r has neither a file nor a model here; known: %s",
                name,
                ", ".join(sorted(known_names)) or "none",
            )


def all_of(settings: Settings, models: Iterable[str] = ()) -> list[str]:
    """Every served use case: those in the settings first, then all others by name, at most
    ``MOST``.
    """
    others = sorted(
        name for name in {*files_of(settings), *cached_in(settings.state), *models} if is_name(name)
    )
    names = list(dict.fromkeys([*named_by(settings), *others]))
    if len(names) > MOST:
        _log_cut(len(names))
    return names[:MOST]


@lru_cache(maxsize=1)
def _log_cut(count: int) -> None:
    """Log once for each ``count``, since every poll counts."""
    logger.error(
        "%d of %d use cases are served; name those to serve in LAUREL_SERVING_USE_CASES",
        MOST,
        count,
    )
