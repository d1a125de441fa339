"""supervisord under the local stack: its configuration, its start, its remote control, and its
leftovers when it dies.
"""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import SupervisorTransport

from blocks.settings import STARTED
from deployments.servers.errors import SupervisorError
from deployments.servers.seaweedfs import BIN, write_private
from deployments.supervision.programs import Program

if TYPE_CHECKING:
    import psutil

MARKER = "LAUREL_STACK"
# Prefixes of variables that are not inherited: the shell's are in the settings, which every program
# gets.
FOREIGN = ("LAUREL_", "PREFECT_", "MLFLOW_", "WEED_")
# A Unix socket's path may have 104 bytes (macOS), and multiprocessing adds 32 to the temporary
# folder's.
LONGEST_TEMPORARY = 68
SOCKET, PID_FILE = "supervisord.sock", "supervisord.pid"
GRACE_SECONDS = 5
SHUTDOWN_SECONDS = 60
TRIES = 10
# Time for a run to report its crash. In the middle of a fit a run ignores the signal: it is killed,
# and detected by its silence.
RUN_SECONDS = 15


def fingerprints(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a stack was started with, hashed so that they reveal no secret."""
    return {name: hashlib.sha256(value.encode()).hexdigest() for name, value in environment.items()}


class Supervisor:
    """The supervisord of one stack, identified by its state folder, in which ``supervisorctl -c
    supervisord.conf`` works as well.
    """

    def __init__(self, state: Path) -> None:
        self.state = state
        self.configuration = state / "supervisord.conf"

    def start(self, programs: list[Program], environment: Mapping[str, str]) -> None:
        """Start an empty supervisord in the background. Raises ``SupervisorError``."""
        self._forget()
        temporary = self._make_temporary()
        section: dict[str, str | int] = {
            "settings": json.dumps(fingerprints(environment)),
            "temporary": temporary,
        }
        write_private(
            self.configuration, _configuration(programs, section, f"{temporary}/{SOCKET}")
        )
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)
        }
        # Without bytecode every process compiles everything that it imports, which takes seconds
        # each time.
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)
        variables = {
            **inherited,
            **environment,
            "HOME": inherited.get("HOME") or str(self.state),
            "PATH": os.pathsep.join([str(BIN), inherited.get("PATH") or os.defpath]),
            "PYTHONUNBUFFERED": "1",
            # Prefect's worker and others put files with fixed names there, which a second user of
            # the machine could not write.
            "TMPDIR": str(self.state / temporary),
            MARKER: str(self.state),
            **{
                _alias(program, name): value
                for program in programs
                for name, value in program.environment.items()
            },
        }
        command = [str(BIN / "supervisord"), "-c", self.configuration.name]
        launch = subprocess.run(
            command,
            cwd=self.state,
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if launch.returncode != 0:
            raise SupervisorError(
                f"supervisord did not start: {(launch.stderr or launch.stdout).strip()}"
            )

    def _make_temporary(self) -> str:
        """Make a folder for temporary files, relative to the state folder; a short link to it if
        its path is too long.
        """
        (self.state / "tmp").mkdir(mode=0o700, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="laurel-", dir=self.state / "tmp"))
        if len(os.fsencode(folder)) <= LONGEST_TEMPORARY:
            return str(folder.relative_to(self.state))
        link = Path(tempfile.mkdtemp(prefix="laurel-")) / "t"
        link.symlink_to(folder)
        return str(link)

    def changed_variables(self, environment: Mapping[str, str]) -> list[str]:
        """The variables that differ from those of the running stack."""
        before, now = (
            json.loads(self._read("laurel", "settings") or "{}"),
            fingerprints(environment),
        )
        return sorted(
            name for name in before.keys() | now.keys() if before.get(name) != now.get(name)
        )

    def environment(self) -> dict[str, str]:
        """The environment of the running supervisord; empty if none runs."""
        import psutil

        with suppress(OSError, ValueError, psutil.Error):
            environment = psutil.Process(int((self.state / PID_FILE).read_text())).environ()
            if environment.get(MARKER) == str(self.state):
                return environment
        return {}

    def log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"

    def states(self) -> dict[str, dict[str, Any]]:
        """supervisord's information on each program (``statename``, ``pid``, ``start``, ...); empty
        if it does not run.
        """
        for _ in range(TRIES):
            with suppress(OSError):
                return {info["name"]: info for info in self._call("getAllProcessInfo")}
            if not self.environment():
                break
            time.sleep(0.2)  # it is alive, but the machine is busy
        return {}

    def run(self, name: str) -> None:
        self._call("startProcess", name, False)

    def shut_down(self) -> None:
        """Stop everything, including what supervisord left.

        The worker goes first, then its runs, which can still report their end to the server, then
        the service, which has a log to upload."""
        with suppress(OSError, xmlrpc.client.Fault):
            self._call("stopProcess", "worker")
        _end([process for process in self.leftovers() if _is_flow_run(process)], RUN_SECONDS)
        with suppress(OSError, xmlrpc.client.Fault):
            self._call("stopProcess", "service")
        with suppress(OSError, xmlrpc.client.Fault):
            self._call("stopAllProcesses")
            self._call("shutdown")
        self._end_leftovers()
        self._forget()

    def _end_leftovers(self) -> None:
        pid = _read_pid(self.state / PID_FILE)
        # supervisord first: it would restart anything else, and when it is stopped it stops its
        # programs in order.
        _end([process for process in self.leftovers() if str(process.pid) == pid], SHUTDOWN_SECONDS)
        for _ in range(3):
            # A flow run's process has its own session, so it does not end with the worker, and it
            # may start others meanwhile.
            _end(self.leftovers(), GRACE_SECONDS)

    def leftovers(self) -> "list[psutil.Process]":
        """All live processes with this stack's mark in their environment."""
        import psutil

        processes = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(
                    MARKER
                ) == str(self.state):
                    processes.append(process)
        return processes

    def _call(self, method: str, *arguments: Any) -> Any:
        """Raises ``OSError`` if supervisord does not run, ``xmlrpc.client.Fault`` if it refuses."""
        temporary = self._read("laurel", "temporary")
        if temporary is None:
            raise FileNotFoundError(self.configuration)
        url = f"unix://{self.state / temporary / SOCKET}"
        with xmlrpc.client.ServerProxy(
            "http://localhost", transport=SupervisorTransport(serverurl=url)
        ) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _read(self, section: str, option: str) -> str | None:
        parser = ConfigParser(interpolation=None)
        with suppress(ConfigError):
            parser.read(self.configuration)
        return parser.get(section, option, fallback=None)

    def _forget(self) -> None:
        if name := self._read("laurel", "temporary"):
            temporary = self.state / name
            shutil.rmtree(temporary.resolve(), ignore_errors=True)
            if temporary.is_symlink():
                shutil.rmtree(temporary.parent, ignore_errors=True)
        self.configuration.unlink(missing_ok=True)
        (self.state / STARTED).unlink(missing_ok=True)


def _is_flow_run(process: "psutil.Process") -> bool:
    import psutil

    with suppress(psutil.Error):
        return "prefect.engine" in process.cmdline()
    return False


def _end(processes: "list[psutil.Process]", seconds: float) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=seconds)
    for process in stubborn:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=GRACE_SECONDS)


