"""A model scores rows with the columns that it was made for, also where the use case has others by
now.

What the rows lack is taken by their key from the use case's source, which may go on giving an old
column, and from files of the same period that an earlier schema left in the lake. A column of
another kind, or one whose categories were all written anew, is not its own.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress

import polars as pl

from blocks.lake import Lake
from blocks.warehouse import WarehouseAway
from serving.package.manifest import Feature, Manifest
from tasks.data.kinds import KINDS
from tasks.data.sources import source_of
from tasks.outside.blocks_of_run import NotRegistered
from usecases.definition import Column, SourceError, UseCase

_THERE = "_there"


class OtherColumns(LookupError):
    """The rows that a model would be scored on are not to be had with its own columns.

    The message names them.
    """


def as_champion(case: UseCase, manifest: Manifest) -> UseCase:
    """The use case with the inputs of the package: those are what its prediction log has.

    A column that the use case dropped is judged by its distance alone: nobody says what it may hold
    any more.
    """
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
    store: Lake, case: UseCase, manifest: Manifest, rows: pl.DataFrame, period: str
) -> pl.DataFrame:
    """``rows`` of ``period`` with the columns of the package.

    Raises ``OtherColumns``, and ``LakeAway``.
    """
    features = {feature.name: feature for feature in manifest.features}
    lacking = _lacking(features, rows)
    for other in _elsewhere(store, case, period) if lacking else ():
        rows = _filled(case, rows, other, {name: features[name] for name in lacking})
        lacking = _lacking(features, rows)
        if not lacking:
            break
    if lacking:
        needs = "; ".join(f"{name!r} {why}" for name, why in lacking.items())
        raise OtherColumns(
            f"the rows of {period}, the source and the older files of the lake do not have "
            f"its columns: {needs}"
        )
    return rows


def _lacking(features: Mapping[str, Feature], rows: pl.DataFrame) -> dict[str, str]:
    """The features that ``rows`` cannot give, and why."""
    misfits = {name: _misfit(feature, rows) for name, feature in features.items()}
    return {name: why for name, why in misfits.items() if why}


def _misfit(feature: Feature, rows: pl.DataFrame) -> str:
    """Why a column of ``rows`` is not the feature; empty where it is."""
    if feature.name not in rows.columns:
        return f"(a {feature.kind}) is missing"
    values = rows[feature.name]
    fits = KINDS[feature.kind].holds(values.dtype)
    if values.null_count() < len(values) and not fits:
        now = [f"a {name}" for name, kind in KINDS.items() if kind.holds(values.dtype)]
        return f"is {now[0] if now else values.dtype} now and was a {feature.kind}"
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
    """``rows`` with those of the ``wanted`` columns that ``other`` has for every one of them, by
    the use case's key.
    """
    keys = list(case.key)
    if not set(keys) <= set(other.columns):
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
    """Nulls are judged on the rows that are scored, and not on all of ``other``."""
    for name, feature in features.items():
        some = other.filter(pl.col(name).is_not_null()) if name in other.columns else other
        if not _misfit(feature, some):
            yield name


def _elsewhere(store: Lake, case: UseCase, period: str) -> Iterator[pl.DataFrame]:
    """The rows of the period as the source gives them now, with whatever other columns it has, and
    as earlier schemas kept them.
    """
    with suppress(
        SourceError, NotRegistered, WarehouseAway
    ):  # the lake may have what the source has no more
        yield source_of(case).read(period)
    for path in store.list(f"datasets/{case.name}/periods"):
        if path.rpartition("/")[2].startswith(f"{period}-"):
            yield pl.read_parquet(io.BytesIO(store.read(path)))
