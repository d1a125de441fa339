"""What one replica has ended, every other one finds in the lake."""

from pathlib import Path

import pytest

from blocks.settings import Settings
from serving.champions.reverts import Reverts
from serving.outside.lake import open_lake
from serving.records.rollout import revert_key


def reverts(lake: str) -> Reverts:
    return Reverts("toy", open_lake(Settings(lake=lake), for_page=True))


@pytest.mark.parametrize("rollout", ["first", "../../up", "a/b", "지갑", "."])
def test_another_replica_finds_the_first_reason(tmp_path: Path, rollout: str) -> None:
    one, two = reverts(f"file://{tmp_path}"), reverts(f"file://{tmp_path}")
    assert two.find(rollout) is None
    one.keep(rollout, "2", "failed")
    two.keep(rollout, "2", "failed later")
    assert one.find(rollout) == two.find(rollout) == "failed"
    assert two.find("second") is None
    assert (tmp_path / revert_key("toy", rollout)).is_file()


def test_a_record_that_cannot_be_read_ends_the_rollout(tmp_path: Path) -> None:
    place = tmp_path / revert_key("toy", "first")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"{")
    assert reverts(f"file://{tmp_path}").find("first") == "was ended by another replica"


def test_a_lake_that_is_away_ends_nothing_and_is_told_later(tmp_path: Path) -> None:
    one = reverts(f"file://{tmp_path / 'lake'}")
    (tmp_path / "lake").write_text("no folder")
    one.keep("first", "2", "failed")
    assert one.find("first") is None
    (tmp_path / "lake").unlink()
    one.keep("first", "2", "failed")
    assert one.find("first") == "failed"
    assert reverts("none").find("first") is None
