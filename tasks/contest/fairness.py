"""Who may be judged on which rows: a model must not have learned them, nor need other columns."""

from collections.abc import Mapping

from serving.package.manifest import Manifest
from serving.records.reasons import because
from tasks.data.row_digests import HoldoutOverlap
from tasks.models.fingerprint import other_answer
from usecases.definition import UseCase, period_named


def why_unfair(
    contestant: str,
    trained_on: Mapping[str, str],
    judged_on: Mapping[str, str],
    rows: HoldoutOverlap,
) -> list[str]:
    """Return why the contestant may not be judged on the periods ``judged_on``; empty if it may.

    It compares the names of the periods, the SHA-256 of their files, and the digests of their
    rows."""
    for period, sha256 in judged_on.items():
        if period in trained_on or sha256 in trained_on.values():
            return [because("trained_on_holdout", who=contestant, period=period)]
    last = max(trained_on, key=period_named)
    first = min(judged_on, key=period_named)
    if period_named(last).reaches(period_named(first)):
        return [because("knows_the_future", who=contestant, last=last, first=first)]
    return rows.why_unfair(contestant, trained_on)


def other_schema(case: UseCase, contestant: str, manifest: Manifest) -> list[str]:
    """Return why a challenger built for other columns or another target is not judged: the use case
    has changed since, and so has what callers send."""
    learned, declared = (
        {(feature.name, feature.kind) for feature in manifest.features},
        {(column.name, column.kind) for column in case.columns},
    )
    if learned != declared:
        differ = sorted({name for name, _ in learned ^ declared})
        return [because("other_schema", who=contestant, columns=differ, use_case=case.name)]
    if other := other_answer(case, manifest):
        return [because("other_target", who=contestant, why=other, use_case=case.name)]
    return []
