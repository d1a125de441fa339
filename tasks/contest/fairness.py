"""Who may be judged on which rows: a model must not have learned them, nor need other columns."""

from collections.abc import Mapping

from serving.package.manifest import Manifest
from tasks.data.row_digests import HoldoutOverlap
from usecases.definition import UseCase, period_named


def why_unfair(
    contestant: str, trained_on: Mapping[str, str], holdout: str, sha256: str, rows: HoldoutOverlap
) -> list[str]:
    """Return why the contestant may not be judged on ``holdout``; empty if it may.

    It compares the period's name, the digest of its rows' file, and the digests of its rows."""
    if holdout in trained_on or sha256 in trained_on.values():
        return [f"{contestant} was trained on {holdout}, so it cannot be judged on it"]
    last = max(trained_on, key=period_named)
    if period_named(last) > period_named(holdout):
        return [
            (
                f"{contestant} was trained through {last}, later than {holdout}: it knows "
                "the future of those rows"
            )
        ]
    return rows.why_unfair(contestant, trained_on)


def other_schema(case: UseCase, contestant: str, manifest: Manifest) -> list[str]:
    """Return why a challenger built for other columns is not judged: the use case has changed
    since, and so has what callers send."""
    learned, declared = (
        {(feature.name, feature.kind) for feature in manifest.features},
        {(column.name, column.kind) for column in case.columns},
    )
    if learned == declared and manifest.label == case.label:
        return []
    differ = sorted(
        {name for name, _ in learned ^ declared}
        | ({manifest.label, case.label} if manifest.label != case.label else set())
    )
    return [
        (
            f"{contestant} was made for another schema; it differs in {', '.join(differ)}. Make "
            f"one: prefect deployment run 'retrain/{case.name}'"
        )
    ]
