"""Which version gets the crown back."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefect import task

from blocks.registry import ModelVersion, RegistryError
from serving.records.ledger import Decision
from tasks.ledger.entries import read
from tasks.ledger.reign import find_reign
from tasks.outside.blocks_of_run import RESUMED, lake, registry
from usecases.definition import load


@dataclass(frozen=True)
class Return:
    """The crown goes from ``champion``, by the ledger, to ``target``; ``holder`` has MLflow's alias
    (``None``: no version)."""

    champion: str
    holder: str | None
    target: ModelVersion


@task(**RESUMED)
def find_predecessor(use_case: str, number: str | None) -> Return:
    """Return the champion, and the version to go back to: the named one, or the champion before it
    by the ledger.

    A champion whose version was deleted can be rolled back from. Raises ``RegistryError`` if there
    is no champion, no such version, or no earlier champion; ``CrownUnclear`` if somebody moved the
    alias by hand."""
    reign = find_reign(load(use_case).name)
    if reign.champion is None:
        raise RegistryError(
            f"{use_case!r} has no champion to roll back from: the ledger crowned nobody."
        )
    target = number if number is not None else predecessor(read(lake(), use_case), reign.champion)
    if target is None:
        raise RegistryError(
            f"The ledger of {use_case!r} has no champion before version {reign.champion}. "
            f"Name a version to go to: laurel run rollback {use_case} --param "
            "version=<version>"
        )
    if target == reign.champion:
        raise RegistryError(f"Version {target} of {use_case!r} is already the champion.")
    return Return(reign.champion, reign.alias, registry().version(use_case, target))


def predecessor(entries: Sequence[Decision], champion: str) -> str | None:
    """Return the champion before ``champion``; ``None``: there is none. ``entries`` are the
    ledger's, oldest first.

    The champions form a stack. A crowning pushes one; a rollback pops all above the version that it
    goes back to, so that the next rollback does not return to the version just left. A rollback to
    a version that is no longer in the stack pushes it again. A champion without an entry (an alias
    that was set by hand) is above them all."""
    stack: list[str] = []
    for entry in entries:
        if (
            entry.kind not in ("crown", "rollback")
            or entry.verdict == "failed"
            or entry.version is None
        ):
            continue
        _move(stack, entry.version, back=entry.kind == "rollback")
    below = stack[: stack.index(champion)] if champion in stack else stack
    return below[-1] if below else None


def _move(stack: list[str], version: str, back: bool) -> None:
    if back and version in stack:
        del stack[stack.index(version) + 1 :]
        return
    if version in stack:
        stack.remove(version)
    stack.append(version)
