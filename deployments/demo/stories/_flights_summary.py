"""What happened in the story of the flights, and how it is told at the end."""

import math
from dataclasses import dataclass, field
from typing import Any

from deployments.demo.story import Story, gain, number, scores

FIRST, WATCHED = "2013-03", ("2013-04", "2013-05", "2013-06")
SHADOWED, LATER, LAST = "2013-07", "2013-08", "2013-12"


@dataclass
class FlightsStory(Story):
    """A loop that closes: two champions, and between them drift in the last month."""

    use_case: str = "flights"
    rejection: dict[str, Any] = field(default_factory=dict)
    contest: dict[str, Any] = field(default_factory=dict)
    shadow: dict[str, Any] = field(default_factory=dict)
    canary: dict[str, Any] = field(default_factory=dict)
    sick: dict[str, Any] = field(default_factory=dict)
    swapped_at: float = math.nan
    swap_gap_ms: float = math.nan
    later_rows: dict[str, Any] = field(default_factory=dict)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)

    def departures(self) -> list[str]:
        """Where the data contradicted the story; empty if the loop closed as expected."""
        quiet = [
            month for month in WATCHED[:-1] if self.drift.get(month, {}).get("verdict") != "stable"
        ]
        departures = [
            f"{month} was {self.drift.get(month, {}).get('verdict', 'not checked')}, not stable"
            for month in quiet
        ]
        if self.drift.get(WATCHED[-1], {}).get("verdict") != "drifted":
            departures.append(f"{WATCHED[-1]} did not drift")
        if len(self.champions) != 2:
            departures.append(f"{len(self.champions)} champions, not two")
        if self.contest.get("verdict") != "promote":
            departures.append(f"the contest ended with {self.contest.get('verdict')}")
        if (self.rejection.get("holdout"), self.rejection.get("verdict")) != (WATCHED[0], "keep"):
            departures.append(
                f"the retrain by hand held a contest on {self.rejection.get('holdout')}: "
                f"{self.rejection.get('verdict')}"
            )
        for part, rollout, verdict in (
            ("the shadow", self.shadow, "stepped"),
            ("the canary", self.canary, "won"),
            ("the sick canary", self.sick, "reverted"),
        ):
            if rollout.get("verdict") != verdict:
                departures.append(f"{part} ended with {rollout.get('verdict')}, not {verdict}")
        if len(self.rollbacks) != 2:
            departures.append("the crown did not go back and forth")
        if not self.later_rows:
            departures.append("the later rows were not scored")
        return departures + super().departures()

    def sentences(self) -> list[str]:
        return [
            *self._until_the_rejection(),
            *self._drift(),
            *self._second_champion(),
            f"{self.requests:,} requests, {self.failed_requests} failed; the longest gap "
            "between answers around the swap was "
            f"{self.swap_gap_ms:.0f} ms. {self.seconds:.0f} s in all.",
        ]

    def _until_the_rejection(self) -> list[str]:
        lines = []
        if self.champions:
            first = self.champions[0]
            lines.append(
                f"Champion 1 (version {first['version']}, {first['recipe']}) learned flights "
                f"through {first['trained_through']}."
            )
        if rejection := self.rejection:
            lines.append(
                f"Retrained by hand, contest on {rejection['holdout']}: {scores(rejection)}, "
                f"{gain(rejection)}: {rejection['verdict']}. {' '.join(rejection['reasons'])}"
            )
        return lines

    def _drift(self) -> list[str]:
        return [
            f"{month}: {check['verdict']}"
            + (f", report {check['report']}" if check["verdict"] == "drifted" else "")
            for month, check in self.drift.items()
        ]

    def _second_champion(self) -> list[str]:
        lines = []
        if contest := self.contest:
            lines.append(
                f"Contest on {contest['holdout']}: {scores(contest)}, {gain(contest)}: "
                f"{contest['verdict']}."
            )
        lines += self._rollout()
        if len(self.champions) > 1:
            second = self.champions[1]
            lines.append(
                f"Champion 2 (version {second['version']}) learned flights through "
                f"{second['trained_through']}."
            )
        lines += self._sick_one()
        lines += [
            f"Rolled back from version {rollback['from']} to {rollback['to']}: served "
            f"{rollback['seconds']:.1f} s after the run began."
            for rollback in self.rollbacks
        ]
        if later := self.later_rows:
            both = f"ROC AUC {number(later['champion_1'])} and {number(later['champion_2'])}"
            lines.append(
                f"{later['window']}, {later['rows']:,} flights that neither had seen: {both}, "
                f"{gain(later)}."
            )
        return lines

    def _rollout(self) -> list[str]:
        lines = []
        if shadow := self.shadow:
            lines.append(
                f"Version {shadow['version']} as a shadow on {shadow['month']}, "
                f"{shadow['scored']:,} requests copied, {shadow['dropped']:,} dropped: "
                f"{shadow['verdict']}. {_sentence(shadow)}"
            )
        if canary := self.canary:
            lines.append(
                f"Version {canary['version']} as a canary on {canary['month']}: "
                f"{canary['verdict']}. {_sentence(canary)}"
            )
        return lines

    def _sick_one(self) -> list[str]:
        if not (sick := self.sick):
            return []
        return [
            f"Version {sick['version']}, which the demo planted, has no answer where no "
            f"temperature is reported: {sick['verdict']} {sick['seconds']:.1f} s into a day "
            f"without, after {sick['requests']:,} requests; the champion answered the "
            f"{sick['failed']:,} that it failed."
        ]


def _sentence(rollout: dict[str, Any]) -> str:
    """What the ledger says, from the first letter to a full stop."""
    reasons = "; ".join(rollout["reasons"])
    return f"{reasons[:1].upper()}{reasons[1:]}."
