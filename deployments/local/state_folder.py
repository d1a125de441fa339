"""The state folder: what the stack makes in it, and how to remove exactly that."""

import json
import shutil
from contextlib import suppress
from pathlib import Path

from blocks.settings import STARTED, Settings
from deployments.servers.seaweedfs import write_private

LAID_OUT = ("logs", "prefect", "mlflow", "seaweedfs")
LOCK = "lock"
MADE = (
    *LAID_OUT,
    "mariadb",
    "serving",
    "lake",
    "tmp",
    "env",
    "demo.json",
    "supervisord.conf",
    "supervisord.pid",
    STARTED,
    LOCK,
)
DEMO_MARK = "demo-folder"
_EXPLANATION = (
    "`make demo` made this folder, and removes the files of its stack here when it runs again.\n"
)


def note_start(settings: Settings) -> None:
    """Save the stack's settings, without secrets, for commands in other shells."""
    write_private(settings.state / STARTED, json.dumps(settings.plain_values(), indent=1))


def is_stacks(state: Path) -> bool:
    """Whether a stack was ever started in this folder, the demo's or a person's."""
    return any((state / name).exists() for name in (LOCK, DEMO_MARK))


def strangers(state: Path) -> list[Path]:
    """Files that a stack would take for its own, in a folder where no stack was ever started.
    Settings and keys may exist before.
    """
    return (
        []
        if is_stacks(state)
        else [state / name for name in (*LAID_OUT, "tmp") if (state / name).exists()]
    )


def contents(state: Path) -> list[Path]:
    """What the stack has made in this folder; nothing if no stack was ever started here, whatever
    the files' names.
    """
    return [state / name for name in MADE if (state / name).exists()] if is_stacks(state) else []


def forget(state: Path) -> None:
    """Remove what the stack has made, and the folder itself if nothing else is in it. Other files
    stay.
    """
    for path in contents(state):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (state / DEMO_MARK).unlink(missing_ok=True)
    with suppress(OSError):
        state.rmdir()


def is_demos(state: Path) -> bool:
    """Whether the demo made this folder, and nobody has started their own stack in it since."""
    return (state / DEMO_MARK).exists()


def make_for_demo(state: Path) -> None:
    """Make the folder, or take an empty one, for the demo. Raises ``FileExistsError`` for somebody
    else's folder.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(state.iterdir()):
        raise FileExistsError(state)
    (state / DEMO_MARK).write_text(_EXPLANATION)


def take_over(state: Path) -> bool:
    """Make the folder a person's, so that the demo leaves it alone. False if it was already."""
    was_demos = is_demos(state)
    (state / DEMO_MARK).unlink(missing_ok=True)
    return was_demos
