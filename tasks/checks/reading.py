"""Is the definition right, does its source answer, and are its rows as they are declared?"""

import re
import time
from collections import Counter
from collections.abc import Iterator

import polars as pl

from tasks.checks.bench import Batch, Bench
from tasks.checks.finding import Failed, Finding
from tasks.data.validation import BatchRefused, validate
from usecases.definition import UseCaseError, load, period_named

_PLACE = re.compile(r" at (usecases/\S+) line (\d+)")
_QUOTED = re.compile(r"'([^']+)'")
# Reading stops after these periods if they have rows enough. Only a slow source is read for seconds
# that count: what is found should not depend on how busy the machine is.
_ENOUGH_SECONDS, _MOST_SECONDS, _PERIODS = 15.0, 40.0, 6
_LEAST_ROWS, _MOST_HOLDOUT_ROWS = 2_000, 200_000
_LOOK_BAD, _SHOWN = 0.05, 5


def load_definition(bench: Bench) -> list[Finding]:
    """The file is imported, and each part of the definition is checked."""
    try:
        bench.found = case = load(bench.name)
    except UseCaseError as error:
        place, fault = bench.lines.of_message(str(error))
        raise Failed(wrong(bench, "load", fault, place)) from error
    gate = case.gate
    sign = ">=" if gate.metric.higher_is_better else "<="
    sentence = (
        f"{_count(len(case.columns), 'column')}, {_count(len(case.candidates), 'candidate')}, "
        f"gate {gate.metric.in_words()} {sign} {gate.threshold:g}"
    )
    return [Finding("load", "ok", sentence, numbers={"columns": len(case.columns)})]


def reach_source(bench: Bench) -> list[Finding]:
    """The source names its periods: there are two at least, and none is missing between them."""
    case, place = bench.case, bench.lines.field("source")
    bench.periods = bench.source.periods()
    noun, count = case.period_kind.noun, len(bench.periods)
    if count < 2:
        has = f"one complete {noun}, {bench.periods[0]}" if count else f"no complete {noun}"
        remedy = f"A hold-out and a {noun} before it are needed"
        ways = {"quarter": "month", "month": "week", "week": "day", "day": "hour"}
        way = f'. Or cut rows shorter: period="{ways[noun]}"' if noun in ways else ""
        raise Failed(Finding("source", "wrong", f"It has {has}.", place, f"{remedy}{way}."))
    first, last = bench.periods[0], bench.periods[-1]
    facts = {"periods": count, "first": first, "last": last}
    sentence = f"{_count(count, noun)}, {first} to {last}"
    if missing := _gaps(bench):
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        remedy = (
            "Rows of that time are missing at the source, or periods() leaves them out. A retrain "
            "goes on without them."
        )
        sentence = f"{sentence}, without {_count(len(missing), noun)}: {few}"
        return [Finding("source", "look", sentence, place, remedy, {**facts, "missing": missing})]
    return [Finding("source", "ok", sentence, numbers=facts)]


def _gaps(bench: Bench) -> list[str]:
    """Names of the periods between the first and the last that the source does not have."""
    kind, names = bench.case.period_kind, set(bench.periods)
    period, last = period_named(bench.periods[0]), period_named(bench.periods[-1])
    missing = []
    while (period := kind.next(period)) < last:
        if period.name not in names:
            missing.append(period.name)
    return missing


def read_rows(bench: Bench) -> list[Finding]:
    """Periods are read and validated as an ingest does it: the newest first, until there is a
    hold-out and a labelled period before it, then some spread over the rest."""
    start, refused = time.monotonic(), dict[tuple[str, ...], list[str]]()
    for name in _in_order(bench):
        try:
            bench.batches[name] = _read(bench, name)
        except BatchRefused as error:
            refused.setdefault(error.problems, []).append(name)
        if _suffices(bench, time.monotonic() - start):
            break
    findings = _refusals(bench, refused)
    if not bench.batches:
        raise Failed(*findings)
    return [*findings, _bad_rows(bench)]


