"""Behavioural tests of a model package: what it must do on any rows (Ribeiro et al. 2020, *Beyond
Accuracy*, CheckList).

The use case declares them (``usecases/definition/behaviours.py``). They test the package, because
the package is what serves."""

import numpy as np
import polars as pl

from serving.package.model import Package
from serving.records.contest import Behaviour
from serving.records.reasons import Reason, because
from tasks.packages.packaging import score_rows
from usecases.definition import Classes, Column, Direction, Invariance, MinimumFunction, UseCase

ROWS = 2000  # at most, drawn with the contest's seed


def try_behaviours(
    case: UseCase, package: Package, rows: pl.DataFrame, seed: int
) -> list[Behaviour]:
    """Run each test of ``case`` on up to ``ROWS`` of ``rows``, which need no labels."""
    some = rows.sample(min(ROWS, len(rows)), seed=seed).select(case.column_names)
    columns = {column.name: column for column in case.columns}
    results = []
    for test in case.behaviours:
        if isinstance(test, MinimumFunction):
            results.append(_minimum_function(case, test, package, some))
        else:
            results.append(_changed(case, test, columns[test.column], package, some))
    return results


def _scores(
    case: UseCase,
    test: Invariance | Direction | MinimumFunction,
    package: Package,
    rows: pl.DataFrame,
) -> np.ndarray:
    """Return the answers that the test is about ``(n_rows,)``, or the probabilities of all classes
    ``(n_rows, n_classes)``."""
    scores = score_rows(package, rows)
    if test.of is None or not isinstance(case.target, Classes):
        return scores
    return scores[:, case.target.classes.index(test.of)]


def in_words(test: Invariance | Direction | MinimumFunction) -> str:
    """Return what the test asks, with its tolerance, and of how many rows."""
    if isinstance(test, MinimumFunction):
        return f"score {_bounds(test)}"
    if isinstance(test, Invariance):
        asked = f"move by at most {test.tolerance:g}"
    else:
        asked = f"go {test.moves}, against it by at most {test.tolerance:g}"
        asked += f", on average by {test.mean:g} or more" if test.mean else ""
    return f"{asked}; {_change(test)}, on {100 * test.share:.4g} % of the rows"


def failures(results: list[Behaviour]) -> list[str]:
    """Return the reasons that the decision gives for a challenger that failed tests."""
    return [result.reason for result in results if not result.passed]


def _minimum_function(
    case: UseCase, test: MinimumFunction, package: Package, like: pl.DataFrame
) -> Behaviour:
    whole = [{name: row.get(name) for name in case.column_names} for row in test.rows]
    rows = pl.DataFrame(whole, schema=like.schema, strict=False)
    scores = _scores(case, test, package, rows)
    low = -np.inf if test.low is None else test.low
    high = np.inf if test.high is None else test.high
    inside = (scores >= low) & (scores <= high)
    reason = None
    if not inside.all():
        worst = int(np.argmax(np.maximum(low - scores, scores - high)))
        reason = because(
            "behaviour_row",
            test=test.name,
            row=worst + 1,
            score=scores[worst],
            bounds=_bounds(test),
        )
    return _result(test, inside, reason)


def _bounds(test: MinimumFunction) -> Reason:
    if test.high is None:
        return because("at_least", low=test.low)
    if test.low is None:
        return because("at_most", high=test.high)
    return because("within", low=test.low, high=test.high)


def _changed(
    case: UseCase,
    test: Invariance | Direction,
    column: Column,
    package: Package,
    rows: pl.DataFrame,
) -> Behaviour:
    """Run a test that changes one column: one pair of scores, before and after, for each row and
    value."""
    before, after = _pairs(test, column, rows)
    condition = _change(test)
    if before.is_empty():
        untried = because("behaviour_untried", test=test.name, change=condition)
        return _result(test, np.zeros(0, dtype=bool), untried)
    was, becomes = (_scores(case, test, package, side) for side in (before, after))
    if was.ndim == 2:  # the class whose probability moves most
        most = np.abs(becomes - was).argmax(axis=1)[:, None]
        was, becomes = (np.take_along_axis(side, most, 1)[:, 0] for side in (was, becomes))
    change = becomes - was
    wrong = (
        np.abs(change)
        if isinstance(test, Invariance)
        else change * (-1 if test.moves == "up" else 1)
    )
    passed = wrong <= test.tolerance
    worst = int(np.argmax(wrong))
    reason = None
    if passed.mean() < test.share:
        reason = because(
            "behaviour_fails",
            test=test.name,
            change=condition,
            held=int(passed.sum()),
            rows=len(passed),
            share=test.share,
            before=was[worst],
            after=becomes[worst],
            tolerance=test.tolerance,
            row=str(before.row(worst, named=True)),
        )
    elif isinstance(test, Direction) and test.mean and not -wrong.mean() >= test.mean:
        reason = _moves_too_little(test, condition, -wrong.mean())
    return _result(test, passed, reason)


def _moves_too_little(test: Direction, condition: Reason, mean: float) -> Reason:
    needed = test.mean
    if test.moves == "up":
        return because(
            "behaviour_fails_up", test=test.name, change=condition, mean=mean, needed=needed
        )
    return because(
        "behaviour_fails_down", test=test.name, change=condition, mean=mean, needed=needed
    )


def _result(
    test: Invariance | Direction | MinimumFunction, passed: np.ndarray, reason: Reason | None
) -> Behaviour:
    """The record of a test whose rows ``passed`` ``(n_rows,)``; a ``reason`` makes it a failure."""
    return Behaviour(
        name=test.name,
        kind=test.kind,
        passed=reason is None,
        rows=len(passed),
        held=int(passed.sum()),
        reason=reason or "",
    )


def _pairs(
    test: Invariance | Direction, column: Column, rows: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return rows as they are, and with the column changed; only rows whose value changes."""
    if isinstance(test, Direction) and test.add is not None:
        changes = [(pl.col(column.name) + test.add).clip(column.low, column.high)]
    else:
        changes = [pl.lit(value) for value in test.values()]
    before, after = [], []
    for change in changes:
        other = rows.with_columns(change.cast(rows.schema[column.name]).alias(column.name))
        differs = rows[column.name].ne_missing(other[column.name])
        before.append(rows.filter(differs))
        after.append(other.filter(differs))
    return pl.concat(before), pl.concat(after)


def _change(test: Invariance | Direction) -> Reason:
    if isinstance(test, Direction) and test.add is not None:
        return because("changed_by", column=test.column, add=test.add)
    values = ["null" if value is None else str(value) for value in test.values()]
    return because("changed_to", column=test.column, values=values)
