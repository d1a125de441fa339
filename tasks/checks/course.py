"""The checks in their order, each of which needs others."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from blocks.lake import LakeAway
from blocks.warehouse import WarehouseAway
from serving.errors import PackageError
from tasks.checks.bench import ROWS, SEED, Bench
from tasks.checks.candidates import (
    check_behaviours,
    check_leaks,
    check_score,
    convert_candidate,
    fit_candidate,
    package_as_champion,
)
from tasks.checks.cost import check_cost
from tasks.checks.evidence import check_contest, check_drift, check_holdout
from tasks.checks.finding import Failed, Finding
from tasks.checks.reading import load_definition, reach_source, read_rows, wrong
from tasks.checks.values import check_columns, check_labels
from tasks.data.dataset import DatasetMissing
from tasks.outside.blocks_of_run import NotRegistered
from tasks.outside.user_code import UseCaseFailed
from tasks.packages.exporters.exporter import NotConvertible
from usecases.definition import SourceError

# What the functions of the flows raise for a fault of the definition, its source or its data.
_FAULTS = (
    UseCaseFailed,
    SourceError,
    LakeAway,
    WarehouseAway,
    NotRegistered,
    NotConvertible,
    PackageError,
    DatasetMissing,
    ValueError,
    MemoryError,
)


@dataclass(frozen=True)
class Check:
    """``make`` is one check, which is not made if one of ``needs`` could not be. ``of`` is the
    candidate that it is about."""

    name: str
    needs: tuple[str, ...]
    make: Callable[[Bench], list[Finding]]
    of: str = ""

    @property
    def key(self) -> str:
        return f"{self.name} {self.of}".rstrip()


_DATA = (
    Check("load", (), load_definition),
    Check("source", ("load",), reach_source),
    Check("schema", ("source",), read_rows),
    Check("columns", ("schema",), check_columns),
    Check("labels", ("schema",), check_labels),
    Check("hold-out", ("labels",), check_holdout),
    Check("drift", ("schema",), check_drift),
)
_JUDGED = (
    Check("score", ("ONNX",), check_score),
    Check("contest", ("score",), check_contest),
    Check("behaviour", ("score",), check_behaviours),
    Check("leak", ("score",), check_leaks),
    Check("package", ("score",), package_as_champion),
    Check("cost", ("package",), check_cost),
)


def run_checks(
    name: str,
    rows: int = ROWS,
    seed: int = SEED,
    begin: Callable[[str], None] = lambda check: None,
) -> Iterator[Finding]:
    """The findings on the use case ``name``, each as it is known. Candidates are fitted on at most
    ``rows`` rows. ``begin`` is told which check begins.

    Needs no server but the source's own. What the code of a use case raises is a finding; other
    errors pass."""
    bench, failed = Bench(name, rows, seed), set[str]()
    yield from _made(_DATA, bench, failed, begin)
    names = [candidate.name for candidate in bench.found.candidates] if bench.found else [""]
    for candidate in names:
        yield from _made(_of_candidate(candidate), bench, failed, begin)
    if bench.judged:
        failed.discard("ONNX")  # one candidate is enough
    yield from _made(_JUDGED, bench, failed, begin)


def _of_candidate(name: str) -> tuple[Check, ...]:
    fit = Check("fit", ("hold-out",), lambda bench: fit_candidate(bench, name), name)
    convert = Check("ONNX", (fit.key,), lambda bench: convert_candidate(bench, name), name)
    return fit, convert


def _made(
    checks: tuple[Check, ...], bench: Bench, failed: set[str], begin: Callable[[str], None]
) -> Iterator[Finding]:
    for check in checks:
        if missing := [need for need in check.needs if need in failed]:
            failed |= {check.name, check.key}
            sentence = f"{check.of}: " * bool(check.of) + f"since {missing[0]} failed"
            yield Finding(check.name, "not checked", sentence)
            continue
        begin(check.key)
        try:
            with bench.outside():
                findings = check.make(bench)
        except Failed as error:
            failed |= {check.name, check.key}
            findings = list(error.findings)
        except _FAULTS as error:
            failed |= {check.name, check.key}
            findings = [_fault(bench, check, error)]
        yield from findings


def _fault(bench: Bench, check: Check, error: BaseException) -> Finding:
    place = bench.lines.named(check.of, "Candidate") if check.of else ""
    return wrong(bench, check.name, str(error) or type(error).__name__, place)
