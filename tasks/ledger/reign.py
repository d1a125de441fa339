"""Who is champion: the ledger decides, MLflow's alias ``champion`` only records it, and the service
shows it.

Promote, rollback and drift check compare the three before they do anything. An alias that was
deleted while its version is intact is set again, and reported. Any other difference is refused with
an explanation and the flow that settles it: nothing is crowned on a guess."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import get_run_logger

from blocks.clients.registry import CHAMPION, DIGEST_TAG, PACKAGE_TAG
from blocks.lake import Lake
from blocks.registry import ModelRegistry, ModelVersion, RegistryError
from blocks.service import ServiceAway
from serving.records.chain import path_of
from serving.records.ledger import Decision, Entry, moves_crown
from serving.records.reasons import because
from tasks.ledger.entries import check_ledger, read, read_back, record, stamp
from tasks.ledger.witness import decode_entry
from tasks.messages.announcements import adopted, alias_restored, deployment_failed
from tasks.outside.blocks_of_run import lake, registry, service, tell

CROWNING = (
    "laurel.crowning"  # a tag of the version that is being crowned: until when, or that it ended
)
ENDED = "ended"
PACKAGE_SHA256 = "package_sha256"
NOBODY = "none"


class CrownUnclear(RegistryError):
    """Ledger, alias and service do not agree on the champion: a person has to say who it is.

    The message names the way.
    """


@dataclass(frozen=True)
class Reign:
    """``entry`` of the ledger crowned the champion last (``None``: no version was ever crowned);
    ``holder`` has MLflow's alias.

    ``version`` is the champion's in MLflow: ``None`` if there is no champion, and if it was deleted
    since."""

    use_case: str
    entry: Entry | None
    version: ModelVersion | None
    holder: ModelVersion | None

    @property
    def champion(self) -> str | None:
        """The champion's number, by the ledger."""
        return self.entry.version if self.entry else None

    @property
    def alias(self) -> str | None:
        """The number of the version that has MLflow's alias."""
        return self.holder.number if self.holder else None

    @property
    def agrees(self) -> bool:
        return self.champion == self.alias and (self.champion is None or self.version is not None)


def find_champion(use_case: str) -> ModelVersion | None:
    """Return the champion, with the alias where the ledger put it; ``None`` if no version was
    crowned yet.

    Raises ``LedgerTampered``, ``CrownUnclear`` if it is unclear, ``RegistryAway`` and
    ``LakeAway``: an unreachable store does not mean "no champion"."""
    reign = find_reign(use_case)
    if reign.champion is not None and reign.version is None:
        raise CrownUnclear(
            f"{gone(reign)} {way_back(use_case)} {way_to_adopt(use_case, '<version>')}"
        )
    return reign.version


def find_reign(use_case: str) -> Reign:
    """Return champion and alias, once a crowning under way has ended and a deleted alias is set
    again.

    A champion whose version was deleted from MLflow is returned: ``rollback`` can go on from there.
    An alias from before the ledger is taken into it. Raises ``CrownUnclear`` for an alias that
    somebody moved, and for a lost ledger."""
    check_ledger(use_case)
    reign = look(lake(), registry(), use_case)
    while (
        not reign.agrees
        and (until := _crowning_until(reign)) is not None
        and datetime.now(UTC) < until
    ):
        time.sleep(1)
        reign = look(lake(), registry(), use_case)
    if not reign.agrees and _crowning_until(reign) is not None:
        reign = _end_crowning(reign)
    if reign.holder is not None and reign.entry is None:
        reign = _take_over(reign)
    if reign.holder is not None and reign.alias != reign.champion:
        raise CrownUnclear(unclear(reign))
    if reign.holder is None and reign.version is not None:
        reign = _restore_alias(reign)
    _compare_service(reign)
    return reign


def end_crowning(use_case: str) -> None:
    """Take back the alias of a crowning whose run was killed, once its time is over; nothing if
    none is under way."""
    reign = look(lake(), registry(), use_case)
    if not reign.agrees and _crowning_until(reign) is not None:
        find_reign(use_case)


