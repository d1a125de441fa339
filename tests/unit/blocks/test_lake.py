import os
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from prefect_aws import AwsCredentials
from pydantic import SecretStr

from blocks.lake import Lake, LakeAway
from blocks.settings import Settings
from tests.fixtures.s3 import empty_bucket, lake_settings


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(url=f"file://{tmp_path}/lake")


def test_what_was_written_is_read_and_listed(lake: Lake) -> None:
    lake.write("datasets/toy/a.parquet", b"\x00\xffone")
    lake.write("datasets/toy/empty", b"")
    assert lake.read("datasets/toy/a.parquet") == b"\x00\xffone"
    assert lake.read("datasets/toy/empty") == b""
    assert lake.list("datasets") == ["datasets/toy/a.parquet", "datasets/toy/empty"]


def test_an_object_can_be_read_in_parts(lake: Lake) -> None:
    lake.write("a", b"0123456789")
    with lake.open("a") as part:
        part.seek(4)
        assert (part.read(3), part.size()) == (b"456", 10)
    with pytest.raises(FileNotFoundError):
        lake.open("b")


def test_a_second_write_replaces_the_object(lake: Lake) -> None:
    lake.write("a", b"a long first version")
    lake.write("a", b"short")
    assert (lake.read("a"), lake.list("")) == (b"short", ["a"])


def test_listing_is_sorted_recursive_and_keeps_to_its_folder(lake: Lake) -> None:
    for path in ("reports/b/2", "reports/a/1", "reports/top", "reports-old/x"):
        lake.write(path, b".")
    assert lake.list("reports") == ["reports/a/1", "reports/b/2", "reports/top"]
    assert lake.list("reports/a") == ["reports/a/1"]
    assert lake.list("nowhere") == []


def test_the_time_of_the_newest_object_below_a_folder_is_known(lake: Lake, tmp_path: Path) -> None:
    for path, at in {
        "predictions/toy/date=1/a": 1_000,
        "predictions/toy/date=2/b": 3_000,
        "other/c": 9_000,
    }.items():
        lake.write(path, b"x")
        os.utime(tmp_path / "lake" / path, (at, at))
    assert lake.newest("predictions/toy") == datetime.fromtimestamp(3_000, UTC)
    assert lake.newest("predictions/none") is None


def test_only_objects_exist_not_folders(lake: Lake) -> None:
    lake.write("folder/a", b".")
    assert [lake.exists(path) for path in ("folder/a", "folder", "folder/b")] == [
        True,
        False,
        False,
    ]


def test_a_missing_object_is_not_found_which_no_retry_would_mend(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError):
        lake.read("nowhere/a")


def test_a_lake_that_refuses_is_away_and_named(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "lake").write_bytes(b"a file where the folder should be")
    with pytest.raises(LakeAway, match=f"The lake file://{tmp_path}/lake cannot be used for 'a/b'"):
        lake.write("a/b", b".")


def test_an_unfinished_write_is_never_visible(lake: Lake, tmp_path: Path) -> None:
    """A killed writer leaves a file with the name that ``write`` gives to unfinished files."""
    lake.write("a", b"whole")
    (tmp_path / "lake" / f"a.{'0' * 32}.partial").write_bytes(b"hal")
    assert (lake.list(""), lake.read("a")) == (["a"], b"whole")


def test_a_failed_write_leaves_neither_object_nor_rest(lake: Lake, tmp_path: Path) -> None:
    lake.write("a/b", b".")
    with pytest.raises(LakeAway):
        lake.write("a", b"a folder has this name")
    assert [path.name for path in (tmp_path / "lake").rglob("*") if path.is_file()] == ["b"]


def test_readers_see_one_whole_version_while_others_write(lake: Lake) -> None:
    versions = [bytes([number]) * 200_000 for number in range(4)]
    lake.write("a", versions[0])

    def write_often(data: bytes) -> None:
        for _ in range(25):
            lake.write("a", data)

    threads = [threading.Thread(target=write_often, args=(data,)) for data in versions]
    for thread in threads:
        thread.start()
    contents = []
    while any(thread.is_alive() for thread in threads):
        contents.append(lake.read("a"))
    for thread in threads:
        thread.join()
    assert contents
    assert set(contents) <= set(versions)
    assert lake.list("") == ["a"]


def test_a_slash_at_the_end_of_the_url_changes_nothing(tmp_path: Path) -> None:
    Lake(url=f"file://{tmp_path}/lake").write("a/b", b".")
    assert Lake(url=f"file://{tmp_path}/lake/").list("a") == ["a/b"]


@pytest.mark.parametrize(
    "url", ["/folder", "file://", "gs://bucket", "s3://", "", "file://folder/below", "folder"]
)
def test_another_url_is_refused_with_the_two_that_work(url: str) -> None:
    """A folder without its leading slash would depend on where each flow run starts."""
    with pytest.raises(ValueError, match=r"must be s3://bucket\[/prefix\] or file:///folder"):
        Lake(url=url).list("datasets")


