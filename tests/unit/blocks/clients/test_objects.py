"""Folder and bucket keep the same promises, to flows and to the service."""

from pathlib import Path

import pytest

from blocks.clients.objects import Access, Bucket, Folder, Patience, open_objects
from tests.fixtures.s3 import empty_bucket

PATIENCE = Patience(connect_seconds=2, request_seconds=10, attempts=1)


def bucket(s3: str, url: str) -> Folder | Bucket:
    return open_objects(url, Access(s3, "key", "secret", region="us-east-1"), PATIENCE)


@pytest.fixture(params=["folder", "bucket"])
def objects(request: pytest.FixtureRequest, s3: str, tmp_path: Path) -> Folder | Bucket:
    if request.param == "folder":
        return open_objects(f"file://{tmp_path}/lake/", Access(), PATIENCE)
    empty_bucket(s3, "both")
    return bucket(s3, "s3://both/some/prefix/")


def test_what_was_put_is_got_in_whole_and_in_parts(objects: Folder | Bucket) -> None:
    objects.put("a/b", b"replaced")
    objects.put("a/b", memoryview(b"0123456789"))
    assert objects.get("a/b") == b"0123456789"
    with objects.open("a/b") as part:
        part.seek(4)
        assert (part.read(3), part.size()) == (b"456", 10)


def test_listing_is_sorted_and_keeps_to_its_folder(objects: Folder | Bucket) -> None:
    for key in ("reports/b/2", "reports/a/1", "reports/top", "reports-old/x"):
        objects.put(key, b"12")
    listed = objects.list("reports")
    assert [(stored.key, stored.size) for stored in listed] == [
        ("reports/a/1", 2),
        ("reports/b/2", 2),
        ("reports/top", 2),
    ]
    assert [stored.key for stored in objects.list("")] == [
        "reports-old/x",
        "reports/a/1",
        "reports/b/2",
        "reports/top",
    ]
    assert all(stored.modified.utcoffset() is not None for stored in listed)


def test_an_absent_object_is_not_found_and_an_absent_folder_is_empty(
    objects: Folder | Bucket,
) -> None:
    objects.put("folder/a", b".")
    for read in (objects.get, objects.open):
        with pytest.raises(FileNotFoundError):
            read("folder/b")
    assert [objects.exists(key) for key in ("folder/a", "folder", "folder/b")] == [
        True,
        False,
        False,
    ]
    assert objects.list("nowhere") == []


def test_a_missing_bucket_is_named_and_is_not_an_empty_one(s3: str) -> None:
    missing = bucket(s3, "s3://missing")
    for ask in (lambda: missing.list("reports"), lambda: missing.put("a", b"x")):
        with pytest.raises(OSError, match="Create the bucket 'missing' first"):
            ask()


def test_a_folder_that_is_a_link_is_listed_too(tmp_path: Path) -> None:
    other_disk = Folder(tmp_path / "other disk")
    other_disk.put("2013-05.parquet", b"rows")
    lake = Folder(tmp_path / "lake")
    lake.put("decisions/1", b".")
    (tmp_path / "lake" / "datasets").symlink_to(tmp_path / "other disk")
    assert [stored.key for stored in lake.list("")] == ["datasets/2013-05.parquet", "decisions/1"]


def test_a_parent_that_is_a_file_is_no_object_that_is_there_already(tmp_path: Path) -> None:
    """For ``create``, ``FileExistsError`` means a second writer, and here is only one."""
    lake = Folder(tmp_path)
    lake.put("a", b"a file")
    with pytest.raises(NotADirectoryError):
        lake.create("a/b", b".")


def test_secrets_stand_in_no_representation() -> None:
    access = Access("http://127.0.0.1:1", "key", "very secret", "a token")
    assert "secret'" not in repr(access) and "token'" not in repr(access)
