"""What both sides' answers say without labels: whether each side has the callers that the split
gives it, and how far the challenger's answers are from the champion's on the same population."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from serving.records.rollout import PLACES, places_of

RATIO_ERROR = 1 / 1000  # of sound splits that are doubted
_RATIO_PRIOR = 100.0
_FEWEST_CALLERS = 100  # on each side
_SURELY = 4.0  # standard errors: it is looked at often


@dataclass(frozen=True)
class Ratio:
    """The callers of each side, of whom the challenger is to have a ``share`` (0-1): the sequential
    multinomial test of Lindon and Malek (2022), which holds at all looks at a growing number of
    callers. Raises ``ValueError`` for a share of 0 or 1, which leaves one side without callers."""

    share: float
    champion: int = 0
    challenger: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"The share is {self.share:g}; a split has one between 0 and 1.")

    @property
    def seen(self) -> float:
        """The challenger's share as it came (0-1; ``nan`` without callers)."""
        callers = self.champion + self.challenger
        return self.challenger / callers if callers else math.nan

    def is_off(self, error: float = RATIO_ERROR) -> bool:
        """Whether it is surely another share, at that chance of an error in all looks."""
        return self.log_evidence > -math.log(error)

    @property
    def log_evidence(self) -> float:
        """The log of the Bayes factor of a Beta distribution around ``share`` against it."""
        before = (_RATIO_PRIOR * (1 - self.share), _RATIO_PRIOR * self.share)
        after = (before[0] + self.champion, before[1] + self.challenger)
        return (
            _log_beta(*after)
            - _log_beta(*before)
            - self.champion * math.log(1 - self.share)
            - self.challenger * math.log(self.share)
        )


@dataclass(frozen=True)
class Shift:
    """By how many standard deviations of the champion's answers the challenger's mean answer is
    further above it than it was on the contest's hold-out (of classes: the class of which that
    differs most), and the standard ``error`` of that."""

    size: float
    error: float

    def is_beyond(self, largest: float) -> bool:
        """Whether it is surely larger, whatever its sign."""
        return abs(self.size) - _SURELY * self.error > largest


def ratio_of(places: pl.Series, share: float) -> Ratio | None:
    """How many callers came on each side, by their ``places`` in the split (null: unknown). Each
    caller counts once, however many requests they send, on the side where they belong: a caller
    whom the other side answered is not lost. ``None`` if all belong to one side."""
    if not 0 < share < 1:
        return None
    callers = places.drop_nulls().unique()
    challenger = int((callers < places_of(share)).sum())
    return Ratio(share, len(callers) - challenger, challenger)


def shift_of_pairs(
    champion: np.ndarray, challenger: np.ndarray, differences: Sequence[float]
) -> Shift | None:
    """The shift between answers ``(n_rows,)`` or ``(n_rows, n_classes)`` to the same rows;
    ``differences`` are those of the means on the hold-out, ``(1,)`` or ``(n_classes,)``. ``None``
    if they are unknown, the rows are few, or the champion's answers are all alike."""
    if len(champion) < _FEWEST_CALLERS:
        return None
    away = _columns(challenger) - _columns(champion)
    return _largest(
        away.mean(axis=0),
        away.std(axis=0, ddof=1) / np.sqrt(len(away)),
        _columns(champion).std(axis=0),
        differences,
    )


def shift_of_sides(
    answers: np.ndarray,
    places: pl.Series,
    is_challenger: np.ndarray,
    differences: Sequence[float],
) -> Shift | None:
    """The shift between both sides' answers ``(n_rows,)`` or ``(n_rows, n_classes)`` to callers of
    one population. A caller's rows hang together, so that each caller counts once, by their mean
    answer; a row whose caller is unknown counts on its own. ``None`` as for ``shift_of_pairs``."""
    sides = []
    for side in (~is_challenger, is_challenger):
        sides.append(_by_caller(_columns(answers)[side], places.filter(pl.Series(side))))
    if min(map(len, sides)) < _FEWEST_CALLERS:
        return None
    champion, challenger = sides
    variance = sum(side.var(axis=0, ddof=1) / len(side) for side in sides)
    return _largest(
        challenger.mean(axis=0) - champion.mean(axis=0),
        np.sqrt(variance),
        _columns(answers)[~is_challenger].std(axis=0),
        differences,
    )


def _by_caller(answers: np.ndarray, places: pl.Series) -> np.ndarray:
    """The mean answer to each caller ``(n_callers, n_columns)``."""
    alone = PLACES + pl.int_range(pl.len(), dtype=pl.UInt64)
    frame = pl.DataFrame(answers).with_columns(caller=places.cast(pl.UInt64))
    frame = frame.with_columns(pl.coalesce("caller", alone).alias("caller"))
    return frame.group_by("caller").mean().drop("caller").to_numpy()


def _largest(
    away: np.ndarray, error: np.ndarray, deviation: np.ndarray, differences: Sequence[float]
) -> Shift | None:
    """In standard deviations; columns in which the champion answers all alike tell nothing."""
    known = deviation > 0
    if not known.any() or len(differences) != len(away):
        return None
    sizes = (away - np.array(differences))[known] / deviation[known]
    errors = error[known] / deviation[known]
    place = int(np.abs(sizes).argmax())
    return Shift(float(sizes[place]), float(errors[place]))


def _columns(answers: np.ndarray) -> np.ndarray:
    return answers[:, None] if answers.ndim == 1 else answers


def _log_beta(first: float, second: float) -> float:
    return math.lgamma(first) + math.lgamma(second) - math.lgamma(first + second)