def look(store: Lake, models: ModelRegistry, use_case: str) -> Reign:
    """Return what ledger and MLflow say now. Nothing is changed."""
    entry, holder = last_move(store, use_case), models.at(use_case, CHAMPION)
    return Reign(use_case, entry, _version_of(models, entry, holder), holder)


def last_move(store: Lake, use_case: str) -> Entry | None:
    """Return the entry of the ledger by which the crown last moved: the last entry names it."""
    latest = read(store, use_case, 1)
    if latest and latest[0].crown and not moves_crown(latest[0]):
        path = path_of(use_case, latest[0].crown)
        with suppress(FileNotFoundError):  # a person may have accepted a ledger with a gap
            entry = decode_entry(path, store.read(path))
            if moves_crown(entry):
                return entry
    entries = read_back(store, use_case, lambda read_so_far: last_crowned(read_so_far) is not None)
    return last_crowned(entries)


def last_crowned(entries: Sequence[Entry]) -> Entry | None:
    """Return the entry by which the crown last moved; one that left it vacant has no version."""
    return next((entry for entry in reversed(entries) if moves_crown(entry)), None)


def _version_of(
    models: ModelRegistry, entry: Entry | None, holder: ModelVersion | None
) -> ModelVersion | None:
    """Return the version that ``entry`` crowned.

    A model that was deleted and registered again counts from 1: the package identifies it."""
    if entry is None or entry.version is None:
        return None
    there = (
        [holder]
        if holder is not None and holder.number == entry.version
        else models.versions(entry.use_case)
    )
    versions = {version.number: version for version in there}
    version, sha256 = versions.get(entry.version), entry.facts.get(PACKAGE_SHA256)
    return (
        None if version is None or sha256 not in (None, version.tags.get(DIGEST_TAG)) else version
    )


def unclear(reign: Reign) -> str:
    """Say why the champion is unclear, and what a person can do."""
    alias = f"MLflow's alias champion of {reign.use_case!r} is at version {reign.alias}"
    way = way_to_adopt(reign.use_case, str(reign.alias))
    if reign.entry is None or reign.champion is None:
        where = f" ({path_of(reign.use_case, reign.entry.sequence)})" if reign.entry else ""
        return f"{alias}, and the ledger left the crown vacant{where}. {way}"
    path = path_of(reign.use_case, reign.entry.sequence)
    other = f" Or name version {reign.champion} there to crown it again." if reign.version else ""
    return (
        f"{alias}, and the ledger crowned version {reign.champion} last ({path}): somebody moved "
        f"it by hand. {way}{other}"
    )


def gone(reign: Reign) -> str:
    """Say that the champion's version was deleted."""
    entry = reign.entry
    path = path_of(reign.use_case, entry.sequence) if entry else ""
    return (
        f"Champion {reign.champion} of {reign.use_case!r}, which the ledger crowned last "
        f"({path}), is no longer in MLflow."
    )


def way_back(use_case: str) -> str:
    return f"Go back to the champion before it: laurel run rollback {use_case}."


def way_to_adopt(use_case: str, version: str) -> str:
    """Return the command that crowns a version by hand, as a sentence."""
    run = (
        f"laurel run adopt {use_case} --param version={version} --param by=<you> --param why=<why>"
    )
    return f"Say who is champion: {run} (version={NOBODY} starts over with no champion)."


def _crowning_until(reign: Reign) -> datetime | None:
    """Return until when the crowning of the version with the alias may take; ``None`` if none is
    under way."""
    state = reign.holder.tags.get(CROWNING, ENDED) if reign.holder else ENDED
    try:
        return datetime.fromisoformat(state)
    except ValueError:
        return None


