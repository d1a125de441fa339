"""Faults that no single column's distance shows, planted into a real month that is sound."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.studies import sampled, scored
from benchmarks.drift.world import Champion
from serving.records.drift import DriftVerdict
from usecases.definition import SCORE

Fault = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]
MONTH = "2013-11"


def in_some(name: str, value: object, share: float = 1.0) -> Fault:
    """``value``, an expression too, in a random ``share`` of the rows."""

    def spoil(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        there = pl.Series(chance.random(len(rows)) < share)
        new = value if isinstance(value, pl.Expr) else pl.lit(value)
        return rows.with_columns(pl.when(there).then(new).otherwise(pl.col(name)).alias(name))

    return spoil


def of_other_rows(*names: str, share: float = 1.0) -> Fault:
    """Each of the columns shuffled by itself, in a random ``share`` of the rows."""

    def spoil(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        for name in names:
            order = chance.permutation(len(rows))
            other = rows[name][order]
            there = pl.Series(chance.random(len(rows)) < share)
            rows = rows.with_columns(other.zip_with(there, rows[name]).alias(name))
        return rows

    return spoil


def _without(name: str, value: str | None = None) -> Fault:
    def spoil(rows: pl.DataFrame, chance: np.random.Generator) -> pl.DataFrame:
        gone = value or rows[name].drop_nulls().mode().sort()[0]
        return rows.filter(pl.col(name) != gone)

    return spoil


def faults(numbers: list[str]) -> Iterator[tuple[str, str, Fault]]:
    """Name, the verdict that is wanted, and the fault, of the flights."""
    fahrenheit = (pl.col("temperature_f") - 32) * 5 / 9
    yield "none", "stable", lambda rows, chance: rows
    yield "Celsius", "broken", in_some("temperature_f", fahrenheit)
    yield "Celsius in half of the rows", "broken", in_some("temperature_f", fahrenheit, 0.5)
    lower = pl.col("destination").str.to_lowercase()
    yield "destination in lower case", "broken", in_some("destination", lower)
    yield "the same in 2 %", "broken", in_some("destination", lower, 0.02)
    yield "each number of other rows", "broken", of_other_rows(*numbers)
    yield "seats of other rows", "broken", of_other_rows("plane_seats")
    yield "-9999 in 3 % of wind", "broken", in_some("wind_speed_mph", -9999.0, 0.03)
    yield "-1 in 0.3 % of seats", "said", in_some("plane_seats", -1.0, 0.003)
    yield "0 in 5 % of humidity", "broken", in_some("humidity_percent", 0.0, 0.05)
    yield "the mean in 3 % of pressure", "broken", in_some("pressure_hpa", 1017.9, 0.03)
    yield "one infinite wind", "said", in_some("wind_speed_mph", float("inf"), 0.00004)
    yield "wind × 1.05", "stable", in_some("wind_speed_mph", pl.col("wind_speed_mph") * 1.05)
    yield "airline UA gone", "drifted", _without("carrier", "UA")
    yield "airport EWR gone", "drifted", _without("origin", "EWR")
    yield "commonest destination gone", "drifted", _without("destination")
    yield "a new airline in 6 %", "drifted", in_some("carrier", "ZZ", 0.06)
    yield "nulls in 6 % of temperature", "said", in_some("temperature_f", None, 0.06)
    yield "nulls in 18 % more of seats", "stable", in_some("plane_seats", None, 0.18)
    yield "10 % of the rows again", "said", lambda rows, _: pl.concat([rows, rows[::10]])
    yield "half of the rows", "said", lambda rows, _: rows[::2]
    yield "a day missing", "said", lambda rows, _: rows.filter(pl.col("event_time").dt.day() != 12)
    yield "score + 1 sd", "drifted", in_some(SCORE, pl.col(SCORE) + pl.col(SCORE).std())


def planted_faults(champion: Champion, seed: int) -> Iterator[dict[str, Any]]:
    """The verdict on the month with each of the faults. Answers are not scored anew here, so that
    a changed score is seen by its distance alone.
    """
    month = scored(champion, MONTH)
    numbers = [column.name for column in champion.case.columns if column.kind == "number"]
    for number, (name, wanted, spoil) in enumerate(faults(numbers)):
        rows = spoil(month, np.random.default_rng([seed, number]))
        verdict = champion.judge(MONTH, sampled(champion, rows), len(rows))
        got = word_of(verdict)
        yield {
            "fault": name,
            "wanted": wanted,
            "verdict": got,
            "retrain": verdict.retrain if got == "drifted" else None,
            "by": ", ".join(
                dict.fromkeys(
                    f"{finding.check} {finding.column or ''}".strip()
                    for finding in verdict.findings
                )
            )
            or (verdict.reasons[0] if got != "stable" else ""),
        }


def word_of(verdict: DriftVerdict) -> str:
    """The verdict; of a stable window with a note, *said*."""
    words = {finding.word for finding in verdict.findings}
    return "said" if verdict.outcome == "stable" and "said" in words else verdict.outcome