def _in_order(bench: Bench) -> Iterator[str]:
    names = bench.periods[::-1]
    while names and len(bench.labelled_periods) <= bench.case.promotion.holdout_periods:
        yield names.pop(0)
    window = set(bench.training_window) if names else set()
    names = [name for name in names if name in window] or names
    while names:  # the oldest, then the middles of what is left
        yield names.pop(-1)
        if names:
            yield names.pop(len(names) // 2)


def _read(bench: Bench, name: str) -> Batch:
    start = time.monotonic()
    rows = bench.source.read(name)
    is_judged = len(bench.labelled_periods) < bench.case.promotion.holdout_periods
    wanted = _MOST_HOLDOUT_ROWS if is_judged else max(bench.most // _PERIODS, _LEAST_ROWS)
    some = rows if len(rows) <= wanted else rows.sample(wanted, seed=bench.seed)
    read, start = time.monotonic() - start, time.process_time()
    checked = validate(bench.case, name, some)
    seconds = (time.process_time() - start) * len(rows) / max(len(some), 1)
    good, reasons = checked.good, checked.reasons
    return Batch(name, len(rows), len(some), good, reasons, read, seconds)


def _suffices(bench: Bench, seconds: float) -> bool:
    """Whether there is a hold-out, and before it rows enough to train on; all that candidates are
    fitted on, unless reading takes long."""
    if len(bench.labelled_periods) <= bench.case.promotion.holdout_periods:
        return False
    label, names = bench.case.label, bench.training_periods
    rows = sum(bench.batches[name].labelled(label) for name in names)
    least = max(bench.case.minimum_training_rows, _LEAST_ROWS)
    enough = rows >= bench.most and len(names) >= _PERIODS
    return enough or (seconds > _ENOUGH_SECONDS and rows >= least) or seconds > _MOST_SECONDS


def _refusals(bench: Bench, refused: dict[tuple[str, ...], list[str]]) -> list[Finding]:
    """A finding for each column and fault, with the periods that have it."""
    findings = dict[str, Finding]()
    for problems, periods in refused.items():
        for problem in problems:
            column = named_in(bench, problem)
            known = findings.get(f"{column} {problem.split(' is ')[0]}" if column else problem)
            if known is None:
                where = f"{periods[-1]}: " if len(refused) > 1 else ""
                key = f"{column} {problem.split(' is ')[0]}" if column else problem
                findings[key] = wrong(bench, "schema", f"{where}{problem}")
    return list(findings.values())


def _bad_rows(bench: Bench) -> Finding:
    counts, bad = Counter[str](), 0
    for batch in bench.batches.values():
        for reason, rows in batch.reasons.items():
            bad += rows
            counts.update({fault.partition(":")[0]: rows for fault in reason.split("; ")})
    looked_at = sum(batch.looked_at for batch in bench.batches.values())
    facts = {"rows": looked_at, "bad": bad, "by_column": dict(counts.most_common())}
    read, of = len(bench.batches), len(bench.periods)
    noun = bench.case.period_kind.noun
    sample = f"{looked_at:,} rows of " + (f"{read} of {of} {noun}s" if read < of else "all")
    if not bad:
        return Finding("schema", "ok", f"{sample}: no bad row", numbers=facts)
    worst = ", ".join(f"{name} {rows}" for name, rows in counts.most_common(_SHOWN))
    sentence = f"{sample}: {bad:,} bad ({bad / looked_at:.2%}): {worst}"
    if bad / looked_at <= _LOOK_BAD:
        return Finding("schema", "ok", sentence, numbers=facts)
    reasons = Counter[str]()
    for batch in bench.batches.values():
        reasons.update(batch.reasons)
    most = reasons.most_common(1)[0][0]
    name = counts.most_common(1)[0][0]
    remedy = (
        f"They go to quarantine, most often: {most}. Widen the column's bounds if they are good."
    )
    return Finding("schema", "look", sentence, bench.lines.named(name), remedy, facts)


def wrong(bench: Bench, check: str, message: str, place: str = "") -> Finding:
    """A finding made of a message of Laurel's: its first sentence, and as remedy the others. The
    place is the line that the message names, or that of the column that it quotes."""
    message = message.removeprefix(f"{bench.name}: ")
    if match := _PLACE.search(message):
        place = f"{match[1]}:{match[2]}"
        message = message.replace(match[0], "", 1)
    if not place and bench.found is not None:
        place = _place_of(bench, message)
    sentence, remedy = _split(message)
    return Finding(check, "wrong", sentence, place, remedy)


def _split(message: str) -> tuple[str, str]:
    """The first sentence and the rest."""
    sentence, dot, rest = message.partition(". ")
    return (f"{sentence}.", rest) if dot else (message, "")


def named_in(bench: Bench, message: str) -> str:
    """The first column, label, key or time of the use case that a message quotes; or empty."""
    case = bench.case
    names = {*case.column_names, *case.key, case.label, case.event_time}
    names |= {candidate.name for candidate in case.candidates}
    return next((name for name in _QUOTED.findall(message) if name in names), "")


def _place_of(bench: Bench, message: str) -> str:
    case, name = bench.case, named_in(bench, message)
    if name in case.column_names:
        return bench.lines.named(name)
    if name == case.label:
        return bench.lines.field("target", "label")
    if name == case.event_time:
        return bench.lines.field("event_time")
    if name in case.key:
        return bench.lines.field("key")
    if name in {candidate.name for candidate in case.candidates}:
        return bench.lines.named(name, "Candidate")
    return bench.lines.field("source")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def concatenated(bench: Bench) -> pl.DataFrame:
    """All good rows that were looked at."""
    return pl.concat([batch.good for batch in bench.batches.values()], how="vertical_relaxed")
