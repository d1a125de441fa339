"""When events may be: the folders of the lake are made of what callers say, and so it is
bounded.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from serving.champions.champion import Champion
from serving.errors import InputError
from serving.formats.event_window import MOST_DAYS, EventWindow
from serving.package.manifest import read_manifest
from serving.package.model import load
from tests.fixtures.packages import write_package

NOW = datetime.now(UTC).replace(tzinfo=None)
WINDOW = EventWindow("time_hour", past_days=30, future_days=2)


def rows(*times: datetime | None) -> list[tuple[datetime | None, ...]]:
    return [(None, time) for time in times]


@pytest.mark.parametrize("days", [-29, -1, 0, 1, 1.9])
def test_events_within_the_window_are_taken(days: float) -> None:
    WINDOW.check_rows(rows(NOW + timedelta(days=days), None))


@pytest.mark.parametrize(
    "time", [NOW - timedelta(days=31), NOW + timedelta(days=3), datetime.min, datetime.max]
)
def test_an_event_outside_is_refused_with_row_field_window_and_value(time: datetime) -> None:
    expected = (
        r"Row 2, field 'time_hour': expected a time from "
        rf"{NOW - timedelta(days=30, hours=14):%Y-%m-%d} to .*got {time.isoformat()}"
    )
    with pytest.raises(InputError, match=expected) as refusal:
        WINDOW.check_rows(rows(NOW, None, time, NOW))
    assert (refusal.value.row, refusal.value.field) == (2, "time_hour")


def test_local_time_anywhere_on_earth_is_now() -> None:
    strict = EventWindow("time_hour", past_days=0, future_days=0)
    strict.check_rows(rows(NOW + timedelta(hours=13.9), NOW - timedelta(hours=11.9)))


def test_a_label_may_come_two_years_after_its_prediction_and_not_before_it() -> None:
    WINDOW.check_feedback([NOW - timedelta(days=700), None])
    with pytest.raises(InputError, match="Row 1, field 'event_time'"):
        WINDOW.check_feedback([NOW, NOW - timedelta(days=800)])
    with pytest.raises(InputError, match="Row 0, field 'event_time'"):
        WINDOW.check_feedback([NOW + timedelta(days=3)])


def test_without_a_window_the_days_of_one_request_are_bounded_all_the_same() -> None:
    first = datetime(1000, 1, 1)
    everywhere = EventWindow("time_hour")
    everywhere.check_rows(
        rows(*[first + timedelta(days=day % MOST_DAYS) for day in range(2 * MOST_DAYS)])
    )
    with pytest.raises(
        InputError, match=rf"the rows fall on {MOST_DAYS + 1} days, from 1000-01-01 to"
    ):
        everywhere.check_rows(rows(*[first + timedelta(days=day) for day in range(MOST_DAYS + 1)]))


def test_no_window_reaches_beyond_the_calendar() -> None:
    EventWindow("time_hour", past_days=10**7, future_days=10**7).check_rows(
        rows(datetime.min, datetime.max)
    )


def test_the_champion_has_the_window_of_its_package(tmp_path: Path) -> None:
    digest = write_package(tmp_path)
    package = load(tmp_path, digest)
    changed = msgspec.structs.replace(package.manifest, event_past_days=1.0)
    package.manifest = read_manifest(msgspec.json.encode(changed))
    champion = Champion.crown("toy", "1", digest, package)
    with pytest.raises(InputError, match="field 'time_hour'"):
        champion.events.check_rows(rows(NOW - timedelta(days=3)))
