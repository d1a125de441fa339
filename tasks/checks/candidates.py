"""Can each candidate be fitted and served, does one pass the gate, and does it behave?"""

import math
import time

import polars as pl

from serving.package.model import load as load_package
from tasks.checks.bench import Bench, Fit, Judged
from tasks.checks.finding import Failed, Finding
from tasks.contest.behaviour import try_behaviours
from tasks.contest.leaks import (
    column_doubts,
    rank_columns,
    strongest_column,
    suspects,
    yardstick,
)
from tasks.data.targets import lacks
from tasks.measures.metrics import score
from tasks.models import modelling
from tasks.models.executors import core_threads
from tasks.packages.judging import package_challenger, score_holdout
from tasks.packages.packaging import Origin, make_package
from tasks.packages.rehearsal import draw_sample, rehearse

_WATCHED_ROWS = 4_000


def fit_candidate(bench: Bench, name: str) -> list[Finding]:
    """The candidate goes through a rehearsal on a few rows, and is fitted on the sample: on one
    core, since others may use the rest."""
    case, rows, seed = bench.case, bench.training, bench.seed
    candidate, params = case.candidate(name), bench.params(name)
    with core_threads(1) as thread:
        thread.submit(rehearse, case, candidate, params, rows, seed).result()
        few = draw_sample(case, rows, seed)
        timed = [
            thread.submit(_fitted, bench, name, some).result()
            for some in ([few, rows] if len(few) < len(rows) / 2 else [rows])
        ]
    pipeline, seconds = timed[-1]
    few_seconds, few_rows = timed[0][1], len(few) if len(timed) > 1 else len(rows)
    bench.fits[name] = Fit(name, pipeline, len(rows), seconds, few_rows, few_seconds)
    sentence = f"{name}: {len(rows):,} rows in {seconds:.1f} s"
    return [Finding("fit", "ok", sentence, numbers={"candidate": name, "seconds": seconds})]


def _fitted(bench: Bench, name: str, rows: object) -> tuple[object, float]:
    case = bench.case
    start = time.process_time()  # a busy machine makes no fit longer
    fitted = modelling.fit(case, case.candidate(name), bench.params(name), rows, bench.seed)  # type: ignore[arg-type]
    return fitted, time.process_time() - start


def convert_candidate(bench: Bench, name: str) -> list[Finding]:
    """The fitted candidate becomes a package, whose ONNX answers as it does on the hold-out."""
    case, pipeline, rows = bench.case, bench.fits[name].pipeline, bench.proof
    scores = score_holdout(case, pipeline, rows)
    digests = dict.fromkeys(bench.training_periods, "")
    origin = Origin(name, bench.params(name), "check", digests, scores)
    folder = bench.folder / f"package-{len(bench.packages)}"
    start = time.process_time()
    saved = package_challenger(
        folder, case, pipeline, origin, bench.training, bench.holdout_name, rows, bench.seed
    )
    bench.package_seconds[name] = time.process_time() - start
    bench.packages[name] = load_package(folder, saved.sha256)
    manifest = saved.manifest
    interval = manifest.holdout_intervals.get(case.gate.metric.name)
    predicted = modelling.predict(pipeline, case, rows)
    bench.judged[name] = Judged(scores, interval, predicted)
    parity = manifest.parity
    sentence = (
        f"{name}: largest difference {parity.largest_difference:.0e} on {parity.rows:,} rows, "
        f"{parity.changed_decisions} changed decisions"
    )
    facts = {"candidate": name, "largest_difference": parity.largest_difference}
    return [Finding("ONNX", "ok", sentence, numbers=facts)]


def package_as_champion(bench: Bench) -> list[Finding]:
    """The best candidate's package gets what its drift checks are judged by, as that of a champion
    does: of some rows, since each fold is fitted anew."""
    case, name = bench.case, bench.best
    rows = bench.training
    some = rows if len(rows) <= _WATCHED_ROWS else draw(bench, rows)
    digests = dict.fromkeys(some.select(case.period_of_rows).to_series().unique(), "")
    origin = Origin(name, bench.params(name), "check", digests, bench.judged[name].scores)
    start = time.process_time()
    saved = make_package(
        bench.folder / "champion",
        case,
        bench.fits[name].pipeline,
        origin,
        some,
        bench.proof.head(_WATCHED_ROWS),
        bench.seed,
    )
    bench.champion_seconds, bench.champion_rows = time.process_time() - start, len(some)
    manifest = saved.manifest
    count = len(manifest.drift_thresholds)
    facts = {"thresholds": count, "calibrated": manifest.drift_calibrated}
    how = "calibrated" if manifest.drift_calibrated else "not calibrated"
    return [Finding("package", "ok", f"{name}: {count} drift thresholds, {how}", numbers=facts)]


def draw(bench: Bench, rows: pl.DataFrame) -> pl.DataFrame:
    """Some of ``rows`` in their order; all if a class would be missing."""
    drawn = rows.with_row_index("at").sample(_WATCHED_ROWS, seed=bench.seed).sort("at").drop("at")
    return rows if lacks(bench.case, drawn[bench.case.label]) else drawn


