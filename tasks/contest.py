"""The contest: may the challenger take the crown? Pure: two arrays of scores in, a verdict with its reasons out.

Both models are scored on the same rows, and the difference is bootstrapped by whole blocks of time (Künsch 1989;
paired, as both models see the same replicate), since flights of one day are late together: on flights the interval
by rows is two to three times too narrow (docs/decisions/0005-contest.md).
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from tasks.metrics import reweighted
from usecases.definition import Metric, Promotion

Verdict = Literal["promote", "keep", "suspicious", "unfair", "inconclusive"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Comparison(_Record):
    """One score of both, and the gain with its interval; a gain is positive when the challenger is better.

    ``None``: not known. Rows of one class have no score and no gain; where replicates have only one class, there is no interval.
    """

    metric: str
    rows: int
    champion: FiniteFloat | None
    challenger: FiniteFloat | None
    gain: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None


class Contest(_Record):
    """The record of a contest. ``low`` and ``high`` bound the gain one-sidedly at the policy's confidence each."""

    verdict: Verdict
    reasons: list[str]
    blocks: int
    replicates: int
    confidence: float
    seed: int
    main: Comparison
    guards: list[Comparison] = []
    slices: dict[str, Comparison] = {}

    @property
    def promoted(self) -> bool:
        return self.verdict == "promote"


def hold(
    policy: Promotion,
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    block: np.ndarray,
    slices: dict[str, np.ndarray] | None = None,
    seed: int = 0,
) -> Contest:
    """Judge ``challenger`` against ``champion``: scores ``(n_rows,)`` on the same rows with labels ``truth``.

    ``block`` ``(n_rows,)`` names each row's block (any values, such as dates); ``slices`` maps a slice's name to its
    rows as booleans ``(n_rows,)``. Raises ``ValueError`` for no rows, arrays of different lengths, or values that are
    not finite.
    """
    if not len(truth):
        raise ValueError("A contest needs labelled rows; there are none.")
    for name, values in (("champion", champion), ("challenger", challenger), ("block", block)):
        if len(values) != len(truth):
            raise ValueError(f"{len(values)} {name} values for {len(truth)} labels.")
    if not (np.isfinite(champion).all() and np.isfinite(challenger).all() and np.isfinite(truth).all()):
        raise ValueError("Scores and labels of a contest must be finite numbers.")
    names, home = np.unique(block, return_inverse=True)
    counts = _block_counts(len(names), policy.replicates, seed)
    everywhere = np.ones(len(truth), dtype=bool)

    def compare(one: Metric, rows: np.ndarray, partly: bool = False) -> Comparison:
        return _compare(one, truth[rows], champion[rows], challenger[rows], home[rows], counts, policy.confidence, partly)

    main = compare(metric, everywhere)
    guards = [compare(guard.metric, everywhere) for guard in policy.guards]
    large = {name: rows for name, rows in (slices or {}).items() if rows.sum() >= policy.slice_minimum_rows}
    by_slice = {name: compare(metric, rows, partly=True) for name, rows in large.items()}
    verdict, reasons = _judge(policy, main, guards, by_slice, len(names))
    return Contest(
        verdict=verdict,
        reasons=reasons,
        blocks=len(names),
        replicates=policy.replicates,
        confidence=policy.confidence,
        seed=seed,
        main=main,
        guards=guards,
        slices=by_slice,
    )


def _block_counts(blocks: int, replicates: int, seed: int) -> np.ndarray:
    """How often each block is drawn ``(replicates + 1, blocks)``; the first row is the data as they are."""
    drawn = np.random.default_rng(seed).multinomial(blocks, np.full(blocks, 1 / blocks), size=replicates)
    return np.vstack([np.ones(blocks), drawn])


def _compare(
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    block: np.ndarray,
    counts: np.ndarray,
    confidence: float,
    partly: bool,
) -> Comparison:
    """``partly``: bounds over the replicates that have the score, since a slice of few days is absent from some of them."""
    scores = [reweighted(metric, truth, predicted, block, counts.shape[1])(counts) for predicted in (champion, challenger)]
    gains = scores[1] - scores[0] if metric.higher_is_better else scores[0] - scores[1]
    exists = np.isfinite(gains[1:])
    known = exists.any() if partly else exists.all() and np.isfinite(gains[0])
    bounds = np.quantile(gains[1:][exists], [1 - confidence, confidence]) if known else (np.nan, np.nan)
    return Comparison(
        metric=metric.name,
        rows=len(truth),
        champion=_known(scores[0][0]),
        challenger=_known(scores[1][0]),
        gain=_known(gains[0]),
        low=_known(bounds[0]),
        high=_known(bounds[1]),
    )


def _known(value: float) -> float | None:
    """As the record has it: JSON has no NaN, so what was written as one could not be read back."""
    return float(value) if np.isfinite(value) else None


def _judge(
    policy: Promotion, main: Comparison, guards: list[Comparison], slices: dict[str, Comparison], blocks: int
) -> tuple[Verdict, list[str]]:
    """Too little first, too good next, then every reason against; promotion needs an empty list of them."""
    if main.rows < policy.minimum_rows or blocks < policy.minimum_blocks:
        wanted = f"{policy.minimum_rows} rows in {policy.minimum_blocks} blocks"
        return "inconclusive", [f"{main.rows} labelled rows in {blocks} blocks; the rule wants at least {wanted}."]
    if main.low is None or main.gain is None or main.challenger is None:
        return "inconclusive", [f"{main.metric} does not exist on every replicate: a class is missing on some days."]
    if main.gain > policy.suspicious_gain or (main.challenger > policy.suspicious_score and main.metric == "roc_auc"):
        return "suspicious", [f"{main.metric} {main.challenger:.4f} (gain {main.gain:+.4f}) is too good to be true: look for a leak."]
    against = []
    if main.low <= 0:
        against.append(f"The gain in {main.metric}, {main.gain:+.4f}, is not surely above zero: its lower bound is {main.low:+.4f}.")
    for guard, result in zip(policy.guards, guards, strict=True):
        if result.low is None:
            against.append(f"{result.metric} does not exist on every replicate, so it may get worse by more than {guard.tolerance:g}.")
        elif result.low <= -guard.tolerance:
            against.append(f"{result.metric} may get worse by {-result.low:.4f}, more than the tolerated {guard.tolerance:g}.")
    for name, result in slices.items():
        perhaps_level = result.high is not None and result.high >= 0
        if not perhaps_level and result.gain is not None and result.gain < -policy.slice_tolerance:
            against.append(f"{name} gets worse: {result.metric} {result.gain:+.4f}, tolerated {-policy.slice_tolerance:g}.")
    if against:
        return "keep", against
    won = f"The gain in {main.metric}, {main.gain:+.4f}, is above zero at {policy.confidence:.0%}: at least {main.low:+.4f}."
    unknown = [name for name, result in slices.items() if result.gain is None]
    return "promote", [won, *(f"{name} could not be compared: {main.metric} does not exist there, a class is missing." for name in unknown)]
