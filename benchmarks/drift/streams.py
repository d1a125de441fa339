"""Other worlds than the flights: generated streams with six months to come, in which nothing
changes but days and seasons, and the same faults in each.

``agrawal`` are loan applications (Agrawal, Imielinski and Swami 1993), ``hyperplane`` ten numbers
without any relation (Hulten, Spencer and Domingos 2001), ``shop`` a seasonal shop of five days a
week with two thousand products, and prices and quantities of few values. ``shop_young`` is the same
shop when the champion has learned only half a year: the seasons to come are new to it."""

from calendar import monthrange
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import polars as pl
from threadpoolctl import threadpool_limits

from benchmarks.drift.faults import Fault, in_some, of_other_rows, word_of
from benchmarks.drift.shuffles import alarms
from benchmarks.drift.world import Champion, champion_of
from usecases.definition import (
    ROC_AUC,
    SCORE,
    Binary,
    Candidate,
    Column,
    DriftPolicy,
    Gate,
    Layout,
    UseCase,
)

MONTHS = 6
ROWS_A_DAY = 100
Rows = dict[str, Any]


@dataclass(frozen=True)
class Stream:
    """A world: ``draw`` makes the columns of some rows, with a label, from the number of the day of
    each of them ``(n_rows,)``."""

    name: str
    columns: tuple[Column, ...]
    draw: Callable[[np.random.Generator, np.ndarray], Rows]
    weekdays: int = 7
    learned: int = 6  # months

    @property
    def case(self) -> UseCase:
        return UseCase(
            name=self.name,
            title=self.name,
            question="Is it?",
            source=_Nowhere(),
            columns=self.columns,
            target=Binary(label="label"),
            event_time="at",
            key=("id",),
            candidates=(Candidate(name="boosting", build=_boosting),),
            gate=Gate(metric=ROC_AUC, threshold=0.5),
            drift=DriftPolicy(minimum_days=15),
        )

    def months(self, seed: list[int]) -> list[pl.DataFrame]:
        """The rows of the months that are learned, and of six more, from January 2022 on."""
        chance = np.random.default_rng(seed)
        several = [divmod(number, 12) for number in range(self.learned + MONTHS)]
        days = [
            date(2022 + year, 1 + month, day)
            for year, month in several
            for day in range(1, 1 + monthrange(2022 + year, 1 + month)[1])
        ]
        days = [day for day in days if day.weekday() < self.weekdays]
        counts = chance.poisson(ROWS_A_DAY, len(days))
        number = np.repeat([(day - days[0]).days for day in days], counts)
        at = pl.Series([day for day, n in zip(days, counts, strict=True) for _ in range(n)])
        seconds = pl.lit(pl.Series(chance.integers(0, 86_400, len(number))))
        rows = pl.DataFrame(self.draw(chance, number)).with_columns(
            at.cast(pl.Datetime("us")).alias("at") + pl.duration(seconds=seconds),
            pl.int_range(pl.len()).alias("id"),
        )
        rows = rows.with_columns(
            pl.col("label").cast(pl.Int8), pl.col("at").dt.truncate("1mo").alias("month")
        )
        return rows.partition_by("month", maintain_order=True, include_key=False)


class _Nowhere:
    def periods(self) -> list[str]:
        return []

    def read(self, period: str) -> pl.DataFrame:
        return pl.DataFrame()


def _boosting(params: dict[str, Any], layout: Layout, seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=40, early_stopping=False, random_state=seed)


def _number(name: str, **bounds: float) -> Column:
    return Column(name=name, kind="number", **bounds)


def _agrawal(chance: np.random.Generator, day: np.ndarray) -> Rows:
    n = len(day)
    salary, age = chance.uniform(20_000, 150_000, n), chance.integers(20, 81, n).astype(float)
    place, level = chance.integers(0, 9, n), chance.integers(0, 5, n)
    commission = np.where(salary >= 75_000, 0.0, chance.uniform(10_000, 75_000, n))
    loan = chance.uniform(0, 500_000, n)
    house = (9 - place) * 100_000 * chance.uniform(0.5, 1.5, n)
    middle = np.where(age < 40, 75_000, np.where(age < 60, 100_000, 50_000))
    sure = np.abs(salary + commission - middle) < 25_000
    return {
        "salary": salary,
        "commission": commission,
        "age": age,
        "level": [f"E{value}" for value in level],
        "car": [f"C{value:02d}" for value in chance.integers(1, 21, n)],
        "place": [f"Z{value}" for value in place],
        "house": house,
        "years": chance.integers(1, 31, n).astype(float),
        "loan": loan,
        "label": sure ^ (chance.random(n) < 0.05),
    }


def _hyperplane(chance: np.random.Generator, day: np.ndarray) -> Rows:
    values = chance.uniform(0, 1, (len(day), 10))
    weights = np.linspace(1, 0.1, 10)
    label = values @ weights > weights.sum() / 2
    columns: Rows = {f"x{number}": values[:, number] for number in range(10)}
    return columns | {"label": label ^ (chance.random(len(day)) < 0.05)}


def _shop(chance: np.random.Generator, day: np.ndarray) -> Rows:
    n = len(day)
    season = np.sin(2 * np.pi * day / 365) + chance.normal(0, 0.3, 1000)[day]
    product = np.minimum(chance.zipf(1.3, n) - 1, 1999)
    price = np.floor(np.random.default_rng(1).lognormal(2.5, 0.6, 2000))[product] + 0.99
    quantity = 1.0 + chance.binomial(4, 0.1 + 0.05 * (season > 0), n)
    discount = chance.choice([0.0, 0.1, 0.2], n, p=[0.8, 0.15, 0.05])
    risk = 0.3 + 0.004 * price + 0.1 * quantity - 0.15 * season
    return {
        "product": [f"P{value:04d}" for value in product],
        "store": chance.choice(["North", "South", "East", "West"], n, p=[0.4, 0.3, 0.2, 0.1]),
        "price": price,
        "quantity": quantity,
        "discount": discount,
        "amount": np.round(price * quantity * (1 - discount), 2),
        "warmth": 12 + 9 * season + chance.normal(0, 1, n),
        "label": chance.random(n) < np.clip(risk, 0.02, 0.98),
    }


