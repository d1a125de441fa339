"""Holds a window against the profile of its champion: relations, categories, nulls, repeats and
volume.

What a finding means goes by its origin. A relation that is lost within days is *broken*: no world
does that. A relation lost over days, and categories that vanished or are new, are *drifted*; by the
presence of categories alone no retrain starts, since a vanished one costs the champion nothing. The
rest is *said*. With few training periods what is estimated between periods cannot decide."""

from collections.abc import Collection
from dataclasses import replace
from datetime import date, timedelta
from functools import cached_property

import numpy as np
import polars as pl

from serving.records.drift import Finding
from serving.records.reasons import Reason, because
from tasks.drift.checks.spikes import find_spikes
from tasks.drift.profile.profile import Family, Profile
from tasks.drift.profile.relations import Days, View, days_of, largest_three, middle
from tasks.drift.profile.sequential import ALARM, add_days, conformal
from tasks.drift.profile.tallies import (
    Tally,
    lost_and_new,
    null_move,
    presence_by_day,
    repeated_share,
    tally,
    time_of,
    volumes,
)
from usecases.definition import DriftPolicy, UseCase

REPEATS = 0.015
_LEAST_SAMPLED = 0.2  # of a sample that holds less, repeats are unjudged
_SHOWN = 3


class HeldAgainst:
    """Rows of a window, without impossible values, beside the profile of the champion. ``traits``
    are columns that describe another one (``tasks/data/traits.py``). What several checks need is
    measured once."""

    def __init__(
        self,
        case: UseCase,
        profile: Profile,
        rows: pl.DataFrame,
        traits: Collection[str] = frozenset(),
    ) -> None:
        self.case, self.profile, self.rows, self.traits = case, profile, rows, traits
        self.time = time_of(case, rows)

    @property
    def has_columns(self) -> bool:
        """Whether the window has all columns that the profile relates."""
        related = (*self.profile.numbers, *self.profile.encoded)
        return all(name in self.rows.columns for name in related)

    @cached_property
    def counts(self) -> Tally:
        return tally(self.case, self.rows, self.time)

    @cached_property
    def days(self) -> Days:
        """Rows as vectors; of each day no more of them than the reference has."""
        return days_of(self.profile.encoding, self.rows, self.time, self.profile.rows_a_day)

    @cached_property
    def within_by_day(self) -> np.ndarray:
        return self.profile.relations()[0].by_day(self.days)

    @cached_property
    def over_by_day(self) -> np.ndarray:
        return self.profile.relations()[1].by_day(self.days)


def find_by_profile(
    window: HeldAgainst, reference: pl.DataFrame, counted: int, sample_rate: float = 1.0
) -> list[Finding]:
    """What is beyond the profile's limits; ``counted`` rows were logged, at ``sample_rate``."""
    findings = [
        *lost_relations(window),
        *find_spikes(window.case, reference, window.rows, window.time),
        *moved_counts(window, counted, sample_rate),
    ]
    return [_weighed(finding, window.profile.blocks, window.case.drift) for finding in findings]


def day_chances(window: HeldAgainst) -> tuple[np.ndarray, np.ndarray]:
    """The conformal p-value of each day among the reference's ``(n_days,)``: of its relations, and
    of its categories.
    """
    profile, policy = window.profile, window.case.drift
    far = largest_three(window.over_by_day, np.array(profile.spread))
    mass = presence_by_day(window.counts, profile.categories, policy.described)
    return conformal(far, profile.daily), conformal(mass, profile.present)


def follow_days(window: HeldAgainst, start: float) -> tuple[float, Finding | None]:
    """The sum of the sequential view after the window's days, from ``start``, and the note on the
    first day on which it reached its alarm. After an alarm it starts anew.
    """
    profile = window.profile
    if not profile.daily or not window.has_columns:
        return 0.0, None
    chances = day_chances(window)
    path = add_days(start, chances)
    alarms = np.flatnonzero(path >= ALARM)
    if not len(alarms):
        return float(path[-1]), None
    first = alarms[0]
    day = window.days.dates[first]
    if chances[1][first] < chances[0][first]:
        reason = because("categories_by_day", date=day)
    else:
        reason = because("relations_by_day", date=day)
    note = _note("sequence", reason, float(path.max()), ALARM)
    return 0.0, _weighed(note, profile.blocks, window.case.drift)


def _weighed(finding: Finding, blocks: int, policy: DriftPolicy) -> Finding:
    """The finding with the word that so many training periods allow."""
    if blocks < policy.minimum_blocks or (
        blocks < policy.relation_blocks and finding.check == "sequence"
    ):
        words = because("uncalibrated_on", blocks=blocks, what=finding.reason)
        return _reworded(finding, "uncalibrated", words)
    if blocks < policy.relation_blocks and finding.check in ("within", "over", "spike"):
        words = because("on_few_periods", blocks=blocks, what=finding.reason)
        return _reworded(finding, "said", words)
    return finding


def _reworded(finding: Finding, word: str, reason: str) -> Finding:
    return replace(finding, word=word, retrain=False, reason=reason)


def lost_relations(window: HeldAgainst) -> list[Finding]:
    """Those lost within days, or else those lost over days. Without all of the columns no relation
    can be judged.
    """
    if not window.has_columns:
        return [
            Finding(
                check="within",
                word="unjudged",
                reason=because("relations_unjudged"),
            )
        ]
    if within := _beyond(window.profile, "within", window.within_by_day):
        return [_of_trait(window, _relation("within", *entry)) for entry in within]
    over = _beyond(window.profile, "over", window.over_by_day)
    return [_relation("over", *entry) for entry in over]


