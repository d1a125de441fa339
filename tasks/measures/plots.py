"""The plots of a model, a contest and a drift check.

Drawn on figures of their own: pyplot keeps state, and costs a second to import.
"""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tasks.measures.metrics import score
from tasks.messages.wording import metric_name, number
from usecases.definition import ROC_AUC, Classes, Metric, Number, Target

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_CLASSES = 20


def axes_of(title: str, width: float = 5.5, height: float = 4.5):  # noqa: ANN201
    """A figure of that size in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes


def of_target(target: Target, truth: np.ndarray, predicted: np.ndarray) -> dict[str, "Figure"]:
    """The plots of predictions on the hold-out that suit the target, by artifact path."""
    if isinstance(target, Number):
        return {
            "plots/predicted.png": predicted_and_true(target, truth, predicted),
            "plots/errors.png": errors(target, truth, predicted),
        }
    if isinstance(target, Classes):
        return {"plots/confusion.png": confusion(target, truth, predicted)}
    return {
        "plots/roc.png": roc(truth, predicted),
        "plots/calibration.png": calibration(truth, predicted),
    }


def predicted_and_true(target: Number, truth: np.ndarray, predicted: np.ndarray) -> "Figure":
    """The true against the predicted number, of at most 2,000 rows."""
    rows = np.random.default_rng(0).permutation(len(truth))[:2000]
    figure, axes = axes_of("Predicted and true on the hold-out")
    axes.plot(predicted[rows], truth[rows], ".", alpha=0.4, markersize=4)
    ends = [float(np.min([truth, predicted])), float(np.max([truth, predicted]))]
    axes.plot(ends, ends, linestyle=":", color="grey")
    axes.set_xlabel(f"predicted {_with_unit(target)}")
    axes.set_ylabel(f"true {_with_unit(target)}")
    return figure


def errors(target: Number, truth: np.ndarray, predicted: np.ndarray) -> "Figure":
    """How often the prediction was off by how much, without the farthest percent."""
    off = predicted - truth
    low, high = np.quantile(off, [0.005, 0.995])
    figure, axes = axes_of("Errors on the hold-out")
    axes.hist(off[(off >= low) & (off <= high)], bins=50)
    axes.axvline(0, linestyle=":", color="grey")
    axes.set_xlabel(f"predicted less true {_with_unit(target)}")
    axes.set_ylabel("rows")
    return figure


def confusion(target: Classes, truth: np.ndarray, predicted: np.ndarray) -> "Figure":
    """The share of each true class that was predicted as each class, of at most 20 classes: those
    with the most rows."""
    counts = np.bincount(truth, minlength=len(target.classes))
    shown = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CLASSES])
    table = np.array(
        [
            np.bincount(predicted[truth == place].argmax(axis=1), minlength=len(counts))[shown]
            for place in shown
        ],
        dtype=float,
    )
    shares = table / np.maximum(counts[shown], 1)[:, None]
    names = [target.classes[place] for place in shown]
    size = 2.5 + 0.35 * len(names)
    figure, axes = axes_of("Classes on the hold-out", width=max(5.5, size), height=max(4.5, size))
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row, line in enumerate(shares):
        for column, share in enumerate(line):
            color = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=color, size=8)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return figure


def _with_unit(target: Number) -> str:
    return f"{target.label} in {target.unit}" if target.unit else target.label


def roc(truth: np.ndarray, predicted: np.ndarray) -> "Figure":
    """The ROC curve of probabilities ``(n_rows,)`` with the area beneath it, whatever the gate's
    metric is.
    """
    order = np.argsort(-predicted)
    # Rows of one score count together: their order among themselves would draw a curve that is not
    # there.
    ends = np.append(np.flatnonzero(np.diff(predicted[order])), len(truth) - 1)
    hits = np.append(0, np.cumsum(truth[order])[ends]) / max(truth.sum(), 1)
    alarms = np.append(0, np.cumsum(1 - truth[order])[ends]) / max((1 - truth).sum(), 1)
    points = np.linspace(0, len(hits) - 1, min(len(hits), 500)).astype(int)
    area = score(ROC_AUC, truth, predicted)
    figure, axes = axes_of(f"ROC on the hold-out, AUC {number(area)}")
    axes.plot(alarms[points], hits[points])
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    return figure


def calibration(truth: np.ndarray, predicted: np.ndarray, bins: int = 10) -> "Figure":
    """Observed share against predicted probability, in ``bins`` groups of equal size."""
    groups = [group for group in np.array_split(np.argsort(predicted), bins) if len(group)]
    figure, axes = axes_of("Calibration on the hold-out")
    axes.plot([predicted[g].mean() for g in groups], [truth[g].mean() for g in groups], marker="o")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set_xlabel("mean predicted probability")
    axes.set_ylabel("observed share")
    return figure


def importance(names: list[str], losses: np.ndarray, metric: Metric) -> "Figure":
    """Bars of what the score loses without a column ``(n_features,)``, the largest on top."""
    order = np.argsort(losses)
    figure, axes = axes_of(
        "Permutation importance on the hold-out", height=max(3.0, 0.25 * len(names))
    )
    axes.barh([names[i] for i in order], losses[order])
    axes.set_xlabel(f"{metric_name(metric.name)} lost when the column is shuffled")
    return figure


def contest_interval(
    low: float | None, gain: float | None, high: float | None, metric: str
) -> "Figure":
    """The gain with its interval against zero: right of the line wins. What is not known is not
    drawn.
    """
    figure, axes = axes_of("Gain of the challenger", height=1.8)
    if low is not None and high is not None:
        axes.plot([low, high], [0, 0], marker="|", markersize=12)
    if gain is not None:
        axes.plot([gain], [0], marker="o")
    axes.axvline(0, linestyle=":", color="grey")
    axes.set_yticks([])
    axes.set_xlabel(f"gain in {metric_name(metric)}, positive if the challenger is better")
    return figure


def gains_of_rollout(
    days: Sequence[str],
    gains: np.ndarray,
    looks: Sequence[tuple[float | None, float | None, float | None]],
    metric: str,
) -> "Figure":
    """The gain of each block ``(n_blocks,)``, which ends on one of ``days``, and the estimate with
    its interval (gain, low, high) as it narrowed from look to look.
    """
    figure, axes = axes_of("Gain of the challenger in front of real traffic", width=7.5, height=3.5)
    places = np.arange(len(days))
    mean, low, high = (np.array([_or_nan(look[end]) for look in looks]) for end in range(3))
    axes.fill_between(places, low, high, alpha=0.2, label="interval")
    axes.plot(places, mean, label="mean so far")
    axes.plot(places, gains, "o", color="grey", label="two days")
    axes.axhline(0, linestyle=":", color="grey")
    shown = places[:: max(1, len(days) // 6)]
    axes.set_xticks(shown, [days[place] for place in shown])
    axes.set_ylabel(f"gain in {metric_name(metric)}")
    axes.legend()
    return figure


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value


def drift_by_column(
    distances: Mapping[str, float],
    thresholds: Mapping[str, float],
    importance: Mapping[str, float],
    most: int = 20,
) -> "Figure":
    """Bars of each column's distance over its threshold, the furthest on top: beyond the line at 1
    it drifted.

    A column with an importance has it beside its name, in per cent. At most ``most`` columns; one
    without a distance (NaN) is left out."""
    times = {name: far / thresholds[name] for name, far in distances.items() if np.isfinite(far)}
    names = sorted(times, key=lambda name: times[name])[-most:]
    labels = [f"{name} ({importance[name]:.0%})" if name in importance else name for name in names]
    figure, axes = axes_of(
        "Distance over threshold, by column", height=max(1.8, 0.8 + 0.25 * len(names))
    )
    axes.barh(
        labels,
        [times[name] for name in names],
        color=["tab:red" if times[name] >= 1 else "tab:blue" for name in names],
    )
    axes.axvline(1, linestyle=":", color="grey")
    axes.set_xlabel(
        "times the threshold (importance in brackets)" if importance else "times the threshold"
    )
    return figure


def png(figure: "Figure", dpi: int = 80) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi)
    return picture.getvalue()
