"""About how long a first retrain takes, and how much memory: measured on the sample, extrapolated.

Reading, validating and proving cost in proportion to rows. A fit takes ``a + b n`` seconds, by two
fits of different size, or grows with a power of ``n`` where the larger one shows that it does. What
Prefect, MLflow and the service add is assumed. ``benchmarks/checks`` holds the rest against what
the same steps take on all rows."""

import math
import os
import sys
from dataclasses import dataclass

from tasks.checks.bench import Bench, Fit
from tasks.checks.finding import Finding
from tasks.models import modelling
from tasks.models.cross_fitting import MOST_FIT_ROWS
from tasks.models.selection import COMPARED_ROWS, can_compare

# Four flows and a promotion on two cores, without what depends on rows.
FLOWS_SECONDS = 20.0
_CROSS_FITS = 3
_PRUNED = 0.5  # of HPO's work, since half of the trials stop early
_MOST_POWER = 2.0
_WATCHED_POWER = 0.5  # of rows: what drift is judged by is learned from a sample of them
_COPIES = 5  # of the encoded matrix: for pandas, for the encoder and for the model


@dataclass(frozen=True)
class Estimate:
    """Seconds by part of a retrain, and bytes at its peak."""

    parts: dict[str, float]
    peak_bytes: float

    @property
    def seconds(self) -> float:
        return sum(self.parts.values())


def fit_seconds(fit: Fit, rows: int) -> float:
    """About how long the candidate is fitted on ``rows`` rows."""
    if rows <= fit.rows:
        return fit.seconds if rows > fit.few_rows else fit.few_seconds
    if fit.rows <= fit.few_rows:
        return fit.seconds * rows / fit.rows
    power = math.log(max(fit.seconds, 1e-3) / max(fit.few_seconds, 1e-3))
    power /= math.log(fit.rows / fit.few_rows)
    if power > 1:
        return fit.seconds * (rows / fit.rows) ** float(min(power, _MOST_POWER))
    slope = max(fit.seconds - fit.few_seconds, 0.0) / (fit.rows - fit.few_rows)
    return fit.seconds + slope * (rows - fit.rows)


def estimate(bench: Bench) -> Estimate:
    """What a first retrain of the use case takes, with the candidates that could be judged."""
    training, holdout = bench.training_rows(), bench.holdout_rows()
    batches = bench.batches.values()
    periods = len(bench.periods) / max(len(batches), 1)
    ingest = sum(batch.read_seconds + batch.validate_seconds for batch in batches) * periods
    fits = [bench.fits[name] for name in bench.judged]
    winner = bench.fits[winner_of(bench)]
    prove = bench.package_seconds[winner.candidate] * max(1.0, holdout / len(bench.proof))
    unseen = min(MOST_FIT_ROWS, training * (_CROSS_FITS - 1) // _CROSS_FITS)
    crossed = _CROSS_FITS * fit_seconds(winner, unseen)
    few = bench.champion_rows * (_CROSS_FITS - 1) // _CROSS_FITS
    watched = max(0.0, bench.champion_seconds - _CROSS_FITS * fit_seconds(winner, few))
    watched *= ((training + holdout) / bench.champion_rows) ** _WATCHED_POWER
    parts = {
        "ingest": ingest,
        "train": sum(fit.few_seconds for fit in fits) + _compared(bench, training),
        "winner": fit_seconds(winner, training),
        "search": _searched(bench, training),
        "evaluate": prove,
        "promote": fit_seconds(winner, training + holdout) + crossed + watched,
        "flows": FLOWS_SECONDS,
    }
    return Estimate({name: round(part, 2) for name, part in parts.items()}, _bytes(bench))


def _baselines(bench: Bench) -> list[str]:
    """The candidates that each training fits; the best one if none of them could be judged."""
    candidates = bench.case.candidates
    names = [each.name for each in candidates if each.baseline and each.name in bench.judged]
    return names or [bench.best]


def winner_of(bench: Bench) -> str:
    """The candidate that a retrain would register: the best baseline if one passes the gate."""
    passing = [name for name in _baselines(bench) if bench.case.gate.passes(_score(bench, name))]
    return bench.best if not passing or bench.best in passing else passing[0]


def _compared(bench: Bench, training: int) -> float:
    """The seconds of fitting each baseline for the comparison."""
    names = _baselines(bench)
    if len(names) < 2 or not can_compare(bench.case, bench.training, bench.holdout):
        return 0.0
    return sum(fit_seconds(bench.fits[name], min(training, COMPARED_ROWS)) for name in names)


def _searched(bench: Bench, training: int) -> float:
    """The seconds of HPO, which runs if no baseline passes the gate."""
    gate = bench.case.gate
    if any(gate.passes(_score(bench, name)) for name in _baselines(bench)):
        return 0.0
    trials = sum(
        fit_seconds(bench.fits[candidate.name], training) * candidate.search.trials * _PRUNED
        for candidate in bench.case.candidates
        if candidate.search and candidate.name in bench.judged
    )
    return trials / (os.cpu_count() or 1)


def _score(bench: Bench, name: str) -> float:
    return bench.judged[name].scores[bench.case.gate.metric.name]


def _bytes(bench: Bench) -> float:
    """The peak of this process, and what the rows add that it has not read."""
    case, some = bench.case, bench.training.head(1000)
    rows = bench.training_rows() + bench.holdout_rows()
    fitted = bench.fits[bench.best].pipeline
    matrix = modelling.encode(fitted, case, some)
    cells = matrix.nbytes if hasattr(matrix, "nbytes") else matrix.data.nbytes * 1.5
    a_row = (some.estimated_size() + _COPIES * cells) / max(len(some), 1)
    return peak_bytes() + max(0, rows - len(bench.training)) * a_row


def peak_bytes() -> int:
    """The most memory that this process has had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def check_cost(bench: Bench) -> list[Finding]:
    """The estimate as a finding."""
    about = estimate(bench)
    facts = {"seconds": about.seconds, "peak_bytes": about.peak_bytes, "parts": about.parts}
    rows = bench.training_rows() + bench.holdout_rows()
    sentence = (
        f"a retrain on {rows:,} rows takes about {in_time(about.seconds)} and "
        f"{about.peak_bytes / 1e9:.1f} GB"
    )
    return [Finding("cost", "ok", sentence, numbers=facts)]


def in_time(seconds: float) -> str:
    """``35 s``, ``4 min`` or ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
