"""The S3 server of the local stack: SeaweedFS, its random keys, and the folder that replaces it on
platforms where it does not run.
"""

import errno
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers.errors import StorageError

# Distance of each SeaweedFS port from LAUREL_S3_PORT. By default SeaweedFS derives gRPC ports as
# port + 10000 and opens 8181 and 9101 too.
SEAWEEDFS_PORTS = {
    "s3.port": 0,
    "s3.port.grpc": 1,
    "master.port": 2,
    "master.port.grpc": 3,
    "volume.port": 4,
    "volume.port.grpc": 5,
    "filer.port": 6,
    "filer.port.grpc": 7,
}
BIN = Path(sys.executable).parent
JWT_KEYS = ("SIGNING", "SIGNING_READ", "FILER_SIGNING", "FILER_SIGNING_READ")


def is_local(settings: Settings) -> bool:
    """Whether the lake is on the local stack's own S3 server."""
    return settings.lake.startswith("s3://") and settings.s3_endpoint is None


def find_weed() -> Path | None:
    path = shutil.which("weed", path=str(BIN))
    return Path(path) if path else None


def prepare(settings: Settings, weed: Path | None, say: Callable[[str], None]) -> Settings:
    """The settings in force: with S3 keys, created the first time and kept in ``.laurel/env``, or
    with a folder as lake.

    Raises ``StorageError`` if the settings name an ``s3://`` lake that no SeaweedFS can serve, or
    only one of the keys."""
    if not is_local(settings):
        return settings
    if weed is None:
        return _in_folder(settings, say)
    if (settings.s3_access_key is None) != (settings.s3_secret_key is None):
        raise StorageError(
            "Only one of LAUREL_S3_ACCESS_KEY and LAUREL_S3_SECRET_KEY is set; set both, or "
            "neither to have both made."
        )
    if settings.s3_access_key is None:
        access, secret = secrets.token_hex(10), secrets.token_hex(20)
        remember(settings.state, {"LAUREL_S3_ACCESS_KEY": access, "LAUREL_S3_SECRET_KEY": secret})
        settings = settings.model_copy(
            update={"s3_access_key": SecretStr(access), "s3_secret_key": SecretStr(secret)}
        )
    return settings


def _in_folder(settings: Settings, say: Callable[[str], None]) -> Settings:
    if "lake" in settings.model_fields_set:
        raise StorageError(
            f"LAUREL_LAKE is {settings.lake}, but SeaweedFS has no binary for this platform; "
            "set LAUREL_LAKE=file:///some/folder, or LAUREL_S3_ENDPOINT to an S3 server that runs."
        )
    lake = f"file://{settings.state / 'lake'}"
    say(
        "SeaweedFS has no binary for this platform: the lake is the folder "
        f"{settings.state / 'lake'}."
    )
    remember(settings.state, {"LAUREL_LAKE": lake})
    return settings.model_copy(update={"lake": lake})


def remember(state: Path, values: dict[str, str]) -> None:
    """Set these variables in ``.laurel/env``, which only its owner may read; other lines stay."""
    path = state / "env"
    lines = path.read_text().splitlines() if path.exists() else []
    other_lines = [line for line in lines if line.partition("=")[0].strip() not in values]
    write_private(
        path,
        "\n".join([*other_lines, *(f"{name}={value}" for name, value in values.items())]) + "\n",
    )


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; from its first byte on only its owner may read it."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def write_keys(settings: Settings) -> None:
    """Write the only identity that SeaweedFS accepts."""
    assert settings.s3_access_key and settings.s3_secret_key
    keys = {
        "accessKey": settings.s3_access_key.get_secret_value(),
        "secretKey": settings.s3_secret_key.get_secret_value(),
    }
    owner = {
        "name": "laurel",
        "credentials": [keys],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    write_private(settings.state / "seaweedfs" / "s3.json", json.dumps({"identities": [owner]}))


def weed_command(settings: Settings) -> list[str]:
    """``weed server`` with every port named, to be run in the state folder."""
    return [
        "weed",
        "-logtostderr=true",
        "server",
        f"-ip={settings.inner_host}",
        f"-ip.bind={settings.inner_host}",
        "-dir=seaweedfs",
        "-s3",
        "-s3.config=seaweedfs/s3.json",
        *(f"-{name}={settings.s3_port + distance}" for name, distance in SEAWEEDFS_PORTS.items()),
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        # Each bucket takes seven volumes; the default of eight makes the second bucket fail.
        "-volume.max=100",
        "-volume.preStopSeconds=0",
        # With its old Raft log a single master waits 10 to 20 s for an election; without it, it
        # takes volume ids from the volumes.
        "-master.resumeState=false",
        "-master.telemetry=false",
    ]


def weed_environment() -> dict[str, str]:
    """JWT keys; without them any local program or web page could bypass S3 to read and write
    objects.
    """
    return {f"WEED_JWT_{name}_KEY": secrets.token_hex(32) for name in JWT_KEYS}


def bucket_is_writable(settings: Settings) -> bool:
    """Create the lake's bucket if it is missing, and prove that an object can be written."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    assert settings.s3_access_key and settings.s3_secret_key
    client = boto3.client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        aws_access_key_id=settings.s3_access_key.get_secret_value(),
        aws_secret_access_key=settings.s3_secret_key.get_secret_value(),
        region_name=settings.s3_region,
        config=Config(
            connect_timeout=5,
            read_timeout=30,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            proxies={},
        ),
    )
    bucket = settings.lake.removeprefix("s3://").partition("/")[0]
    try:
        with suppress(
            client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
        ):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=".laurel-ready", Body=b"")
        client.delete_object(Bucket=bucket, Key=".laurel-ready")
    except (BotoCoreError, ClientError):
        return False
    return True


def remove_sockets(settings: Settings) -> None:
    """Remove the sockets that SeaweedFS leaves in the shared temporary folder. A live server's
    sockets stay.
    """
    for distance in SEAWEEDFS_PORTS.values():
        for socket_path in sockets(settings.s3_port + distance):
            with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(socket_path)) == errno.ECONNREFUSED:
                    socket_path.unlink()


def sockets(port: int) -> list[Path]:
    """The sockets of any user's SeaweedFS for this port in the shared temporary folder. No option
    moves them.
    """
    return list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))  # noqa: S108 - where weed puts them
