"""Objects by key in an S3 bucket or a folder: the prediction log is written there, drift reports
and decisions are read.

An object is there whole or not at all.
"""

import secrets
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from blocks.settings import Settings
from serving.errors import LakeAway

NO_LAKE = "none"


class Stored(NamedTuple):
    """An object as a listing tells of it. With another ``size`` or ``modified`` it is another
    object under the same key.
    """

    key: str
    size: int
    modified: datetime


class Lake(Protocol):
    """Anything that holds objects."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace the object. Raises ``LakeAway``."""

    def get(self, key: str) -> bytes:
        """Raises ``FileNotFoundError`` where there is no such object, ``LakeAway``."""

    def list(self, prefix: str) -> list[Stored]:
        """What is in the folder ``prefix`` and below it, sorted by key; nothing if there is no such
        folder. Raises ``LakeAway``.
        """


class FolderLake:
    """Objects as files: written beside and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes | memoryview) -> None:
        target = self._root / key
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(target)
        except OSError as error:
            raise LakeAway(f"{target} cannot be written: {error.strerror}.") from error

    def get(self, key: str) -> bytes:
        try:
            return (self._root / key).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeAway(
                f"{key} cannot be read in the lake's folder: {error.strerror}."
            ) from error

    def list(self, prefix: str) -> list[Stored]:
        if (
            self._root.exists() and not self._root.is_dir()
        ):  # ``rglob`` would find nothing in it and say nothing
            raise LakeAway(f"{prefix} cannot be listed: the lake's folder is a file.")
        found = []
        for path in (self._root / prefix).rglob("*"):
            try:
                if path.suffix == ".partial" or not path.is_file():
                    continue
                stat = path.stat()
            except FileNotFoundError:  # gone since it was found
                continue
            except OSError as error:
                raise LakeAway(
                    f"{prefix} cannot be listed in the lake's folder: {error.strerror}."
                ) from error
            found.append(
                Stored(
                    path.relative_to(self._root).as_posix(),
                    stat.st_size,
                    datetime.fromtimestamp(stat.st_mtime, UTC),
                )
            )
        return sorted(found)


class BucketLake:
    """Objects of an S3 bucket that exists already, below a prefix."""

    def __init__(
        self, bucket: str, prefix: str, settings: Settings, *, waited_for: bool = False
    ) -> None:
        self._waited_for = waited_for
        self._bucket = bucket
        self._root = f"{bucket}/{prefix}" if prefix else bucket
        self._settings = settings

    @cached_property
    def _files(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        settings = self._settings
        key, secret = settings.s3_access_key, settings.s3_secret_key
        # Uploader and page try again by themselves, so a try is short. Delayed open: one PUT
        # instead of a multipart upload.
        return S3FileSystem(
            endpoint_override=settings.s3_endpoint_url,
            access_key=key.get_secret_value() if key else None,
            secret_key=secret.get_secret_value() if secret else None,
            region=settings.s3_region,
            connect_timeout=1 if self._waited_for else 2,
            request_timeout=2 if self._waited_for else 10,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1 if self._waited_for else 2),
            allow_delayed_open=True,
        )

    def put(self, key: str, data: bytes | memoryview) -> None:
        try:
            with self._files.open_output_stream(f"{self._root}/{key}") as stream:
                stream.write(data)
        except OSError as error:
            raise self._away(key, "written", error) from error

    def get(self, key: str) -> bytes:
        try:
            with self._files.open_input_stream(f"{self._root}/{key}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._away(key, "read", error) from error

    def list(self, prefix: str) -> list[Stored]:
        from pyarrow.fs import FileSelector, FileType

        try:
            # The bucket itself is not asked for: the service may list these folders of it and
            # nothing else.
            found = self._files.get_file_info(
                FileSelector(f"{self._root}/{prefix}", recursive=True)
            )
        except FileNotFoundError:  # no object below it; a missing bucket is another error
            return []
        except OSError as error:
            raise self._away(prefix, "read", error) from error
        start = len(self._root) + 1
        return sorted(
            Stored(one.path[start:], one.size, one.mtime)
            for one in found
            if one.type == FileType.File
        )

    def _away(self, key: str, what: str, error: OSError) -> LakeAway:
        where = self._settings.s3_endpoint_url or "AWS"
        hint = (
            f"Create the bucket {self._bucket!r} first. " if "NO_SUCH_BUCKET" in str(error) else ""
        )
        return LakeAway(f"s3://{self._root}/{key} cannot be {what} at {where}. {hint}{error}")


class NoLake:
    """Where the service is to keep nothing: nothing is written, and there is nothing to read."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        raise self._away()

    def get(self, key: str) -> bytes:
        raise self._away()

    def list(self, prefix: str) -> list[Stored]:
        raise self._away()

    def _away(self) -> LakeAway:
        return LakeAway("This service has no lake: LAUREL_LAKE says where there is one.")


def open_lake(settings: Settings, *, waited_for: bool = False) -> Lake:
    """The lake that the settings name; nothing is asked of it yet. ``waited_for``: a person waits,
    who can ask again.

    Raises ``ValueError`` for a URL of another kind.
    """
    if settings.lake == NO_LAKE:
        return NoLake()
    scheme, _, rest = settings.lake.partition("://")
    if scheme == "file" and rest:
        return FolderLake(Path(rest))
    if scheme == "s3" and rest:
        bucket, _, prefix = rest.strip("/").partition("/")
        return BucketLake(bucket, prefix, settings, waited_for=waited_for)
    raise ValueError(
        f"LAUREL_LAKE is {settings.lake!r}; it must be s3://bucket[/prefix], file:///folder "
        "or none."
    )
