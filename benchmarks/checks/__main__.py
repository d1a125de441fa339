"""``python -m benchmarks.checks [USE_CASE ...]``: the time of ``laurel check``, and beside its
estimate what reading, fitting and packaging all rows takes here. The flows' own time is in neither.

Seconds of the parts are those of a core. Run it on a quiet machine."""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from blocks.lake import Lake
from tasks.checks.bench import ROWS, SEED, Bench
from tasks.checks.candidates import convert_candidate, fit_candidate, package_as_champion
from tasks.checks.cost import estimate, peak_bytes, winner_of
from tasks.checks.reading import load_definition, reach_source, read_rows
from tasks.checks.watched import watch_checks
from tasks.data.dataset import read_periods, write_version
from tasks.data.ingestion import ingest_period
from tasks.models import modelling
from tasks.models.executors import core_threads
from tasks.packages.judging import package_challenger
from tasks.packages.packaging import Origin, make_package
from usecases.definition import holdout_named, last_of, names_before

SHIPPED = ("flights", "diabetes", "digits", "reviews")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("use_case", nargs="*", default=SHIPPED)
    print(f"{'use case':12}{'check':>8}{'part':>10}{'estimate':>10}{'measured':>10}{'ratio':>7}")
    for name in parser.parse_args().use_case:
        start = time.monotonic()
        findings = list(watch_checks(name, ROWS))
        seconds = time.monotonic() - start
        wrong = sum(finding.state == "wrong" for finding in findings)
        print(f"{name:12}{seconds:>6.1f} s{'':>10}{f'{wrong} wrong':>10}", flush=True)
        for finding in findings:
            if finding.state == "wrong":
                print(f"{'':20}{finding.check}: {finding.sentence}")
        program = f"from benchmarks.checks.__main__ import compare; compare({name!r})"
        subprocess.run([sys.executable, "-c", program], check=True)


def compare(name: str) -> None:
    """Print a line for each part that depends on rows, and one for memory."""
    bench = Bench(name, ROWS, SEED)
    with bench.outside():
        for make in (load_definition, reach_source, read_rows):
            make(bench)
        for candidate in bench.case.candidates:
            fit_candidate(bench, candidate.name)
            convert_candidate(bench, candidate.name)
        package_as_champion(bench)
        about = estimate(bench)
        measured = replay(bench)
    expected = {
        "ingest": about.parts["ingest"],
        "fit": about.parts["winner"],
        "package": about.parts["evaluate"],
        "refit": about.parts["promote"],
    }
    for part, seconds in measured.items():
        line(part, expected[part], seconds, "s")
    line("all", sum(expected.values()), sum(measured.values()), "s")
    line("memory", about.peak_bytes / 1e9, peak_bytes() / 1e9, "GB")


def line(part: str, expected: float, measured: float, unit: str) -> None:
    ratio = expected / measured if measured else float("nan")
    print(f"{'':20}{part:>10}{expected:>8.2f} {unit:2}{measured:>7.2f} {unit:2}{ratio:>6.2f}")


def replay(bench: Bench) -> dict[str, float]:
    """The seconds of each part on all rows, in the order of a first retrain."""
    case, seed, took = bench.case, bench.seed, dict[str, float]()
    folder = Path(tempfile.mkdtemp(prefix="laurel-benchmark-"))
    (folder / "lake").mkdir()
    store = Lake(url=f"file://{folder / 'lake'}")
    fresh = Bench(bench.name)  # what the other has read is not read again
    fresh.found = case

    def timed(part: str, start: float) -> None:
        took[part] = took.get(part, 0.0) + time.process_time() - start

    start = time.process_time()
    files = [ingest_period(store, case, period) for period in fresh.source.periods()]
    dataset, _ = write_version(store, case, files)
    timed("ingest", start)
    labelled = dataset.labelled_periods
    judged = last_of(labelled, case.promotion.holdout_periods)
    learned = case.training_window(names_before(judged[0], labelled))
    rows = read_periods(store, dataset, learned, case.label)
    holdout = read_periods(store, dataset, judged, case.label)
    winner, params = winner_of(bench), bench.params(winner_of(bench))
    candidate = case.candidate(winner)
    with core_threads(1) as thread:
        start = time.process_time()
        fitted = thread.submit(modelling.fit, case, candidate, params, rows, seed).result()
        timed("fit", start)
        start = time.process_time()
        origin = Origin(winner, params, dataset.version, dataset.digests(learned), {})
        name = holdout_named(judged)
        package_challenger(folder / "one", case, fitted, origin, rows, name, holdout, seed)
        timed("package", start)
        start = time.process_time()
        both = read_periods(store, dataset, [*learned, *judged], case.label)
        again = thread.submit(modelling.fit, case, candidate, params, both, seed).result()
        make_package(folder / "two", case, again, origin, both, holdout, seed)
        timed("refit", start)
    return took


if __name__ == "__main__":
    main()
