"""A caller stays on one side, on every replica and while the share grows."""

import subprocess
import sys

import msgspec
import pytest

from serving.errors import PackageError
from serving.rollouts.routing import RowKey, Split
from serving.rollouts.terms import terms_of

KEYS = [f"caller-{number}".encode() for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 1.0])
def test_the_share_of_callers_is_as_planned(share: float) -> None:
    split = Split("one", share)
    taken = sum(split.takes(split.place(key)) for key in KEYS) / len(KEYS)
    assert taken == pytest.approx(share, abs=4 * (share * (1 - share) / len(KEYS)) ** 0.5)


def test_whoever_was_taken_at_a_small_share_is_taken_at_a_larger_one() -> None:
    small, large = Split("one", 0.05), Split("one", 0.25)
    assert all(large.takes(large.place(key)) for key in KEYS if small.takes(small.place(key)))


def test_another_rollout_takes_other_callers() -> None:
    first, second = Split("one", 0.1), Split("two", 0.1)
    both = sum(
        first.takes(first.place(key)) and second.takes(second.place(key)) for key in KEYS
    ) / len(KEYS)
    assert both == pytest.approx(0.01, abs=0.004)


def test_another_process_takes_the_same_callers() -> None:
    program = (
        "from serving.rollouts.routing import Split; s = Split('salt', .3); "
        "print([s.takes(s.place(f'{n}'.encode())) for n in range(50)])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    split = Split("salt", 0.3)
    assert told.stdout.strip() == str(
        [split.takes(split.place(f"{n}".encode())) for n in range(50)]
    )


def test_a_key_may_be_anything() -> None:
    split = Split("지갑", 0.5)
    assert [split.takes(split.place(key)) for key in (b"", b"\0" * 10_000, "키".encode())]


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b'{"rows":[{"user":"ann","age":3},{"user":"bob"}]}', b"ann"),
        (b'{"rows":[{"age":3,"user":7}]}', b"7.0"),
        (b'{"rows":[{"user":7.0}]}', b"7.0"),
        (b'{"rows":[{"user":9007199254740993}]}', b"9007199254740993"),
        (b'{"rows":[{"user":null}]}', b""),
        (b'{"rows":[{"user":["ann"]}]}', b""),
        (b'{"rows":[{"age":3}]}', b""),
        (b'{"rows":[]}', b""),
        (b'{"rows":"ann"}', b""),
        (b"\xff", b""),
    ],
)
def test_the_key_is_the_first_row_s_in_every_form(body: bytes, key: bytes) -> None:
    assert RowKey("user").of(body) == key


@pytest.mark.parametrize("name", ["사용자", "user id", "user.id", "key"])
def test_any_column_can_be_the_key(name: str) -> None:
    body = msgspec.json.encode({"rows": [{name: "ann"}]})
    assert RowKey(terms_of("2", f'{{"id":"a","kind":"ab","field":"{name}"}}').field).of(body)


@pytest.mark.parametrize("tag", ['{"id":"a","kind":"ab","field":"a\\"b"}', '{"id":"\ud800"}', "{"])
def test_terms_that_cannot_be_followed_are_refused(tag: str) -> None:
    with pytest.raises(PackageError, match="rollout's terms of version 2"):
        terms_of("2", tag)