def _configuration(programs: list[Program], section: dict[str, str | int], socket: str) -> str:
    sections: dict[str, dict[str, str | int]] = {
        "laurel": section,
        "supervisord": {
            "logfile": "logs/supervisord.log",
            "pidfile": PID_FILE,
            "childlogdir": "logs",
            "umask": "077",
        },
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        "unix_http_server": {"file": socket, "chmod": "0600"},
        "supervisorctl": {"serverurl": f"unix://{socket}"},
    }
    if os.geteuid() == 0:
        sections["supervisord"]["user"] = "root"
    for program in programs:
        sections[f"program:{program.name}"] = _section(program)
    lines = [
        f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in options.items())
        for name, options in sections.items()
    ]
    return "\n".join(lines)


def _alias(program: Program, variable: str) -> str:
    """The name under which supervisord gets a program's own variable: in its file a value with ``
    #`` or a quote would be cut short.
    """
    return f"LAUREL_STACK_{program.name}_{variable}".upper()


def _section(program: Program) -> dict[str, str | int]:
    environment = ",".join(
        f'{name}="%(ENV_{_alias(program, name)})s"' for name in program.environment
    )
    section: dict[str, str | int] = {
        "command": shlex.join(program.command).replace("%", "%%"),
        "environment": environment,
        "autostart": "false",
        "autorestart": "true",
        "startretries": 10,
        "stopwaitsecs": program.stop_seconds,
        "stopasgroup": "true",
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"logs/{program.name}.log",
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": 1,
    }
    return section | ({"directory": "%(ENV_LAUREL_HOME)s"} if program.in_home else {})


def _read_pid(pid_file: Path) -> str:
    """Return the process id; empty without a file, which supervisord removes as it ends."""
    try:
        return pid_file.read_text().strip()
    except FileNotFoundError:
        return ""
