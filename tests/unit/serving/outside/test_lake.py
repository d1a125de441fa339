import time
from pathlib import Path

import pytest

from blocks.settings import Settings
from serving.errors import LakeAway
from serving.outside.lake import Lake, open_lake
from tests.fakes.iam import Policies, guarded_s3
from tests.fixtures.s3 import empty_bucket, lake_settings


def bucket(s3: str, lake: str) -> Lake:
    return open_lake(lake_settings(s3, lake))


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, s3: str, tmp_path: Path) -> Lake:
    """Both kinds keep the same promises."""
    if request.param == "folder":
        return open_lake(Settings(lake=f"file://{tmp_path}/lake"))
    empty_bucket(s3, "reading")
    return bucket(s3, "s3://reading/some/prefix")


def test_what_was_put_is_there_and_listed_below_its_folder_only(lake: Lake) -> None:
    before = time.time()
    for key in (
        "reports/toy/2013-06/verdict.json",
        "reports/toy/2013-05/verdict.json",
        "reports/toys/x.json",
        "decisions/toy/a.json",
    ):
        lake.put(key, key.encode())
    assert lake.get("reports/toy/2013-06/verdict.json") == b"reports/toy/2013-06/verdict.json"
    listed = lake.list("reports/toy")
    assert [stored.key for stored in listed] == [
        "reports/toy/2013-05/verdict.json",
        "reports/toy/2013-06/verdict.json",
    ]
    assert {stored.size for stored in listed} == {len("reports/toy/2013-05/verdict.json")}
    assert all(abs(stored.modified.timestamp() - before) < 60 for stored in listed)


def test_a_folder_that_is_not_there_holds_nothing(lake: Lake) -> None:
    assert lake.list("reports/toy") == []


def test_an_object_that_is_not_there_is_told_apart_from_a_lake_that_is_away(lake: Lake) -> None:
    with pytest.raises(FileNotFoundError):
        lake.get("reports/toy/2013-06/verdict.json")


def test_what_is_still_being_written_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "a.json.0123abcd.partial").write_text("half")
    assert open_lake(Settings(lake=f"file://{tmp_path}")).list("reports") == []


def test_a_file_where_the_folder_should_be_is_a_lake_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("no folder")
    lake = open_lake(Settings(lake=f"file://{tmp_path}/lake"))
    with pytest.raises(LakeAway, match="is a file"):
        lake.list("reports/toy")
    with pytest.raises(LakeAway) as away:
        lake.get("reports/toy")
    assert str(tmp_path) not in str(away.value)  # callers see the message


def test_an_endpoint_where_nobody_answers_is_a_lake_that_is_away() -> None:
    lake = bucket("http://127.0.0.1:1", "s3://nowhere")
    for ask in (lake.list, lake.get):
        with pytest.raises(LakeAway, match="127.0.0.1:1"):
            ask("reports/toy")


def test_a_bucket_that_is_missing_is_a_lake_that_is_away(s3: str) -> None:
    with pytest.raises(LakeAway, match="Create the bucket 'missing' first"):
        bucket(s3, "s3://missing").list("reports/toy")


def test_a_role_that_may_list_two_folders_alone_finds_them_empty_at_first(s3: str) -> None:
    """As on AWS (infra/terraform/cluster/serving.tf), where the bucket itself may not be asked
    for.
    """
    empty_bucket(s3, "narrow")
    listing = {
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::narrow",
        "Condition": {"StringLike": {"s3:prefix": ["reports/*"]}},
    }
    with guarded_s3(s3, Policies.of({"Statement": [{"Effect": "Allow", **listing}]})) as guarded:
        lake = bucket(guarded.url, "s3://narrow")
        assert lake.list("reports/toy") == []
        assert guarded.refused == []
        with pytest.raises(LakeAway, match="ACCESS_DENIED"):
            lake.list("datasets/toy")
