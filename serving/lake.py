"""Where the prediction log goes: objects by key in an S3 bucket or a folder. An object is there whole or not at all."""

import secrets
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from blocks.settings import Settings
from serving.errors import LakeAway


class Lake(Protocol):
    """Anything that takes an object."""

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object. Raises ``LakeAway``."""


class FolderLake:
    """Objects as files: written beside and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, data: bytes) -> None:
        target = self._root / key
        partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}.partial")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(data)
            partial.replace(target)
        except OSError as error:
            raise LakeAway(f"{target} cannot be written: {error.strerror}.") from error


class BucketLake:
    """Objects of an S3 bucket that exists already, below a prefix."""

    def __init__(self, bucket: str, prefix: str, settings: Settings) -> None:
        self._bucket = bucket
        self._root = f"{bucket}/{prefix}" if prefix else bucket
        self._settings = settings

    @cached_property
    def _files(self) -> Any:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

        settings = self._settings
        key, secret = settings.s3_access_key, settings.s3_secret_key
        # The uploader tries again by itself, so a try is short. Delayed open: one PUT instead of a multipart upload.
        return S3FileSystem(
            endpoint_override=settings.s3_endpoint_url,
            access_key=key.get_secret_value() if key else None,
            secret_key=secret.get_secret_value() if secret else None,
            region=settings.s3_region,
            connect_timeout=2,
            request_timeout=10,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=2),
            allow_delayed_open=True,
        )

    def put(self, key: str, data: bytes) -> None:
        path = f"{self._root}/{key}"
        try:
            with self._files.open_output_stream(path) as stream:
                stream.write(data)
        except OSError as error:
            where = self._settings.s3_endpoint_url or "AWS"
            hint = f"Create the bucket {self._bucket!r} first. " if "NO_SUCH_BUCKET" in str(error) else ""
            raise LakeAway(f"s3://{path} cannot be written at {where}. {hint}{error}") from error


def open_lake(settings: Settings) -> Lake:
    """The lake that the settings name; nothing is asked of it yet. Raises ``ValueError`` for a URL of another kind."""
    scheme, _, rest = settings.lake.partition("://")
    if scheme == "file" and rest:
        return FolderLake(Path(rest))
    if scheme == "s3" and rest:
        bucket, _, prefix = rest.strip("/").partition("/")
        return BucketLake(bucket, prefix, settings)
    raise ValueError(f"LAUREL_LAKE is {settings.lake!r}; it must be s3://bucket[/prefix] or file:///folder.")