def check_score(bench: Bench) -> list[Finding]:
    """The best candidate reaches the gate on the hold-out, as far as the sample tells."""
    case, gate, name = bench.case, bench.case.gate, bench.best
    judged = bench.judged[name]
    reached = judged.scores[gate.metric.name]
    low, high = judged.interval or (math.nan, math.nan)
    sign = ">=" if gate.metric.higher_is_better else "<="
    metric = gate.metric.in_words()
    within = f" ({low:.3f} to {high:.3f})" if judged.interval else ""
    sentence = f"{name}: {metric} {reached:.3f}{within}, gate {sign} {gate.threshold:g}"
    facts = {
        "candidate": name,
        "metric": gate.metric.name,
        "score": reached,
        "low": low if judged.interval else None,
        "high": high if judged.interval else None,
        "gate": gate.threshold,
        "scores": {other: each.scores[gate.metric.name] for other, each in bench.judged.items()},
    }
    if not math.isfinite(reached):
        place = bench.lines.field("gate")
        remedy = "The metric does not exist on the hold-out: another metric, or more rows."
        raise Failed(Finding("score", "wrong", f"{name}: {metric} has no value", place, remedy))
    if case.promotion.too_good(gate.metric, reached):
        remedy = (
            "Too good to be true: nothing would be promoted. See leak; else raise suspicious_score."
        )
        place = bench.lines.field("promotion", "gate")
        return [Finding("score", "wrong", sentence, place, remedy, facts)]
    if gate.passes(reached):
        return [Finding("score", "ok", sentence, numbers=facts)]
    place = bench.lines.field("gate")
    more = bench.training_rows() > len(bench.training)
    tuned = [candidate.name for candidate in case.candidates if candidate.search]
    hopes = [
        *(["more rows"] if more else []),
        *([f"HPO of {' and '.join(tuned)}"] if tuned else []),
    ]
    hope = f"A retrain has {' and '.join(hopes)}, which may be enough. " if hopes else ""
    remedy = f"{hope}Otherwise better columns or candidates, or a lower gate."
    # With more rows the score rises, by nobody knows how much: as far again as it is uncertain.
    best_end = high if gate.metric.higher_is_better else low
    best_end += (best_end - reached) * more
    possible = bool(judged.interval) and gate.passes(best_end)
    return [Finding("score", "look" if possible else "wrong", sentence, place, remedy, facts)]


def check_behaviours(bench: Bench) -> list[Finding]:
    """The best candidate's package does what the use case declares."""
    case, name = bench.case, bench.best
    tried = try_behaviours(case, bench.packages[name], bench.proof, bench.seed)
    if not tried:
        place = bench.lines.field("behaviours")
        sentence = "none declared"
        return [Finding("behaviour", "ok", sentence, place, numbers={"declared": 0})]
    whole = len(bench.training) >= bench.training_rows()
    advice = "A challenger that fails it is never promoted: relax the test, or mend the model."
    if not whole:
        advice = f"A retrain has more rows, which may be enough. Otherwise: {advice}"
    failed = [
        Finding(
            "behaviour",
            "wrong" if whole else "look",
            result.reason.partition(": {")[0],
            bench.lines.named(result.name, "Behaviour"),
            advice,
            {"name": result.name, "passed": result.held, "rows": result.rows},
        )
        for result in tried
        if not result.passed
    ]
    facts = {"declared": len(tried)}
    return failed or [
        Finding("behaviour", "ok", f"{len(tried)} of {len(tried)} pass", numbers=facts)
    ]


def check_leaks(bench: Bench) -> list[Finding]:
    """No column tells the label alone, as one does that is written after it."""
    case, name = bench.case, bench.best
    measure, gate = yardstick(case.gate.metric), case.gate.metric
    ranked = rank_columns(case, bench.training)
    truth = modelling.labels(case, bench.proof)
    ours = score(measure, truth, bench.judged[name].predicted)
    alone = strongest_column(case, bench.proof)
    doubted = {alone.column} if column_doubts(case.promotion, gate, alone, ours, None) else set()
    named = {suspect.column for suspect in suspects(case, ranked)} | doubted
    words = measure.in_words()
    facts = {"alone": {each.column: round(each.score, 4) for each in ranked[:10]}}
    if not named:
        best = ranked[0]
        sentence = f"no column alone: {best.column} {words} {best.score:.2f}, the model {ours:.2f}"
        return [Finding("leak", "ok", sentence, numbers=facts)]
    findings = []
    for each in ranked:
        if each.column in named:
            rest = next((other.score for other in ranked if other.column not in named), math.nan)
            sentence = f"{each.column}: {words} {each.score:.2f} alone, next {rest:.2f}"
            remedy = (
                f"Known only after {case.label!r}? Remove the column. Known when a model is asked? "
                "Write trusted=True."
            )
            place = bench.lines.named(each.column)
            numbers = {"column": each.column, "alone": each.score, "next": rest}
            findings.append(Finding("leak", "wrong", sentence, place, remedy, numbers))
    return findings
