from pathlib import Path

import pytest
from usecases.toy import USE_CASE as TOY
from usecases.toy import toy_rows

from serving.package.model import Package, load
from serving.records.contest import Latency
from tasks.contest.latency import time_packages, too_slow
from tasks.models import modelling
from tasks.packages.packaging import Origin, make_package
from usecases.definition import Promotion


def packaged(folder: Path, trees: int) -> Package:
    rows = toy_rows("2024-01")
    fitted = modelling.fit(TOY, TOY.candidate("boosting"), {"max_iter": trees}, rows, seed=7)
    make_package(
        folder,
        TOY,
        fitted,
        Origin("boosting", {}, "v", {"2024-01": "0"}, {"roc_auc": 0.9}),
        rows,
        rows[:200],
        seed=7,
        watched=False,
    )
    return load(folder)


@pytest.mark.slow("converts a large model")
def test_a_heavy_package_is_too_slow_and_a_light_one_is_not(tmp_path: Path) -> None:
    """Eighty trees against two: the rule has no floor here, so fast and slow machines agree."""
    light, heavy = packaged(tmp_path / "light", 2), packaged(tmp_path / "heavy", 80)
    rule = Promotion(latency_ratio=1.5, latency_floor_milliseconds=0)
    latencies = time_packages(light, heavy, toy_rows("2024-02"))
    assert [latency.rows for latency in latencies] == [1, 100]
    assert any("ms for 100 rows" in reason for reason in too_slow(rule, latencies))
    assert too_slow(rule, time_packages(heavy, light, toy_rows("2024-02"))) == []


@pytest.mark.parametrize(
    ("champion", "challenger", "slow"),
    [
        (2.0, 12.0, True),
        (2.0, 5.9, False),
        (0.01, 4.9, False),
        (10.0, 29.0, False),
        (0.0, 6.0, True),
    ],
    ids=[
        "both",
        "the ratio only just not",
        "under the floor",
        "long but in proportion",
        "nothing measurable",
    ],
)
def test_both_the_ratio_and_the_floor_must_be_passed(
    champion: float, challenger: float, slow: bool
) -> None:
    reasons = too_slow(
        Promotion(),
        [Latency(rows=1, champion_milliseconds=champion, challenger_milliseconds=challenger)],
    )
    assert bool(reasons) == slow
    if slow:
        assert reasons[0].startswith(
            f"It takes {challenger:.1f} ms for 1 row, and the champion {champion:.1f} ms: "
            "more than 3 times"
        )


def test_few_rows_are_asked_about_again_and_again(tmp_path: Path) -> None:
    package = packaged(tmp_path, 2)
    assert len(time_packages(package, package, toy_rows("2024-02")[:3])) == 2
