"""The steps of ``tidy``: what is older than it is kept is removed, after it was announced. That
makes room; then closed days of the log become few files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import get_run_logger, task

from blocks.registry import RegistryAway, RegistryError
from tasks.log.compaction import KINDS, Compacted, compact
from tasks.messages.announcements import tidied
from tasks.models.studies import StudiesAway
from tasks.outside.artifacts import show_table
from tasks.outside.blocks_of_run import PATIENT, lake, registry, tell
from tasks.retention.announced import read_announced, write_announced
from tasks.retention.finding import SETTING, find_removable
from usecases.definition import load


class NotTidied(RuntimeError):
    """A part could not be tidied; the message says which. The others were."""


@dataclass(frozen=True)
class Tidied:
    """What was ``removed`` and, if a later run does it, ``announced``: things and bytes by kind.
    ``problems`` say what could not be done.
    """

    removed: Mapping[str, tuple[int, int]]
    announced: Mapping[str, tuple[int, int]]
    problems: tuple[str, ...]

    @property
    def sentence(self) -> str:
        parts = [f"removed: {_listed(self.removed)}"] if self.removed else []
        parts += [f"to be removed later: {_listed(self.announced)}"] if self.announced else []
        return "; ".join(parts)


def in_short(tidied_parts: Tidied, compacted: Compacted) -> str:
    """What a run did, in a sentence. Raises ``NotTidied`` if a part could not be tidied."""
    if problems := (*tidied_parts.problems, *compacted.problems):
        raise NotTidied(" ".join(problems))
    few = f"{compacted.segments:,} files of {compacted.days:,} days of the log became few"
    parts = [few if compacted.segments else "", tidied_parts.sentence]
    return "; ".join(part for part in parts if part) or "Nothing to tidy"


def _listed(counts: Mapping[str, tuple[int, int]]) -> str:
    return ", ".join(f"{kind} {count:,}" for kind, (count, _) in counts.items())


def clock() -> datetime:
    return datetime.now(UTC)


@task(**PATIENT)
def compact_log(use_case: str) -> Compacted:
    """Make few files of closed days, of predictions and of feedback."""
    now = clock()
    done = sum((compact(lake(), kind, use_case, now) for kind in KINDS), Compacted())
    get_run_logger().info(
        "compacted use_case=%s days=%d segments=%d rows=%d deleted=%d freed_bytes=%d",
        *(use_case, done.days, done.segments, done.rows, done.deleted, done.freed),
    )
    return done


@task(**PATIENT)
def remove_old(use_case: str, dry_run: bool, at_once: bool) -> Tidied:
    """Remove what is older than it is kept. What was not announced a day ago is announced, unless
    a person wants it ``at_once``; with ``dry_run`` it is only listed.
    """
    now, case, store = clock(), load(use_case), lake()
    found, problems = find_removable(case, store, registry(), now)
    known = read_announced(store, use_case)
    removed, announced = dict[str, tuple[int, int]](), dict[str, tuple[int, int]]()
    for part in found:
        goes = not dry_run and (at_once or known.allows(part.kind, part.days, now))
        if part.count and goes:
            try:
                part.remove()
            except (RegistryAway, RegistryError, StudiesAway) as error:
                problems.append(f"{part.kind}: {error}")
                continue
        if part.count:
            into = removed if goes else announced
            count, size = into.get(part.kind, (0, 0))
            into[part.kind] = (count + part.count, size + (part.size or 0))
    if not dry_run:
        kinds: dict[str, int] = {part.kind: part.days for part in found if part.count}
        write_announced(store, use_case, known.with_kinds(kinds, now))
    return Tidied(removed, announced, tuple(problems))


@task(**PATIENT)
def report_tidied(use_case: str, tidied_parts: Tidied, quiet: bool) -> None:
    """Show what went and what will on the run's page, and tell people of what will go, or went at a
    person's word: a daily message that all goes well would teach them to look away.
    """
    rows = [
        {
            "kind": kind.replace("_", " "),
            "number": count,
            "MB": round(size / 1e6, 1) if size else "",
            "what happens": what,
            "setting": SETTING[kind],
        }
        for what, counts in _outcomes(tidied_parts)
        for kind, (count, size) in counts.items()
    ]
    if rows:
        show_table(use_case, "tidied", rows, "what was tidied", tidied_parts.sentence)
    if rows and not quiet:
        tell(
            tidied(
                use_case,
                removed={kind: count for kind, (count, _) in tidied_parts.removed.items()},
                announced={kind: count for kind, (count, _) in tidied_parts.announced.items()},
                settings=sorted({SETTING[kind] for kind in tidied_parts.announced}),
            )
        )


def _outcomes(parts: Tidied) -> Sequence[tuple[str, Mapping[str, tuple[int, int]]]]:
    return [("removed", parts.removed), ("goes later", parts.announced)]
