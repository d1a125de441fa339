"""The contest: may the challenger take the crown? Pure: two arrays of scores in, a verdict with its
reasons out.

Both models are scored on the same rows, and each day's influence on the difference is measured
(tasks/measures/influence.py): flights of one day are late together, and on flights the interval by
rows is two to three times too narrow. Its standard error allows for days that hang together, and
its critical value is that of few dependent days (tasks/measures/bounds.py; how often it errs:
docs/contest.md).

The gain itself must be above zero. Guards and slices are tests of non-inferiority: the lower bound
of each must be above minus its tolerance. There are several of them, so their bounds hold together
(max-t: Westfall & Young 1993; Romano & Wolf 2005), by the correlation of their influences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t

from serving.records.contest import Comparison, Contest, Spending, Verdict
from serving.records.reasons import Reason, because
from tasks.contest.leaks import gain_doubts
from tasks.contest.power import decidable_gain
from tasks.contest.power import in_words as in_words_of_gain
from tasks.contest.tries import in_words, spend
from tasks.measures.bounds import correlation, critical_value, dependence, standard_error
from tasks.measures.influence import influence
from tasks.measures.metrics import score
from usecases.definition import Metric, Promotion

PROMISED = 0.5  # days that hang together more than this are said to


def hold(
    policy: Promotion,
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    block: np.ndarray,
    slices: dict[str, np.ndarray] | None = None,
    seed: int = 0,
    *,
    earlier: Sequence[Contest] | None = None,
    rivals: Sequence[np.ndarray] = (),
    refits: Sequence[np.ndarray] = (),
) -> Contest:
    """Judge ``challenger`` against ``champion``: predictions ``(n_rows,)``, or of classes
    ``(n_rows, n_classes)``, on the same rows with labels ``truth``.

    ``block`` ``(n_rows,)`` names each row's block in time order (any values, such as dates);
    ``slices`` maps a slice's name to its rows as booleans ``(n_rows,)``. With ``earlier`` contests,
    be it none, this is a try of a hold-out, and spends from its allowance
    (``tasks/contest/tries.py``). ``rivals`` ``(n_rows,)`` are scores of candidates that the
    challenger was chosen from on these very rows, ``refits`` those of its recipe on other draws of
    the training rows. Raises ``ValueError`` for no rows, arrays of different lengths, or values
    that are not finite."""
    _check_arrays(
        truth, {"champion": champion, "challenger": challenger, "block": block}, [*rivals, *refits]
    )
    names, home = np.unique(block, return_inverse=True)
    everywhere = np.ones(len(truth), dtype=bool)

    def race(metric: Metric, rows: np.ndarray, scores: np.ndarray = challenger) -> _Race:
        return _race(metric, truth[rows], champion[rows], scores[rows], home[rows], len(names))

    sizes = {name: int(rows.sum()) for name, rows in (slices or {}).items()}
    large = [name for name, size in sizes.items() if size >= policy.slice_minimum_rows]
    candidates = [race(metric, everywhere, scores) for scores in (challenger, *rivals)]
    refit_error = _refit_error(metric, truth, refits)
    main, spending, decidable = _main(
        policy, candidates, _in_text(names), earlier, refit_error, seed
    )
    family = [race(guard.metric, everywhere) for guard in policy.guards]
    family += [race(metric, (slices or {})[name]) for name in large]
    together = _bounded(family, policy, seed)
    guards, by_slice = (
        together[: len(policy.guards)],
        dict(zip(large, together[len(policy.guards) :], strict=True)),
    )
    little = too_little(policy, metric, truth, challenger, len(names))
    contest = Contest(
        verdict="inconclusive",
        reasons=[],
        blocks=len(names),
        replicates=policy.replicates,
        confidence=1 - spending.level if spending else policy.confidence,
        joint_confidence=policy.confidence,
        seed=seed,
        main=main,
        guards=guards,
        slices=by_slice,
        unjudged={name: size for name, size in sizes.items() if size < policy.slice_minimum_rows},
        spending=spending,
        days=_in_text(names),
        influences=[_rounded(entry.by_block) for entry in candidates if entry.is_measured],
        dependence=dependence(candidates[0].by_block) if candidates[0].is_measured else None,
        refits=len(refits),
        refit_error=_finite(refit_error) if len(refits) else None,
        decidable=decidable,
    )
    doubts = gain_doubts(policy, metric, truth, champion, challenger)
    verdict, reasons = _judge(policy, metric, contest, little, doubts)
    return replace(contest, verdict=verdict, reasons=reasons)


def _check_arrays(
    truth: np.ndarray, named: dict[str, np.ndarray], others: Sequence[np.ndarray]
) -> None:
    if not len(truth):
        raise ValueError("A contest needs labelled rows; there are none.")
    for name, values in (*named.items(), *(("other", values) for values in others)):
        if len(values) != len(truth):
            raise ValueError(f"{len(values)} {name} values for {len(truth)} labels.")
    for values in (named["champion"], named["challenger"], truth, *others):
        if not np.isfinite(values).all():
            raise ValueError("Scores and labels of a contest must be finite numbers.")


def _refit_error(metric: Metric, truth: np.ndarray, refits: Sequence[np.ndarray]) -> float:
    """How much refits of one recipe differ on these rows: their standard deviation, not that of
    their mean, since one refit will serve. 0 for fewer than two."""
    if len(refits) < 2:
        return 0.0
    return float(np.std([score(metric, truth, scores) for scores in refits], ddof=1))


def _main(
    policy: Promotion,
    candidates: "list[_Race]",
    days: list[str],
    earlier: Sequence[Contest] | None,
    refit_error: float,
    seed: int,
) -> tuple[Comparison, Spending | None, float | None]:
    """Return the bounds of the challenger's gain, the first of ``candidates``, what they spend, and
    which gain such a contest finds."""
    challenger = candidates[0]
    measured = [candidate for candidate in candidates if candidate.is_measured]
    if not challenger.is_measured:
        return _comparison(challenger, np.nan), None, None
    gains = np.array([candidate.by_block for candidate in measured])
    if earlier is None:
        spending, level = None, policy.confidence
        value = critical_value(correlation(gains), len(days), level, seed, policy.replicates)
    else:
        spending = spend(policy, gains, days, earlier, seed)
        value = spending.standard_errors
    error = float(np.hypot(challenger.error(), refit_error))
    decidable = decidable_gain(error, value, challenger.blocks)
    return _comparison(challenger, value * error), spending, decidable


def _in_text(names: np.ndarray) -> list[str]:
    """The blocks' names for the record; times to the hour."""
    if np.issubdtype(names.dtype, np.datetime64):
        return [str(name) for name in names.astype("datetime64[h]")]
    return [str(name) for name in names]


