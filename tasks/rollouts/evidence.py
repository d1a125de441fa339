"""What the prediction log says of a rollout: pairs of a shadow, arms of an A/B, requests of a
canary, with the labels that have come.

Only files that the lake got in the rollout's time are read, and of those only days that are not
judged yet and whose labels are in."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
import polars as pl

from blocks.clients.registry import CHAMPION, ROLLOUT
from blocks.lake import Lake
from serving.records.rollout import Rollout, Stage, places_of
from tasks.data.targets import possible_labels, truth_of
from tasks.drift.performance import answers_of
from tasks.log.compacted import LogFile, as_date
from tasks.log.files import for_each, read_batches, read_files
from tasks.log.labels import read_labels, read_rewards
from tasks.rollouts.blocks import Arms, Rows
from tasks.rollouts.course import Sight
from tasks.rollouts.sides import Ratio, Shift, ratio_of, shift_of_pairs, shift_of_sides
from usecases.definition import UseCase

_CLOCKS = timedelta(hours=1)  # by which those of the lake and of the flows may differ
_DAY = timedelta(days=1)
_WHO = ("id", "time", "event_time", "model_version", "sample_rate", "role", "caller_hash")


def look_at(
    store: Lake, case: UseCase, rollout: Rollout, versions: tuple[str, str], now: datetime
) -> Sight:
    """See what has come by ``now`` (UTC). ``versions`` are champion and challenger. Raises
    ``LogDamaged``, ``LakeAway``."""
    since = datetime.fromisoformat(rollout.since) - _CLOCKS
    return read_files(
        store,
        "predictions",
        case.name,
        (date.min, None),
        lambda files: _look_at(store, case, rollout, versions, now, files),
        since,
    )


def _look_at(
    store: Lake,
    case: UseCase,
    rollout: Rollout,
    versions: tuple[str, str],
    now: datetime,
    logged: list[LogFile],
) -> Sight:
    since, stage = datetime.fromisoformat(rollout.since), rollout.now
    recently = _recently(stage, since, now)
    rows = _read(store, case, _files_since(logged, recently), recently)
    ratio, shift = _compare_sides(case, rollout, rows, versions)
    if stage.kind == "canary":
        answered = rows.filter(_by(versions[1], ROLLOUT))
        requests = round((1 / answered["sample_rate"]).sum())
        return Sight(now, requests=requests, ratio=ratio, shift=shift)
    sight = _see_days(store, case, rollout, versions, now, _files_since(logged, since))
    return replace(sight, ratio=ratio, shift=shift)


def _recently(stage: Stage, since: datetime, now: datetime) -> datetime:
    """Since when answers are compared that need no label: a canary's step, or at most two days of
    the others."""
    if stage.kind == "canary":
        return since
    yesterday = datetime.combine(now.astimezone(UTC).date(), time(), UTC) - _DAY
    return max(since, yesterday)


def _compare_sides(
    case: UseCase, rollout: Rollout, rows: pl.DataFrame, versions: tuple[str, str]
) -> tuple[Ratio | None, Shift | None]:
    """What the answers say without labels; ``None`` where that is unknown."""
    if rows.is_empty():
        return None, None
    if rollout.now.kind == "shadow":
        pairs = _pairs(rows, versions)
        champion, challenger = (_answers(case, pairs, side) for side in ("", "_challenger"))
        return None, shift_of_pairs(champion, challenger, rollout.differences)
    arms = _arms(rows, versions)
    is_challenger = arms["is_challenger"].to_numpy()
    callers, answers = arms["caller_hash"], _answers(case, arms, "")
    shift = shift_of_sides(answers, callers, is_challenger, rollout.differences)
    return ratio_of(callers, rollout.share), shift


def _see_days(
    store: Lake,
    case: UseCase,
    rollout: Rollout,
    versions: tuple[str, str],
    now: datetime,
    files: Sequence[LogFile],
) -> Sight:
    """The rows of days that are not judged yet and whose labels are in."""
    since, stage = datetime.fromisoformat(rollout.since), rollout.now
    dated = [(day, file) for file in files if (day := as_date(file.day)) and day <= now.date()]
    if not dated:
        return Sight(now)
    through = max(day for day, _ in dated) - timedelta(days=stage.label_days + 1)
    first = date.fromisoformat(rollout.next_day) if rollout.next_day else date.min
    mature = [file for day, file in dated if first <= day <= through]
    rows = _read(store, case, mature, since)
    if rows.is_empty():
        return Sight(now, through=through.toordinal())
    if stage.kind == "shadow":
        whole = _pairs(rows, versions)
    else:
        whole = _on_their_side(_arms(rows, versions), rollout.share)
    if whole.is_empty():
        return Sight(now, through=through.toordinal())
    ordinals = whole["day"].to_physical().to_numpy() + date(1970, 1, 1).toordinal()
    truth = (
        _truth(store, case, whole)
        if stage.reward_cap is None
        else _rewards(store, case, whole, stage.reward_cap)
    )
    seen: Rows | Arms
    if stage.kind == "shadow":
        champion, challenger = (_answers(case, whole, side) for side in ("", "_challenger"))
        seen = Rows(ordinals, truth, champion, challenger)
    else:
        answers = _answers(case, whole, "")
        if stage.reward_cap is not None and answers.ndim == 2:
            answers = answers[:, 0]  # a reward is none of a class
        seen = Arms(ordinals, truth, answers, whole["is_challenger"].to_numpy())
    return Sight(now, rows=seen, through=through.toordinal())


def _files_since(files: Sequence[LogFile], since: datetime) -> list[LogFile]:
    """The files that may hold answers since then: those that came into the lake later. Their names
    tell when the service was started, which may be months ago."""
    return [file for file in files if file.day and file.arrived >= since - _CLOCKS]


def _read(store: Lake, case: UseCase, files: Sequence[LogFile], since: datetime) -> pl.DataFrame:
    """The rows answered since then: who answered, the model's numbers, and the day of the event."""
    numbers = [output.name for output in case.outputs if output.kind == "number"]
    wanted = [*_WHO, *numbers]
    parts: dict[str, list[pl.DataFrame]] = {file.path: [] for file in files}

    def take(file: LogFile) -> None:
        for batch in read_batches(
            store, file.path, lambda schema: [name for name in wanted if name in schema.names]
        ):
            rows = pl.from_arrow(batch)
            assert isinstance(rows, pl.DataFrame)
            parts[file.path].append(_conform(rows, numbers, since))

    for_each(files, take)
    read = [rows for of_file in parts.values() for rows in of_file]
    if not read:
        empty = {name: pl.Float64() for name in ("sample_rate", *numbers)}
        text = {name: pl.String() for name in ("id", "model_version", "role")}
        return pl.DataFrame(schema={**text, **empty, "caller_hash": pl.UInt32(), "day": pl.Date()})
    return pl.concat(read)


