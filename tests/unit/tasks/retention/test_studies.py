"""Old records of searches are found in the database that the settings name, and removed."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.models.studies import StudiesAway, open_record
from tasks.retention.studies import old_studies


def test_records_of_the_stack_go_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAUREL_STATE", str(tmp_path))
    now = datetime.now(UTC)
    assert old_studies("toy", 30, now).count == 0
    assert not [*tmp_path.iterdir()]  # looking makes no database
    with open_record(f"sqlite:///{tmp_path}/studies.db", "toy/boosting/1", True, pytest.fail):
        pass
    assert old_studies("toy", 30, now).count == 0
    old = old_studies("toy", 30, now + timedelta(31))
    assert (old.kind, old.count) == ("studies", 1)
    old.remove()
    old.remove()  # as after a run that was broken off
    assert old_studies("toy", 30, now + timedelta(31)).count == 0


def test_a_database_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LAUREL_SEARCH_DATABASE", "postgresql://a:secret@127.0.0.1:9/search")
    with pytest.raises(StudiesAway, match="LAUREL_SEARCH_DATABASE.*refused") as error:
        old_studies("toy", 30, datetime.now(UTC))
    assert "secret" not in str(error.value)
