"""The contest: may the challenger take the crown? Pure: two arrays of scores in, a verdict with its
reasons out.

Both models are scored on the same rows, and the difference is bootstrapped by whole blocks of time
(Künsch 1989; paired, as both models see the same replicate), since flights of one day are late
together: on flights the interval by rows is two to three times too narrow
(docs/decisions/0005-contest.md).

The gain itself must be above zero. Guards and slices are tests of non-inferiority: the lower bound
of each must be above minus its tolerance. There are several of them, so their bounds hold together:
a max-t bootstrap over the same replicates (Westfall & Young 1993; Romano & Wolf 2005), which knows
how they correlate and needs no independence."""

from dataclasses import dataclass, replace

import numpy as np

from serving.records.contest import Comparison, Contest, Verdict
from tasks.contest.leaks import gain_doubts
from tasks.measures.metrics import reweighted
from usecases.definition import Metric, Promotion


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
    """Judge ``challenger`` against ``champion``: scores ``(n_rows,)`` on the same rows with labels
    ``truth``.

    ``block`` ``(n_rows,)`` names each row's block (any values, such as dates); ``slices`` maps a
    slice's name to its rows as booleans ``(n_rows,)``. Raises ``ValueError`` for no rows, arrays of
    different lengths, or values that are not finite."""
    if not len(truth):
        raise ValueError("A contest needs labelled rows; there are none.")
    for name, values in (("champion", champion), ("challenger", challenger), ("block", block)):
        if len(values) != len(truth):
            raise ValueError(f"{len(values)} {name} values for {len(truth)} labels.")
    if not (
        np.isfinite(champion).all() and np.isfinite(challenger).all() and np.isfinite(truth).all()
    ):
        raise ValueError("Scores and labels of a contest must be finite numbers.")
    names, home = np.unique(block, return_inverse=True)
    counts = _block_counts(len(names), policy.replicates, seed)
    everywhere = np.ones(len(truth), dtype=bool)

    def race(metric: Metric, rows: np.ndarray) -> _Race:
        return _race(metric, truth[rows], champion[rows], challenger[rows], home[rows], counts)

    sizes = {name: int(rows.sum()) for name, rows in (slices or {}).items()}
    large = [name for name, size in sizes.items() if size >= policy.slice_minimum_rows]
    (main,) = _bounded([race(metric, everywhere)], policy.confidence)
    family = [race(guard.metric, everywhere) for guard in policy.guards]
    family += [race(metric, (slices or {})[name]).partly() for name in large]
    together = _bounded(family, policy.confidence)
    guards, by_slice = (
        together[: len(policy.guards)],
        dict(zip(large, together[len(policy.guards) :], strict=True)),
    )
    unjudged = {name: size for name, size in sizes.items() if size < policy.slice_minimum_rows}
    little = too_little(policy, truth, len(names))
    doubts = gain_doubts(policy, truth, champion, challenger)
    verdict, reasons = _judge(policy, metric, main, guards, by_slice, unjudged, little, doubts)
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
        unjudged=unjudged,
    )


def too_little(policy: Promotion, truth: np.ndarray, blocks: int) -> str | None:
    """Return why labels ``truth`` ``(n_rows,)`` in ``blocks`` blocks are too few to crown a
    version; ``None`` if they suffice."""
    rows = len(truth)
    if rows < policy.minimum_rows or blocks < policy.minimum_blocks:
        needed = f"{policy.minimum_rows} rows in {policy.minimum_blocks} blocks"
        return f"{rows} labelled rows in {blocks} blocks; the rule requires at least {needed}."
    positives = int(np.sum(truth))
    rarer = min(positives, rows - positives)
    if rarer < policy.minimum_class_rows:
        return (
            f"{positives} positive rows of {rows}; the rule requires at least "
            f"{policy.minimum_class_rows} of each class."
        )
    return None


def _block_counts(blocks: int, replicates: int, seed: int) -> np.ndarray:
    """Return how often each block is drawn ``(replicates + 1, blocks)``; the first row is the
    original data."""
    draws = np.random.default_rng(seed).multinomial(
        blocks, np.full(blocks, 1 / blocks), size=replicates
    )
    return np.vstack([np.ones(blocks), draws])


@dataclass(frozen=True)
class _Race:
    """Scores of both and gains ``(replicates + 1,)``, the original data first; NaN if a replicate
    has no score."""

    metric: Metric
    rows: int
    champion: float
    challenger: float
    gains: np.ndarray
    everywhere: bool = True

    def partly(self) -> "_Race":
        """Judge on the replicates that have the score: a slice of few days is absent from some of
        them."""
        return replace(self, everywhere=False)

    @property
    def is_measured(self) -> bool:
        exists = np.isfinite(self.gains)
        return bool(exists.all() if self.everywhere else exists[0] and exists[1:].any())


def _race(
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    block: np.ndarray,
    counts: np.ndarray,
) -> _Race:
    scores = [
        reweighted(metric, truth, predicted, block, counts.shape[1])(counts)
        for predicted in (champion, challenger)
    ]
    gains = scores[1] - scores[0] if metric.higher_is_better else scores[0] - scores[1]
    return _Race(metric, len(truth), float(scores[0][0]), float(scores[1][0]), gains)


