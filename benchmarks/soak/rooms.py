"""How much of each kind there is: in the lake, in the state folder, and in the databases."""

import sqlite3
from contextlib import closing
from pathlib import Path

from blocks.settings import Settings
from laurel.disk import read_rooms

DATABASES = {"prefect": "prefect/prefect.db", "mlflow": "mlflow/mlflow.db"}


def read_sizes(settings: Settings) -> dict[str, tuple[int, int]]:
    """Bytes and files by kind. Of a database its pages in use: SQLite gives no room back."""
    rooms = {
        f"{room.place}: {room.kind}": (room.bytes or 0, room.files or 0)
        for room in read_rooms(settings, everything=True)
    }
    for name, file in DATABASES.items():
        rooms[f"database: {name}"] = (pages_in_use(settings.state / file), 1)
        rooms.pop(f"state: {name}", None)
    return rooms


def pages_in_use(database: Path) -> int:
    """Bytes, without those that deleted rows have left."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        size, count, free = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_size", "page_count", "freelist_count")
        )
    return size * (count - free)
