"""A text is the same date to the flows, which read a source, and to the service, which reads a
request."""

import random
from datetime import datetime

import polars as pl

from serving.package.times import read_time
from tasks.data.columns.dates import as_local_times, misfit_of_dates


def some_text(chance: random.Random) -> str:
    """Nearly a date: days and hours that no calendar has, digits beyond microseconds, zones."""
    year = chance.choice(["0001", "1582", "1900", "2024", "9999"])
    text = f"{year}-{chance.randint(0, 13):02d}-{chance.randint(0, 32):02d}"
    if chance.random() < 0.7:
        text += f"{chance.choice('T t_')}{chance.randint(0, 24):02d}:{chance.randint(0, 60):02d}"
        if chance.random() < 0.7:
            text += f":{chance.randint(0, 59):02d}"
            if chance.random() < 0.5:
                text += "." + "".join(chance.choices("0123456789", k=chance.randint(0, 12)))
    return text + chance.choice(["", "", "", "", "Z", "+01:00", "-05", "x"])


def served(text: str) -> datetime | None:
    try:
        return read_time(text)
    except ValueError:
        return None


def learned(text: str) -> datetime | None:
    values = pl.Series("at", [text])
    if misfit_of_dates(values):
        return None
    return values.to_frame().select(as_local_times("at")).item()


def test_flows_and_service_read_the_same_dates() -> None:
    chance = random.Random(3)
    texts = [some_text(chance) for _ in range(1500)]
    differing = [text for text in texts if served(text) != learned(text)]
    assert differing == []
    assert 300 < sum(served(text) is not None for text in texts) < 1200


def test_a_leap_second_of_a_source_is_the_second_after_it() -> None:
    """A request cannot have one: Python's clock does not."""
    assert served("2016-12-31T23:59:60") is None
    assert learned("2016-12-31T23:59:60") == datetime(2017, 1, 1)
