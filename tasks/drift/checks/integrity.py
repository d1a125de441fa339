"""Whether the logged answers are the champion's: a sample of the logged rows is scored anew by its
package.

The package is the one that served, so the answers agree to a rounding. Others come from another
model, from answers that were changed on their way, or from inputs that were logged beside the
answers of other rows."""

from collections.abc import Collection

import numpy as np
import polars as pl

from serving.package.model import Package
from serving.package.outputs import number_places
from serving.records.drift import Finding
from serving.records.reasons import Reason, because
from tasks.drift.checks.exact import broken_from

ROWS = 2000
TOLERANCE = 0.001  # of a score between 0 and 1, or of a standard deviation of other numbers
SHARE = 0.01
_LEAST_ROWS = 50
_VERSION = "model_version"


def check_answers(
    package: Package, rows: pl.DataFrame, champion: str, partly: Collection[str] = ()
) -> list[Finding]:
    """What is wrong with the logged answers of ``champion``, on at most 2,000 of ``rows``;
    *broken* from one percent of them.

    Rows of other versions are left out. *Unjudged* without rows of its own, or without an input:
    the log leaves it out, or a part of its files lack it (``partly``)."""
    outputs = package.manifest.outputs
    names = [outputs[place].name for place in number_places(outputs)]
    lacking = [
        name
        for name in (*package.names, *names, _VERSION)
        if name not in rows.columns or name in partly
    ]
    if lacking:
        return [_unjudged(because("answers_unscored", columns=[repr(name) for name in lacking]))]
    rows = rows.filter(pl.col(_VERSION) == champion)
    if len(rows) < _LEAST_ROWS:
        return [_unjudged(because("answers_few", rows=len(rows), version=champion))]
    some = rows.sample(min(ROWS, len(rows)), seed=0)
    anew = package.predict({name: some[name].to_list() for name in package.names})
    logged = some.select(names).cast(pl.Float64).fill_null(float("nan")).to_numpy()
    scale = np.maximum(1.0, np.asarray(anew, dtype=np.float64).reshape(len(some), -1).std(axis=0))
    far = np.abs(logged - anew.reshape(len(some), -1)) / scale
    off = float(np.mean(~(far <= TOLERANCE).all(axis=1)))
    if not off:
        return []
    reason = because("answers_differ", column=names[0], share=off, rows=len(some), version=champion)
    return [broken_from(SHARE, off, "integrity", names[0], reason)]


def _unjudged(reason: Reason) -> Finding:
    return Finding(check="integrity", word="unjudged", reason=reason)
