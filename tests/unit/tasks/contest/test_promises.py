"""What docs/contest.md promises of the contest holds on a few worlds of each kind."""

import pytest

from benchmarks.contest.promises import POWER, SINGLE, Row, World, crowned, quick, table, wilson


@pytest.mark.slow("thousands of contests")
@pytest.mark.nightly("hundreds of contests")
def test_the_contest_keeps_its_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert quick() == 0, capsys.readouterr().out


def test_a_row_beyond_its_promise_is_named() -> None:
    promise = Row(World(days=10), 0.05)
    assert not promise.fails(5, 100) and promise.fails(20, 100)
    power = Row(World(better=0.4), 0.68)
    assert power.is_power and power.fails(40, 100) and not power.fails(65, 100)
    strict = Row(World(days=10, better=0.8), 1.0)
    ((line, beyond),) = table([strict], 40, 9, 1000)
    assert beyond == line.endswith("BEYOND")


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert wilson(10, 100) == pytest.approx((0.0552, 0.1744), abs=1e-3)


def test_a_world_is_the_same_again() -> None:
    row = Row(World(days=12), 0.05, candidates=2, tries=2)
    assert [crowned(row, seed, 1000) for seed in range(3)] == [
        crowned(row, seed, 1000) for seed in range(3)
    ]
    assert {row.world.rho for row in SINGLE} == {0.0, 0.5}
    assert all(row.is_power for row in POWER)