def _end_crowning(reign: Reign) -> Reign:
    """Put the alias back, as after any failure: a run that was killed between alias and proof
    leaves an unproven champion."""
    assert reign.holder is not None
    store, use_case, untried = registry(), reign.use_case, reign.holder
    if reign.version is None:
        store.remove_alias(use_case, CHAMPION)
    else:
        store.set_alias(reign.version, CHAMPION)
    store.tag(untried, {CROWNING: ENDED})
    back = reign.champion or because("nobody")
    reason = because("crowning_undone", version=untried.number, champion=back)
    record(
        Decision(
            use_case=use_case,
            kind="crown",
            verdict="failed",
            reasons=[reason],
            version=untried.number,
            champion=reign.champion,
            **stamp(),
        )
    )
    tell(
        deployment_failed(
            use_case, version=untried.number, reason=reason, restored_version=reign.champion
        )
    )
    return Reign(use_case, reign.entry, reign.version, reign.version)


def _take_over(reign: Reign) -> Reign:
    """Begin the ledger with the alias of a registry from before the ledger, and report it: nothing
    contradicts it there.

    Raises ``CrownUnclear`` if a person accepted a ledger without a crown, and for a version that is
    not of Laurel."""
    assert reign.holder is not None
    use_case, number = reign.use_case, reign.holder.number
    alias = f"MLflow's alias champion of {use_case!r} is at version {number}"
    if any(entry.kind == "ledger" for entry in read(lake(), use_case)):
        raise CrownUnclear(
            f"{alias}, and the ledger, which a person accepted as it stood, crowned nobody. "
            f"{way_to_adopt(use_case, number)}"
        )
    if PACKAGE_TAG not in reign.holder.tags:
        foreign = "which has no model package: it was not registered by Laurel"
        raise CrownUnclear(f"{alias}, {foreign}. {way_to_adopt(use_case, NOBODY)}")
    reason = because("alias_from_before", version=number)
    facts: dict[str, float | str | None] = {
        PACKAGE_SHA256: reign.holder.tags.get(DIGEST_TAG),
        "by": "MLflow's alias",
    }
    entry = record(
        Decision(
            use_case=use_case,
            kind="crown",
            verdict="adopted",
            reasons=[reason],
            version=number,
            facts=facts,
            **stamp(),
        )
    )
    tell(adopted(use_case, version=number, champion_before=None, reason=reason))
    return Reign(use_case, entry, reign.holder, reign.holder)


def _restore_alias(reign: Reign) -> Reign:
    assert reign.version is not None
    registry().set_alias(reign.version, CHAMPION)
    reason = because("alias_deleted")
    record(
        Decision(
            use_case=reign.use_case,
            kind="crown",
            verdict="restored",
            reasons=[reason],
            version=reign.champion,
            champion=reign.champion,
            **stamp(),
        )
    )
    tell(alias_restored(reign.use_case, version=reign.version.number))
    get_run_logger().warning(
        "crown use_case=%s version=%s: %s", reign.use_case, reign.champion, reason
    )
    return Reign(reign.use_case, reign.entry, reign.version, reign.version)


def _compare_service(reign: Reign) -> None:
    """Warn if the service serves another version than the champion. Raises ``CrownUnclear`` if one
    serves and no version was ever crowned.

    An unreachable service proves nothing. A service keeps serving a version whose first crowning
    failed, and that is no champion."""
    try:
        described = service().describe(reign.use_case)
    except ServiceAway as error:
        get_run_logger().info(
            "the service does not say what it serves use_case=%s: %s", reign.use_case, error
        )
        return
    served = described.get("version")
    if served == reign.champion:
        return
    if reign.champion is not None:
        message = "the service serves version %s of %s, and the champion is version %s: %s"
        get_run_logger().warning(
            message, served, reign.use_case, reign.champion, described.get("last_error")
        )
        return
    is_known = reign.entry is not None or any(
        entry.version == served for entry in read(lake(), reign.use_case) if entry.kind == "crown"
    )
    if not is_known and any(
        version.number == served for version in registry().versions(reign.use_case)
    ):
        raise CrownUnclear(
            f"The service serves version {served} of {reign.use_case!r}, and neither the ledger "
            "nor MLflow's alias knows a champion: both were lost. "
            f"{way_to_adopt(reign.use_case, str(served))}"
        )
