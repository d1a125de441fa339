"""Everything that is looked at in a window, in the order in which it counts: the evidence of
``tasks/drift/verdict.py``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from serving.package.manifest import PROFILE, REFERENCE, Manifest
from serving.records.drift import Finding
from serving.records.reasons import because
from tasks.data.traits import by_traits
from tasks.drift.checks.against_profile import HeldAgainst, find_by_profile, follow_days
from tasks.drift.checks.broken import find_broken
from tasks.drift.checks.exact import drop_impossible, find_exact
from tasks.drift.profile.profile import Profile, decode_profile
from tasks.drift.profile.tallies import time_of
from tasks.drift.thresholds import measure
from tasks.drift.verdict import Evidence
from usecases.definition import PeriodKind, UseCase


@dataclass(frozen=True, kw_only=True)
class Yardstick:
    """What a champion's package has for the drift check; ``profile`` is ``None`` in a package from
    before there was one. ``sample_rate`` is that of its prediction log.
    """

    reference: pl.DataFrame
    thresholds: Mapping[str, float]
    calibrated: bool
    importance: Mapping[str, float]
    methods: Mapping[str, str]
    profile: Profile | None = None
    sample_rate: float = 1.0


def yardstick_of(manifest: Manifest, folder: Path) -> Yardstick:
    """Return what the package in ``folder`` has for the drift check."""
    profile = folder / PROFILE
    return Yardstick(
        reference=pl.read_parquet(folder / REFERENCE),
        thresholds=manifest.drift_thresholds,
        calibrated=manifest.drift_calibrated,
        importance=manifest.drift_importance,
        methods=manifest.drift_methods,
        profile=decode_profile(profile.read_bytes()) if profile.exists() else None,
        sample_rate=manifest.log_sample_rate,
    )


def examine(
    case: UseCase,
    yardstick: Yardstick,
    rows: pl.DataFrame,
    *,
    window: str,
    counted: int,
    problems: Sequence[str] = (),
    answers: Sequence[Finding] = (),
    earlier: Sequence[bool] = (),
    sequence: float = 0.0,
) -> Evidence:
    """The evidence on ``rows`` of a window, which are in random order; ``counted`` were logged.

    ``problems`` were found in the log's files, ``answers`` by ``check_answers``. Exact checks come
    first; what is measured needs rows and days enough, and data that are not broken. ``sequence``
    is the sequential view's sum at the end of the window before."""
    named = {*case.column_names}
    case, rows = by_traits(case, rows)
    traits = {*case.column_names} - named
    policy, time, windows = case.drift, time_of(case, rows), case.drift_window
    days = None if rows.is_empty() else rows[time].dt.date().n_unique()
    broken = [] if rows.is_empty() else [*problems]
    findings = list(answers)
    if not rows.is_empty():
        broken += find_broken(case, yardstick.reference, rows, days)
        findings += find_exact(case, yardstick.reference, rows)
    far: dict[str, float] = {}
    if counted >= policy.minimum_rows and not broken and (days or 0) >= case.drift_days:
        possible = drop_impossible(case, rows)
        if unknown := _without_profile(windows, yardstick.profile):
            findings.append(unknown)
        elif yardstick.profile is not None:
            beside = HeldAgainst(case, yardstick.profile, possible, traits)
            findings += find_by_profile(beside, yardstick.reference, counted, yardstick.sample_rate)
            sequence, note = follow_days(beside, sequence)
            findings += [note] if note else []
        far = measure(case, yardstick.reference, possible, yardstick.thresholds, yardstick.methods)
    return Evidence(
        window=window,
        rows=counted,
        days=days,
        days_needed=case.drift_days,
        broken=broken,
        findings=findings,
        distances=far,
        thresholds=yardstick.thresholds,
        calibrated=yardstick.calibrated and not _other_windows(windows, yardstick.profile),
        importance=yardstick.importance,
        earlier=earlier,
        sequence=sequence,
    )


def _other_windows(windows: PeriodKind, profile: Profile | None) -> bool:
    """Whether the champion was calibrated on windows of another length than the policy has now."""
    return profile is not None and profile.window != windows.noun


def _without_profile(windows: PeriodKind, profile: Profile | None) -> Finding | None:
    """Why the profile cannot be compared with; ``None`` if it can."""
    if profile is None:
        reason = because("no_profile")
    elif _other_windows(windows, profile):
        reason = because("profile_of_other_windows", known=profile.window)
    elif not windows.is_of_whole_days:
        reason = because("profile_by_day", window=windows.one)
    else:
        return None
    return Finding(check="profile", word="unjudged", reason=reason)
