"""How a run ended, for a person and for a script: one line, and an exit code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DONE, FAILED, REFUSED, BELOW, CANCELLED = 0, 1, 3, 4, 5
# Names of completed states that are their flow's own; any other is told as it is, in small letters.
VERDICTS = {"Champion stays": "kept", "Skipped": "refused"}
COMPLETED = {
    "retrain": "promoted",
    "promote": "promoted",
    "approve": "promoted",
    "adopt": "adopted",
    "rollback": "rolled back",
}
CODES = {"refused": REFUSED, "below the gate": BELOW, "no champion yet": BELOW}


@dataclass(frozen=True)
class Part:
    """A subflow: its name, the name of its state, and its seconds so far."""

    flow: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """``message`` is the run's own sentence, ``line`` what a terminal shows.

    ``score`` is what was held against the ``gate`` (``metric``), on ``rows`` rows of the hold-out;
    ``gain`` is that over the champion in the metric ``gain_of``, with its bounds. ``None`` if the
    run held no contest, or there was no champion."""

    flow: str
    use_case: str
    run: str
    verdict: str
    exit_code: int
    message: str
    url: str
    seconds: float
    parts: list[Part] = field(default_factory=list)
    version: str | None = None
    champion: str | None = None
    challenger: str | None = None
    metric: str | None = None
    score: float | None = None
    gate: float | None = None
    rows: int | None = None
    gain_of: str | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Verdict, score against gate, rows and reason; the run's own sentence without a
        contest."""
        if self.score is None or self.exit_code in (FAILED, CANCELLED):
            return f"{self.verdict}  {self.message or 'The run says nothing more.'}"
        serves = f"{self.use_case} v{self.version} serves" if self.version else self._stays()
        passed = f"{self.metric} {self.score:.4g}"
        if self.gate is not None:
            passed += f", gate {self.gate:g}"
        rows = f"{self.rows:,} rows" if self.rows is not None else ""
        reason = "; ".join(self.reasons)
        if None not in (self.gain, self.low, self.high):
            interval = f"({self.low:+.4g} – {self.high:+.4g})"
            passed += f"   {self.gain_of} gain {self.gain:+.4g} {interval}"
        return "   ".join(
            part for part in (f"{self.verdict}  {serves}", passed, rows, reason) if part
        )

    def _stays(self) -> str:
        if self.verdict == "waits for approval":
            return f"{self.use_case} v{self.challenger}: laurel approve {self.use_case}"
        if self.verdict == "rollout began":
            return f"{self.use_case} v{self.champion} serves: laurel rollout {self.use_case}"
        return f"{self.use_case} v{self.champion} stays" if self.champion else self.use_case


def verdict_of(flow: str, state: str, kind: str) -> str:
    """One word for the state's name; ``kind`` is its type, such as ``COMPLETED``."""
    if kind != "COMPLETED":
        return {"CANCELLING": "cancelled"}.get(kind, kind.lower())
    if state == "Completed":
        return COMPLETED.get(flow, "done")
    return VERDICTS.get(state, state.lower())


def code_of(verdict: str, kind: str) -> int:
    """0 for an end that needs nobody's repair, a code of its own for each other."""
    if kind in ("CANCELLED", "CANCELLING"):
        return CANCELLED
    return FAILED if kind != "COMPLETED" else CODES.get(verdict, DONE)


def of_ledger(entries: Sequence[Mapping[str, Any]], run: str) -> dict[str, Any]:
    """What the ledger's ``entries`` of ``run`` say of versions and scores; the latest first. Empty
    if the run wrote none."""
    ours = [entry for entry in entries if entry.get("run") == run]
    contest = next((entry for entry in ours if entry["kind"] == "contest"), None)
    crown = next(
        (
            entry
            for entry in ours
            if entry["kind"] in ("crown", "rollback") and entry["verdict"] != "failed"
        ),
        None,
    )
    values: dict[str, Any] = {}
    if crown is not None:
        values = {"version": crown["version"], "champion": crown["champion"]}
    if contest is not None:
        main = (contest.get("contest") or {}).get("main") or {}
        rows = contest["facts"].get("rows", main.get("rows"))
        values |= {
            "champion": contest["champion"],
            "challenger": contest["challenger"],
            "score": contest["gate_score"],
            "rows": None if rows is None else int(rows),
            "reasons": contest["reasons"],
        }
        if main:
            named = {"gain_of": "metric", "gain": "gain", "low": "low", "high": "high"}
            values |= {name: main.get(theirs) for name, theirs in named.items()}
    return values