def _rounded(influences: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in influences]


def too_little(
    policy: Promotion, metric: Metric, truth: np.ndarray, predicted: np.ndarray, blocks: int
) -> Reason | None:
    """Return why labels ``truth`` ``(n_rows,)`` in ``blocks`` blocks are too few to crown a version
    by ``metric``; ``None`` if they suffice. ``predicted`` has a column for each of several
    classes."""
    rows = len(truth)
    if rows < policy.minimum_rows or blocks < policy.enough_blocks:
        return because(
            "too_few_rows",
            rows=rows,
            blocks=blocks,
            rows_needed=policy.minimum_rows,
            blocks_needed=policy.enough_blocks,
        )
    if "number" in metric.targets:
        return None
    classes = predicted.shape[1] if predicted.ndim == 2 else 2
    counts = np.bincount(np.asarray(truth, dtype=np.int64), minlength=classes)
    if counts.min() < policy.minimum_class_rows:
        needed = policy.minimum_class_rows
        if classes == 2:
            return because("too_few_positives", positives=int(counts[1]), rows=rows, needed=needed)
        return because("too_few_of_a_class", rarest=int(counts.min()), rows=rows, needed=needed)
    return None


@dataclass(frozen=True)
class _Race:
    """Scores of both on ``rows`` rows, the gain, and each block's influence on it ``(n_blocks,)``;
    NaN if unknown. It rests on ``blocks`` of the blocks."""

    metric: Metric
    rows: int
    champion: float
    challenger: float
    by_block: np.ndarray
    blocks: int

    @property
    def gain(self) -> float:
        return self.metric.gain(self.challenger, self.champion)

    @property
    def is_measured(self) -> bool:
        return bool(np.isfinite(self.by_block).all()) and self.blocks > 1

    def error(self) -> float:
        """The standard error of the gain. One that rests on few of the blocks has fewer degrees of
        freedom, so it counts for more."""
        sparse = t.ppf(0.95, self.blocks - 1) / t.ppf(0.95, len(self.by_block) - 1)
        return float(standard_error(self.by_block) * sparse)


def _race(
    metric: Metric,
    truth: np.ndarray,
    champion: np.ndarray,
    challenger: np.ndarray,
    block: np.ndarray,
    blocks: int,
) -> _Race:
    theirs, ours = (
        influence(metric, truth, predicted, block, blocks) for predicted in (champion, challenger)
    )
    sign = 1 if metric.higher_is_better else -1
    by_block = sign * (ours.by_block - theirs.by_block)
    return _Race(metric, len(truth), theirs.score, ours.score, by_block, ours.blocks)


