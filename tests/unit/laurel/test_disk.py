"""How much room each kind takes, as ``laurel status`` tells it."""

import time
from pathlib import Path

import pytest

from blocks.clients.objects import Folder
from blocks.settings import Settings
from laurel.disk import LAKE_KINDS, Room, in_words, read_rooms, size
from tests.fixtures.s3 import empty_bucket, lake_settings, s3_server


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    lake = tmp_path / "elsewhere"
    for path, length in {"mlflow/1/a": 3_000_000, "predictions/toy/b": 20, "tidy/c": 0}.items():
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        (lake / path).write_bytes(bytes(length))
    (tmp_path / "state" / "prefect").mkdir(parents=True)
    (tmp_path / "state" / "prefect" / "prefect.db").write_bytes(bytes(5000))
    return Settings(lake=f"file://{lake}", state=tmp_path / "state")


def test_each_kind_of_lake_and_state_has_its_room(settings: Settings) -> None:
    rooms = read_rooms(settings)
    assert rooms == [
        Room("lake", "mlflow", 3_000_000, 1),
        Room("lake", "predictions", 20, 1),
        Room("state", "prefect", 5000, 1),
    ]
    free, *lines = in_words(rooms, settings.state)
    assert free.startswith("disk: ") and free.endswith("B free")
    assert lines == ["lake: mlflow 3.0 MB  predictions 20 B", "state: prefect 5.0 kB"]


def test_a_slow_lake_leaves_what_is_not_known(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Folder.list

    def slowly(folder: Folder, prefix: str) -> object:
        time.sleep(0 if prefix == "mlflow" else 60)
        return whole(folder, prefix)

    monkeypatch.setattr(Folder, "list", slowly)
    monkeypatch.setattr("laurel.disk._PATIENCE_SECONDS", 0.3)
    lake = [room for room in read_rooms(settings) if room.place == "lake"]
    assert lake[0].bytes == 3_000_000 and lake[1].bytes is None
    lines = in_words(lake, settings.state)
    assert "predictions ?" in " ".join(lines) and max(map(len, lines)) <= 80


def test_a_lake_elsewhere_is_asked_only_if_a_person_wants_it(tmp_path: Path) -> None:
    with s3_server() as url:
        empty_bucket(url, "rooms").put_object(Bucket="rooms", Key="datasets/a", Body=b"123")
        there = lake_settings(url, "s3://rooms").model_copy(update={"state": tmp_path})
        assert read_rooms(there) == []
        assert read_rooms(there, everything=True) == [Room("lake", "datasets", 3, 1)]
        missing = there.model_copy(update={"lake": "s3://missing"})
        assert read_rooms(missing, everything=True) == []


def test_every_folder_of_the_lake_is_a_kind() -> None:
    page = Path("docs/loop.md").read_text().partition("## The lake")[2].partition("###")[0]
    named = {line.partition("/")[0] for line in page.splitlines() if "/" in line.split(" ")[0]}
    assert {name for name in named if name.isalpha()} == set(LAKE_KINDS)


def test_sizes_have_their_unit() -> None:
    assert [size(one) for one in (None, 12, 1500, 2.5e6, 3e9)] == [  # type: ignore[arg-type]
        "",
        "12 B",
        "1.5 kB",
        "2.5 MB",
        "3.0 GB",
    ]
