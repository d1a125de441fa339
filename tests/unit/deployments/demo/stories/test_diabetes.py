"""Weeks of the story of the patients, at the ends of years and of weeks."""

from datetime import date

import pytest

from deployments.demo.stories.diabetes import _name, _weeks


@pytest.mark.parametrize(
    ("today", "names"),
    [
        (date(2026, 11, 30), ("2026-W47", "2026-W48")),  # a Monday
        (date(2026, 12, 6), ("2026-W47", "2026-W48")),  # a Sunday
        (date(2027, 1, 5), ("2026-W52", "2026-W53")),
        (date(2025, 1, 1), ("2024-W51", "2024-W52")),
    ],
)
def test_the_last_two_weeks_are_over(today: date, names: tuple[str, str]) -> None:
    weeks = _weeks(today)
    assert tuple(map(_name, weeks)) == names
    assert all((today - monday).days >= 7 and monday.weekday() == 0 for monday in weeks)
