"""The service orders drift checks by the time of their windows, which their names say."""

from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serving.history.window_order import begin_of, end_of
from usecases.definition.period_kinds import KINDS, WEEKS, PeriodKind
from usecases.definition.periods import window_kind

EVERY = (*KINDS, *map(window_kind, ("12h", "36h", "3d", "4w")))


@given(
    kind=st.sampled_from(EVERY), moment=st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31))
)
@example(WEEKS, datetime(2021, 1, 3))
def test_a_window_begins_and_ends_where_its_period_does(kind: PeriodKind, moment: datetime) -> None:
    period = kind.containing(moment)
    assert begin_of(period.name) == period.start and end_of(period.name) == period.end


@pytest.mark.parametrize("name", ["", "soon", "2024-13", "2024-W60", "2024-Q9", "0000-01", "20245"])
def test_a_name_of_no_window_comes_before_all_others(name: str) -> None:
    assert begin_of(name) == end_of(name) == datetime.min


def test_weeks_lie_between_the_months_where_they_belong() -> None:
    names = ["2024-W05", "2024-02", "2024-W06", "2024-01", "2024-03", "2024-W10", "2023-W52"]
    assert sorted(names, key=begin_of) == [
        *("2023-W52", "2024-01", "2024-W05", "2024-02", "2024-W06", "2024-03", "2024-W10")
    ]
