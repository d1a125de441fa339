"""The lake for the service: it writes the prediction log there, and reads drift reports and
decisions.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from blocks.clients.objects import Access, Bucket, Folder, Patience, Stored, open_objects
from blocks.settings import Settings
from serving.errors import LakeAway

NO_LAKE = "none"
# Uploader and page retry by themselves, so each try is short.
_UPLOAD = Patience(connect_seconds=2, request_seconds=10, attempts=2)
_PAGE = Patience(connect_seconds=1, request_seconds=2, attempts=1)


class Lake(Protocol):
    """A store of objects."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write or replace the object. Raises ``LakeAway``."""

    def get(self, key: str) -> bytes:
        """Return an object. Raises ``FileNotFoundError`` if there is none, ``LakeAway``."""

    def list(self, prefix: str) -> list[Stored]:
        """Return what is in the folder ``prefix`` and below it, sorted by key; nothing if there is
        no such folder. Raises ``LakeAway``.
        """


class _ObjectLake:
    """A folder or a bucket. Any obstacle is raised as ``LakeAway``."""

    _objects: Folder | Bucket

    def put(self, key: str, data: bytes | memoryview) -> None:
        with self._translate_errors(key, "written"):
            self._objects.put(key, data)

    def get(self, key: str) -> bytes:
        with self._translate_errors(key, "read"):
            return self._objects.get(key)

    def list(self, prefix: str) -> list[Stored]:
        with self._translate_errors(prefix, "listed"):
            return self._objects.list(prefix)

    @contextmanager
    def _translate_errors(self, key: str, operation: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeAway(self._describe(key, operation, error)) from error

    def _describe(self, key: str, operation: str, error: OSError) -> str:
        raise NotImplementedError


class FolderLake(_ObjectLake):
    """Objects as files."""

    def __init__(self, root: Path) -> None:
        self._objects = Folder(root)

    def _describe(self, key: str, operation: str, error: OSError) -> str:
        # Callers see this message for reports and decisions, so it names no path of this machine.
        folder = self._objects.root if operation == "written" else "the lake's folder"
        return f"{key} cannot be {operation} in {folder}: {error.strerror or error}."


class BucketLake(_ObjectLake):
    """Objects of an S3 bucket that exists already, below a prefix."""

    def __init__(self, bucket: Bucket) -> None:
        self._objects = bucket
        self._place = bucket.access.endpoint_url or "AWS"

    def _describe(self, key: str, operation: str, error: OSError) -> str:
        return f"s3://{self._objects.root}/{key} cannot be {operation} at {self._place}: {error}"


class NoLake:
    """For a service that keeps nothing: it writes nothing and has nothing to read."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        raise self._away()

    def get(self, key: str) -> bytes:
        raise self._away()

    def list(self, prefix: str) -> list[Stored]:
        raise self._away()

    def _away(self) -> LakeAway:
        return LakeAway("This service has no lake: LAUREL_LAKE names none.")


def open_lake(settings: Settings, *, for_page: bool = False) -> Lake:
    """The lake that the settings name; nothing is read yet. ``for_page``: a person waits, who can
    ask again.

    Raises ``ValueError`` for a URL of another kind."""
    if settings.lake == NO_LAKE:
        return NoLake()
    key, secret = settings.s3_access_key, settings.s3_secret_key
    access = Access(
        settings.s3_endpoint_url,
        key.get_secret_value() if key else None,
        secret.get_secret_value() if secret else None,
        region=settings.s3_region,
    )
    try:
        objects = open_objects(settings.lake, access, _PAGE if for_page else _UPLOAD)
    except ValueError as error:
        raise ValueError(
            f"LAUREL_LAKE is {settings.lake!r}; it must be s3://bucket[/prefix], file:///folder "
            "or none."
        ) from error
    return FolderLake(objects.root) if isinstance(objects, Folder) else BucketLake(objects)
