"""The local stack, real servers under supervisor: Prefect, SeaweedFS, MLflow, the model service and
a worker.

Its data are in ``settings.state`` (``.laurel/``), with a log for each program in ``.laurel/logs/``.
Its command line is ``python -m deployments.local`` (``deployments/local/command.py``)."""

import fcntl
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from blocks.settings import Settings, started_with
from deployments.local import ports, webhook
from deployments.local.start import Start
from deployments.local.state_folder import LAID_OUT, LOCK, is_stacks, note_start, strangers
from deployments.servers import passwords, seaweedfs
from deployments.servers.environment import environment
from deployments.servers.errors import StackError
from deployments.supervision.programs import programs
from deployments.supervision.supervisor import Supervisor


@dataclass(frozen=True)
class Status:
    """One program as supervisord sees it. ``state`` is ``RUNNING``, ``STARTING``, ``BACKOFF``,
    ``FATAL``, ``STOPPED``...
    """

    name: str
    state: str
    pid: int | None
    url: str
    memory_bytes: int


def up(
    settings: Settings,
    on_ready: Callable[[str, float], None] = lambda name, seconds: None,
    say: Callable[[str], None] = lambda text: None,
    moves: Collection[str] = (),
) -> Settings:
    """Start what is not running, wait until everything is ready, and return the settings in force,
    including created secrets.

    ``on_ready`` gets each program and its seconds, ``say`` lines for a person. A taken port of
    ``moves`` (names of settings) is replaced by a free one. If a start fails or is interrupted,
    everything is stopped again, unless it ran before. Raises ``StackError``."""
    settings = settings.model_copy(update={"state": settings.state.resolve()})
    if foreign := strangers(settings.state):
        names = ", ".join(path.name for path in foreign)
        raise StackError(
            f"{settings.state} holds {names}, which no stack made. Name a new or empty folder: "
            "LAUREL_STATE=..."
        )
    with _alone(settings.state):
        settings = prepare(settings, say)
        supervisor = Supervisor(settings.state)
        states = supervisor.states()
        if states and (changed := supervisor.changed_variables(environment(settings))):
            raise StackError(_other_settings(settings, changed))
        if states and all(info["statename"] == "RUNNING" for info in states.values()):
            say("The stack is already up.")
            return settings
        if not states:
            # A killed supervisord leaves its programs behind, and they hold the ports.
            _stop(supervisor, settings)
            settings, lines = ports.settle(settings, moves)
            for line in lines:
                say(line)
        try:
            to_start = programs(settings)
            if not states:
                _lay_out(settings)
                supervisor.start(to_start, environment(settings))
                note_start(settings)
            Start(supervisor, on_ready, say, joins=bool(states)).bring_up(to_start)
        except BaseException:
            if not states:
                _stop(supervisor, settings)
            raise
    return settings


def prepare(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The settings in force, with the secrets that a local stack creates and keeps in its state
    folder.
    """
    settings = webhook.prepare(seaweedfs.prepare(settings, seaweedfs.find_weed(), say))
    return passwords.prepare(settings, say)


def _other_settings(settings: Settings, changed: list[str]) -> str:
    """A message about the settings that differ from the running stack's, with both values; a secret
    only by name.
    """
    running, here = started_with(settings.state), settings.plain_values()
    lines = [
        f"The stack in {settings.state} is up with different settings; stop it first: make down"
    ]
    for name in changed:
        if name in running or name in here:
            values = (
                f"{running.get(name, 'not set')} in the running stack, "
                f"{here.get(name, 'not set')} here"
            )
            lines.append(f"    {name}: {values}")
        elif name.startswith("LAUREL_"):
            lines.append(f"    {name}: a secret that differs from the running stack's")
    return "\n".join(lines)


def is_up(state: Path) -> bool:
    """Whether a stack runs in this state folder."""
    return bool(Supervisor(state.resolve()).states())


def down(settings: Settings) -> bool:
    """Stop everything, including flow runs and what a killed supervisord left behind. False if
    nothing ran.
    """
    settings = settings.model_copy(update={"state": settings.state.resolve()})
    supervisor = Supervisor(settings.state)
    if not is_stacks(settings.state) and not supervisor.leftovers():
        return False
    with _alone(settings.state):
        was_up = bool(supervisor.leftovers())
        _stop(supervisor, settings)
    return was_up


def status(settings: Settings) -> list[Status]:
    """Each program of the stack, running or not."""
    states = Supervisor(settings.state.resolve()).states()
    statuses = []
    for program in programs(settings):
        info = states.get(program.name, {"statename": "STOPPED", "pid": 0})
        pid = info["pid"] or None
        statuses.append(
            Status(
                program.name, info["statename"], pid, program.url, _memory_bytes(pid) if pid else 0
            )
        )
    return statuses


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (state / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                f"Another `up` or `down` is running on {state}; wait for it."
            ) from error
        yield


def _lay_out(settings: Settings) -> None:
    for name in LAID_OUT:
        (settings.state / name).mkdir(exist_ok=True)
    for log in (settings.state / "logs").glob("*.log"):
        log.replace(log.with_name(f"{log.name}.1"))
    if seaweedfs.is_local(settings):
        seaweedfs.write_keys(settings)


def _stop(supervisor: Supervisor, settings: Settings) -> None:
    supervisor.shut_down()
    seaweedfs.remove_sockets(settings)


def _memory_bytes(pid: int) -> int:
    import psutil

    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total
