"""The plot of a backtest."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.backtest.replay import PeriodOutcome
from tasks.measures.plots import axes_of
from tasks.messages.wording import metric_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_backtest(replays: Mapping[str, Sequence[PeriodOutcome]], metric: str) -> "Figure":
    """The score of the version that served, period by period and strategy by strategy; a circle
    where a challenger won, a cross where none did."""
    figure, axes = axes_of("Backtest", width=8)
    for strategy, periods in replays.items():
        names = [period.period for period in periods]
        scores = [np.nan if period.score is None else period.score for period in periods]
        (line,) = axes.plot(names, scores, marker=".", label=strategy)
        for outcomes, mark in ((("promoted",), "o"), (("kept", "below the gate"), "x")):
            at = [i for i, period in enumerate(periods) if period.outcome in outcomes]
            axes.scatter(
                [names[i] for i in at],
                [scores[i] for i in at],
                marker=mark,
                s=80,
                facecolors="none" if mark == "o" else line.get_color(),
                edgecolors=line.get_color() if mark == "o" else None,
            )
    axes.set_ylabel(metric_name(metric))
    axes.tick_params(axis="x", rotation=45)
    axes.legend()
    return figure
