"""The ports that the local stack needs, and whether they are available."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass

from blocks.settings import Settings
from deployments.servers.errors import PortError
from deployments.servers.seaweedfs import SEAWEEDFS_PORTS, is_local, sockets


@dataclass(frozen=True)
class Port:
    """One port of ``host`` and the setting that moves it, such as ``LAUREL_S3_PORT + 2``."""

    number: int
    label: str
    host: str

    @property
    def setting(self) -> str:
        return self.label.split()[0]

    @property
    def field(self) -> str:
        return self.setting.removeprefix("LAUREL_").lower()


def needed(settings: Settings) -> list[Port]:
    """Every port that the local servers of these settings listen on."""
    ports = []
    if settings.prefect_url is None:
        ports.append(Port(settings.prefect_port, "LAUREL_PREFECT_PORT", settings.host))
    if settings.mlflow_url is None:
        ports.append(Port(settings.mlflow_port, "LAUREL_MLFLOW_PORT", settings.host))
    if settings.serving_url is None:
        ports.append(Port(settings.serving_port, "LAUREL_SERVING_PORT", settings.host))
    if is_local(settings):
        labels = {
            i: f"LAUREL_S3_PORT + {i}" if i else "LAUREL_S3_PORT" for i in SEAWEEDFS_PORTS.values()
        }
        ports += [
            Port(settings.s3_port + i, label, settings.inner_host) for i, label in labels.items()
        ]
    return ports


def check(settings: Settings) -> None:
    """Raises ``PortError``, which names each unavailable port and has a command with free ones."""
    problems = _problems(settings)
    if problems:
        free = _moved(settings, dict.fromkeys(port.field for port, _ in problems))
        variables = " ".join(f"LAUREL_{name.upper()}={number}" for name, number in free.items())
        lines = [problem for _, problem in problems] + (
            [f"    {variables} make up"] if free else []
        )
        raise PortError("\n".join(lines))


def settle(settings: Settings, movable: Collection[str]) -> tuple[Settings, list[str]]:
    """The settings with free ports instead of taken ones, for the settings in ``movable``, and a
    line about each.

    Raises ``PortError`` for other unavailable ports.
    """
    problems: dict[str, str] = {}
    for port, problem in _problems(settings):
        if port.field in movable:
            problems.setdefault(port.field, problem)
    numbers = _moved(settings, problems)
    result = settings.model_copy(update=numbers)
    check(result)
    lines = []
    for name, number in numbers.items():
        reason = problems[name].partition(";")[0]
        lines.append(f"{reason}: this stack uses {number} (LAUREL_{name.upper()}={number}).")
    return result, lines


def _problems(settings: Settings) -> list[tuple[Port, str]]:
    ports = needed(settings)
    problems = []
    for port in ports:
        if not 1 <= port.number <= 65535:
            refusal = f"does not exist; set {port.setting} to a port between 1 and 65535."
            problems.append((port, f"Port {port.number} ({port.label}) {refusal}"))
        elif rivals := [
            rival.label for rival in ports if rival.number == port.number and rival != port
        ]:
            refusal = (
                f"is assigned to both {port.label} and {', '.join(rivals)}; set "
                f"{port.setting} to another port."
            )
            problems.append((port, f"Port {port.number} {refusal}"))
        elif reason := _obstacle(port):
            refusal = f"{reason}; set {port.setting} to a free port."
            problems.append((port, f"Port {port.number} ({port.label}) {refusal}"))
    return problems


def _moved(settings: Settings, names: Collection[str]) -> dict[str, int]:
    """For each of these settings the next number at which all of its ports are free, if there is
    one.
    """
    numbers: dict[str, int] = {}
    for name in names:
        for number in range(max(1, getattr(settings, name) + 1), 65_536):
            trial = settings.model_copy(update={**numbers, name: number})
            taken = [port for port, _ in _problems_of(trial, name)]
            if not taken:
                numbers[name] = number
                break
    return numbers


def _problems_of(settings: Settings, name: str) -> list[tuple[Port, str]]:
    return [(port, problem) for port, problem in _problems(settings) if port.field == name]


def _obstacle(port: Port) -> str | None:
    """Why the port is unavailable.

    Connecting detects a listener on all addresses, which does not prevent binding on BSD and macOS;
    binding detects the rest."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((port.host, port.number)) == 0:
            return "is in use by another program"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((port.host, port.number))
        except OSError as error:
            return f"cannot be opened on {port.host} ({error.strerror})"
    foreign = [path for path in sockets(port.number) if path.lstat().st_uid != os.geteuid()]
    if foreign and port.field == "s3_port":
        # SeaweedFS would neither listen there nor fail: it starts, and never answers.
        return f"is blocked for SeaweedFS by another user's {foreign[0]}"
    return None
