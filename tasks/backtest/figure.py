"""The plot of a backtest."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.backtest.replay import Month
from tasks.measures.plots import axes_of
from tasks.messages.wording import metric_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_backtest(replays: Mapping[str, Sequence[Month]], metric: str) -> "Figure":
    """The score of whoever served, period by period and strategy by strategy; a circle where a
    challenger won, a cross where none did.
    """
    figure, axes = axes_of("Backtest", width=8)
    for strategy, months in replays.items():
        names = [month.period for month in months]
        scores = [np.nan if month.score is None else month.score for month in months]
        (line,) = axes.plot(names, scores, marker=".", label=strategy)
        for outcomes, mark in ((("promoted",), "o"), (("kept", "below the gate"), "x")):
            at = [i for i, month in enumerate(months) if month.outcome in outcomes]
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
