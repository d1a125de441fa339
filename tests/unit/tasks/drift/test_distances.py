"""The distances, and that Evidently's report says the same."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from usecases.toy import toy_rows

from tasks.drift.checks.distances import distance
from tasks.drift.drivers import drifted_columns
from tasks.drift.thresholds import calibrate, measure, monitored
from tasks.drift.verdict import Evidence, judge
from usecases.definition import Column, DriftPolicy, UseCase

# Of what Evidently imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NUMBER, CATEGORY = Column(name="x", kind="number"), Column(name="x", kind="category")
# No defaults of Evidently's: the group drifts by its own distance of 0.1, and not by this one.
UNUSUAL = {"first": 0.5, "second": 0.1, "steady": 0.1, "group": 0.9, "score": 0.2}
METHODS: list[Mapping[str, str]] = [
    {},
    {
        "first": "psi",
        "second": "jensenshannon",
        "steady": "psi",
        "group": "psi",
        "score": "jensenshannon",
    },
    {
        "first": "jensenshannon",
        "second": "psi",
        "steady": "jensenshannon",
        "group": "jensenshannon",
        "score": "psi",
    },
]


def test_the_distance_of_numbers_is_in_standard_deviations_of_the_reference() -> None:
    chance = np.random.default_rng(0)
    reference = pl.Series("x", chance.normal(10, 4, 20_000))
    assert distance(NUMBER, reference, reference + 2) == pytest.approx(0.5, abs=0.01)
    assert distance(NUMBER, reference, reference) == 0
    constant = pl.Series("x", [3.0] * 10)
    assert distance(NUMBER, constant, constant + 1) == pytest.approx(1000)


def test_the_distance_of_categories_runs_from_none_to_the_largest_there_is() -> None:
    reference = pl.Series("x", ["a"] * 70 + ["b"] * 30)
    assert distance(CATEGORY, reference, pl.Series("x", ["b"] * 3 + ["a"] * 7)) == pytest.approx(
        0, abs=1e-7
    )
    assert distance(CATEGORY, reference, pl.Series("x", ["c", "d"])) == pytest.approx(
        math.sqrt(math.log(2))
    )


def test_psi_of_two_shares_is_what_the_formula_says() -> None:
    reference, current = (
        pl.Series("x", ["a"] * 50 + ["b"] * 50),
        pl.Series("x", ["a"] * 80 + ["b"] * 20),
    )
    assert distance(CATEGORY, reference, current, "psi") == pytest.approx(
        (0.5 - 0.8) * math.log(0.5 / 0.8) + (0.5 - 0.2) * math.log(0.5 / 0.2)
    )
    assert distance(CATEGORY, reference, reference, "psi") == 0


@pytest.mark.parametrize("column", [NUMBER, CATEGORY], ids=lambda column: column.kind)
@pytest.mark.parametrize("method", [None, "psi"])
def test_nulls_are_left_out_and_nothing_left_gives_no_distance(
    column: Column, method: str | None
) -> None:
    values: list[Any] = [1.0, 2.0, 3.0] if column.kind == "number" else ["a", "b", "c"]
    dtype = pl.Float64 if column.kind == "number" else pl.String
    full, gappy, none = (
        pl.Series("x", side, dtype=dtype) for side in (values, [*values, None, None], [None, None])
    )
    assert distance(column, full, gappy, method) == distance(column, gappy, full, method) == 0
    for before, now in (
        (none, full),
        (full, none),
        (full, pl.Series("x", [None, None], dtype=pl.Null)),
    ):
        assert math.isnan(distance(column, before, now, method))


def test_an_unknown_distance_is_refused() -> None:
    with pytest.raises(
        ValueError, match="Unknown distance 'ks' of 'x'; known: wasserstein, jensenshannon, psi"
    ):
        distance(NUMBER, pl.Series([1.0]), pl.Series([1.0]), "ks")


@pytest.fixture(scope="module")
def reference(case: UseCase) -> pl.DataFrame:
    return calibrate(case, pl.concat([_scored(f"2024-0{month}") for month in (1, 2, 3)]), 7)[0]


@pytest.fixture(scope="module")
def window() -> pl.DataFrame:
    """With nulls and unknown categories."""
    few = pl.int_range(pl.len())
    return _scored("2024-06").with_columns(
        group=pl.when(few < 84).then(pl.lit("z")).otherwise("group"),
        steady=pl.when(few < 67).then(None).otherwise("steady"),
    )


def _scored(period: str) -> pl.DataFrame:
    return toy_rows(period).with_columns(score=1 / (1 + (-pl.col("first")).exp()))


@pytest.fixture(scope="module", params=METHODS, ids=["usual", "methods", "other methods"])
def compared(
    request: pytest.FixtureRequest, case: UseCase, reference: pl.DataFrame, window: pl.DataFrame
) -> tuple[dict[str, float], dict[str, float], str, str]:
    """Our distances, and a run of Evidently, whose import costs seconds."""
    from tasks.drift.evidently_report import run_evidently

    ours = measure(case, reference, window, UNUSUAL, request.param)
    return ours, *run_evidently(monitored(case, UNUSUAL), reference, window, UNUSUAL, request.param)


@pytest.mark.slow("imports Evidently")
def test_our_distances_are_those_of_evidently(
    compared: tuple[dict[str, float], dict[str, float], str, str],
) -> None:
    """Thresholds and verdict are computed here, and the report that people look at there."""
    ours, theirs, _, _ = compared
    assert theirs == {name: pytest.approx(far, rel=1e-6) for name, far in ours.items()}
    assert set(ours) == {"first", "second", "steady", "group", "score"} and min(ours.values()) > 0


def test_evidently_reports_the_columns_that_we_call_drifted(
    case: UseCase, compared: tuple[dict[str, float], dict[str, float], str, str]
) -> None:
    """The report must not say "drift" of a column where the verdict says none: it is given our
    thresholds.
    """
    import json

    ours, _, page, text = compared
    verdict = judge(
        DriftPolicy(),
        Evidence(window="2024-06", rows=5000, distances=ours, thresholds=UNUSUAL, calibrated=True),
    )
    tests = json.loads(text)["tests"]
    failed = [test for test in tests if test["status"] == "FAIL"]
    assert len(tests) == 5 and len(failed) == len(drifted_columns(verdict))
    assert all(any(name in str(test) for test in failed) for name in drifted_columns(verdict))
    assert "<html" in page and "Dataset Drift" not in page


def test_a_report_begins_with_what_was_decided_and_takes_no_html_from_names(
    compared: tuple[dict[str, float], dict[str, float], str, str],
) -> None:
    from tasks.drift.evidently_report import with_summary

    facts, links = {"window": "2024-06", "why": "<b>"}, {"flow run": 'http://p/"x', "none": None}
    page = with_summary(compared[2], "toy: <i>", facts, links)
    head, _, charts = page.partition("</section>")
    assert "<h1>toy: &lt;i&gt;</h1>" in head and "<td>&lt;b&gt;</td>" in head
    assert 'href="http://p/&quot;x"' in head and ">none<" not in head
    assert charts in compared[2] and "<html" in head
    within = with_summary("<script>'<body>'</script><body>charts", "toy", facts, links)
    assert within.startswith("<script>'<body>'</script><body><style>")
    with pytest.raises(ValueError, match="no page with a <body>"):
        with_summary("<html></html>", "toy", facts, links)
