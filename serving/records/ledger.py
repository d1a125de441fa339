"""An entry of the ledger. ``serving/records/chain.py`` has the rules of their chain."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from serving.records.contest import Behaviour, Contest, Latency
from serving.records.reasons import Coded, Codes, CodesByName, Sentence
from serving.records.record import OneOf, record
from serving.records.rollout import Rollout

Kind = Literal[
    "contest",
    "approval",
    "crown",
    "rollback",
    "rollout",
    "drift",
    "retrain",
    "refusal",
    "breaker",
    "ledger",
]

_MOVES = {
    ("crown", "crowned"),
    ("rollback", "rollback"),
    ("crown", "adopted"),
    ("crown", "vacated"),
}


@record
class Change:
    """A setting of the use case's file that differs between champion and challenger, such as
    ``gate.threshold`` or ``columns.wind``, as the file writes it. ``None``: not in the file, so
    that a setting has its default; empty: there, and too long or too private to show.

    A change without a name: how the champion was defined is not known."""

    name: str
    before: str | None
    after: str | None


@record
class Decision(Coded):
    """A decision, its reasons, and its run.

    ``kind`` and the words of its ``verdict``:
    contest    promote, keep, suspicious, unfair, inconclusive: ``challenger`` against ``champion``
               on ``holdout``
    approval   asked, approved, rejected, expired: whether ``challenger`` may take the crown;
               ``run`` is the one that waits
    crown      crowned, failed: ``version``, ``challenger`` refitted, got into service (or did not);
               ``champion`` had the crown before
               adopted, vacated: a person gave the crown to ``version``, or to nobody, without a
               contest; ``facts``: by whom, and why
               restored: MLflow's alias was deleted by hand, and is at ``version`` again
    rollback   rollback, failed: the crown went back to ``version`` from ``champion`` (or did not);
               one entry, and none of kind crown
    rollout    began, judged, stepped, held, resumed: ``version`` meets real traffic beside
               ``champion``, and where it is then; won, after which it is crowned; lost, no
               difference, not enough traffic, inconclusive, reverted: the champion stays
    drift      stable, drifted, broken, inconclusive, silent: what a check of ``window`` against
               ``champion`` found
    retrain    started, and then promoted, kept, no champion yet, below the gate, nothing to do,
               waits for approval, rollout began, failed, or crashed and cancelled, which another
               process writes for the dead run
    refusal    running, cooldown, budget, breaker: why no retrain was started
    breaker    closed: a person closed the breaker by hand
    ledger     accepted: a person accepted the ledger as it stood, with the faults in ``reasons``;
               ``facts``: by whom, why, and the SHA-256 of what was there

    ``time`` is UTC, in ISO 8601. ``by`` is who decided: a flow run's page, or a few words.
    ``changes`` is what a contest's challenger has another definition in than the champion.
    ``codes`` are those of the ``reasons``, and ``fact_codes`` of facts that are sentences.
    """

    use_case: str
    time: str
    kind: Annotated[str, OneOf(Kind)]
    verdict: str
    reasons: list[Sentence]
    by: str
    run: str | None
    version: str | None = None
    challenger: str | None = None
    champion: str | None = None
    promoted: bool = False
    window: str = ""
    holdout: str = ""
    dataset_version: str = ""
    contest: Contest | None = None
    gate_score: float | None = None
    behaviours: list[Behaviour] = field(default_factory=list)
    latency: list[Latency] = field(default_factory=list)
    facts: dict[str, float | Sentence | None] = field(default_factory=dict)
    changes: Annotated[list[Change], Field(exclude_if=lambda changes: not changes)] = field(
        default_factory=list
    )
    rollout: Annotated[Rollout | None, Field(exclude_if=lambda rollout: rollout is None)] = None
    codes: Codes = field(default_factory=list)
    fact_codes: CodesByName = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._join("reasons", "codes")
        self._join_named("facts", "fact_codes")


@record
class Entry(Decision):
    """A decision in its place. ``sequence`` counts from 1 for each use case; ``previous`` is the
    SHA-256 of the entry before it; ``head_run`` is the run in MLflow that has its head, empty if
    there were no heads yet. ``crown`` is the place of the last entry before it that moved the
    crown: 0 if there is none, or if an older version of Laurel wrote the entry before it.
    """

    sequence: int
    previous: str
    head_run: Annotated[str, Field(exclude_if=lambda run: not run)] = ""
    crown: Annotated[int, Field(exclude_if=lambda place: not place)] = 0


def moves_crown(entry: Decision) -> bool:
    """Whether it gave the crown to a version, or left it vacant."""
    return (entry.kind, entry.verdict) in _MOVES
