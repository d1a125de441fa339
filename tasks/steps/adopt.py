"""A crown given by a person, without a contest: the way out if the champion is unclear."""

from dataclasses import dataclass

from prefect import task

from blocks.clients.registry import CHAMPION
from blocks.registry import ModelVersion, RegistryError
from serving.records.ledger import Decision
from serving.records.reasons import because
from tasks.ledger.entries import check_ledger, record, stamp
from tasks.ledger.reign import NOBODY, look
from tasks.messages.announcements import crown_vacated
from tasks.outside.blocks_of_run import RESUMED, lake, registry, tell
from tasks.packages.registered import read_manifest
from tasks.steps.refit import refit_winner
from usecases.definition import load


@dataclass(frozen=True)
class Adoption:
    """``version`` is to have the crown; ``None`` leaves it vacant.

    ``champion`` has it by the ledger, ``holder`` by MLflow's alias."""

    version: ModelVersion | None
    champion: str | None
    holder: str | None


@task(**RESUMED)
def find_adopted(use_case: str, number: str) -> Adoption:
    """Return the version to crown, whatever ledger and alias say now.

    Raises ``LedgerTampered``, and ``RegistryError`` if there is no such version, and if it is
    already the champion."""
    case = load(use_case)
    check_ledger(case.name)
    reign = look(lake(), registry(), case.name)
    if number == NOBODY:
        return Adoption(None, reign.champion, reign.alias)
    version = registry().version(case.name, number)
    if reign.agrees and reign.champion == version.number:
        raise RegistryError(
            f"Version {number} of {use_case!r} is already the champion, by the ledger and in "
            "MLflow."
        )
    return Adoption(version, reign.champion, reign.alias)


@task(**RESUMED)
def make_watchable(version: ModelVersion, reason: str, seed: int) -> ModelVersion:
    """Return the version itself; for a challenger, whose package has no drift thresholds, its
    recipe refitted as a winner's is.

    Without thresholds each drift check of it would be inconclusive, and nothing would ever retrain.
    """
    if read_manifest(registry(), version).drift_thresholds:
        return version
    holdout = version.tags.get("laurel.holdout", "")
    decision = Decision(
        use_case=version.use_case,
        kind="crown",
        verdict="adopted",
        reasons=[reason],
        challenger=version.number,
        holdout=holdout,
        **stamp(),
    )
    return refit_winner.fn(version, decision, seed)


@task(**RESUMED)
def vacate(use_case: str, adoption: Adoption, by: str, why: str) -> None:
    """Leave the crown vacant: the next challenger that passes the gate becomes the first champion.

    The service keeps serving."""
    if adoption.holder is not None:
        registry().remove_alias(use_case, CHAMPION)
    facts: dict[str, float | str | None] = {"by": by, "why": why}
    reason = because("crown_vacated", by=by, why=why)
    record(
        Decision(
            use_case=use_case,
            kind="crown",
            verdict="vacated",
            reasons=[reason],
            champion=adoption.champion,
            facts=facts,
            **stamp(),
        )
    )
    tell(crown_vacated(use_case, champion_before=adoption.champion, by=by, why=why))
