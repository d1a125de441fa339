"""A caller stays on one side, on every replica and while the share grows."""

import subprocess
import sys

import pytest

from serving.rollouts.routing import Split

KEYS = [f"caller-{number}".encode() for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.25, 1.0])
def test_the_share_of_callers_is_as_planned(share: float) -> None:
    split = Split("one", share)
    taken = sum(split.takes(key) for key in KEYS) / len(KEYS)
    assert taken == pytest.approx(share, abs=4 * (share * (1 - share) / len(KEYS)) ** 0.5)


def test_whoever_was_taken_at_a_small_share_is_taken_at_a_larger_one() -> None:
    small, large = Split("one", 0.05), Split("one", 0.25)
    assert all(large.takes(key) for key in KEYS if small.takes(key))


def test_another_rollout_takes_other_callers() -> None:
    first, second = Split("one", 0.1), Split("two", 0.1)
    both = sum(first.takes(key) and second.takes(key) for key in KEYS) / len(KEYS)
    assert both == pytest.approx(0.01, abs=0.004)


def test_another_process_takes_the_same_callers() -> None:
    program = (
        "from serving.rollouts.routing import Split; s = Split('salt', .3); "
        "print([s.takes(f'{n}'.encode()) for n in range(50)])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    split = Split("salt", 0.3)
    assert told.stdout.strip() == str([split.takes(f"{n}".encode()) for n in range(50)])


def test_a_key_may_be_anything() -> None:
    split = Split("지갑", 0.5)
    assert [split.takes(key) for key in (b"", b"\0" * 10_000, "키".encode())]
