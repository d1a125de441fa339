from datetime import datetime

import pytest

from serving.errors import InputError, MalformedBody
from serving.formats.rows import RowReader
from serving.package.manifest import Feature
from tests.fixtures.packages import EVENT_TIME, FEATURES

READER = RowReader(FEATURES, EVENT_TIME, "float32")


def refusal(body: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        READER.read(body)
    return caught.value


def test_rows_come_in_the_order_of_the_features_whatever_the_order_of_the_fields() -> None:
    rows = READER.read(
        b'{"rows": [{"wind": 3, "time_hour": "2013-06-01T15:00:00", "carrier": "AA", '
        b'"distance": 100.5}]}'
    )
    assert rows == [("AA", 100.5, 3.0, datetime(2013, 6, 1, 15))]


def test_nullable_fields_and_the_event_time_may_be_left_out() -> None:
    assert READER.read(b'{"rows": [{"distance": 1}]}') == [(None, 1.0, None, None)]


def test_a_category_that_training_never_saw_is_no_error() -> None:
    assert READER.read(b'{"rows": [{"distance": 1, "carrier": "ZZ"}]}')[0][0] == "ZZ"


@pytest.mark.parametrize(
    ("row", "field", "told"),
    [
        (b'{"carrier": "AA"}', "distance", "is missing"),
        (b'{"distance": null}', "distance", "expected `float`, got `null`"),
        (b'{"distance": "far"}', "distance", "expected `float`, got 'far'"),
        (b'{"distance": true}', "distance", "got `bool`"),
        (b'{"distance": -1}', "distance", "expected `float` >= 0.0, got -1"),
        (b'{"distance": 5000.1}', "distance", "expected `float` <= 5000.0, got 5000.1"),
        (b'{"distance": 1e999}', "distance", "out of range"),
        (b'{"distance": NaN}', "distance", "expected a finite number or null, got nan"),
        (b'{"distance": 1, "wind": -Infinity}', "wind", "got -inf"),
        (b'{"distance": 1, "wind": 1e39}', "wind", "<= 3.4"),
        (b'{"distance": 1, "carrier": 7}', "carrier", "got `int`"),
        (b'{"distance": 1, "speed": 7}', "speed", "not a known field"),
        (
            b'{"distance": 1, "time_hour": "yesterday"}',
            "time_hour",
            "such as '2013-06-01T15:00:00', got 'yesterday'",
        ),
        (b'{"distance": 1, "time_hour": "2013-06-01T15:00:00Z"}', "time_hour", "without a zone"),
    ],
)
def test_a_wrong_value_is_refused_by_row_and_field(row: bytes, field: str, told: str) -> None:
    error = refusal(b'{"rows": [{"distance": 1}, ' + row + b"]}")
    assert (error.row, error.field) == (1, field)
    assert told in str(error)
    assert f"Row 1, field {field!r}" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"null",
        b'{"rows": []}',
        b'{"rows": 5}',
        b'{"rows": [7]}',
        b'{"rows": [{"distance": 1}], "x": 1}',
    ],
)
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    assert not isinstance(refusal(body), MalformedBody)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"NaN",
        b"\xff",
        b'{"rows": [{"carrier": "\xff"}]}',
        b'{"rows": [{"carrier": "\\ud800"}]}',
        b'{"rows": NaN' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_json_is_malformed(body: bytes) -> None:
    assert isinstance(refusal(body), MalformedBody)


def test_a_field_s_name_that_fills_the_body_is_not_sent_back() -> None:
    assert len(str(refusal(b'{"rows": [{"' + b"x" * 1_000_000 + b'": 1}]}'))) < 300


def test_a_very_deep_body_is_refused_and_does_not_end_the_process() -> None:
    refusal(b'{"rows": [{"distance": ' + b"[" * 200_000)


def test_names_that_are_no_identifiers_are_fields_too() -> None:
    reader = RowReader([Feature("mean delay (2 h)", "number", nullable=False)], "time.hour")
    assert reader.read(b'{"rows": [{"mean delay (2 h)": 4}]}') == [(4.0, None)]
    with pytest.raises(InputError, match=r"Row 0, field 'mean delay \(2 h\)'"):
        reader.read(b'{"rows": [{"mean delay (2 h)": "x"}]}')
