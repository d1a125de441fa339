"""Scores a batch: its rows are read whole, then scored and written chunk by chunk, in memory that
does not grow with them; what was written is seen once all of it is there."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from blocks.clients.registry import DIGEST_TAG
from blocks.lake import Lake
from blocks.registry import ModelRegistry, ModelVersion, RegistryError
from serving.package.model import Package
from serving.records.record import decode, encode
from serving.records.scores import ScoreRun
from tasks.data.kinds import KINDS
from tasks.drift.examine import yardstick_of
from tasks.ledger.reign import CrownUnclear, gone, look, unclear, way_back
from tasks.packages.registered import open_package
from tasks.scores.inputs import CHUNK_ROWS, Batch, read_batch
from tasks.scores.parquet_output import ParquetOutput
from tasks.scores.request import Request, ScoreError, is_database
from tasks.scores.run import Done, Output, Run, name_run
from tasks.scores.scorer import Scorer
from tasks.scores.table_output import TableOutput
from tasks.scores.watch import Watch
from usecases.definition import load

_MOST_REASONS = 20
_MOST_UNKNOWN = 10
Tell = Callable[[int], None]


@dataclass(frozen=True)
class Outcome:
    """``again``: the same run had written its scores before, and nothing was done."""

    record: ScoreRun
    again: bool = False


def find_version(
    store: Lake, models: ModelRegistry, use_case: str, number: str | None
) -> ModelVersion:
    """The version of that number, or else the champion by ledger and registry, of which nothing is
    changed. Raises ``RegistryError`` if there is none, ``CrownUnclear`` if the two disagree, and
    ``UseCaseError`` for an unknown use case.
    """
    use_case = load(use_case).name
    if number is not None:
        versions = {version.number: version for version in models.versions(use_case)}
        if number not in versions:
            known = ", ".join(sorted(versions, key=int)) or "none"
            raise RegistryError(f"{use_case!r} has no version {number}; it has {known}.")
        return versions[number]
    reign = look(store, models, use_case)
    if reign.alias != reign.champion and reign.holder is not None:
        raise CrownUnclear(unclear(reign))
    if reign.champion is None:
        raise RegistryError(
            f"No champion for {use_case!r}. Train one: laurel run retrain {use_case}."
        )
    if reign.version is None:
        raise CrownUnclear(f"{gone(reign)} {way_back(use_case)}")
    return reign.version


def score_batch(
    request: Request,
    version: ModelVersion,
    store: Lake,
    models: ModelRegistry,
    tell: Tell = lambda rows: None,
) -> Outcome:
    """Score the rows of the request with a version; ``tell`` gets the number of rows so far.

    Raises ``ScoreError`` and ``SourceError`` for what a person must change, before a row is scored
    (with ``strict`` at the first refused row), ``PackageError`` for a model that cannot answer, and
    the outages of ``blocks``. Nothing half-written can be seen then."""
    request.check()
    case = load(request.use_case)
    with open_package(models, version) as (package, folder):
        batch = read_batch(request, case, package.manifest)
        if request.strict and batch.extra:
            raise ScoreError(
                f"{batch.name} has columns that are neither inputs nor kept: "
                f"{', '.join(batch.extra)}. Leave them out, or score without --strict."
            )
        sha256 = version.tags[DIGEST_TAG]
        run = Run(
            id=name_run(case.name, sha256, batch.digest, batch.keep, CHUNK_ROWS),
            use_case=case.name,
            version=version.number,
            rows=batch.name,
            time=(request.at or datetime.now(UTC)).replace(microsecond=0),
        )
        output = _output_of(request, batch, run)
        if before := output.begin(run, request.overwrite):
            output.discard()
            if request.strict and before.refused:
                raise ScoreError(
                    f"{before.refused:,} of these rows were refused before: {output.refused_place}."
                )
            return Outcome(_earlier(store, before, output), again=True)
        watch = Watch(case, package.manifest, request.seed)
        job = _Job(request, batch, package, run, output, watch)
        try:
            record = job.score(tell)
            if request.check_drift and record.scored:
                verdicts = watch.verdicts(yardstick_of(package.manifest, folder))
                record = replace(record, drift=list(verdicts))
            store.write(_path(run, output), encode(record))
            output.publish(Done(run, record.scored, record.refused))
        except BaseException:
            with suppress(ConnectionError, ScoreError):
                output.discard()
            raise
        return Outcome(record)


@dataclass
class _Job:
    request: Request
    batch: Batch
    package: Package
    run: Run
    output: Output
    watch: Watch
    _reasons: Counter[str] = field(default_factory=Counter)

    def score(self, tell: Tell) -> ScoreRun:
        """Write all rows."""
        scorer = Scorer(self.package, self.run.version, self.batch.keep, self.run.time)
        row, refused = 0, 0
        for chunk in self.batch.chunks():
            refused += self._score_chunk(scorer, chunk, row)
            row += len(chunk)
            tell(row)
        if not row:
            self._score_chunk(scorer, self._no_rows(), 0)
        return ScoreRun(
            run=self.run.id,
            use_case=self.run.use_case,
            version=self.run.version,
            time=self.run.time.isoformat(),
            rows=self.batch.name,
            output=self.output.place,
            refused_output=self.output.refused_place if refused else "",
            scored=row - refused,
            refused=refused,
            reasons=dict(self._reasons.most_common(_MOST_REASONS)),
            unknown=_frequent(scorer.unknown),
            extra=list(self.batch.extra),
            notes=list(self.batch.notes),
        )

    def _score_chunk(self, scorer: Scorer, chunk: pl.DataFrame, first: int) -> int:
        scored = scorer.score(chunk, first)
        refused = scored.refused
        if self.request.strict and len(refused):
            raise ScoreError(
                f"{self.batch.name}, row {refused['row'][0]:,}: {refused['reason'][0]} Nothing was "
                "written. Without --strict such rows are set aside, and the others scored."
            )
        self._reasons.update(reason.partition(", got ")[0] for reason in refused["reason"])
        self.output.write(scored.answers, refused)
        if self.request.check_drift and len(scored.answers):
            self.watch.add(scored.inputs, scored.answers, self.batch.time)
        return len(refused)

    def _no_rows(self) -> pl.DataFrame:
        kept: dict[str, Any] = dict.fromkeys(self.batch.keep, pl.String)
        inputs = {
            feature.name: KINDS[feature.kind].dtype for feature in self.package.manifest.features
        }
        return pl.DataFrame(schema=kept | inputs)


def _output_of(request: Request, batch: Batch, run: Run) -> Output:
    if request.to and request.to_table and is_database(request.to):
        return TableOutput(request.to, request.to_table)
    name = f"{batch.label}-v{run.version}-{run.id}.parquet"
    return ParquetOutput(request.to or f"lake://scores/{run.use_case}/", name)


def _path(run: Run, output: Output) -> str:
    """The record's: the same rows may be scored into several places."""
    place = hashlib.sha256(output.place.encode()).hexdigest()[:8]
    return f"reports/{run.use_case}/scores/{run.id}-{place}.json"


def _earlier(store: Lake, before: Done, output: Output) -> ScoreRun:
    """The record of a run that is complete: its own, or what its output says."""
    with suppress(FileNotFoundError):
        record = decode(ScoreRun, store.read(_path(before.run, output)))
        return replace(
            record,
            output=output.place,
            refused_output=output.refused_place if before.refused else "",
            time=before.run.time.isoformat(),
        )
    return ScoreRun(
        run=before.run.id,
        use_case=before.run.use_case,
        version=before.run.version,
        time=before.run.time.isoformat(),
        rows=before.run.rows,
        output=output.place,
        refused_output=output.refused_place if before.refused else "",
        scored=before.scored,
        refused=before.refused,
    )


def _frequent(unknown: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    return {
        name: dict(counts.most_common(_MOST_UNKNOWN)) for name, counts in unknown.items() if counts
    }