def _bounded(family: list[_Race], policy: Promotion, seed: int) -> list[Comparison]:
    """Return the comparisons of a family, with lower bounds that hold together, and upper bounds
    that do (single-step max-t)."""
    measured = [race for race in family if race.is_measured]
    margins = {}
    if measured:
        same = correlation(np.array([race.by_block for race in measured]))
        blocks = len(measured[0].by_block)
        value = critical_value(same, blocks, policy.confidence, seed, policy.replicates)
        margins = {id(race): value * race.error() for race in measured}
    return [_comparison(race, margins.get(id(race), np.nan)) for race in family]


def _comparison(race: _Race, margin: float) -> Comparison:
    return Comparison(
        metric=race.metric.name,
        rows=race.rows,
        champion=_finite(race.champion),
        challenger=_finite(race.challenger),
        gain=_finite(race.gain),
        low=_finite(race.gain - margin),
        high=_finite(race.gain + margin),
    )


def _finite(value: float) -> float | None:
    """Return the value for the record: JSON has no NaN, so a NaN could not be read back."""
    return float(value) if np.isfinite(value) else None


def _judge(
    policy: Promotion,
    metric: Metric,
    contest: Contest,
    little: Reason | None,
    doubts: Sequence[str],
) -> tuple[Verdict, list[str]]:
    """Check for too little data first, then every reason against, then a score too good to be true;
    promotion needs none of them."""
    main = contest.main
    if little is not None:
        decides = in_words_of_gain(metric, main.rows, contest.decidable, main.challenger or 0.0)
        return "inconclusive", [little, decides]
    if main.low is None or main.gain is None or main.challenger is None:
        return "inconclusive", [_unbounded(metric)]
    against = _against(policy, metric, main, contest.guards, contest.slices)
    limit = policy.suspicious_gain
    if (limit is not None and main.gain > limit) or policy.too_good(metric, main.challenger):
        doubts = [
            because(
                "too_good", metric=metric.in_each_language, score=main.challenger, gain=main.gain
            ),
            *doubts,
        ]
    won = because(
        "gain_shown",
        metric=metric.in_each_language,
        gain=main.gain,
        percent=100 * contest.confidence,
        low=main.low,
    )
    notes = _notes(contest)
    unseen = [
        because("slice_uncompared", slice=name, metric=metric.in_each_language)
        for name, result in contest.slices.items()
        if result.low is None
    ]
    if contest.unjudged:
        small = [f"{name} ({rows})" for name, rows in contest.unjudged.items()]
        unseen.append(because("slices_too_small", minimum=policy.slice_minimum_rows, slices=small))
    if against:
        return weigh("promote", [], [*against, *notes], doubts)
    return weigh("promote", [won, *unseen, *notes], [], doubts)


def _unbounded(metric: Metric) -> Reason:
    if "number" in metric.targets:
        return because("no_bound_for_days", metric=metric.in_each_language)
    return because("no_bound_for_classes", metric=metric.in_each_language)


def _notes(contest: Contest) -> list[Reason]:
    """Return what the bound of the gain rests on, and what it does not promise."""
    notes = [] if contest.spending is None else [in_words(contest.spending)]
    if contest.refit_error is not None:
        notes.append(because("refits_differ", refits=contest.refits, error=contest.refit_error))
    if contest.dependence is not None and contest.dependence > PROMISED:
        notes.append(because("hangs_together", correlation=contest.dependence, promised=PROMISED))
    return notes


def weigh(
    verdict: Verdict, reasons: Sequence[str], against: Sequence[str], doubts: Sequence[str]
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
    policy: Promotion,
    metric: Metric,
    main: Comparison,
    guards: list[Comparison],
    slices: dict[str, Comparison],
) -> list[str]:
    against: list[str] = []
    if main.low is None or main.low <= 0:
        against.append(
            because("gain_not_shown", metric=metric.in_each_language, gain=main.gain, low=main.low)
        )
    for guard, result in zip(policy.guards, guards, strict=True):
        name = guard.metric.in_each_language
        if result.low is None:
            against.append(because("guard_without_bound", metric=name, tolerance=guard.tolerance))
        elif result.low <= -guard.tolerance:
            against.append(
                because("guard_worse", metric=name, loss=-result.low, tolerance=guard.tolerance)
            )
    for name_of_slice, result in slices.items():
        tolerated = policy.tolerated(metric, result.champion)
        if result.low is not None and result.low <= -tolerated:
            against.append(_worse_in(name_of_slice, metric, result, -tolerated))
    return against


def _worse_in(name: str, metric: Metric, result: Comparison, tolerated: float) -> Reason:
    words, gain, low = metric.in_each_language, result.gain, result.low
    if result.high is not None and result.high < 0:
        return because(
            "slice_worse", slice=name, metric=words, gain=gain, low=low, tolerated=tolerated
        )
    return because(
        "slice_perhaps_worse", slice=name, metric=words, gain=gain, low=low, tolerated=tolerated
    )
