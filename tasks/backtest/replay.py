"""A policy on trial: history replayed period by period, as the loop would have lived it. Pure: rows
in, a record out.

In every period the current champion scores all rows; then the labels arrive, and the strategy
decides: ``policy`` retrains if a drift check says so and the governor allows it, ``monthly`` (of
other periods ``daily``, ``weekly`` and so on) always, ``never`` not at all. A retrain works as in
the loop: the candidates and the champion's recipe are fitted on what came before the period, HPO
below the gate, the decision on the period itself (``tasks/contest/decide.py``), and a refit with
the period if the challenger wins
(``tasks/backtest/fits.py`` makes the fits and packages)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from serving.records.contest import Comparison, Contest
from serving.records.ledger import Decision, Kind
from tasks.backtest.fits import History, Model
from tasks.backtest.windows import check_windows, decisive
from tasks.contest.decide import decide, judge_rows
from tasks.drift.drivers import starts_retrain
from tasks.ledger.governor import may_retrain
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import UseCase, UseCaseError, period_named, periods_of
from usecases.definition.columns import Frozen

POLICY, NEVER = "policy", "never"


class PeriodOutcome(Frozen):
    """One period under one strategy. ``score`` is the gate's metric of the champion that served it;
    ``None``: it does not exist."""

    period: str
    rows: int
    champion: str
    score: float | None
    drift: str
    share: float | None
    outcome: str
    fit_seconds: float
    reasons: list[str]


class Replay(Frozen):
    """What one strategy would have done, period by period. ``pooled`` is the gate's metric over all
    rows.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    strategy: str
    # Records in the lake have always called them months.
    periods: list[PeriodOutcome] = Field(alias="months")
    pooled: float | None

    def count(self, *outcomes: str) -> int:
        return sum(period.outcome in outcomes for period in self.periods)

    @property
    def drifted(self) -> int:
        return sum(period.drift == "drifted" for period in self.periods)

    @property
    def retrains(self) -> int:
        return self.count("promoted", "kept", "below the gate")

    @property
    def fit_seconds(self) -> float:
        return sum(period.fit_seconds for period in self.periods)


class Backtest(Frozen):
    """All strategies from the same first champion. ``gains`` compares the policy with the others,
    by whole days of all rows.
    """

    use_case: str
    dataset_version: str
    start: str
    policy: dict[str, Any]
    seed: int
    first_champion: str
    replays: dict[str, Replay]
    gains: dict[str, Comparison]


def with_policy(case: UseCase, changed: Mapping[str, Mapping[str, Any]]) -> UseCase:
    """Return the use case under another policy: ``{"drift": {"share": 0.2}, "retrain": {...}}``.
    Raises ``UseCaseError`` naming the field."""
    parts = ("drift", "retrain", "promotion", "labels")
    for part, fields in changed.items():
        if part not in parts:
            raise UseCaseError(f"A policy has no part {part!r}; it has {', '.join(parts)}.")
        before = getattr(case, part)
        try:
            after = type(before)(
                **{**{name: getattr(before, name) for name in type(before).model_fields}, **fields}
            )
            case = UseCase(
                **{**{name: getattr(case, name) for name in UseCase.model_fields}, part: after}
            )
        except (ValidationError, TypeError) as error:
            raise UseCaseError(
                f"The policy's part {part!r} does not accept {dict(fields)!r}: {error}"
            ) from error
    return case


def run(
    case: UseCase, history: History, start: str, dataset_version: str, changed: Mapping[str, Any]
) -> Backtest:
    """Replay all strategies from the champion that wins on ``start``. Raises ``ValueError`` for too
    short a history.
    """
    later = history.after(start)
    if start not in history.periods or not history.before(start) or not later:
        periods = ", ".join(history.periods)
        raise ValueError(
            f"A backtest needs a period before its start {start!r} and one after it; the "
            f"labelled periods are {periods}."
        )
    first = first_champion(case, history, start)
    replays, scores = {}, {}
    strategies = (POLICY, NEVER, case.period_kind.adverb)
    for strategy in strategies:
        replays[strategy], scores[strategy] = replay(case, history, first, strategy, later)
    rows = history.labelled(*later)
    gains = {
        other: judge_rows(case, rows, scores[other], scores[POLICY], history.seed).main
        for other in strategies
        if other != POLICY
    }
    return Backtest(
        use_case=case.name,
        dataset_version=dataset_version,
        start=start,
        policy={
            part: getattr(case, part).model_dump(mode="json")
            for part in ("drift", "retrain", "labels")
        }
        | {"changed": dict(changed)},
        seed=history.seed,
        first_champion=first.name,
        replays=replays,
        gains=gains,
    )


