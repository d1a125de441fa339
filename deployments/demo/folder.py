"""Where the demo runs: its own state folder, which only the demo makes and removes, with its own
settings.
"""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blocks.settings import REPOSITORY, Settings, demo_state, own_state
from deployments.demo.runs import DemoFailed
from deployments.local import ports
from deployments.local import stack as local
from deployments.local.settings import running_settings
from deployments.local.state_folder import DEMO_MARK, forget, is_demos, make_for_demo

# Settings that point to other people's servers and files.
ELSEWHERE = (
    "prefect_url",
    "mlflow_url",
    "serving_url",
    "prefect_page_url",
    "mlflow_page_url",
    "serving_page_url",
    "prefect_database",
    "mlflow_store",
    "mlflow_auth_store",
    "search_database",
    "dask_address",
    "lake",
    "s3_endpoint",
    "s3_access_key",
    "s3_secret_key",
    "serving_keys_file",
    "serving_model_folder",
)
PORTS = ("prefect_port", "mlflow_port", "s3_port", "serving_port")


@contextmanager
def demo_folder() -> Iterator[Path]:
    """An empty state folder for one demo; an earlier demo's stack there is stopped and removed.

    It is the folder beside the user's own, or the folder in ``LAUREL_STATE`` if that is new, empty
    or a demo's. Raises ``DemoFailed`` if both hold files that no demo made, or if another demo is
    running there."""
    own = own_state().resolve()
    is_named = own != (REPOSITORY / ".laurel").resolve()
    folder = own if is_named and _is_free(own) else demo_state(own)
    if not _is_free(folder):
        raise DemoFailed(
            f"{folder} holds files that no demo made, and the demo does not remove them. "
            "Name a new or empty folder: LAUREL_STATE=... make demo"
        )
    with _played_alone(folder):
        if is_demos(folder):
            local.down(running_settings(folder))
            forget(folder)
    try:
        make_for_demo(folder)
    except FileExistsError as error:
        raise DemoFailed(
            f"{folder}, where the demo ran before, still has files that no stack made. "
            "Move them away."
        ) from error
    with _played_alone(folder):
        yield folder


def _is_free(folder: Path) -> bool:
    return (
        is_demos(folder) or not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
    )


@contextmanager
def _played_alone(folder: Path) -> Iterator[None]:
    if not is_demos(folder):
        yield
        return
    with (folder / DEMO_MARK).open() as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoFailed(
                f"Another demo is running in {folder}; wait for it, or name another LAUREL_STATE."
            ) from error
        yield


def demo_settings(folder: Path, say: Callable[[str], None]) -> Settings:
    """The settings of the demo's stack: its own servers and files, whatever the shell says, and
    free ports.

    ``say`` gets a line about each difference from the shell or the defaults. Raises ``StackError``.
    """
    settings = Settings.read(folder)
    ignored = [name for name in ELSEWHERE if name in settings.model_fields_set]
    if ignored:
        variables = ", ".join(f"LAUREL_{name.upper()}" for name in ignored)
        say(f"The demo uses only its own servers and files: it ignores {variables}.")
    fields = type(settings).model_fields
    settings = settings.model_copy(update={name: fields[name].default for name in ignored})
    settings, lines = ports.settle(local.prepare(settings, say), PORTS)
    for line in lines:
        say(line)
    return settings
