"""The false-alarm study of ``benchmarks/drift/check.py`` on the toy: under 5 % where nothing
changed, and the study sees what is broken.
"""

import dataclasses
from collections.abc import Iterator

import polars as pl
import pytest

from benchmarks.drift.check import LIMIT, too_many
from benchmarks.drift.planted import planted
from benchmarks.drift.studies import delay, false_alarms, interval, months
from benchmarks.drift.world import Champion, make_champion

SIZES = {"rows": (600, 2000), "days": (14,), "stretch": (14,)}


@pytest.fixture(scope="module")
def champion(one_thread: None) -> Iterator[Champion]:
    """January to April are one and the same world."""
    yield make_champion("toy", "2024-04", 7)


@pytest.mark.slow("hundreds of windows")
@pytest.mark.nightly("hundreds of windows")
def test_fewer_than_one_window_in_twenty_is_called_drifted_or_broken_where_nothing_changed(
    champion: Champion,
) -> None:
    alarms = list(false_alarms(champion, 60, 7, SIZES))
    assert [(row["drawn"], row["size"]) for row in alarms] == [
        ("rows", 600),
        ("rows", 2000),
        ("days", 14),
        ("stretch", 14),
    ]
    for row in alarms:
        assert row["drifted"] + row["broken"] < LIMIT, row
        assert row["drifted"] <= row["high"]
    assert not too_many(alarms)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda yard: dataclasses.replace(yard, thresholds=dict.fromkeys(yard.thresholds, 0.005)),
        lambda yard: dataclasses.replace(
            yard,
            reference=yard.reference.with_columns(
                pl.col("first", "second", "steady", "score") + 0.3
            ),
        ),
        lambda yard: dataclasses.replace(
            yard, reference=yard.reference.with_columns(group=pl.lit("z"))
        ),
    ],
    ids=["thresholds too low", "another reference", "unknown categories"],
)
def test_the_study_says_no_where_thresholds_or_reference_are_wrong(
    champion: Champion, spoil
) -> None:
    spoiled = dataclasses.replace(champion, yardstick=spoil(champion.yardstick))
    assert too_many(list(false_alarms(spoiled, 10, 7, {"rows": (2000,)})))


@pytest.mark.slow("months of flights")
def test_real_months_and_planted_shifts_are_seen(champion: Champion) -> None:
    verdicts = {row["window"]: row["verdict"] for row in months(champion, ["2024-06", "2024-07"])}
    assert verdicts == {"2024-06": "drifted", "2024-07": "drifted"}
    days = list(delay(champion, "2024-06"))
    assert (days[0]["verdict"], days[-1]["verdict"], len(days)) == ("inconclusive", "drifted", 28)
    by_plant = {(row["shift"], row["k"]): row for row in planted(champion, 3, (2000,), (), 7)}
    large = next(
        row for (name, k), row in by_plant.items() if k == "2" and row["expected"] == "drifted"
    )
    assert large["drifted"] + large["broken"] == 1
    for row in by_plant.values():
        if row["expected"] == "broken":
            assert row["broken"] == 1, row


def test_an_interval_is_exact() -> None:
    low, high = interval(0, 200)
    assert (low, high) == (0, pytest.approx(0.0183, abs=1e-4))