def replay(
    case: UseCase, history: History, champion: Model, strategy: str, periods: list[str]
) -> tuple[Replay, np.ndarray]:
    """Replay one strategy from ``champion`` on; also return its champions' scores of all labelled
    rows of ``periods``."""
    lived: list[PeriodOutcome] = []
    answers: list[np.ndarray] = []
    beyond: list[bool] = []
    ledger, contests = Simulated(case), list[Contest]()
    for period in periods:
        rows = history.labelled(period)
        answers.append(modelling.predict(champion.fitted, case, rows))
        reached = score(case.gate.metric, modelling.labels(case, rows), answers[-1])
        verdicts = check_windows(history, champion, period, beyond) if strategy == POLICY else []
        verdict = decisive(verdicts)
        beyond += [bool(checked.beyond) for checked in verdicts]
        seconds, served, reasons = 0.0, champion.name, list(verdict.reasons) if verdict else []
        outcome = "quiet"
        if strategy not in (POLICY, NEVER) or (verdict and starts_retrain(verdict)):
            refusal = ledger.refusal(period) if strategy == POLICY else None
            if refusal is not None:
                outcome, reasons = "refused", [*reasons, refusal]
            else:
                champion, outcome, seconds, why = retrain(case, history, champion, period, contests)
                reasons += why
                ledger.record_end(period, outcome)
        lived.append(
            PeriodOutcome(
                period=period,
                rows=len(rows),
                champion=served,
                score=reached if np.isfinite(reached) else None,
                drift=verdict.outcome if verdict else "not asked",
                share=verdict.share if verdict else None,
                outcome=outcome,
                fit_seconds=round(seconds, 2),
                reasons=reasons,
            )
        )
    scores = np.concatenate(answers)
    pooled = score(case.gate.metric, modelling.labels(case, history.labelled(*periods)), scores)
    return Replay(
        strategy=strategy, months=lived, pooled=pooled if np.isfinite(pooled) else None
    ), scores


def first_champion(case: UseCase, history: History, start: str) -> Model:
    """Make the first champion as a first retrain through ``start`` does. Raises ``ValueError`` if
    none wins."""
    holdout = history.holdout_through(start)
    challenger, _ = history.challenger(holdout, None)
    if not case.gate.passes(challenger.score):
        name, gate = case.gate.metric.name, case.gate.threshold
        raise ValueError(
            f"No candidate passes the gate of {name} {gate:g} on {holdout} "
            f"({challenger.score:.4f}): start the backtest with a later period."
        )
    judgement = decide(case, history.contestant(challenger, holdout), None, history.seed)
    if not judgement.promoted:
        raise ValueError(
            f"No candidate is crowned on {holdout}: {'; '.join(judgement.reasons)} Start the "
            "backtest with a later period."
        )
    return history.refit(challenger)[0]


def retrain(
    case: UseCase,
    history: History,
    champion: Model,
    period: str,
    contests: list[Contest] | None = None,
) -> tuple[Model, str, float, list[str]]:
    """Run challenger, gate, decision on the hold-out through ``period`` and refit of the winner.

    Returns the champion afterwards, the outcome, seconds of fits, and the reasons. ``contests`` are
    those of the replay so far, and gets this one."""
    holdout, contests = history.holdout_through(period), [] if contests is None else contests
    first = periods_of(holdout)[0]
    if period_named(champion.trained_on[-1]).reaches(period_named(first)):
        learned = f"the champion has learned {champion.trained_on[-1]} of the hold-out {holdout}"
        return champion, "nothing to do", 0.0, [learned]
    challenger, seconds = history.challenger(holdout, champion)
    metric, reached = case.gate.metric, challenger.score
    if not case.gate.passes(reached):
        return (
            champion,
            "below the gate",
            seconds,
            [
                f"{metric.name} {reached:.4f} on {holdout} misses the gate of "
                f"{case.gate.threshold:g}"
            ],
        )
    judgement = decide(
        case,
        history.contestant(challenger, holdout),
        history.contestant(champion, holdout),
        history.seed,
        contests,
    )
    contests += [judgement.contest] if judgement.contest else []
    if not judgement.promoted:
        return champion, "kept", seconds, judgement.reasons
    winner, cost = history.refit(challenger)
    return winner, "promoted", seconds + cost, judgement.reasons


class Simulated:
    """A replay's ledger, as the governor reads it: a retrain happens at the end of its period."""

    def __init__(self, case: UseCase) -> None:
        self._case = case
        self._entries: list[Decision] = []

    def refusal(self, period: str) -> str | None:
        """Return why the governor refuses a retrain after ``period``; if it does not, the retrain
        starts."""
        refused = may_retrain(self._case.retrain, self._entries, _end(period))
        if refused is None:
            self._add(period, "retrain", "started")
        return refused.reason if refused else None

    def record_end(self, period: str, outcome: str) -> None:
        if outcome == "kept":
            self._add(period, "contest", "keep")
        else:
            self._add(period, "retrain", outcome)

    def _add(self, period: str, kind: Kind, verdict: str) -> None:
        self._entries.append(
            Decision(
                use_case=self._case.name,
                time=_end(period).isoformat(timespec="milliseconds"),
                kind=kind,
                verdict=verdict,
                reasons=[f"backtest of {period}"],
                by="backtest",
                run=period,
                challenger=period,
            )
        )


def _end(period: str) -> datetime:
    """Return the end of the period, UTC."""
    return period_named(period).end.replace(tzinfo=UTC)