_SHOP = Stream(
    "shop",
    (
        _number("price", low=0, high=1000),
        *[_number(name) for name in ("quantity", "discount", "amount", "warmth")],
        *[Column(name=name, kind="category") for name in ("store", "product")],
    ),
    _shop,
    weekdays=5,
    learned=12,
)
STREAMS = (
    Stream(
        "agrawal",
        (
            _number("salary", low=0, high=200_000),
            *[_number(name) for name in ("commission", "age", "house", "years", "loan")],
            *[Column(name=name, kind="category") for name in ("level", "car", "place")],
        ),
        _agrawal,
    ),
    Stream(
        "hyperplane",
        (_number("x0", low=0, high=1), *[_number(f"x{number}") for number in range(1, 10)]),
        _hyperplane,
    ),
    _SHOP,
    replace(_SHOP, name="shop_young", learned=6),
)


def streams(worlds: int, seed: int) -> Iterator[dict[str, Any]]:
    """What is said of sound months, and of faults in the first month to come, in ``worlds`` draws
    of each stream."""
    for stream in STREAMS:
        outcomes: dict[tuple[str, str], Counter[str]] = {}
        by: dict[str, Counter[str]] = {}
        with threadpool_limits(1):
            for number in range(worlds):
                for name, wanted, word, checks in _world(stream, [seed, number]):
                    outcomes.setdefault((name, wanted), Counter())[word] += 1
                    by.setdefault(name, Counter()).update(checks)
        for (name, wanted), words in outcomes.items():
            most = sorted(by[name].items(), key=lambda pair: (-pair[1], pair[0]))[:4]
            listed = [f"{check} {times}" for check, times in most]
            yield {
                "stream": stream.name,
                "fault": name,
                "wanted": wanted,
                "windows": words.total(),
                **{word: words[word] for word in ("stable", "said", "drifted", "broken")},
                "by": ", ".join(listed),
            }


def _world(stream: Stream, seed: list[int]) -> Iterator[tuple[str, str, str, set[str]]]:
    months = stream.months(seed)
    training = pl.concat(months[: stream.learned])
    champion = champion_of(stream.case, "", training, seed[0])
    later = [_scored(champion, rows) for rows in months[stream.learned :]]
    for rows in later:
        yield "none", "stable", *_said(champion, rows)
    for number, (name, wanted, fault, rescored) in enumerate(faults_of(champion)):
        rows = fault(later[0], np.random.default_rng([*seed, number]))
        yield name, wanted, *_said(champion, _scored(champion, rows) if rescored else rows)


def _scored(champion: Champion, rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(pl.Series(SCORE, champion.score(rows), dtype=pl.Float64))


def _said(champion: Champion, rows: pl.DataFrame) -> tuple[str, set[str]]:
    verdict = champion.judge("", rows)
    return word_of(verdict), {check for check, _ in alarms(verdict) if check != "any"}


def faults_of(champion: Champion) -> Iterator[tuple[str, str, Fault, bool]]:
    """Name, the verdict that is wanted, the fault, and whether the model answers to it: of the
    column that the others explain best, of the first number, which has bounds, and of the first
    category."""
    columns, profile = champion.case.columns, champion.yardstick.profile
    assert profile is not None
    numbers = [column.name for column in columns if column.kind == "number"]
    texts = [column.name for column in columns if column.kind == "category"]
    explained = dict(zip(profile.numbers, profile.relations()[0].explained, strict=True))
    best, number = max(explained, key=lambda name: explained[name]), numbers[0]
    middle = float(champion.reference[number].median())  # type: ignore[arg-type]
    heavy = sorted(numbers[1:], key=lambda name: -champion.importance.get(name, 0.0))[:3]
    yield "the best explained column of other rows", "broken", of_other_rows(best), True
    yield "each number of other rows", "broken", of_other_rows(*numbers), True
    half = in_some(best, pl.col(best) * 1.8 + 32, 0.5)
    yield "another unit in half of the best explained", "broken", half, True
    yield "-9999 in 3 % of a number", "broken", in_some(number, -9999.0, 0.03), True
    yield "the median in 5 % of a number", "broken", in_some(number, middle, 0.05), True
    if texts:
        lower = pl.col(texts[0]).str.to_lowercase()
        yield "a category in lower case in 2 %", "broken", in_some(texts[0], lower, 0.02), True
        yield "the commonest category gone", "drifted", _without_commonest(texts[0]), True
        yield "a new category in 6 %", "drifted", in_some(texts[0], "new", 0.06), True
    yield "the three heaviest others + 1 sd", "drifted", _higher(champion, heavy), True
    yield "score + 1 sd", "drifted", _higher(champion, [SCORE]), False


def _without_commonest(name: str) -> Fault:
    return lambda rows, _: rows.filter(pl.col(name) != rows[name].drop_nulls().mode().sort()[0])


def _higher(champion: Champion, names: list[str]) -> Fault:
    spread = {name: float(champion.reference[name].std() or 0.0) for name in names}  # type: ignore[arg-type]
    return lambda rows, _: rows.with_columns(pl.col(name) + sd for name, sd in spread.items())
