"""What MLflow vouches for: which entries of a ledger are written, and which are about to be.

A writer announces the SHA-256 of an entry in MLflow, creates the object in the lake, and writes the
entry's head to MLflow. An entry beyond the newest head is honest only if it was announced: its
writer was killed before it wrote the head, and the next writer writes it. Whoever may write to the
lake alone can announce nothing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blocks.clients.heads import ANNOUNCED, HeadRun, experiment_of
from blocks.clients.registry import LEDGER_TAG
from serving.records.chain import path_of

_ENTRIES_OF_A_RUN = 100
_HEAD = re.compile(r"\d{1,8} [0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class End:
    """The last entry in the lake: its place (0 for an empty ledger), SHA-256, that of the entry
    before it, and the run in MLflow that it names for its head. ``crown`` is the place of the last
    entry up to it that moved the crown, as far as it says; else 0."""

    place: int
    sha256: str
    previous: str = ""
    head_run: str = ""
    crown: int = 0


@dataclass(frozen=True)
class Heads:
    """The heads of one ledger by place, as the runs of its newest generation have them.

    ``run`` takes the next one: ``None`` if a new run has to be opened. ``conflicts`` are places
    with two heads."""

    exist: bool = False
    generation: int = 0
    run: str | None = None
    heads: Mapping[int, str] = field(default_factory=dict)
    announced: frozenset[tuple[int, str]] = frozenset()
    conflicts: tuple[int, ...] = ()
    deleted_runs: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """The place of the newest head."""
        return max(self.heads, default=0)

    @property
    def base(self) -> str:
        """The newest head, as place and SHA-256."""
        return head_of(self.last, self.heads.get(self.last, ""))

    def is_half_written(self, end: End) -> bool:
        """Whether ``end`` was announced and follows the newest head: only its head is missing."""
        if (end.place, end.sha256) not in self.announced:
            return False
        if not self.heads:  # the entry by which a person accepted the ledger
            return True
        return end.place == self.last + 1 and end.previous == self.heads[self.last]


def head_of(place: int, sha256: str) -> str:
    return f"{place} {sha256}"


def head_key(place: int) -> str:
    return f"{place:08d}"


def announcement_key(place: int, sha256: str) -> str:
    return f"{place:08d}/{sha256}"


def read_heads(runs: Sequence[HeadRun]) -> Heads:
    """Return the heads of the newest generation among ``runs``, the newest run first."""
    if not runs:
        return Heads()
    generation = max(run.generation for run in runs)
    newest = [run for run in runs if run.generation == generation]
    active = [run for run in newest if not run.is_deleted]
    heads: dict[int, str] = {}
    announced: set[tuple[int, str]] = set()
    conflicts: set[int] = set()

    def add(place: int, sha256: str) -> None:
        if heads.setdefault(place, sha256) != sha256:
            conflicts.add(place)

    for run in active:
        for key, value in run.params.items():
            place, _, sha256 = key.partition("/")
            if not (place.isascii() and place.isdecimal()):
                continue
            if sha256 and value == ANNOUNCED:
                announced.add((int(place), sha256))
            elif not sha256:
                add(int(place), value)
    for run in active:
        place, _, sha256 = run.base.partition(" ")
        if place.isascii() and place.isdecimal():
            add(int(place), sha256)
    first = active[0] if active else None
    has_room = first is not None and len(first.params) < 2 * _ENTRIES_OF_A_RUN
    return Heads(
        exist=True,
        generation=generation,
        run=first.id if first is not None and has_room else None,
        heads=heads,
        announced=frozenset(announced),
        conflicts=tuple(sorted(conflicts)),
        deleted_runs=tuple(run.id for run in newest if run.is_deleted),
    )


def find_end_faults(use_case: str, end: End, heads: Heads, tag: str | None) -> list[str]:
    """Return what is wrong at the end of a ledger, as sentences without their full stops.

    ``tag`` is the head on MLflow's model: ``None`` if the model has none, or if there is no model.
    A ledger without any run of heads is older than they are, and ``tag`` alone vouches for it."""
    if not heads.exist:
        return _faults_without_heads(use_case, end, tag)
    faults = [_conflict(use_case, place) for place in heads.conflicts]
    half_written = heads.is_half_written(end)
    if not half_written:
        faults += _faults_of_end(use_case, end, heads)
    newest = {heads.base, head_of(end.place, end.sha256)} if half_written else {heads.base}
    if tag is not None and not faults and tag not in newest:
        faults.append(_fault_of_tag(tag, heads))
    return faults


def find_head_faults(use_case: str, digests: Mapping[int, str], heads: Heads) -> list[str]:
    """Return the entries that differ from their heads; ``digests`` are the SHA-256 of all objects
    by place."""
    faults = [
        f"MLflow's run {run}, with heads of this ledger, was deleted in the experiment "
        f"{experiment_of(use_case)}"
        for run in heads.deleted_runs
    ]
    for place, sha256 in sorted(heads.heads.items()):
        if place and place not in digests:
            faults.append(_missing(use_case, place))
        elif place and digests[place] != sha256:
            faults.append(_changed(use_case, place))
    return faults


def _faults_without_heads(use_case: str, end: End, tag: str | None) -> list[str]:
    if end.head_run:
        return [
            f"{path_of(use_case, end.place)} names MLflow's run {end.head_run} for its head, and "
            f"the experiment {experiment_of(use_case)} has no run with heads"
        ]
    if tag is None or tag == head_of(end.place, end.sha256):
        return []
    if not _HEAD.fullmatch(tag):
        return [_no_head(tag)]
    place = int(tag.partition(" ")[0])
    if place > end.place:
        return [f"{path_of(use_case, place)} is missing: MLflow's model names it as the head"]
    if place < end.place:
        return [_beyond(use_case, place + 1, end.place)]
    return [
        f"{path_of(use_case, end.place)} was changed: its SHA-256 is not the one on MLflow's model"
    ]


def _faults_of_end(use_case: str, end: End, heads: Heads) -> list[str]:
    if end.place < heads.last:
        return [_missing(use_case, heads.last)]
    if end.place > heads.last:
        return [_beyond(use_case, heads.last + 1, end.place)]
    return (
        [_changed(use_case, end.place)]
        if end.place and end.sha256 != heads.heads[end.place]
        else []
    )


def _no_head(tag: str) -> str:
    return f"MLflow's model says {tag!r} in the tag {LEDGER_TAG}, which is no place and SHA-256"


def _conflict(use_case: str, place: int) -> str:
    return (
        f"{path_of(use_case, place)} has two heads in MLflow's experiment {experiment_of(use_case)}"
    )


def _missing(use_case: str, place: int) -> str:
    return f"{path_of(use_case, place)} is missing: MLflow has its head"


def _changed(use_case: str, place: int) -> str:
    return f"{path_of(use_case, place)} was changed: its SHA-256 is not the head that MLflow has"


def _beyond(use_case: str, first: int, last: int) -> str:
    paths = path_of(use_case, first) + (f" to {last:08d}.json" if last > first else "")
    return f"{paths}: not announced in MLflow, which has no head for it"


def _fault_of_tag(tag: str, heads: Heads) -> str:
    if not _HEAD.fullmatch(tag):
        return _no_head(tag)
    place, _, sha256 = tag.partition(" ")
    if heads.heads.get(int(place)) == sha256 or int(place) < min(heads.heads):
        return (
            f"the tag {LEDGER_TAG} on MLflow's model was moved back to entry {place}, and the "
            f"newest head is that of entry {heads.last}"
        )
    return (
        f"MLflow's model says {tag!r} in the tag {LEDGER_TAG}, and the newest head is that of "
        f"entry {heads.last}"
    )
