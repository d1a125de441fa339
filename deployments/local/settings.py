"""The settings of the running stack, for a command in any shell."""

import os
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from pkgutil import extend_path

import usecases
from blocks.settings import PLACES, Settings, private_variables, state_in_use
from deployments.supervision.supervisor import Supervisor


def read_stack_settings() -> Settings:
    """The running stack's settings, or this shell's if no stack runs; differences are printed on
    standard error.

    Afterwards the folders of the stack's ``PYTHONPATH`` can be imported from: they hold the user's
    use cases."""
    settings = running_settings(state_in_use())
    for line in Settings.differences(settings.state):
        print(line, file=sys.stderr)
    import_from(settings.flow_run_pythonpath.split(os.pathsep))
    return settings


def import_from(folders: Iterable[str]) -> None:
    """Import from these folders too, and merge their packages ``usecases`` into ours, which has
    been imported already.
    """
    sys.path += [folder for folder in folders if folder not in sys.path]
    usecases.__path__[:] = extend_path(usecases.__path__, usecases.__name__)


def running_settings(state: Path, fixed: Collection[str] = PLACES) -> Settings:
    """``Settings.of_stack`` with the stack's secrets, which no file holds: they come from its
    process.

    The state folder's ``env`` takes precedence, since it is newer. Raises
    ``pydantic.ValidationError``.
    """
    path = state / "env"
    in_file = (
        {line.partition("=")[0].strip() for line in path.read_text().splitlines()}
        if path.exists()
        else set()
    )
    environment = Supervisor(state.resolve()).environment()
    private = {
        name: environment[name] for name in private_variables() - in_file if name in environment
    }
    return Settings.of_stack(state, fixed, private)
