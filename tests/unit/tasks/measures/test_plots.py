import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from tasks.measures.metrics import score
from tasks.measures.plots import (
    calibration,
    contest_interval,
    drift_by_column,
    importance,
    png,
    roc,
)
from usecases.definition import ROC_AUC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRUTH = (np.random.default_rng(0).random(2000) < 0.4).astype(int)
PREDICTED = np.clip(0.25 * TRUTH + np.random.default_rng(1).random(2000) * 0.75, 0, 1)


def draw(figure: "Figure") -> bytes:
    """The picture, which fails where a figure cannot be rendered."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=40)
    assert picture.getvalue().startswith(b"\x89PNG")
    return picture.getvalue()


def curve_of(figure: "Figure") -> tuple[np.ndarray, np.ndarray]:
    """What the first line shows."""
    across, up = figure.axes[0].lines[0].get_data()
    return np.asarray(across), np.asarray(up)


def test_the_roc_curve_lies_on_that_of_scikit_learn() -> None:
    figure = roc(TRUTH, PREDICTED)
    alarms, hits = curve_of(figure)
    expected = roc_curve(TRUTH, PREDICTED, drop_intermediate=False)
    far = [
        (np.abs(expected[0] - alarm) + np.abs(expected[1] - hit)).min()
        for alarm, hit in zip(alarms, hits, strict=True)
    ]
    assert max(far) < 1e-9
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert f"{score(ROC_AUC, TRUTH, PREDICTED):.4f}" in figure.axes[0].get_title()
    draw(figure)


def test_scores_that_tie_draw_a_straight_line_whatever_the_order_of_the_rows() -> None:
    curve = curve_of(roc(np.sort(TRUTH)[::-1], np.full(2000, 0.3)))
    np.testing.assert_array_equal(curve, [[0, 1], [0, 1]])


def test_the_calibration_of_honest_probabilities_lies_on_the_diagonal() -> None:
    chance = np.random.default_rng(2)
    honest = chance.random(20_000)
    figure = calibration((chance.random(20_000) < honest).astype(int), honest)
    predicted, observed = curve_of(figure)
    assert len(predicted) == 10
    np.testing.assert_allclose(predicted, observed, atol=0.04)
    assert list(predicted) == sorted(predicted)
    draw(figure)


def test_few_rows_are_drawn_too() -> None:
    draw(roc(TRUTH[:3], PREDICTED[:3]))
    draw(calibration(TRUTH[:3], PREDICTED[:3]))
    draw(roc(np.zeros(5, dtype=int), PREDICTED[:5]))


def test_the_most_important_column_stands_on_top() -> None:
    figure = importance(["a", "b", "c"], np.array([0.1, 0.3, -0.01]), ROC_AUC)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["c", "a", "b"]
    draw(figure)


@pytest.mark.parametrize(
    ("low", "gain", "high"),
    [
        (0.01, 0.02, 0.03),
        (0.01, 0.009, 0.02),
        (0.0, 0.0, 0.0),
        (None, 0.01, None),
        (None, None, None),
    ],
    ids=["usual", "gain outside its interval", "tie", "no interval", "nothing known"],
)
def test_every_contest_can_be_drawn(
    low: float | None, gain: float | None, high: float | None
) -> None:
    """Quantiles of a bootstrap need not lie on both sides of the gain: a decision must not fail for
    its picture.
    """
    figure = contest_interval(low, gain, high, "roc_auc")
    points = np.concatenate([line.get_xdata() for line in figure.axes[0].lines])
    for value in (low, gain, high):
        assert value is None or value in points
    draw(figure)


def test_the_column_furthest_beyond_its_threshold_stands_on_top_with_its_importance() -> None:
    distances = {"temp": 0.3, "dewp": 0.2, "wind": 0.05, "empty": float("nan")}
    figure = drift_by_column(
        distances, {"temp": 0.2, "dewp": 0.1, "wind": 0.1, "empty": 0.1}, {"temp": 0.25}
    )
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wind", "temp (25%)", "dewp"]
    widths = [bar.get_width() for bar in axes.patches]  # type: ignore[attr-defined]
    np.testing.assert_allclose(widths, [0.5, 1.5, 2.0])
    colours = [bar.get_facecolor() for bar in axes.patches]
    assert colours[0] != colours[1] == colours[2], "what drifted has a colour of its own"
    assert png(figure).startswith(b"\x89PNG")


def test_only_the_furthest_of_many_columns_are_drawn() -> None:
    many = {f"c{position}": float(position) for position in range(50)}
    figure = drift_by_column(many, dict.fromkeys(many, 1.0), {})
    assert (
        len(figure.axes[0].patches) == 20
        and figure.axes[0].get_yticklabels()[-1].get_text() == "c49"
    )
