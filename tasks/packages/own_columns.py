"""A model scores rows with the columns that it was trained with, even if the use case now has
others.

Missing columns are joined by key from the use case's source, which may still provide an old column,
and from files of the same period that an earlier schema left in the lake. A column of another kind,
or one whose categories were all renamed, is not its own."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import polars as pl

from blocks.lake import Lake
from blocks.warehouse import WarehouseAway
from serving.package.manifest import Feature, Manifest
from serving.records.reasons import because
from tasks.data.kinds import KINDS
from tasks.data.row_digests import is_rounded
from tasks.data.sources import source_of
from tasks.outside.blocks_of_run import NotRegistered
from usecases.definition import Column, SourceError, UseCase, periods_of

_THERE = "_there"


class OtherColumns(LookupError):
    """The rows to score are not available with the model's own columns. The message names them."""


def as_champion(case: UseCase, manifest: Manifest) -> UseCase:
    """Return the use case with the inputs of the package: those are what its prediction log has.

    A column that the use case dropped is judged by its distance alone: nothing declares its values
    any more."""
    declared = {column.name: column for column in case.columns}

    def column(feature: Feature) -> Column:
        own = declared.get(feature.name)
        if own is not None and own.kind == feature.kind:
            return own
        return Column(
            name=feature.name,
            kind=feature.kind,
            nullable=True,
            null_tolerance=1.0,
            description=feature.description,
        )

    return case.model_copy(
        update={"columns": tuple(column(feature) for feature in manifest.features)}
    )


def own_rows(
    store: Lake, case: UseCase, manifest: Manifest, rows: pl.DataFrame, holdout: str
) -> pl.DataFrame:
    """Return ``rows`` of a hold-out, its periods in order, with the columns of the package.

    Raises ``OtherColumns``, and ``LakeAway``."""
    completed = [
        _own_rows(store, case, manifest, of_period, period)
        for period, of_period in _by_period(case, rows, periods_of(holdout))
    ]
    return completed[0] if len(completed) == 1 else pl.concat(completed, how="diagonal_relaxed")


def _by_period(
    case: UseCase, rows: pl.DataFrame, periods: Sequence[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    if len(periods) == 1:
        yield periods[0], rows
        return
    for period in periods:
        yield period, rows.filter(case.period_of_rows == period)


def _own_rows(
    store: Lake, case: UseCase, manifest: Manifest, rows: pl.DataFrame, period: str
) -> pl.DataFrame:
    features = {feature.name: feature for feature in manifest.features}
    lacking = _lacking(features, rows)
    for other in _elsewhere(store, case, period) if lacking else ():
        rows = _filled(case, rows, other, {name: features[name] for name in lacking})
        lacking = _lacking(features, rows)
        if not lacking:
            break
    if lacking:
        needs = "; ".join(f"{name!r} {why}" for name, why in lacking.items())
        raise OtherColumns(because("columns_are_gone", period=period, columns=needs))
    return rows


def _lacking(features: Mapping[str, Feature], rows: pl.DataFrame) -> dict[str, str]:
    """Return the features that ``rows`` cannot provide, and why."""
    misfits = {name: _misfit(feature, rows) for name, feature in features.items()}
    return {name: why for name, why in misfits.items() if why}


def _misfit(feature: Feature, rows: pl.DataFrame) -> str:
    """Return why a column of ``rows`` is not the feature; empty if it is."""
    if feature.name not in rows.columns:
        return f"(a {feature.kind}) is missing"
    values = rows[feature.name]
    fits = KINDS[feature.kind].holds(values.dtype)
    if values.null_count() < len(values) and not fits:
        now = [f"a {name}" for name, kind in KINDS.items() if kind.holds(values.dtype)]
        return f"is {now[0] if now else values.dtype} now and was a {feature.kind}"
    if fits and values.dtype != pl.Null and (misfit := KINDS[feature.kind].misfit(values)):
        return misfit
    if not feature.nullable and values.null_count():
        return f"is null in {values.null_count()} rows, and was never null"
    present = values.drop_nulls()
    if (
        feature.categories
        and fits
        and len(present)
        and not present.cast(pl.String).is_in(feature.categories).any()
    ):
        return f"has none of the values that the model knows, such as {feature.categories[0]!r}"
    return ""


def _filled(
    case: UseCase, rows: pl.DataFrame, other: pl.DataFrame, features: Mapping[str, Feature]
) -> pl.DataFrame:
    """Return ``rows`` with those ``features`` that ``other`` has for every row, joined by the use
    case's key. Keys that were rounded would join the columns of other rows."""
    keys = list(case.key)
    if not set(keys) <= set(other.columns) or any(is_rounded(other[key]) for key in keys):
        return rows
    names = list(_fitting(features, other))
    if not names:
        return rows
    typed = [KINDS[features[name].kind].normalize(name) for name in names]
    same_keys = [pl.col(key).cast(rows.schema[key], strict=False) for key in keys]
    matching = other.select(*same_keys, *typed, pl.lit(True).alias(_THERE)).unique(
        keys, keep="first"
    )
    joined = rows.drop(names, strict=False).join(
        matching, on=keys, how="left", maintain_order="left"
    )
    return rows if joined[_THERE].null_count() else joined.drop(_THERE)


def _fitting(features: Mapping[str, Feature], other: pl.DataFrame) -> Iterator[str]:
    """Yield the features that ``other`` can provide. Nulls are judged on the scored rows, not on
    all of ``other``."""
    for name, feature in features.items():
        some = other.filter(pl.col(name).is_not_null()) if name in other.columns else other
        if not _misfit(feature, some):
            yield name


def _elsewhere(store: Lake, case: UseCase, period: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of the period as the source provides them now, with any other columns, and as
    earlier schemas kept them."""
    with suppress(
        SourceError, NotRegistered, WarehouseAway
    ):  # the lake may have what the source no longer has
        yield source_of(case).read(period)
    for path in store.list(f"datasets/{case.name}/periods"):
        if path.rpartition("/")[2].rpartition("-")[0] == period:
            yield pl.read_parquet(io.BytesIO(store.read(path)))
