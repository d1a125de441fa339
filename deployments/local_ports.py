"""Which ports the local stack needs, and whether they can be had."""

import socket
from dataclasses import dataclass

from blocks.settings import Settings
from deployments.local_errors import PortError
from deployments.local_storage import SEAWEEDFS_PORTS, is_local


@dataclass(frozen=True)
class Port:
    """One port of ``host`` and the setting that moves it, as ``LAUREL_S3_PORT + 2``."""

    number: int
    label: str
    host: str

    @property
    def setting(self) -> str:
        return self.label.split()[0]


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
        labels = {i: f"LAUREL_S3_PORT + {i}" if i else "LAUREL_S3_PORT" for i in SEAWEEDFS_PORTS.values()}
        ports += [Port(settings.s3_port + i, label, settings.inner_host) for i, label in labels.items()]
    return ports


def check(settings: Settings) -> None:
    """Raises ``PortError`` that names each port that cannot be had, before anything is started."""
    ports = needed(settings)
    problems = []
    for port in ports:
        if not 1 <= port.number <= 65535:
            problems.append(f"Port {port.number} ({port.label}) does not exist; set {port.setting} so that it is between 1 and 65535.")
        elif rivals := [other.label for other in ports if other.number == port.number and other != port]:
            problems.append(f"Port {port.number} is wanted by {port.label} and by {', '.join(rivals)}; set {port.setting} to another one.")
        elif reason := _obstacle(port.host, port.number):
            problems.append(f"Port {port.number} ({port.label}) {reason}; set {port.setting} to a free one.")
    if problems:
        raise PortError("\n".join(problems))


def _obstacle(host: str, port: int) -> str | None:
    """Connecting finds a listener on all addresses, which does not hinder binding on BSD and macOS; binding finds the rest."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            return "is in use by another program"
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"cannot be opened on {host} ({error.strerror})"
    return None