def _conform(rows: pl.DataFrame, numbers: Sequence[str], since: datetime) -> pl.DataFrame:
    defaults = {"role": CHAMPION, "sample_rate": 1.0}
    defaults |= dict.fromkeys(("model_version", "event_time", "caller_hash"))
    missing = [pl.lit(value).alias(name) for name, value in defaults.items() if name not in rows]
    missing += [pl.lit(None, pl.Float64).alias(name) for name in numbers if name not in rows]
    rows = rows.with_columns(missing)
    answered = pl.col("time").dt.convert_time_zone("UTC")
    event = pl.coalesce(
        pl.col("event_time").cast(pl.Datetime("us")),
        answered.dt.replace_time_zone(None).cast(pl.Datetime("us")),
    )
    return rows.filter(answered >= since).select(
        pl.col("id", "model_version", "role").cast(pl.String),
        pl.col("sample_rate", *numbers).cast(pl.Float64),
        pl.col("caller_hash").cast(pl.UInt32),
        event.dt.date().alias("day"),
    )


def _by(version: str, role: str) -> pl.Expr:
    return (pl.col("model_version") == version) & (pl.col("role") == role)


def _pairs(rows: pl.DataFrame, versions: tuple[str, str]) -> pl.DataFrame:
    """One row for each id that both answered; the challenger's columns end in ``_challenger``."""
    champion, challenger = (
        rows.filter(_by(version, role)).unique("id", keep="first", maintain_order=True)
        for version, role in zip(versions, (CHAMPION, ROLLOUT), strict=True)
    )
    return champion.join(challenger, on="id", how="inner", suffix="_challenger")


def _arms(rows: pl.DataFrame, versions: tuple[str, str]) -> pl.DataFrame:
    champion, challenger = versions
    is_challenger = _by(challenger, ROLLOUT)
    return (
        rows.filter(is_challenger | _by(champion, CHAMPION))
        .unique("id", keep="first", maintain_order=True)
        .with_columns(is_challenger.alias("is_challenger"))
    )


def _on_their_side(arms: pl.DataFrame, share: float) -> pl.DataFrame:
    """Without what the champion answered to the challenger's callers, such as requests that the
    challenger failed: they would make the champion's side another population."""
    belongs = pl.col("caller_hash") < places_of(share)
    return arms.filter((belongs == pl.col("is_challenger")).fill_null(True))


def _answers(case: UseCase, rows: pl.DataFrame, side: str) -> np.ndarray:
    names = [output.name for output in case.outputs if output.kind == "number"]
    return answers_of(case, rows.select(pl.col(f"{name}{side}").alias(name) for name in names))


def _truth(store: Lake, case: UseCase, rows: pl.DataFrame) -> np.ndarray:
    """The labels ``(n_rows,)`` that have come; ``nan`` without one."""
    first: date = rows["day"].min()  # type: ignore[assignment]
    labels = read_labels(store, case, first.isoformat(), rows["id"])
    known = rows.select("id").join(labels, on="id", how="left", maintain_order="left")
    truth = np.full(len(rows), np.nan)
    given = known["label"].is_not_null()
    given &= possible_labels(case, known["label"]).fill_null(False)
    flags = given.to_numpy()
    truth[flags] = truth_of(case, known["label"].filter(given))
    return truth


def _rewards(store: Lake, case: UseCase, rows: pl.DataFrame, cap: float) -> np.ndarray:
    """The rewards ``(n_rows,)`` that have come, cut off at ``cap`` on either side; ``nan`` without
    one."""
    first: date = rows["day"].min()  # type: ignore[assignment]
    rewards = read_rewards(store, case, first.isoformat(), rows["id"])
    known = rows.select("id").join(rewards, on="id", how="left", maintain_order="left")
    return known["reward"].clip(-cap, cap).fill_null(np.nan).to_numpy()
