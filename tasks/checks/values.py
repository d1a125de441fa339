"""Do the columns say anything, and are labels there in every class and period?"""

import numpy as np
import polars as pl

from tasks.checks.bench import Bench
from tasks.checks.finding import Failed, Finding, State
from tasks.checks.reading import concatenated
from tasks.data.kinds import KINDS
from tasks.data.targets import lacks
from usecases.definition import Binary, Classes, Column

_NEAR = 0.8  # of the tolerated share of nulls
_MANY_CATEGORIES = 255  # as many as scikit-learn's boosting tells apart
_FEW_POSITIVE = 0.01


def check_columns(bench: Bench) -> list[Finding]:
    """No column is null throughout, constant, or of more categories than rows can teach."""
    rows, findings = concatenated(bench), list[Finding]()
    shares = {name: _worst_nulls(bench, name) for name in bench.case.column_names}
    for column in bench.case.columns:
        fault = _fault(column, rows[column.name], *shares[column.name])
        if fault is not None:
            state, sentence, remedy = fault
            place = bench.lines.named(column.name)
            findings.append(Finding("columns", state, sentence, place, remedy))
    facts = {"nulls": {name: round(share, 4) for name, (share, _) in shares.items() if share}}
    if findings:
        return [*findings]
    name = max(shares, key=lambda name: shares[name][0])
    share, period = shares[name]
    most = f"most nulls: {name} {share:.1%} in {period}" if share else "no nulls"
    return [Finding("columns", "ok", f"{len(shares)} as declared; {most}", numbers=facts)]


def _worst_nulls(bench: Bench, name: str) -> tuple[float, str]:
    """The largest share of nulls of a period, and that period."""
    shares = [
        (batch.good[name].null_count() / max(len(batch.good), 1), batch.period)
        for batch in bench.batches.values()
    ]
    return max(shares, key=lambda share: share[0])


def _fault(
    column: Column, values: pl.Series, nulls: float, period: str
) -> tuple[State, str, str] | None:
    """A state, a sentence and a remedy; ``None`` for a sound column."""
    name = repr(column.name)
    if values.null_count() == len(values):
        remedy = "Nothing can be learned from it: repair the source, or remove the column."
        return "wrong", f"{name} is null in all {len(values):,} rows", remedy
    if nulls > _NEAR * column.null_tolerance > 0:
        sentence = f"{name} is {nulls:.1%} null in {period}, tolerated {column.null_tolerance:.1%}"
        remedy = "A little more, and the batch is refused: raise null_tolerance if that is usual."
        return "look", sentence, remedy
    if KINDS[column.kind].wide:
        return None
    distinct = values.drop_nulls().n_unique()
    if distinct == 1 and not values.null_count():
        shown = str(values[0])[:30]
        return "look", f"{name} is {shown} in all rows", "It tells nothing: remove it."
    if column.kind == "category" and distinct > _MANY_CATEGORIES:
        sentence = f"{name} has {distinct:,} categories in {len(values):,} rows"
        remedy = (
            "Few rows teach a model each of them, and new ones are like nulls. An id? Remove it; a "
            'text? kind="text"; otherwise group them in the source.'
        )
        return "look", sentence, remedy
    return None


def check_labels(bench: Bench) -> list[Finding]:
    """Labels are known for two periods at least, and are of each class."""
    case, place = bench.case, bench.lines.field("target", "label")
    known = concatenated(bench)[case.label].drop_nulls()
    labelled = bench.labelled_periods
    if len(labelled) < 2:
        noun = case.period_kind.noun
        share = len(known) / max(sum(len(batch.good) for batch in bench.batches.values()), 1)
        sentence = (
            f"{len(labelled)} {noun}s have labels for half of their rows; of all rows {share:.0%} "
            "have one."
        )
        remedy = (
            f"A hold-out and a {noun} before it are needed: wait for labels, or check "
            f"{case.label!r}."
        )
        raise Failed(Finding("labels", "wrong", sentence, place, remedy))
    if missing := lacks(case, known):
        remedy = "Nothing can be learned from them: check the source and the target."
        raise Failed(
            Finding("labels", "wrong", f"{len(known):,} labels, and {missing}", place, remedy)
        )
    waiting = len(bench.batches) - len(labelled)
    late = f"; {waiting} of {len(bench.batches)} periods wait for labels" if waiting else ""
    sentence, facts, rare = _balance(bench, labelled)
    if rare:
        remedy = "Learning and judging need more of them: longer periods, or more of them held out."
        return [Finding("labels", "look", f"{sentence}{late}", place, remedy, facts)]
    return [Finding("labels", "ok", f"{sentence}{late}", numbers=facts)]


def _balance(bench: Bench, labelled: list[str]) -> tuple[str, dict[str, object], bool]:
    """How the labels are spread over the periods, and whether a class is rarer than a contest
    needs."""
    case, noun = bench.case, bench.case.period_kind.noun
    known = {name: bench.batches[name].good[case.label].drop_nulls() for name in labelled}
    if not isinstance(case.target, Binary | Classes):
        middles = {name: float(np.median(values.to_numpy())) for name, values in known.items()}
        low, high = min(middles.values()), max(middles.values())
        return f"median {low:g} to {high:g} a {noun}", {"median": middles}, False
    least = case.promotion.minimum_class_rows
    if isinstance(case.target, Binary):
        counts = {name: _full(bench, name, int(values.sum())) for name, values in known.items()}
        no = {name: _full(bench, name, int((values == 0).sum())) for name, values in known.items()}
        share = sum(counts.values()) / (sum(counts.values()) + sum(no.values()))
        sentence = f"{_span(list(counts.values()))} yes a {noun} ({share:.1%})"
        rare = min(*counts.values(), *no.values()) < least or share < _FEW_POSITIVE
        return sentence, {"positive": counts, "share": share}, rare
    by_class = {
        name: [
            _full(bench, period, int((values == name).sum())) for period, values in known.items()
        ]
        for name in case.target.classes
    }
    rarest = min(by_class, key=lambda name: sum(by_class[name]))
    sentence = f"{len(by_class)} classes; {_span(by_class[rarest])} of {rarest!r} a {noun}"
    totals = {name: sum(counts) for name, counts in by_class.items()}
    return sentence, {"classes": totals}, min(by_class[rarest]) < least


def _full(bench: Bench, period: str, count: int) -> int:
    """A count among the rows looked at, as one of all rows of the period."""
    batch = bench.batches[period]
    return round(count * batch.rows / max(batch.looked_at, 1))


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