def _bounded(family: list[_Race], confidence: float) -> list[Comparison]:
    """Return the comparisons of a family, with lower bounds that hold jointly with ``confidence``,
    and upper bounds that do.

    Each replicate's gains are expressed in standard errors from the measured gain, so that a noisy
    member does not set the bounds of the others, and the quantile is that of the worst member of
    each replicate (single-step max-t). For a family of one these are the quantiles of its
    replicates."""
    measured = [race for race in family if race.is_measured]
    errors = [float(np.nanstd(race.gains[1:])) for race in measured]
    if measured:
        away = np.array(
            [
                (race.gains[1:] - race.gains[0]) / (error or 1.0)
                for race, error in zip(measured, errors, strict=True)
            ]
        )
        away = away[:, np.isfinite(away).any(axis=0)]
        down, up = (
            np.quantile(np.nanmin(away, axis=0), 1 - confidence),
            np.quantile(np.nanmax(away, axis=0), confidence),
        )
    bounds = {
        id(race): (race.gains[0] + down * error, race.gains[0] + up * error)
        for race, error in zip(measured, errors, strict=True)
    }
    return [_comparison(race, *bounds.get(id(race), (np.nan, np.nan))) for race in family]


def _comparison(race: _Race, low: float, high: float) -> Comparison:
    return Comparison(
        metric=race.metric.name,
        rows=race.rows,
        champion=_finite(race.champion),
        challenger=_finite(race.challenger),
        gain=_finite(race.gains[0]),
        low=_finite(low),
        high=_finite(high),
    )


def _finite(value: float) -> float | None:
    """Return the value for the record: JSON has no NaN, so a NaN could not be read back."""
    return float(value) if np.isfinite(value) else None


def _judge(
    policy: Promotion,
    metric: Metric,
    main: Comparison,
    guards: list[Comparison],
    slices: dict[str, Comparison],
    unjudged: dict[str, int],
    little: str | None,
    doubts: list[str],
) -> tuple[Verdict, list[str]]:
    """Check for too little data first, then every reason against, then a score too good to be true;
    promotion needs none of them."""
    if little is not None:
        return "inconclusive", [little]
    if main.low is None or main.gain is None or main.challenger is None:
        return "inconclusive", [
            f"{main.metric} does not exist on every replicate: a class is missing on some days."
        ]
    against = _against(policy, main, guards, slices)
    limit = policy.suspicious_gain
    if (limit is not None and main.gain > limit) or policy.too_good(metric, main.challenger):
        doubts = [
            (
                f"{main.metric} {main.challenger:.4f} (gain {main.gain:+.4f}) is too good to be "
                "true: look for a leak."
            ),
            *doubts,
        ]
    won = (
        f"The gain in {main.metric}, {main.gain:+.4f}, is above zero at {policy.confidence:.0%}: "
        f"at least {main.low:+.4f}."
    )
    unknown = [name for name, result in slices.items() if result.low is None]
    unseen = [
        f"{name} could not be compared: {main.metric} does not exist there, a class is missing."
        for name in unknown
    ]
    if unjudged:
        names = ", ".join(f"{name} ({rows})" for name, rows in unjudged.items())
        unseen.append(f"Not judged, with fewer than {policy.slice_minimum_rows} rows: {names}.")
    return weigh("promote", [won, *unseen], against, doubts)


def weigh(
    verdict: Verdict, reasons: list[str], against: list[str], doubts: list[str]
) -> tuple[Verdict, list[str]]:
    """Combine a verdict with further findings: reasons ``against`` keep the champion, ``doubts``
    make a winner suspicious.

    Only a challenger with nothing against it becomes suspicious, so that a person is asked only if
    a yes could be right."""
    if verdict in ("promote", "suspicious") and against:
        return "keep", [*doubts, *(reasons if verdict == "suspicious" else []), *against]
    if verdict == "promote" and doubts:
        return "suspicious", [*doubts, *reasons]
    return verdict, [*reasons, *doubts, *against]


def _against(
    policy: Promotion, main: Comparison, guards: list[Comparison], slices: dict[str, Comparison]
) -> list[str]:
    against = []
    if main.low is None or main.low <= 0:
        gain, low = _signed(main.gain), _signed(main.low)
        against.append(
            f"The gain in {main.metric}, {gain}, is not reliably above zero: its lower bound "
            f"is {low}."
        )
    for guard, result in zip(policy.guards, guards, strict=True):
        if result.low is None:
            against.append(
                f"{result.metric} does not exist on every replicate, so it may get worse by "
                f"more than {guard.tolerance:g}."
            )
        elif result.low <= -guard.tolerance:
            against.append(
                f"{result.metric} may get worse by {-result.low:.4f}, more than the tolerated "
                f"{guard.tolerance:g}."
            )
    for name, result in slices.items():
        if result.low is not None and result.low <= -policy.slice_tolerance:
            surely = "gets" if result.high is not None and result.high < 0 else "may get"
            measured = f"{result.metric} {_signed(result.gain)}, at worst {_signed(result.low)}"
            against.append(
                f"{name} {surely} worse: {measured}, tolerated {-policy.slice_tolerance:g}."
            )
    return against


def _signed(value: float | None) -> str:
    return "not known" if value is None else f"{value:+.4f}"