def _of_trait(window: HeldAgainst, finding: Finding) -> Finding:
    """Traits of one value move together when a new topic or another paper comes: that is drift,
    which their distances tell, and no fault of the data.
    """
    is_trait = finding.column in window.traits
    return _reworded(finding, "said", finding.reason) if is_trait else finding


def _beyond(profile: Profile, view: View, by_day: np.ndarray) -> list[tuple[str, float, float]]:
    """Column, statistic and limit of the lost relations, the furthest first."""
    family = profile.families[view]
    statistics = dict(zip(profile.numbers, middle(by_day).tolist(), strict=True))
    lost = [
        (name, statistics[name], scale * family.limit)
        for name, scale in family.scales.items()
        if statistics[name] >= scale * family.limit
    ]
    return sorted(lost, key=lambda entry: -entry[1] / entry[2])


def _relation(view: str, name: str, statistic: float, limit: float) -> Finding:
    times, most = np.exp(statistic), np.exp(limit)
    if view == "within":
        reason = because("relation_broken", column=name, times=times, limit=most)
    else:
        reason = because("relation_drifted", column=name, times=times, limit=most)
    return Finding(
        check=view,
        word="broken" if view == "within" else "drifted",
        column=name,
        value=statistic,
        limit=limit,
        retrain=view == "over",
        reason=reason,
    )


def moved_counts(window: HeldAgainst, counted: int, sample_rate: float) -> list[Finding]:
    """Categories lost and new, nulls, repeats, volume and missing days; ``counted`` rows were
    logged, at ``sample_rate``.
    """
    case, profile, rows, now = window.case, window.profile, window.rows, window.counts
    every = np.ones(len(now.dates), dtype=bool)
    findings = []
    for name, shares in now.category_shares(every).items():
        if name not in case.drift.described and name in profile.categories:
            findings += _presence(profile, name, shares)
    for name, share in now.null_shares(every).items():
        findings += _nulls(profile, name, share, len(rows))
    return [
        *findings,
        *_repeats(window, counted),
        *_volume(profile, now.dates, now.rows * (counted / len(rows)), sample_rate),
        *_missing_days(profile, now.dates),
    ]


def _presence(profile: Profile, name: str, shares: dict[str, float]) -> list[Finding]:
    lost, new = lost_and_new(shares, profile.categories[name])
    findings = []
    for check, values in (("lost", lost), ("new", new)):
        mass, family = sum(values.values()), profile.families[check]
        if not values or family.ratio(name, mass) < 1:
            continue
        listed = _some([repr(value) for value in sorted(values, key=lambda value: -values[value])])
        if check == "lost":
            reason = because("categories_lost", categories=listed, column=name, mass=mass)
        else:
            reason = because("categories_new", categories=listed, column=name, mass=mass)
        findings.append(
            Finding(
                check=check,
                word="drifted",
                column=name,
                value=mass,
                limit=mass / family.ratio(name, mass),
                reason=reason,
            )
        )
    return findings


def _some(names: list[str]) -> Reason | list[str]:
    """The first of ``names``, and whether there are others."""
    return because("and_others", shown=names[:_SHOWN]) if names[_SHOWN:] else names


def _nulls(profile: Profile, name: str, share: float, rows: int) -> list[Finding]:
    if name not in profile.nulls:
        return []
    before, family = profile.nulls[name], profile.families["nulls"]
    move = null_move(share, before, rows)
    if family.ratio(name, move) < 1:
        return []
    return [
        _note(
            "nulls",
            because("nulls_moved", column=name, share=share, before=before),
            move,
            move / family.ratio(name, move),
            name,
        )
    ]


def _note(
    check: str, reason: str, value: float, limit: float, column: str | None = None
) -> Finding:
    return Finding(check=check, word="said", column=column, value=value, limit=limit, reason=reason)


def _repeats(window: HeldAgainst, counted: int) -> list[Finding]:
    """A sample of a share f of the rows holds a pair of equal ones with f times the chance that it
    holds the first.
    """
    rows = window.rows
    sampled = len(rows) / max(counted, len(rows))
    if sampled < _LEAST_SAMPLED:
        return []
    share = repeated_share(window.case, rows, window.time) / sampled
    limit = window.profile.repeats + REPEATS
    if share < limit:
        return []
    return [_note("repeats", because("rows_repeat", share=share), share, limit)]


def _volume(
    profile: Profile, dates: list[date], rows: np.ndarray, sample_rate: float
) -> list[Finding]:
    """The last day may not be over, so it is left out."""
    if len(dates) < 2:
        return []
    expected = [count * sample_rate for count in profile.weekdays]
    level, beside = volumes(dates[:-1], rows[:-1], expected)
    families, findings = profile.families, []
    if families["volume"].ratio("rows", abs(level)) >= 1:
        reason = because("volume_moved", times=np.exp(level))
        findings.append(_note("volume", reason, level, _limit(families["volume"])))
    furthest = int(np.argmax(np.abs(beside)))
    if families["day"].ratio("rows", abs(float(beside[furthest]))) >= 1:
        reason = because("volume_of_day", date=dates[furthest], times=np.exp(beside[furthest]))
        findings.append(_note("day", reason, float(beside[furthest]), _limit(families["day"])))
    return findings


def _limit(family: Family) -> float:
    return family.scales.get("rows", family.floor) * family.limit


def _missing_days(profile: Profile, dates: list[date]) -> list[Finding]:
    """Between the first day and the last, of weekdays that the reference has."""
    known, there = [count > 0 for count in profile.weekdays], set(dates)
    span = [dates[0] + timedelta(days=far) for far in range((dates[-1] - dates[0]).days)]
    missing = [day for day in span if day not in there and known[day.weekday()]]
    if not missing:
        return []
    reason = because("days_missing", days=_some([str(day) for day in missing]))
    return [_note("missing days", reason, len(missing), 1)]
