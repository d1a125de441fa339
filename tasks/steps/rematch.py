"""A contest on a hold-out that the champion has learned since: a changed definition need not wait
for new data.

The champion is a refit: its recipe won as an earlier version, which was fitted on the rows before
the hold-out. That version, with its own columns and code, is the old definition on the rows that
the new one is fitted on, and stands in for the champion."""

from collections.abc import Sequence
from contextlib import suppress

from blocks.registry import ModelVersion, RegistryError
from serving.package.manifest import Manifest
from serving.records.ledger import Entry
from serving.records.reasons import Reason, because
from tasks.ledger.entries import read
from tasks.ledger.outcomes import in_a_word
from tasks.models.fingerprint import TAG, changes_since, definition_digest, recipes_of, seen_as
from tasks.outside.blocks_of_run import lake, registry
from tasks.packages.registered import read_manifest
from usecases.definition import UseCase, period_named, periods_of
from usecases.definition.columns import Frozen

REFIT_OF = "laurel.refit_of"
REMATCH = "laurel.rematch"  # on a challenger: the champion that it was planned against


class Rematch(Frozen):
    """Why the use case contests on a hold-out that the champion has learned."""

    changes: tuple[str, ...]
    champion: str
    stand_in: str

    @property
    def in_short(self) -> str:
        why = (
            f"since champion {self.champion} {_listed(self.changes)}"
            if self.changes
            else "another contest was asked for"
        )
        return (
            f"The hold-out is not new, but {why}: the opponent is version {self.stand_in}, which "
            f"champion {self.champion} was refitted from."
        )


def _listed(changes: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(changes[:-1]), changes[-1])))


def before_refit(champion: ModelVersion, holdout: str) -> ModelVersion | None:
    """Return the version that the champion was refitted from, if that has not learned ``holdout``
    or anything later; ``None`` if there is no such version any more."""
    origin, first = _refitted_from(champion), periods_of(holdout)[0]
    if origin is None:
        return None
    version, manifest = origin
    learned = period_named(manifest.trained_through).reaches(period_named(first))
    return None if learned else version


def learned_in_refit(
    champion: ModelVersion, manifest: Manifest, through: Sequence[str]
) -> tuple[str, ...]:
    """Return those of the periods ``through`` the hold-out that the champion has learned and the
    version that it was refitted from has not: a rematch is judged on all of them, so that both
    definitions are fitted on the same rows."""
    origin = _refitted_from(champion)
    if origin is None:
        return ()
    limit = period_named(origin[1].trained_through)
    return tuple(
        period
        for period in through
        if period in manifest.trained_on and period_named(period) > limit
    )


def _refitted_from(champion: ModelVersion) -> tuple[ModelVersion, Manifest] | None:
    number = champion.tags.get(REFIT_OF)
    if number is None:
        return None
    with suppress(RegistryError):
        version = registry().version(champion.use_case, number)
        return version, read_manifest(registry(), version)
    return None


def plan_rematch(
    case: UseCase, champion: ModelVersion, manifest: Manifest, holdout: str, again: bool
) -> Rematch | Reason:
    """Return the rematch on ``holdout``, or why there is none, in a sentence.

    A definition is contested once on a hold-out, unless somebody asks for it ``again``."""
    changes = changes_since(case, manifest, champion.tags.get(TAG))
    if not changes and not again:
        return because("ingest_later", use_case=case.name)
    stand_in = before_refit(champion, holdout)
    if stand_in is None:
        return because("ingest_later_no_stand_in", holdout=holdout)
    earlier = None if again else _contested(read(lake(), case.name), case, champion, holdout)
    if earlier is not None:
        return because(
            "ingest_later_contested",
            holdout=holdout,
            verdict=in_a_word(earlier.verdict),
            challenger=earlier.challenger,
        )
    return Rematch(changes=changes, champion=champion.number, stand_in=stand_in.number)


def definition_of(challenger: ModelVersion, manifest: Manifest) -> str:
    """Return the digest of the definition that the challenger was made by."""
    columns = ((feature.name, seen_as(feature)) for feature in manifest.features)
    return definition_digest(columns, challenger.tags.get(TAG))


def _contested(
    entries: Sequence[Entry], case: UseCase, champion: ModelVersion, holdout: str
) -> Entry | None:
    columns = ((column.name, seen_as(column)) for column in case.columns)
    definition = definition_digest(columns, recipes_of(case))
    contests = (
        entry
        for entry in reversed(entries)
        if entry.kind == "contest"
        and (entry.champion, periods_of(entry.holdout)) == (champion.number, periods_of(holdout))
        and entry.facts.get("definition") == definition
    )
    return next(contests, None)
