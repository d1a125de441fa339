"""Who may be judged on what, and the contest of two models' scores on the same labelled rows. Pure,
but for the digests of rows.
"""

import numpy as np
import polars as pl

from serving.package.model import Manifest
from serving.records.contest import Contest
from tasks.contest.verdict import hold
from tasks.data.dataset import DatasetVersion
from tasks.data.row_digests import Seen
from tasks.models import modelling
from usecases.definition import UseCase, period_named


def judge_rows(
    case: UseCase, rows: pl.DataFrame, champion: np.ndarray, challenger: np.ndarray, seed: int
) -> Contest:
    """The contest on labelled ``rows``: blocks from the event time, slices from the promotion
    rule's columns.
    """
    policy = case.promotion
    block = blocks_of(case, rows).to_numpy()
    slices = {
        f"{name}={value}": (rows[name] == value).fill_null(False).to_numpy()
        for name in policy.slices
        for value in rows[name].drop_nulls().unique().sort()
    }
    return hold(
        policy,
        case.gate.metric,
        modelling.labels(case, rows),
        champion,
        challenger,
        block,
        slices,
        seed,
    )


def blocks_of(case: UseCase, rows: pl.DataFrame) -> pl.Series:
    width = {"hour": "1h", "day": "1d", "week": "1w"}[case.promotion.block]
    return rows[case.event_time].dt.truncate(width)


def seen(
    who: str, trained_on: dict[str, str], dataset: DatasetVersion, holdout: str, rows: Seen
) -> list[str]:
    """Why a contest on ``holdout`` would be unfair: by the period's name, by the digest of its
    file, and by the digests of its rows.
    """
    digest = dataset.digests([holdout])[holdout]
    if holdout in trained_on or digest in trained_on.values():
        return [f"{who} was trained on {holdout}, so it cannot be judged on it"]
    last = max(trained_on, key=period_named)
    if period_named(last) > period_named(holdout):
        return [
            (
                f"{who} was trained through {last}, later than {holdout}: it knows "
                "the future of those rows"
            )
        ]
    return rows.why_unfair(who, trained_on)


def other_schema(case: UseCase, who: str, manifest: Manifest) -> list[str]:
    """Why a challenger made for other columns is not judged: the use case has changed since, and so
    has what callers send.
    """
    made, wanted = (
        {(one.name, one.kind) for one in manifest.features},
        {(one.name, one.kind) for one in case.columns},
    )
    if made == wanted and manifest.label == case.label:
        return []
    differ = sorted(
        {name for name, _ in made ^ wanted}
        | ({manifest.label, case.label} if manifest.label != case.label else set())
    )
    return [
        (
            f"{who} was made for another schema; it differs in {', '.join(differ)}. Make one: "
            f"prefect deployment run 'retrain/{case.name}'"
        )
    ]
