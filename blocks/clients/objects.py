"""Objects by key, in a folder or in an S3 bucket. Each object is complete or absent.

Failures are ``OSError``; ``FileNotFoundError`` means that there is no such object. The lakes of
flows (``blocks/lake.py``) and service (``serving/outside/lake.py``) decide what follows. pyarrow is
imported with the first request that needs it."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import S3FileSystem


class Stored(NamedTuple):
    """An object in a listing. A different ``size`` or ``modified`` (UTC) means a different object
    under the same key.
    """

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True)
class Access:
    """Address and credentials of an S3 server. Without an endpoint it is AWS itself; without keys
    AWS's default chain is used.
    """

    endpoint_url: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str | None = None


@dataclass(frozen=True)
class Patience:
    """Time limits of one request, and how often it is tried. AWS's defaults wait for minutes."""

    connect_seconds: float
    request_seconds: float
    attempts: int


class Folder:
    """Objects as files below ``root``, written under another name and then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace the object: readers see the old one or the new one, never a part."""
        with self._written(key, data) as (partial, target):
            partial.replace(target)

    def create(self, key: str, data: bytes | memoryview) -> None:
        """Write the object if absent: of two concurrent writers one gets ``FileExistsError``."""
        with self._written(key, data) as (partial, target):
            os.link(partial, target)

    def copy_in(self, key: str, file: Path) -> None:
        """As ``put``, of the content of another file."""
        with self._written(key, file) as (partial, target):
            partial.replace(target)

    @contextmanager
    def _written(self, key: str, data: bytes | memoryview | Path) -> Iterator[tuple[Path, Path]]:
        """Yield the path of a complete file beside the object, and the object's path."""
        target = self.root / key
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(f"{target.parent} is a file") from error
        try:
            if isinstance(data, Path):
                shutil.copyfile(data, partial)
            else:
                partial.write_bytes(data)
            yield partial, target
        finally:
            partial.unlink(missing_ok=True)

    def get(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def delete(self, key: str) -> None:
        """Delete the object if it exists."""
        (self.root / key).unlink(missing_ok=True)

    def open(self, key: str) -> "NativeFile":
        """Open the object to read it in parts; the caller closes it."""
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem().open_input_file(str(self.root / key))

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def find(self, key: str) -> Stored | None:
        """The object as it is listed; ``None`` if it does not exist."""
        if not self.exists(key):
            return None
        stat = (self.root / key).stat()
        return Stored(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))

    def list(self, prefix: str) -> list[Stored]:
        """Return the objects in and below the folder ``prefix``, sorted by key; none if it does not
        exist.
        """
        if self.root.is_file():
            raise NotADirectoryError("the folder is a file")
        objects = []
        # Links to folders are followed: a lake may lie on several disks.
        for folder, _, names in os.walk(self.root / prefix, onerror=_pass_on, followlinks=True):
            below = Path(folder).relative_to(self.root).parts
            for name in names:
                if name.endswith(".partial"):
                    continue
                try:
                    stat = os.stat(f"{folder}/{name}")  # noqa: PTH116 - a tenth of a Path's time
                except FileNotFoundError:  # removed since it was listed
                    continue
                modified = datetime.fromtimestamp(stat.st_mtime, UTC)
                objects.append(Stored("/".join((*below, name)), stat.st_size, modified))
        return sorted(objects)


class Bucket:
    """Objects of an existing S3 bucket; ``root`` is the bucket and a prefix in it."""

    def __init__(self, root: str, access: Access, patience: Patience) -> None:
        self.root = root
        self.access = access
        self._patience = patience

    @cached_property
    def _files(self) -> "S3FileSystem":
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        # Delayed open: an object of a few megabytes is one PUT instead of a multipart upload.
        return S3FileSystem(
            endpoint_override=self.access.endpoint_url,
            access_key=self.access.access_key,
            secret_key=self.access.secret_key,
            session_token=self.access.session_token,
            region=self.access.region,
            connect_timeout=self._patience.connect_seconds,
            request_timeout=self._patience.request_seconds,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=self._patience.attempts),
            allow_delayed_open=True,
        )

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace the object: readers see the old one or the new one, never a part."""
        with self._asking(), self._files.open_output_stream(f"{self.root}/{key}") as stream:
            stream.write(data)

    def get(self, key: str) -> bytes:
        with self._asking(), self._files.open_input_stream(f"{self.root}/{key}") as stream:
            return bytes(stream.read())

    def open(self, key: str) -> "NativeFile":
        """Open the object to read it in parts; the caller closes it."""
        with self._asking():
            return self._files.open_input_file(f"{self.root}/{key}")

    def exists(self, key: str) -> bool:
        return self.find(key) is not None

    def find(self, key: str) -> Stored | None:
        """The object as it is listed; ``None`` if it does not exist."""
        from pyarrow.fs import FileType

        with self._asking():
            info = self._files.get_file_info(f"{self.root}/{key}")
        return Stored(key, info.size, info.mtime) if info.type == FileType.File else None

    def list(self, prefix: str) -> list[Stored]:
        """Return the objects in and below the folder ``prefix``, sorted by key; none if it does not
        exist.
        """
        from pyarrow.fs import FileSelector, FileType

        folder = f"{self.root}/{prefix}".rstrip("/")
        try:
            # With ``allow_not_found`` a missing bucket would look empty. The bucket itself is not
            # requested: a role may have the right to list only some of its folders.
            with self._asking():
                infos = self._files.get_file_info(FileSelector(folder, recursive=True))
        except FileNotFoundError:
            return []
        start = len(self.root) + 1
        return sorted(
            Stored(info.path[start:], info.size, info.mtime)
            for info in infos
            if info.type == FileType.File
        )

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if "NO_SUCH_BUCKET" not in str(error):
                raise
            bucket = self.root.partition("/")[0]
            raise OSError(f"Create the bucket {bucket!r} first. {error}") from error


def open_objects(url: str, access: Access, patience: Patience) -> Folder | Bucket:
    """Return the folder or bucket of ``url``, without a request to it. Raises ``ValueError``."""
    scheme, _, root = url.partition("://")
    if scheme == "s3" and root and not root.startswith("/"):
        return Bucket(root.rstrip("/"), access, patience)
    # A relative folder would depend on where each process starts.
    if scheme == "file" and root.startswith("/"):
        return Folder(Path(root))
    raise ValueError(
        f"The lake's url is {url!r}; it must be s3://bucket[/prefix] or file:///folder."
    )


def _pass_on(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
