"""Which files a path means: one, a folder of them, or those that fit a pattern; on this machine, in
a bucket of S3, or in Laurel's lake.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from blocks.clients.objects import Folder, Stored
from usecases.definition import SourceAway, SourceError
from usecases.definition.sources import COMPRESSIONS, FORMATS, FileFormat, FileSource

if TYPE_CHECKING:  # a block needs Prefect, whose import takes longer than most tables
    from blocks.lake import Lake

_PATTERN = re.compile(r"[*?]")
_AWS = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True)
class StoredFile:
    """A file of a source, as it is now. ``name`` is how people are told of it."""

    place: "Folder | Lake"
    key: str
    size: int
    modified: datetime
    name: str
    format: FileFormat

    @property
    def identity(self) -> tuple[str, int, datetime]:
        """Another identity means another content."""
        return self.name, self.size, self.modified

    @property
    def compression(self) -> str | None:
        """What pyarrow calls it."""
        names = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}
        return names.get(PurePosixPath(self.key).suffix.lower())

    def copy_to(self, folder: Path) -> Path:
        """The path of the file on this machine: its own, or a copy in ``folder``."""
        if isinstance(self.place, Folder):
            return self.place.root / self.key
        if self.place.url.startswith("file://"):
            return Path(self.place.url.removeprefix("file://")) / self.key
        copy = folder / PurePosixPath(self.key).name
        with self.place.open(self.key) as stream, copy.open("wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        return copy


def find_files(source: FileSource, home: Path) -> list[StoredFile]:
    """The files that ``source`` means, by name. A relative path begins at ``home``.

    Raises ``SourceError`` if there is none, or one has no format; ``SourceAway`` or ``LakeAway``
    for an outage."""
    place: Folder | Lake
    if "://" in source.path:
        place, start, root = place_of(source.path, home)
    else:
        folder, start = _on_this_machine(source.path, home)
        place, root = Folder(folder), f"{folder}/"
    try:
        chosen = list(_chosen(place, start, source.format))
    except OSError as error:
        if not isinstance(place, Folder):
            raise
        fault = error.strerror or error
        raise SourceAway(f"{source.path}: {root} cannot be read: {fault}.") from error
    if not chosen:
        raise SourceError(
            f"{source.path} is no file, and no folder or pattern with files, that Laurel can read. "
            f"It looked for {root}{start}."
        )
    files = []
    for stored in chosen:
        kind = source.format or _format_of(stored.key)
        if kind is None:
            endings = ", ".join(FORMATS)
            raise SourceError(
                f"{root}{stored.key} has no ending that says its format ({endings}, perhaps with "
                f"{', '.join(COMPRESSIONS)}): write FileSource(..., format='csv')."
            )
        name = f"{root}{stored.key}"
        files.append(StoredFile(place, stored.key, stored.size, stored.modified, name, kind))
    return files


def _chosen(place: "Folder | Lake", start: str, form: FileFormat | None) -> Iterator[Stored]:
    """A file that is named, or those of a folder or pattern whose ending is known; names that begin
    with a dot or an underscore are hidden."""
    pattern = _PATTERN.search(start)
    if not pattern and start and not start.endswith("/") and (file := place.find(start)):
        yield file
        return
    folder = start[: start.rfind("/", 0, pattern.start()) + 1] if pattern else start
    listed = place.list if isinstance(place, Folder) else place.stored
    for stored in listed(folder.rstrip("/")):
        if (not pattern or _fits(stored.key, start)) and (form or _format_of(stored.key)):
            yield stored


def place_of(path: str, home: Path) -> tuple["Lake", str, str]:
    """The store of a path, the path in it, and what stands before that for people."""
    from blocks.lake import Lake
    from tasks.outside.blocks_of_run import lake

    scheme, is_url, rest = path.partition("://")
    if is_url and scheme == "lake":
        return lake(), rest.lstrip("/"), "lake://"
    if is_url and scheme == "s3":
        bucket, _, key = rest.partition("/")
        return _bucket(bucket), key, f"s3://{bucket}/"
    if is_url:
        raise SourceError(f"{path}: a path begins with s3://, lake:// or a folder.")
    folder, key = _on_this_machine(path, home)
    return Lake(url=f"file://{folder}", credentials=None), key, f"{folder}/"


def _on_this_machine(path: str, home: Path) -> tuple[Path, str]:
    """The folder of a path that has no scheme, and the path or pattern in it."""
    whole = Path(path).expanduser()
    whole = whole if whole.is_absolute() else home / whole
    parts = whole.parts
    fixed = next((at for at, part in enumerate(parts) if _PATTERN.search(part)), len(parts) - 1)
    folder = Path(*parts[:fixed])
    if whole.is_dir():
        folder = whole
    key = whole.relative_to(folder).as_posix()
    return folder, "" if key == "." else key


def _bucket(name: str) -> "Lake":
    """With the credentials that AWS's own tools would use, and at the address that they would."""
    import boto3
    from prefect_aws import AwsClientParameters, AwsCredentials

    from blocks.lake import Lake

    address = boto3.session.Session().client("s3").meta.endpoint_url
    own = None if address.endswith(_AWS) else address
    parameters = AwsClientParameters(endpoint_url=own)
    return Lake(url=f"s3://{name}", credentials=AwsCredentials(aws_client_parameters=parameters))


def _fits(key: str, pattern: str) -> bool:
    """As in a shell: ``*`` and ``?`` stay in a folder, ``**/`` goes into each."""
    parts = re.split(r"(\*\*/|\*|\?)", pattern)
    own = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return bool(re.fullmatch("".join(own.get(part) or re.escape(part) for part in parts), key))


def _format_of(key: str) -> FileFormat | None:
    name = PurePosixPath(key)
    if name.name.startswith((".", "_")):
        return None
    ending = name.suffix.lower()
    if ending in COMPRESSIONS:
        ending = PurePosixPath(name.stem).suffix.lower()
    return FORMATS.get(ending)
