"""What the warm parent imports for its runs, and whether it is still what a fresh interpreter would
import.

Importing is all that the parent does. Polars, OpenMP and others start threads with their first
computation, which a fork leaves behind: the child waits for them for ever. Use cases may compute
while they are imported, so they are left to the runs."""

import pkgutil
import site
import sys
import threading
from importlib import import_module
from pathlib import Path

from deployments.launch.libraries import LIBRARIES

FLOWS = "flows"
# Threads of libraries that were seen to do no harm to forked children, by the names that Linux
# knows: jemalloc's in Arrow and Polars, Polars' cleaner, and one of ONNX Runtime, which has the
# name of the process.
HARMLESS = ("jemalloc_bg_thd", "polars-ooc-clea")
Stamp = tuple[int, int]


def import_all() -> None:
    """Import the libraries and all flows with what they import; missing libraries are left out."""
    for name in LIBRARIES:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(f"{error.name}"):
                raise
    package = import_module(FLOWS)
    for module in pkgutil.iter_modules(package.__path__, f"{FLOWS}."):
        import_module(module.name)
    _find_packages()


def _find_packages() -> None:
    """Let MLflow find out which package each module is of, which it keeps: it reads the metadata of
    all packages for that, with the first model that a process logs.
    """
    requirements = sys.modules.get("mlflow.utils.requirements_utils")
    find = getattr(requirements, "_init_modules_to_packages_map", None)
    if find is not None:
        find()


def strange_threads() -> list[str]:
    """The names of this process's threads that may harm a forked child."""
    process = Path("/proc/self/comm").read_text()
    native = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
    return [
        *(thread.name for thread in threading.enumerate() if thread is not threading.main_thread()),
        *sorted(
            name.strip() for name in native if name != process and name.strip() not in HARMLESS
        ),
    ]


class Sources:
    """The files that this process imports: its own code by file, installed packages by folder.

    Made before the imports, so that a file that changes meanwhile has changed."""

    def __init__(self, home: Path) -> None:
        packages = [init.parent for init in home.glob("*/__init__.py")]
        self._stamps = {
            file: _stamp(file) for package in packages for file in package.rglob("*.py")
        }

    def keep_imported(self) -> None:
        """Forget the files that were not imported, and add those from elsewhere."""
        named = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
        files = {Path(file) for file in named if file}
        installed = tuple(map(Path, {sys.prefix, sys.base_prefix}))
        own = {file for file in files if not any(file.is_relative_to(root) for root in installed)}
        folders = [Path(sys.executable), *map(Path, site.getsitepackages())]
        self._stamps = {
            **{file: self._stamps.get(file) or _stamp(file) for file in own},
            **{folder: _stamp(folder) for folder in folders},
        }

    def changed(self) -> Path | None:
        """A file or folder that has changed."""
        return next((path for path, stamp in self._stamps.items() if _stamp(path) != stamp), None)


def _stamp(path: Path) -> Stamp | None:
    """Time of the last change and size; ``None`` for a path that is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
