"""What the benchmark of targets compares: as many trees, rows that have a label, and ratios within
a round.
"""

from datetime import datetime

import polars as pl
import pytest

from benchmarks.serving import run, targets
from benchmarks.serving.targets import BINARY, CASES, CLASSES, KINDS, NUMBER, TREES, table


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_equally_many_trees(kind: str) -> None:
    case, _, _ = targets._case(kind)
    trees_an_iteration = len(case.target.classes) if kind == CLASSES else 1
    assert case.candidates[0].params["max_iter"] * trees_an_iteration == TREES


def rows() -> pl.DataFrame:
    delays = [-40.0, None, 5.0, 80.0] * 50
    return pl.DataFrame(
        {
            "event_time": [datetime(2013, 2, 1)] * 200,
            "origin_mean_delay_2h": delays,
            "network_mean_delay_3h": delays,
            "late": [0, 1, None, 1] * 50,
        }
    )


@pytest.mark.parametrize(("kind", "count"), [(BINARY, 150), (NUMBER, 200), (CLASSES, 200)])
def test_every_row_has_a_label_of_its_kind(kind: str, count: int) -> None:
    case, _, _ = targets._case(kind)
    labelled = targets._labelled(case, rows())
    assert len(labelled) == count and labelled[case.label].null_count() == 0
    if kind == CLASSES:
        assert set(labelled[case.label]) == set(case.target.classes)


def test_ratio_is_that_of_rounds_and_not_of_medians() -> None:
    """The machine was twice as slow in one round: both kinds were."""
    slow = {BINARY: [10.0, 20.0, 10.0], NUMBER: [11.0, 22.0, 11.0], CLASSES: [10.0, 30.0, 30.0]}
    micros = {kind: dict.fromkeys(CASES, values) for kind, values in slow.items()}
    lines = table(micros).splitlines()
    assert [line.split(" | ")[1] for line in lines[2:]] == [
        "10.0",
        "11.0 (1.10×)",
        "30.0 (1.50×)",
    ]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"only": ["laurel", "bentoml"]}, "Only flights: bentoml"),
        ({"what": "profile"}, "are those of flights"),
        ({"swap": True}, "are those of flights"),
    ],
)
def test_diabetes_is_not_asked_of_what_is_written_for_flights(
    changed: dict[str, object], message: str
) -> None:
    usual = {"use_case": "diabetes", "only": None, "quick": True, "what": None, "swap": None}
    arguments = type("Arguments", (), {**usual, "rounds": 1, "seconds": 1, "generator": "python"})
    for name, value in changed.items():
        setattr(arguments, name, value)
    with pytest.raises(SystemExit, match=message):
        run.Plan.of(arguments)  # type: ignore[arg-type]


def test_diabetes_is_measured_beside_the_peers_that_can_answer_it() -> None:
    usual = {"use_case": "diabetes", "only": None, "quick": False, "what": None, "swap": None}
    arguments = type("Arguments", (), {**usual, "rounds": 1, "seconds": 1, "generator": "python"})
    plan = run.Plan.of(arguments)  # type: ignore[arg-type]
    assert {"laurel", "mlflow", "mlserver"} <= set(plan.names) and not plan.swap
    assert not {"bentoml", "plain-fastapi"} & set(plan.names)
