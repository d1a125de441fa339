"""The lake: named bytes under one root, on any S3 endpoint or in a folder. Each object is complete
or absent.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from prefect.blocks.core import Block
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from pydantic import Field

from blocks.clients.objects import Access, Bucket, Folder, Patience, Stored, open_objects
from blocks.settings import Settings

if TYPE_CHECKING:
    from pyarrow import NativeFile

BLOCK = "lake"
_CONNECT_SECONDS, _REQUEST_SECONDS = 3, 30
_DELETED_AT_ONCE = 1000  # S3's own limit


class LakeAway(ConnectionError):
    """The lake is unreachable or rejects the request; a retry may help. It names its address."""


@lru_cache(maxsize=8)
def _s3_client(credentials: AwsCredentials) -> Any:
    """boto3's client. It takes up to 0.3 s to make, and a flow opens the lake many times."""
    from botocore.config import Config

    return credentials.get_boto3_session().client(
        "s3",
        endpoint_url=credentials.aws_client_parameters.endpoint_url,
        config=Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_REQUEST_SECONDS,
            s3={"addressing_style": "path"},
        ),
    )


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
        """Return the lake that the settings describe."""
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
    def _objects(self) -> Folder | Bucket:
        credentials = self.credentials or AwsCredentials()
        secret = credentials.aws_secret_access_key
        access = Access(
            credentials.aws_client_parameters.endpoint_url,
            credentials.aws_access_key_id,
            secret.get_secret_value() if secret else None,
            credentials.aws_session_token,
            credentials.region_name,
        )
        # The time limits are short, since a task retries by itself.
        return open_objects(self.url, access, Patience(_CONNECT_SECONDS, _REQUEST_SECONDS, 3))

    @cached_property
    def _s3(self) -> Any:
        credentials = self.credentials or AwsCredentials()
        # The keys of an assumed role expire: its client is made anew for each lake.
        make = _s3_client if credentials.assume_role_arn is None else _s3_client.__wrapped__
        return make(credentials)

    @contextmanager
    def _reach(self, path: str) -> Iterator[Folder | Bucket]:
        try:
            yield self._objects
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise self._away(path, error) from error

    def _away(self, path: str, error: Exception) -> LakeAway:
        return LakeAway(f"The lake {self.url} cannot be used for {path!r}: {error}")

    def write(self, path: str, data: bytes) -> None:
        """Write or replace the object. Readers see the old one or the new one, never a part."""
        with self._reach(path) as objects:
            objects.put(path, data)

    def upload(self, path: str, file: Path) -> None:
        """As ``write``, of the content of a file, which may be larger than the memory."""
        with self._reach(path) as objects:
            if isinstance(objects, Folder):
                objects.copy_in(path, file)
            else:
                self._upload_to_bucket(objects, path, file)

    def _upload_to_bucket(self, objects: Bucket, path: str, file: Path) -> None:
        """In parts, if it is large: the object exists once all are there."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = f"{objects.root}/{path}".partition("/")
        try:
            self._s3.upload_file(str(file), bucket, key)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise self._away(path, error) from error

    def create(self, path: str, data: bytes) -> None:
        """Write the object if it does not exist. Storage decides: of two concurrent writers one
        fails. Raises ``FileExistsError``.
        """
        with self._reach(path) as objects:
            if isinstance(objects, Folder):
                objects.create(path, data)
            else:
                self._create_in_bucket(objects, path, data)

    def _create_in_bucket(self, objects: Bucket, path: str, data: bytes) -> None:
        """Use S3's conditional write (``If-None-Match: *``), which pyarrow does not support."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = f"{objects.root}/{path}".partition("/")
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
        except ClientError as error:
            # 409: another write of the same key is in progress; the first one to finish wins.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in (409, 412):
                raise FileExistsError(f"{path!r} is already in the lake {self.url}.") from error
            raise self._away(path, error) from error
        except BotoCoreError as error:
            raise self._away(path, error) from error

    def remove(self, paths: Sequence[str]) -> None:
        """Delete the objects; those that do not exist are left out. Raises ``LakeAway``."""
        objects = self._objects
        if isinstance(objects, Folder):
            for path in paths:
                with self._reach(path):
                    objects.delete(path)
        else:
            for start in range(0, len(paths), _DELETED_AT_ONCE):
                self._remove_from_bucket(objects, paths[start : start + _DELETED_AT_ONCE])

    def _remove_from_bucket(self, objects: Bucket, paths: Sequence[str]) -> None:
        """By boto3: pyarrow writes an empty object for the folder of a deleted one."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, prefix = objects.root.partition("/")
        keys = [{"Key": f"{prefix}/{path}" if prefix else path} for path in paths]
        try:
            answer = self._s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        except (BotoCoreError, ClientError) as error:
            raise self._away(paths[0], error) from error
        if failed := answer.get("Errors"):
            reason = f"{failed[0].get('Code')}: {failed[0].get('Message')}"
            raise self._away(failed[0].get("Key", paths[0]), OSError(reason))

    def read(self, path: str) -> bytes:
        """Raises ``FileNotFoundError`` if there is no such object, ``LakeAway`` if the lake is
        unreachable.
        """
        with self._reach(path) as objects:
            return objects.get(path)

    def open(self, path: str) -> "NativeFile":
        """Open the object to read it in parts; the caller closes it. Reading it raises ``OSError``.
        Raises what ``read`` raises.
        """
        with self._reach(path) as objects:
            return objects.open(path)

    def exists(self, path: str) -> bool:
        with self._reach(path) as objects:
            return objects.exists(path)

    def newest(self, prefix: str) -> datetime | None:
        """Return when the latest object in or below the folder ``prefix`` was written, by the
        lake's clock; ``None`` if there is none.
        """
        with self._reach(prefix) as objects:
            return max((stored.modified for stored in objects.list(prefix)), default=None)

    def list(self, prefix: str) -> list[str]:
        """Return the sorted paths of all objects in and below the folder ``prefix``; none if the
        folder does not exist.
        """
        return [stored.key for stored in self.stored(prefix)]

    def stored(self, prefix: str) -> Sequence[Stored]:
        """As ``list``, with the size and the time of each object."""
        with self._reach(prefix) as objects:
            return objects.list(prefix)

    def find(self, path: str) -> Stored | None:
        """The object with its size and time; ``None`` if it does not exist."""
        with self._reach(path) as objects:
            return objects.find(path)
