"""A run's outcome as Markdown for people: the contest that it held, its steps, and links."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import ArtifactSort

from blocks.message import Message

# A log keeps neither empty nor long lines: a report goes through it in marked pieces.
_PIECE = "report: "
_PIECE_LENGTH = 1000

# Outcomes of a retrain that held a contest; any other outcome explains itself why there was none.
CONTESTED = ("Completed", "Champion stays", "No champion yet")


@dataclass(frozen=True)
class Step:
    """One subflow of the run: its name, the name of its final state, and its duration."""

    name: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Report:
    """How a run of ``flow`` for ``use_case`` ended. ``problem`` is ``None`` if it completed.

    ``outcome`` is what happened, in sentences; the first is the headline. ``contest`` is the
    decision in words, as Markdown, or ``None`` without a contest. ``links`` maps labels to URLs."""

    use_case: str
    flow: str
    outcome: str
    problem: str | None = None
    contest: str | None = None
    steps: list[Step] = field(default_factory=list)
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """The whole report. Headings in the contest are one level below the report's own."""
        headline, rest = self._sentences()
        parts = [f"## {self.use_case}: {headline}", *rest]
        if self.problem:
            parts.append(f"> **The {self.flow} did not complete.** {self.problem}")
        if self.contest:
            parts.append(
                self.contest.replace("# ", "### ", 1)
                if self.contest.startswith("# ")
                else self.contest
            )
        elif not self.problem:
            parts.append("No contest was held.")
        if self.steps:
            rows = [f"| {step.name} | {step.state} | {step.seconds:.1f} |" for step in self.steps]
            parts.append("\n".join(["| step | ended as | seconds |", "|---|---|---:|", *rows]))
        if self.links:
            parts.append(" · ".join(f"[{label}]({url})" for label, url in self.links.items()))
        return "\n\n".join(parts) + "\n"

    @property
    def message(self) -> Message:
        """The report for Slack: the outcome, the reasons of the decision, the links."""
        headline, rest = self._sentences()
        reasons = [
            line.removeprefix("- ")
            for line in (self.contest or "").splitlines()
            if line.startswith("- ")
        ]
        return Message(
            headline=f"{self.use_case}: {self.flow} from GitHub: {headline}",
            details=[*rest, *([self.problem] if self.problem else []), *reasons],
            links=self.links,
            emoji=":x:" if self.problem else ":checkered_flag:",
        )

    def _sentences(self) -> tuple[str, list[str]]:
        """The first sentence of the outcome, and the rest, if there is any."""
        headline, separator, rest = self.outcome.partition(". ")
        return headline + separator.rstrip(), [rest] if rest else []


def read_report(
    prefect: SyncPrefectClient,
    flow: str,
    use_case: str,
    run: FlowRun,
    parts: list[tuple[str, FlowRun]],
    links: Mapping[str, str],
) -> Report:
    """The report of a finished run, from its artifacts on the Prefect server."""
    contest = read_artifact(prefect, use_case, "contest", run, parts)
    name, message = (
        (run.state.name or "", run.state.message or "") if run.state else ("unknown", "")
    )
    problem = _problem(run, contest, flow)
    told = message if flow == "retrain" else f"{name}. {message}".strip(". ")
    return Report(
        use_case=use_case,
        flow=flow,
        outcome=f"{flow} {name}" if problem else told,
        problem=problem,
        contest=contest,
        steps=[
            Step(
                part,
                subflow.state.name or "" if subflow.state else "unknown",
                subflow.total_run_time.total_seconds(),
            )
            for part, subflow in parts
        ],
        links=links,
    )


def _problem(run: FlowRun, contest: str | None, flow: str) -> str | None:
    state = run.state
    if state is None or not state.is_completed():
        message = f": {state.message}" if state and state.message else "."
        return f"It ended as {state.name if state else 'unknown'}{message}"
    if state.name == "Skipped":
        return f"It was skipped: {state.message}. Start it again when the other run is over."
    if flow == "retrain" and state.name in CONTESTED and contest is None:
        return "It completed, but left no decision among its artifacts: look at the flow run."
    return None


def read_artifact(
    prefect: SyncPrefectClient,
    use_case: str,
    what: str,
    run: FlowRun,
    parts: list[tuple[str, FlowRun]],
) -> str | None:
    """The text of this run's latest artifact with that key; ``None`` if it left none."""
    key = f"{use_case}-{what}".replace("_", "-").lower()
    artifacts = prefect.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
        flow_run_filter=FlowRunFilter(
            id=FlowRunFilterId(any_=[run.id, *(part.id for _, part in parts)])
        ),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    return str(artifacts[0].data) if artifacts else None


def as_lines(text: str) -> list[str]:
    """``text`` in lines that survive any log, for ``FromLines``."""
    code = base64.b64encode(text.encode()).decode()
    return [
        f"{_PIECE}{code[start : start + _PIECE_LENGTH]}"
        for start in range(0, len(code), _PIECE_LENGTH)
    ]


class FromLines:
    """Reassembles a text from the lines that ``as_lines`` made; ``text`` is empty without them."""

    def __init__(self) -> None:
        self._code, self.text = "", ""

    def take(self, line: str) -> bool:
        """Whether ``line`` is a piece of the text, and not other output."""
        if not line.startswith(_PIECE):
            return False
        self._code += line.removeprefix(_PIECE).strip()
        length = (
            len(self._code) // 4 * 4
        )  # bytes are encoded in groups of four; a piece may end within a group
        self.text = base64.b64decode(self._code[:length]).decode(errors="ignore")
        return True
