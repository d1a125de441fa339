"""The parts of dates: what they are at the calendar's edges, and that models are fitted on the same
numbers that the service makes."""

import math
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from blocks.saved_models import saved_types
from serving.errors import InputError
from serving.package.encoders import dates
from serving.package.encoders.dates import DateEncoder
from tasks.data.columns.transformers import DateParts
from usecases.definition.dates import PARTS

ALL = tuple(PARTS)


def encoded(parts: tuple[str, ...], *values: Any) -> np.ndarray:
    encoder = DateEncoder(parts)
    block = np.full((len(values), encoder.width), 99.0)
    encoder.encode(values, block)
    return block


def test_use_cases_may_name_the_parts_that_the_service_makes() -> None:
    assert {**dict.fromkeys(dates.PARTS, 1), **dict.fromkeys(dates.CYCLES, 2)} == PARTS
    assert DateEncoder(ALL).width == sum(PARTS.values())
    described = [
        line.split()[0] for line in (dates.__doc__ or "").splitlines() if line[:4] == " " * 4
    ]
    assert described == ["part", *ALL]
    with pytest.raises(ValueError, match=r"no parts \['minute'\]; this code knows year, month"):
        DateEncoder(("hour", "minute"))


@pytest.mark.parametrize(
    ("moment", "numbers"),
    [
        (datetime(1970, 1, 1), [1970, 1, 1, 1, 3, 0, 0]),
        (datetime(2024, 2, 29, 15, 30), [2024, 2, 29, 60, 3, 15.5, 19782 + 15.5 / 24]),
        (datetime(2023, 12, 31, 23, 59, 59), [2023, 12, 31, 365, 6, 23 + 3599 / 3600, None]),
        (datetime(1, 1, 1), [1, 1, 1, 1, 0, 0, -719162]),
        (datetime(9999, 12, 31), [9999, 12, 31, 365, 4, 0, 2932896]),
        # The night in which Berlin's clocks go from 02:00 to 03:00 has 02:30 as it is written.
        (datetime(2024, 3, 31, 2, 30), [2024, 3, 31, 91, 6, 2.5, 19813 + 2.5 / 24]),
    ],
)
def test_plain_parts(moment: datetime, numbers: list[float | None]) -> None:
    got = encoded(ALL[:7], moment)[0]
    for number, wanted in zip(got, numbers, strict=True):
        assert wanted is None or number == pytest.approx(wanted, abs=1e-9)


def test_neighbours_are_neighbours_on_a_cycle() -> None:
    for part, last in (
        ("year_cycle", datetime(2024, 12, 31, 23, 59)),
        ("week_cycle", datetime(2024, 3, 31, 23, 59)),
        ("day_cycle", datetime(2024, 3, 31, 23, 59)),
    ):
        before, after, far = encoded(
            (part,), last, last + timedelta(minutes=1), last - timedelta(hours=12)
        )
        assert np.linalg.norm(before - after) < 0.005 < np.linalg.norm(before - far)
        np.testing.assert_allclose(np.hypot(*after), 1)
    midsummer, new_year = encoded(("year_cycle",), date(2023, 7, 2), date(2023, 1, 1))
    assert midsummer == pytest.approx(-new_year, abs=0.02)


def test_null_is_nan_in_each_place_and_a_text_is_the_time_that_it_says() -> None:
    texts = ("2024-02-29T15:30:00", "2024-02-29 15:30", None, "1980-05-17")
    moments = (datetime(2024, 2, 29, 15, 30),) * 2 + (None, date(1980, 5, 17))
    np.testing.assert_array_equal(encoded(ALL, *texts), encoded(ALL, *moments))
    assert np.isnan(encoded(ALL, *texts)[2]).all()
    assert encoded(ALL).shape == (0, sum(PARTS.values()))


@pytest.mark.parametrize("value", ["soon", "2024-02-29T15:30:00Z", 1709217000, b"2024-02-29", True])
def test_a_value_that_is_no_local_time_is_refused_by_row(value: object) -> None:
    with pytest.raises(InputError, match="expected .* without a zone") as refused:
        encoded(("hour",), None, value)
    assert refused.value.row == 1


def test_models_are_fitted_on_what_the_service_encodes(tmp_path: Any) -> None:
    import skops.io

    chance = np.random.default_rng(1)
    seconds = chance.integers(-62135596800, 253402300799, 500)
    moments = [datetime(1970, 1, 1) + timedelta(seconds=int(second)) for second in seconds]
    values = [None if number % 9 == 0 else moment for number, moment in enumerate(moments)]
    frame = pl.DataFrame({"born": values}, schema={"born": pl.Datetime("us")}).to_pandas()
    got = DateParts(ALL).fit_transform(frame)
    np.testing.assert_array_equal(got, encoded(ALL, *values))

    model = make_pipeline(DateParts(("year",)), LinearRegression()).fit(frame.dropna(), [1] * 444)
    types, strange = saved_types(model)
    assert "tasks.data.columns.transformers.DateParts" in types and strange == []
    again = skops.io.loads(skops.io.dumps(model), trusted=types)
    assert again[0].parts == ("year",) and math.isclose(again.predict(frame.dropna())[0], 1)
