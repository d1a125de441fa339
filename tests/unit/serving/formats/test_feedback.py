from datetime import UTC, datetime

import pytest
from msgspec import UNSET

from serving.errors import InputError, MalformedBody
from serving.formats.feedback import read_feedback
from serving.package.outputs import Label

CAME = datetime(2026, 11, 21, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("label", "truth"),
    [(b"0", 0), (b"1", 1), (b"true", 1), (b"false", 0), (b"1.0", 1), (b"0.0", 0)],
)
def test_a_label_is_a_bit_in_every_spelling(label: bytes, truth: int) -> None:
    (entry,) = read_feedback(b'{"feedback": [{"id": "a", "label": ' + label + b"}]}")
    assert bool(entry.label) is bool(truth)


@pytest.mark.parametrize("label", [b"2", b"-1", b"0.5", b"1.1", b"1e400", b'"1"', b"null", b"[]"])
def test_any_other_label_is_refused_by_row_and_field(label: bytes) -> None:
    with pytest.raises(
        InputError, match=r"Row 1, field 'label': expected 0, 1, true or false"
    ) as caught:
        read_feedback(
            b'{"feedback": [{"id": "a", "label": 1}, {"id": "b", "label": ' + label + b"}]}"
        )
    assert (caught.value.row, caught.value.field) == (1, "label")


@pytest.mark.parametrize(
    "body",
    [
        b'{"feedback": []}',
        b"{}",
        b'{"feedback": [{"label": 1}]}',
        b'{"feedback": [{"id": "", "label": 1}]}',
    ],
)
def test_feedback_without_an_id_or_without_rows_is_refused(body: bytes) -> None:
    with pytest.raises(InputError):
        read_feedback(body)


def test_no_json_is_malformed() -> None:
    with pytest.raises(MalformedBody):
        read_feedback(b"label=1")


@pytest.mark.parametrize(
    ("time", "known"),
    [
        ("2013-06-01T15:00:00", datetime(2013, 6, 1, 15, tzinfo=UTC)),
        ("2013-06-01T15:00:00-04:00", datetime(2013, 6, 1, 19, tzinfo=UTC)),
    ],
)
def test_the_time_of_a_label_is_kept_in_utc(time: str, known: datetime) -> None:
    (entry,) = read_feedback(
        b'{"feedback": [{"id": "a", "label": 1, "time": "%s"}]}' % time.encode()
    )
    assert entry.known_at(CAME) == known


def test_the_time_of_a_label_is_that_of_its_arrival_where_none_is_given() -> None:
    (entry,) = read_feedback(b'{"feedback": [{"id": "a", "label": 1}]}')
    assert entry.known_at(CAME) == CAME


def test_a_time_that_no_calendar_holds_in_utc_is_refused() -> None:
    with pytest.raises(InputError, match="field 'time'"):
        read_feedback(
            b'{"feedback": [{"id": "a", "label": 1, "time": "0001-01-01T00:00:00+10:00"}]}'
        )


def test_a_label_from_a_clock_that_is_ahead_was_known_when_it_came() -> None:
    """Otherwise it would win over every correction until that day."""
    (entry,) = read_feedback(
        b'{"feedback": [{"id": "a", "label": 1, "time": "2031-01-01T00:00:00Z"}]}'
    )
    assert entry.known_at(CAME) == CAME


def test_a_label_from_a_clock_that_is_behind_is_kept_as_it_says() -> None:
    (entry,) = read_feedback(
        b'{"feedback": [{"id": "a", "label": 1, "time": "1970-01-01T00:00:00Z"}]}'
    )
    assert entry.known_at(CAME) == datetime(1970, 1, 1, tzinfo=UTC)


def test_one_row_of_many_that_is_wrong_refuses_the_request_whole() -> None:
    """The caller can send it again unchanged: the log has no part of it."""
    rows = ", ".join(['{"id": "a", "label": 1}'] * 20 + ['{"id": "b", "label": 0.5}'])
    with pytest.raises(InputError, match=r"Row 20, field 'label': expected 0, 1, true or false"):
        read_feedback(f'{{"feedback": [{rows}]}}'.encode())


NUMBER = Label("number")
DIGITS = Label("category", frozenset({"3", "7", "storm"}))


@pytest.mark.parametrize(
    ("kind", "label", "value"),
    [
        (NUMBER, b"7", 7.0),
        (NUMBER, b"-1.5e3", -1500.0),
        (DIGITS, b'"storm"', "storm"),
        (DIGITS, b"3", "3"),
        (DIGITS, b"3.0", "3"),
        (Label("category"), b'"anything"', "anything"),
    ],
)
def test_label_is_a_number_or_a_class_where_the_outputs_are(
    kind: Label, label: bytes, value: float | str
) -> None:
    (entry,) = read_feedback(b'{"feedback": [{"id": "a", "label": ' + label + b"}]}", kind)
    assert entry.label == value and type(entry.label) is type(value)


@pytest.mark.parametrize(
    ("kind", "label", "expected"),
    [
        (NUMBER, b"true", "a finite number"),
        (NUMBER, b'"7"', "a finite number"),
        (NUMBER, b"1e400", ""),
        (DIGITS, b'"hail"', "a class, one of '3', '7', 'storm'"),
        (DIGITS, b"3.5", "a class, one of"),
        (DIGITS, b"true", "a class, one of"),
        (DIGITS, b"null", ""),
    ],
)
def test_label_of_another_kind_is_refused(kind: Label, label: bytes, expected: str) -> None:
    with pytest.raises((InputError, MalformedBody)) as refused:
        read_feedback(b'{"feedback": [{"id": "a", "label": ' + label + b"}]}", kind)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("entry", "label", "reward"),
    [
        (b'"reward": 2', UNSET, 2.0),
        (b'"reward": -0.5, "label": 1', True, -0.5),
        (b'"label": 0', False, UNSET),
    ],
)
def test_a_row_has_a_label_or_a_reward_or_both(entry: bytes, label: object, reward: object) -> None:
    (read,) = read_feedback(b'{"feedback": [{"id": "a", %b}]}' % entry)
    assert (read.label, read.reward) == (label, reward)


def test_a_row_with_neither_label_nor_reward_is_refused() -> None:
    body = b'{"feedback": [{"id": "a", "reward": 1}, {"id": "b"}]}'
    with pytest.raises(InputError, match="Row 1, field 'label': it is missing, and so is a reward"):
        read_feedback(body)


@pytest.mark.parametrize("reward", [b'"5"', b"null", b"true", b"1e400", b"[1]"])
def test_a_reward_is_a_finite_number(reward: bytes) -> None:
    with pytest.raises(InputError, match=r"Row 0, field 'reward': expected a finite number"):
        read_feedback(b'{"feedback": [{"id": "a", "label": 1, "reward": %b}]}' % reward)
