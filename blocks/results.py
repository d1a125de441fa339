"""Where Prefect keeps what steps returned: in the lake, so that a run started again on another
machine finds it.
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
    """Prefect's result storage, as objects of the lake under ``results/``: S3 or a folder, with the
    lake's own credentials.
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
        """The result storage of the lake that the settings describe."""
        return cls(lake=Lake.of(settings))

    # Prefect asks for the one from synchronous tasks, with ``_sync``, and for the other, with an
    # "a", from async flows.
    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Raises ``FileNotFoundError`` where there is no such result, ``LakeAway`` where the lake
        cannot be asked.
        """
        return self.lake.read(f"{PREFIX}/{path}")

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        self.lake.write(f"{PREFIX}/{path}", content)

    async def aread_path(self, path: str) -> bytes:
        return self.read_path(path)

    async def awrite_path(self, path: str, content: bytes) -> None:
        self.write_path(path, content)