def test_a_folder_lake_needs_no_credentials(tmp_path: Path) -> None:
    lake = Lake.of(
        Settings(
            lake=f"file://{tmp_path}",
            s3_access_key=SecretStr("key"),
            s3_secret_key=SecretStr("secret"),
        )
    )
    assert (lake.url, lake.credentials) == (f"file://{tmp_path}", None)


def test_an_s3_lake_takes_keys_and_endpoint_from_the_settings() -> None:
    lake = Lake.of(
        Settings(
            s3_port=9999, s3_access_key=SecretStr("key"), s3_secret_key=SecretStr("very secret")
        )
    )
    credentials = lake.credentials
    assert credentials is not None
    assert credentials.aws_secret_access_key is not None
    assert (
        credentials.aws_access_key_id,
        credentials.aws_secret_access_key.get_secret_value(),
    ) == (
        "key",
        "very secret",
    )
    assert credentials.aws_client_parameters.endpoint_url == "http://127.0.0.1:9999"
    assert "very secret" not in repr(lake)


def test_aws_itself_has_no_endpoint_and_may_have_no_keys() -> None:
    credentials = Lake.of(Settings(s3_endpoint="aws")).credentials
    assert credentials is not None
    assert (
        credentials.aws_client_parameters.endpoint_url,
        credentials.aws_access_key_id,
        credentials.aws_secret_access_key,
    ) == (None, None, None)


def test_of_two_that_create_an_object_one_is_refused_and_what_is_there_stays(lake: Lake) -> None:
    lake.create("decisions/toy/1", b"first")
    with pytest.raises(FileExistsError):
        lake.create("decisions/toy/1", b"second")
    assert (lake.read("decisions/toy/1"), lake.list("")) == (b"first", ["decisions/toy/1"])


def test_a_bucket_says_itself_who_came_first(s3: str) -> None:
    empty_bucket(s3, "flows")
    lake = Lake.of(lake_settings(s3, "s3://flows/below"))
    lake.create("decisions/toy/1", b"first")
    with pytest.raises(FileExistsError, match="is already in the lake s3://flows/below"):
        lake.create("decisions/toy/1", b"second")
    assert (lake.read("decisions/toy/1"), lake.list("")) == (b"first", ["decisions/toy/1"])


@pytest.mark.parametrize("below", ["", "/below"])
def test_what_is_removed_is_gone_and_nothing_else(s3: str, below: str, tmp_path: Path) -> None:
    client = empty_bucket(s3, "flows")
    for lake in (Lake.of(lake_settings(s3, f"s3://flows{below}")), Lake(url=f"file://{tmp_path}")):
        names = [f"a/{number}" for number in range(1003)]
        for name in [*names[:3], *names[-1:], "a/b/c", "b"]:
            lake.write(name, b".")
        lake.remove([*names, "nothing/there"])
        assert lake.list("") == ["a/b/c", "b"]
        lake.remove([])
        lake.remove(["a/b/c"])
    keys = [stored["Key"] for stored in client.list_objects_v2(Bucket="flows")["Contents"]]
    assert keys == [f"{below}/b".lstrip("/")]  # and no empty object for a folder


def test_a_removal_that_is_refused_is_told(s3: str, tmp_path: Path) -> None:
    with pytest.raises(LakeAway, match="'missing'|NoSuchBucket"):
        Lake.of(lake_settings(s3, "s3://missing")).remove(["a"])
    lake = Lake(url=f"file://{tmp_path}")
    lake.write("a/b", b".")
    with pytest.raises(LakeAway, match="cannot be used for 'a'"):
        lake.remove(["a"])


def test_a_missing_bucket_is_a_lake_that_is_away_and_not_an_empty_one(s3: str) -> None:
    """An empty ledger would mean that nothing was ever decided."""
    lake = Lake.of(lake_settings(s3, "s3://missing"))
    with pytest.raises(LakeAway, match="Create the bucket 'missing' first"):
        lake.list("decisions/toy")
    with pytest.raises(LakeAway, match="'missing'|NoSuchBucket"):
        lake.create("decisions/toy/1", b".")


def test_lakes_with_the_same_keys_share_a_client_and_those_of_an_assumed_role_do_not() -> None:
    def clients(**credentials: str) -> list[Any]:
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", **credentials}
        lakes = [Lake(url="s3://b", credentials=AwsCredentials(**keys)) for _ in range(2)]
        return [lake._s3 for lake in lakes]

    first, second = clients(region_name="eu-west-1")
    assert first is second
    assert clients(region_name="eu-central-1")[0] is not first
    with mock_aws():
        role = "arn:aws:iam::123456789012:role/laurel"
        first, second = clients(region_name="eu-west-1", assume_role_arn=role)
        assert first is not second
