"""Which columns are dates, and how they are read."""

from collections.abc import Mapping

import polars as pl

from tasks.data.files import values
from tasks.data.files.values import Reading, Votes
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.words import TIMES, words_of

_MOSTLY = 0.98
_BOTH_WAYS = ("day first", "month first")
_LOOKS_DATED = r"\d[-/.: ]\d|[A-Za-z]{3}.*\d"
_EPOCH_SECONDS = (631_152_000, 4_102_444_800)  # 1990 to 2100
_ALL_YEARS = (1000, 9999)
_USUAL_YEARS = (1900, 2100)
_PARTS = ({"year", "yr", "yyyy"}, {"month", "mon", "mm"}, {"day", "dom", "dd", "mday"})


def date_in_parts(facts: Mapping[str, Facts]) -> Facts | None:
    """The date that three columns named year, month and day make, if nearly all rows have one.
    ``None`` where the table has a date already: the parts repeat it.
    """
    if any(column.kind == "datetime" for column in facts.values()):
        return None
    parts = [
        [one.name for one in facts.values() if one.is_integer and set(words_of(one.name)) & names]
        for names in _PARTS
    ]
    if any(len(names) != 1 for names in parts):
        return None
    (year,), (month,), (day,) = parts
    frame = pl.DataFrame([facts[name].values for name in (year, month, day)])
    moments = frame.select(values.date_of(year, month, day)).to_series()
    dated = int(moments.dt.year().is_between(*_USUAL_YEARS).sum())
    if dated <= _MOSTLY * len(moments):
        return None
    name = next(name for name in ("date", "event_date", "event_time") if name not in facts)
    return Facts(name, "datetime", moments.alias(name), parts=(year, month, day))


def dates_in_digits(column: pl.Series, known: pl.Series) -> Facts | None:
    """Digits that are seconds since 1970, or 20240131, by their size and by their name."""
    if not TIMES & set(words_of(column.name)):
        return None
    digits = known.str.extract(r"^(\d+)(?:\.\d+)?$")
    lengths = set(digits.str.len_chars().unique())
    if not (lengths == {8} or (len(lengths) == 1 and lengths <= {10, 13, 16})):
        return None
    if lengths == {10}:
        seconds = digits.cast(pl.Int64)
        if not seconds.is_between(*_EPOCH_SECONDS).all():
            return None
    return dates_in(column, known)


def dates_in(column: pl.Series, known: pl.Series) -> Facts | None:
    """The column as dates, if the ``known`` texts of it are; left out if they stand in two
    orders.
    """
    if not known.head(200).str.contains(_LOOKS_DATED).mean() and not (
        known.head(200).str.contains(r"^\d{8,16}(\.\d+)?$").all()
    ):
        return None
    votes = Votes(years=_ALL_YEARS)
    votes.count_times(known)
    (order, most), *_ = votes.orders.most_common() or [("", 0)]
    if most < _MOSTLY * votes.times:
        two = _two_orders(known) if votes.orders.total() > _MOSTLY * votes.times else None
        return Facts(column.name, "none", column, why=two) if two else None
    ambiguous = all(votes.orders[way] == most for way in _BOTH_WAYS)
    zoned = votes.zoned is not None or order not in values.ORDERS
    reading = Reading(
        order=_usual_order(known) if ambiguous else order,
        time_zone="UTC" if zoned else None,
        years=_ALL_YEARS,
    )
    moments, _ = values.times(column, reading)
    return Facts(
        column.name,
        "datetime",
        moments,
        order=reading.order,
        ambiguous=ambiguous,
        date_format=_format_of(known, reading.order or "") if ambiguous else None,
        zoned=zoned,
        distinct=moments.n_unique() / max(1, len(moments)),
    ).unless_constant()


def _two_orders(known: pl.Series) -> str | None:
    """That no single order reads the texts, and two do; ``None`` if two do not. Which of them a
    date that both read has, nobody can tell.
    """
    distinct = known.unique(maintain_order=True)
    read = {
        order: values.times(distinct, Reading(order=order, years=_ALL_YEARS))[0].is_not_null()
        for order in values.ORDERS
    }
    first = max(read, key=lambda order: int(read[order].sum()))
    second = max(read, key=lambda order: int((read[order] & ~read[first]).sum()))
    if float((read[first] | read[second]).mean() or 0) <= _MOSTLY:  # type: ignore[arg-type]
        return None
    shown = " and ".join(
        f"{distinct.filter(read[one] & ~read[other])[0]} ({one})"
        for one, other in ((first, second), (second, first))
    )
    return f"dates in two orders, {shown}: write them in one"


def _format_of(known: pl.Series, order: str) -> str | None:
    """The one form that reads the dates; ``None`` if they have several."""
    for day in values.ORDERS[order]:
        for time in values.TIMES:
            form = day + time
            if known.str.to_datetime(form, strict=False).is_not_null().mean() == 1:
                return form.replace("%.f", "")
    return None


def _usual_order(known: pl.Series) -> str:
    """Of dates that can be read both ways: with slashes as in America, else the day first."""
    return _BOTH_WAYS[bool(known.str.contains("/").any())]
