"""Prefect's storage for the results of steps: the lake, so that a run that restarts on another
machine finds them.
"""

from typing import Self

from prefect.filesystems import WritableFileSystem
from pydantic import Field

from blocks.lake import Lake
from blocks.settings import Settings

BLOCK = "results"
STORAGE = f"laurel-results/{BLOCK}"
PREFIX = "results"


class Results(WritableFileSystem):
    """Prefect's result storage: objects of the lake under ``results/``, on S3 or in a folder, with
    the lake's credentials.
    """

    _block_type_name = "Laurel results"
    _block_type_slug = "laurel-results"
    _description = (
        "Results of flow and task runs, stored in the lake under results/ until its "
        "lifecycle rule removes them."
    )

    lake: Lake = Field(description="the lake that stores them")

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the result storage in the lake that the settings describe."""
        return cls(lake=Lake.of(settings))

    # Prefect calls these from synchronous tasks, with ``_sync``, and those with an "a" from async
    # flows.
    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Raises ``FileNotFoundError`` if there is no such result, ``LakeAway`` if the lake is
        unreachable.
        """
        return self.lake.read(f"{PREFIX}/{path}")

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        self.lake.write(f"{PREFIX}/{path}", content)

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)
