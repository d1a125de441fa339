"""Do the rows suffice: for the hold-out, for a contest, for drift?"""

from datetime import timedelta

import numpy as np
import polars as pl

from tasks.checks.bench import Bench
from tasks.checks.finding import Failed, Finding
from tasks.contest.decide import blocks_of
from tasks.contest.power import expected_gain, in_words, rows_for, useful_gain
from tasks.contest.verdict import too_little
from tasks.data.targets import lacks
from tasks.models import modelling
from tasks.models.refits import refit_scores
from usecases.definition import Classes


def check_holdout(bench: Bench) -> list[Finding]:
    """The hold-out has each class, and rows and days enough that a challenger can be judged."""
    case, place = bench.case, bench.lines.field("promotion", "gate")
    rows, name = bench.holdout, bench.holdout_name
    count, training = bench.holdout_rows(), bench.training_rows()
    if missing := lacks(case, rows[case.label]):
        sentence = f"{name}: {len(rows):,} labelled rows, and {missing}"
        remedy = (
            "Nothing can be judged on them: wait for labels, or hold out more periods: "
            f"Promotion(holdout_periods={case.promotion.holdout_periods + 1})."
        )
        raise Failed(Finding("hold-out", "wrong", sentence, place, remedy))
    if training < case.minimum_training_rows:
        sentence = f"{training:,} labelled rows are before {name} to train on"
        remedy = (
            f"{case.minimum_training_rows} are needed (minimum_training_rows): more rows, or a "
            "smaller hold-out."
        )
        place = bench.lines.field("minimum_training_rows", "promotion", "source")
        raise Failed(Finding("hold-out", "wrong", sentence, place, remedy))
    sentence = f"{name}: {count:,} labelled rows, {training:,} before it"
    facts = {"holdout": name, "rows": count, "training_rows": training}
    classes = len(case.target.classes) if isinstance(case.target, Classes) else 0
    truth, blocks = modelling.labels(case, rows), len(blocks_of(case, rows).unique())
    shape = np.zeros((1, classes)) if classes else np.zeros(1)
    little = too_little(case.promotion, case.gate.metric, truth, shape, blocks)
    if little is None:
        return [Finding("hold-out", "ok", f"{sentence}, {blocks} blocks", numbers=facts)]
    remedy = f"A first champion is provisional, later contests stay inconclusive. {_more(bench)}"
    return [Finding("hold-out", "look", f"{name}: {little}", place, remedy, facts)]


def _more(bench: Bench) -> str:
    """How the hold-out gets large enough, if it can."""
    policy, rows = bench.case.promotion, bench.holdout_rows()
    whole = rows + bench.training_rows()
    periods = -(-policy.minimum_rows * policy.holdout_periods // max(rows, 1))
    if policy.minimum_rows <= whole / 3 and periods > policy.holdout_periods:
        return f"Write Promotion(holdout_periods={periods})."
    return (
        f"All {whole:,} rows are few for that: collect more, or lower Promotion(minimum_rows=...) "
        "and see below what it can decide."
    )


def check_contest(bench: Bench) -> list[Finding]:
    """Which gain a contest on such a hold-out decides."""
    case, policy, metric = bench.case, bench.case.promotion, bench.case.gate.metric
    rows = bench.proof
    best = bench.best
    score = bench.judged[best].scores[metric.name]
    models = [bench.judged[best].predicted]
    models += [judged.predicted for name, judged in bench.judged.items() if name != best]
    if len(models) < 2:
        models += refit_scores(case, best, bench.params(best), bench.training, rows, 2, bench.seed)[
            :1
        ]
    count = bench.holdout_rows()
    gain = None
    if len(models) > 1:
        truth, block = modelling.labels(case, rows), blocks_of(case, rows).to_numpy()
        gain = expected_gain(policy, metric, truth, models, block, bench.seed)
    if gain is not None:
        gain *= (len(rows) / max(count, 1)) ** 0.5
    facts = {"decidable_gain": gain, "rows": count}
    wanted = useful_gain(metric, score)
    sentence = in_words(metric, count, gain, score)
    if gain is not None and (gain <= wanted or not wanted > 0):
        return [Finding("contest", "ok", sentence, numbers=facts)]
    place = bench.lines.field("promotion", "gate")
    remedy = "Smaller gains stay undecided, and the champion stays."
    if gain is not None:
        periods = -(-rows_for(wanted, gain, policy.holdout_periods * 100) // 100)
        spare = len(bench.labelled_periods) // 2
        if policy.holdout_periods < periods <= spare:
            remedy += f" More are found with Promotion(holdout_periods={periods})."
    return [Finding("contest", "look", sentence, place, remedy, facts)]


def check_drift(bench: Bench) -> list[Finding]:
    """A usual window of predictions can be judged, and its thresholds can be calibrated."""
    policy, windows = bench.case.drift, bench.case.drift_window
    times = bench.all_times
    rows = sum(batch.rows for batch in bench.batches.values())
    count = pl.select(windows.names(pl.lit(times)).n_unique()).item()
    a_window = round(rows / max(count, 1))
    whole = len(bench.batches) == len(bench.periods)
    facts = {"rows_a_window": a_window, "windows": count}
    place = bench.lines.field("drift", "promotion", "gate")
    sentence = f"about {a_window:,} rows {windows.one}, {policy.minimum_rows:,} needed"
    if a_window < policy.minimum_rows:
        most = max(100, a_window // 2 // 50 * 50)
        remedy = (
            "If as many predictions come, no window is judged: DriftPolicy("
            f'window="{_longer(bench, a_window)}"), or DriftPolicy(minimum_rows={most}).'
        )
        return [Finding("drift", "look", sentence, place, remedy, facts)]
    if whole and count < policy.minimum_blocks:
        sentence = f"{sentence}; {count} windows to calibrate on, {policy.minimum_blocks} needed"
        remedy = "Until then only thresholds that are fixed decide."
        return [Finding("drift", "look", sentence, place, remedy, facts)]
    return [Finding("drift", "ok", sentence, numbers=facts)]


def _longer(bench: Bench, a_window: int) -> str:
    """A window that has rows enough at this rate."""
    days = -(-bench.case.drift_window.longest // timedelta(days=1))
    needed = -(-bench.case.drift.minimum_rows * days // max(a_window, 1))
    return f"{needed}d" if needed % 7 else f"{needed // 7}w"
