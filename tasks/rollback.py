"""The way back to an earlier champion."""

from prefect import task
from prefect.artifacts import create_markdown_artifact

from blocks.registry import CHAMPION, ModelVersion, RegistryError
from tasks.announcements import rolled_back
from tasks.champions import opened, read_manifest
from tasks.crowning import CROWNED_AT
from tasks.ledger import Decision, record
from tasks.outside import PATIENT, artifact_key, registry, tell
from usecases.definition import load


@task(**PATIENT)
def find_predecessor(use_case: str, number: str | None) -> tuple[ModelVersion, ModelVersion]:
    """The champion, and the version to go back to: the named one, or the one crowned before it.

    Raises ``RegistryError`` where there is no champion, no such version, or no earlier champion.
    """
    store = registry()
    champion = store.at(load(use_case).name, CHAMPION)
    if champion is None:
        raise RegistryError(f"{use_case!r} has no champion to roll back from.")
    if number is not None:
        target = store.version(use_case, number)
    else:
        crowned = [v for v in store.versions(use_case) if CROWNED_AT in v.tags and v.number != champion.number]
        earlier = [v for v in crowned if v.tags[CROWNED_AT] < champion.tags.get(CROWNED_AT, "9")]
        if not earlier:
            raise RegistryError(f"{use_case!r} has no champion before version {champion.number}. Name a version to go to.")
        target = max(earlier, key=lambda v: v.tags[CROWNED_AT])
    if target.number == champion.number:
        raise RegistryError(f"Version {target.number} of {use_case!r} is the champion already.")
    return champion, target


@task(**PATIENT)
def prove_package(version: ModelVersion) -> None:
    """Load the version's package and let it answer its smoke rows. Raises ``RegistryError`` or ``PackageError``."""
    with opened(registry(), version):
        pass


@task(**PATIENT)
def record_rollback(champion: ModelVersion, target: ModelVersion, reason: str) -> None:
    """Into the ledger and to people."""
    use_case, manifest = champion.use_case, read_manifest(registry(), target)
    record(
        Decision(
            use_case=use_case,
            kind="rollback",
            verdict="rollback",
            reasons=[reason],
            version=target.number,
            champion=champion.number,
            promoted=True,
            holdout=target.tags.get("laurel.holdout", ""),
            dataset_version=manifest.dataset_version,
            gate_score=manifest.metrics[load(use_case).gate.metric.name],
        )
    )
    create_markdown_artifact(
        f"Rolled back from version {champion.number} to {target.number}: {reason}", key=artifact_key(use_case, "rollback")
    )
    tell(rolled_back(use_case, version=target.number, from_version=champion.number, reason=reason))
