"""The profile of a champion's training rows: what a window is held against beside the distances.
It lies in the model package, as ``drift_profile.json``.

A family of columns is one test. A column's scale is its largest statistic when a window is held
against the others, or when days are drawn from the reference, and at least the family's floor; the
family's limit is the largest ratio to scales that come from the other windows, 1.5 to 2.5."""

from datetime import date

import msgspec
import numpy as np

from tasks.drift.profile.relations import Encoding, Relations, View

LEAST_LIMIT, LARGEST_LIMIT = 1.5, 2.5


class Family(msgspec.Struct, frozen=True):
    """The limit of a family of columns, in scales of its columns; a column without one has the
    ``floor``.
    """

    limit: float
    floor: float
    scales: dict[str, float] = {}

    def ratio(self, name: str, statistic: float) -> float:
        """``statistic`` as a multiple of its limit: 1 and above is beyond it."""
        return statistic / (self.scales.get(name, self.floor) * self.limit)


class StoredRelations(msgspec.Struct, frozen=True):
    """``Relations`` as lists."""

    weights: list[list[float]]
    variance: list[float]
    left: list[float]
    beta: list[float]
    base: list[float]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """``blocks`` windows of training rows, of the length ``window``; ``rows_a_day`` of them (the
    median).

    ``categories``: the share of each category in each block, by column; ``nulls``: the share of
    nulls by column; ``repeats``: the largest share of repeated rows in a block; ``weekdays``: rows
    of an average Monday to Sunday, 0 of a weekday that has none. ``families`` by their name.
    The sequential view has the reference's days: ``daily`` relations and ``present`` categories;
    ``spread`` is the standard deviation of each relation over days."""

    blocks: int
    rows_a_day: int
    numbers: dict[str, tuple[float, float]]
    flags: list[str]
    encoded: dict[str, list[str]]
    within: StoredRelations
    over: StoredRelations
    categories: dict[str, dict[str, list[float]]]
    nulls: dict[str, float]
    repeats: float
    weekdays: list[float]
    families: dict[str, Family]
    spread: list[float] = []
    daily: list[float] = []
    present: list[float] = []
    window: str = "month"

    @property
    def encoding(self) -> Encoding:
        return Encoding(dict(self.numbers), list(self.flags), dict(self.encoded))

    def relations(self) -> tuple[Relations, Relations]:
        """Within days, and over days."""
        return self._read("within", self.within), self._read("over", self.over)

    def _read(self, view: View, side: StoredRelations) -> Relations:
        weights, *others = (np.array(getattr(side, name)) for name in side.__struct_fields__)
        return Relations(view, weights.reshape(len(self.numbers), self.encoding.width), *others)


def store_relations(relations: Relations) -> StoredRelations:
    """Six digits are enough: statistics are in hundredths."""
    parts = (getattr(relations, name) for name in StoredRelations.__struct_fields__)
    return StoredRelations(*(np.round(part, 6).tolist() for part in parts))


def encode_profile(profile: Profile) -> bytes:
    return msgspec.json.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """Raises ``ValueError`` (msgspec's ``DecodeError``) for a profile that cannot be read."""
    return msgspec.json.decode(data, type=Profile)


def family_of(names: list[str], out: np.ndarray, draws: np.ndarray, floor: float) -> Family:
    """From statistics ``(n_periods, n_names)`` of each window against the others, and of days drawn
    from the reference ``(n_draws, n_names)``.
    """
    drawn = np.max(draws, axis=0, initial=floor)
    scales = np.maximum(drawn, np.max(out, axis=0, initial=floor))
    ratios = [
        np.max(out[block] / np.maximum(drawn, np.max(np.delete(out, block, 0), 0, initial=floor)))
        for block in range(len(out))
        if len(out) > 2 and names
    ]
    limit = float(np.clip(max(ratios, default=0.0), LEAST_LIMIT, LARGEST_LIMIT))
    return Family(limit, floor, dict(zip(names, scales.tolist(), strict=True)))


def draw_days(
    dates: list[date], size: int, draws: int, chance: np.random.Generator
) -> list[np.ndarray]:
    """``draws`` flags ``(n_days,)`` of about ``size`` days, each weekday as often as it is among
    ``dates``; of fewer days than there are weekdays, any.
    """
    weekday = np.array([day.weekday() for day in dates])
    flags = []
    for _ in range(draws):
        chosen = np.zeros(len(dates), dtype=bool)
        if size < len(np.unique(weekday)):
            chosen[chance.choice(len(dates), size, replace=False)] = True
        for value in () if chosen.any() else np.unique(weekday):
            days = np.flatnonzero(weekday == value)
            some = max(1, round(size * len(days) / len(dates)))
            chosen[chance.choice(days, min(some, len(days)), replace=False)] = True
        flags.append(chosen)
    return flags
