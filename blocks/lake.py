"""The lake: named bytes under one root, on any S3 endpoint or in a folder. An object is there whole
or not at all.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from prefect.blocks.core import Block
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from pydantic import Field

from blocks.settings import Settings

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileSystem

BLOCK = "lake"


class LakeAway(ConnectionError):
    """The lake cannot be reached or refuses: worth a retry. The message names its address."""


class Lake(Block):
    """Objects by path under ``url``: ``s3://bucket[/prefix]`` with prefect-aws credentials, or
    ``file:///folder``.
    """

    _block_type_name = "Laurel lake"
    _block_type_slug = "laurel-lake"
    _description = "Datasets, prediction log, drift reports and decisions, on S3 or in a folder."

    url: str = Field(description="s3://bucket[/prefix] or file:///folder")
    credentials: AwsCredentials | None = Field(
        None, description="for s3://; without keys the AWS default chain is used"
    )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The lake that the settings describe."""
        if not settings.lake.startswith("s3://"):
            return cls(url=settings.lake, credentials=None)
        key, secret = settings.s3_access_key, settings.s3_secret_key
        return cls(
            url=settings.lake,
            credentials=AwsCredentials(
                aws_access_key_id=key.get_secret_value() if key else None,
                aws_secret_access_key=secret,
                region_name=settings.s3_region,
                aws_client_parameters=AwsClientParameters(endpoint_url=settings.s3_endpoint_url),
            ),
        )

    @cached_property
    def _root(self) -> str:
        scheme, _, rest = self.url.partition("://")
        absolute = scheme == "s3" or rest.startswith("/")
        if scheme not in ("s3", "file") or not rest or not absolute:
            raise ValueError(
                f"The lake's url is {self.url!r}; it must be s3://bucket[/prefix] or "
                "file:///folder."
            )
        return rest.rstrip("/")

    @cached_property
    def _files(self) -> "FileSystem":
        from pyarrow.fs import LocalFileSystem, S3FileSystem

        if not self.url.startswith("s3://"):
            return LocalFileSystem()
        given = self.credentials or AwsCredentials()
        secret = given.aws_secret_access_key
        endpoint = given.aws_client_parameters.endpoint_url
        # The short time-outs let the task's own retries decide; the AWS defaults wait for minutes.
        return S3FileSystem(
            access_key=given.aws_access_key_id,
            secret_key=secret.get_secret_value() if secret else None,
            session_token=given.aws_session_token,
            region=given.region_name,
            endpoint_override=endpoint,
            request_timeout=30,
            connect_timeout=3,
        )

    @cached_property
    def _bucket(self) -> Any:
        from botocore.config import Config

        given = self.credentials or AwsCredentials()
        return given.get_boto3_session().client(
            "s3",
            endpoint_url=given.aws_client_parameters.endpoint_url,
            config=Config(connect_timeout=3, read_timeout=30, s3={"addressing_style": "path"}),
        )

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _reach(self, path: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise LakeAway(f"The lake {self.url} cannot be used for {path!r}: {error}") from error

    def write(self, path: str, data: bytes) -> None:
        """Put the object there, replacing it. Readers see the old one or the new one, never a
        part.
        """
        with self._reach(path):
            if self.url.startswith("s3://"):
                with self._files.open_output_stream(self._path(path)) as stream:
                    stream.write(data)
                return
            target = Path(self._path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
            try:
                partial.write_bytes(data)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)

    def create(self, path: str, data: bytes) -> None:
        """Put the object there if there is none, decided by whoever keeps it: of two at once, one
        fails. Raises ``FileExistsError``.
        """
        if self.url.startswith("s3://"):
            self._create_in_bucket(path, data)
            return
        with self._reach(path):
            target = Path(self._path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
            try:
                partial.write_bytes(data)
                os.link(partial, target)
            finally:
                partial.unlink(missing_ok=True)

    def _create_in_bucket(self, path: str, data: bytes) -> None:
        """By S3's conditional write (``If-None-Match: *``), which pyarrow does not know."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = self._path(path).partition("/")
        try:
            self._bucket.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            # 409: another write of the same key is under way, and whichever ends first is there.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                raise FileExistsError(f"{path!r} is in the lake {self.url} already.") from error
            raise LakeAway(f"The lake {self.url} cannot be used for {path!r}: {error}") from error
        except BotoCoreError as error:
            raise LakeAway(f"The lake {self.url} cannot be used for {path!r}: {error}") from error

    def read(self, path: str) -> bytes:
        """Raises ``FileNotFoundError`` where there is no such object, ``LakeAway`` where the lake
        cannot be asked.
        """
        with self._reach(path), self._files.open_input_stream(self._path(path)) as stream:
            return stream.read()

    def open(self, path: str) -> "NativeFile":
        """The object to be read in parts, and closed by the caller; reading it raises ``OSError``.
        Raises as ``read`` does.
        """
        with self._reach(path):
            return self._files.open_input_file(self._path(path))

    def exists(self, path: str) -> bool:
        from pyarrow.fs import FileType

        with self._reach(path):
            return self._files.get_file_info(self._path(path)).type == FileType.File

    def newest(self, prefix: str) -> datetime | None:
        """When the latest object in the folder ``prefix`` or below it was written, by the lake's
        clock; None if there is none.
        """
        from pyarrow.fs import FileSelector, FileType

        with self._reach(prefix):
            found = self._files.get_file_info(
                FileSelector(self._path(prefix), recursive=True, allow_not_found=True)
            )
        times = [
            f.mtime for f in found if f.type == FileType.File and not f.path.endswith(".partial")
        ]
        return max((time for time in times if time is not None), default=None)

    def list(self, prefix: str) -> list[str]:
        """Paths of all objects in the folder ``prefix`` and below it, sorted; none if there is no
        such folder.
        """
        from pyarrow.fs import FileSelector, FileType

        with self._reach(prefix):
            found = self._files.get_file_info(
                FileSelector(self._path(prefix), recursive=True, allow_not_found=True)
            )
        start = len(self._root) + 1
        return sorted(
            f.path[start:]
            for f in found
            if f.type == FileType.File and not f.path.endswith(".partial")
        )
