"""Texts become values. Which decimal mark a file has, and in which order its dates stand, is voted
on by all of its values.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import polars as pl

from usecases.definition import SourceError

# Without currency, percent sign, blanks and apostrophes of thousands, in lower case.
_ORNAMENT = r"[\s\x{00a0}\x{202f}$€£¥₩%'’]"
_UNKNOWN_NUMBERS = ("", "-", ".", "?", "na", "n/a", "#n/a", "nan", "null", "none", "nil")
_TRUTH = {"true": "1", "false": "0"}
_NUMBER = {
    ".": r"^[-+]?(\d{1,3}(,\d{3})+|\d+)?(\.\d*)?(e[-+]?\d+)?$",
    ",": r"^[-+]?(\d{1,3}(\.\d{3})+|\d+)?(,\d*)?(e[-+]?\d+)?$",
}
_DIGIT = r"\d"

TIMES = ("", " %H:%M", " %H:%M:%S%.f", " %I:%M %p", " %I:%M:%S %p")
_ISO = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d")
_DAY_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
_MONTH_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m.%d.%Y", "%m/%d/%y", "%m-%d-%y")
_NAMED = ("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%b %d %Y", "%d %B %Y", "%B %d, %Y", "%d-%b-%y")
ORDERS = {
    "year first": _ISO,
    "day first": _DAY_FIRST,
    "month first": _MONTH_FIRST,
    "named months": _NAMED,
}
_FIRST = next(iter(ORDERS))
_AMBIGUOUS = ("day first", "month first")
_EPOCH = "seconds since 1970"
_UNITS = {10: 1_000_000, 13: 1_000, 16: 1}  # digits of a moment in this century -> µs
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"
_CENTURIES = (1900, 2199)
_ALL_YEARS = (1000, 9999)  # of dates that are inputs: births, and the end of what has none
_MOST = 0.5


@dataclass(frozen=True)
class Reading:
    """How texts are read. ``decimal`` is the mark, ``order`` one of ``ORDERS`` or a format; what is
    ``None`` is not known yet. A time outside of ``years`` is none.
    """

    decimal: str | None = None
    order: str | None = None
    time_zone: str | None = None
    nulls: tuple[str, ...] = ()
    years: tuple[int, int] = _CENTURIES

    def __str__(self) -> str:
        zone = f", in {self.time_zone}" if self.time_zone else ""
        return f"decimal mark {self.decimal!r}, times with {self.order}{zone}"


@dataclass
class Votes:
    """What the values of all files say. Each batch of distinct texts is counted once. ``dates`` are
    the votes of each column of dates."""

    points: int = 0
    commas: int = 0
    words: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    times: int = 0
    zoned: str | None = None
    examples: list[str] = field(default_factory=list)
    years: tuple[int, int] = _CENTURIES
    remedy: str = "state it, as in date_format='%d.%m.%Y %H:%M'"
    dates: dict[str, "Votes"] = field(default_factory=dict)

    def count_numbers(self, texts: pl.Series) -> None:
        """Values that can be read with one mark alone."""
        plain = _plain(texts.unique())
        point, comma = (plain.str.contains(_NUMBER[mark]) for mark in (".", ","))
        self.points += int((point & ~comma).sum())
        self.commas += int((comma & ~point).sum())

    def count_words(self, texts: pl.Series) -> None:
        """Values that are no numbers, whatever the mark."""
        plain = _plain(texts.unique()).replace(_TRUTH)
        plain = plain.filter(~plain.is_in(_UNKNOWN_NUMBERS))
        point, comma = (plain.str.contains(_NUMBER[mark]) for mark in (".", ","))
        self.words += int((~point & ~comma).sum())

    def count_times(self, texts: pl.Series) -> None:
        """Times that can be read in each order."""
        distinct = texts.drop_nulls().str.strip_chars().unique()
        distinct = distinct.filter(distinct != "")
        self.times += len(distinct)
        self.examples = (self.examples + distinct.sort().head(2).to_list())[:2]
        if not len(distinct):
            return
        self.zoned = self.zoned or next(iter(distinct.filter(_has_zone(distinct))), None)
        for order in (*ORDERS, _EPOCH):
            self.orders[order] += int(_moments(distinct, order, self.years).is_not_null().sum())

    def reading(self, column: str, stated: Reading) -> Reading:
        """What was voted for, where nothing is ``stated``. ``column`` is that of the event time.
        Raises ``SourceError`` where the times leave more than one way to read them, or none.
        """
        mark = stated.decimal or ("," if self.commas > self.points else ".")
        order = stated.order or self._order(column)
        if stated.time_zone is None and (self.zoned or order == _EPOCH):
            how = "are seconds since 1970" if order == _EPOCH else "have a zone"
            example = self.zoned or self.examples[0]
            raise SourceError(
                f"The times in {column!r}, such as {example!r}, {how}, and event times are local: "
                "state the zone in which a day begins, such as time_zone='Europe/Berlin', or "
                "time_zone='UTC'."
            )
        return replace(stated, decimal=mark, order=order)

    def count_dates(self, texts: pl.Series) -> None:
        """The same of dates that are an input."""
        fresh = Votes(years=_ALL_YEARS, remedy="write them as 2024-01-31")
        self.dates.setdefault(texts.name, fresh).count_times(texts)

    def reading_of_dates(self, column: str, of_times: Reading) -> Reading:
        """How the dates in ``column`` are read, where the event times are read as ``of_times``,
        whose order of day and month counts for dates that can be read both ways. Raises
        ``SourceError`` as ``reading`` does.
        """
        votes = self.dates.get(column, Votes())
        order = of_times.order if of_times.order in ORDERS else _order_of(of_times.order or "")
        most = max(votes.orders.values(), default=0)
        both_ways = all(votes.orders[name] == most for name in _AMBIGUOUS)
        stated = replace(of_times, order=order if both_ways and order in _AMBIGUOUS else None)
        return replace(votes.reading(column, stated), years=_ALL_YEARS)

    def _order(self, column: str) -> str:
        if not self.times:
            return _FIRST
        (best, most), *others = self.orders.most_common()
        shown = " and ".join(map(repr, self.examples))
        if most < _MOST * self.times:
            raise SourceError(
                f"The values of {column!r}, such as {shown}, have no form of a time that Laurel "
                f"knows: {self.remedy}."
            )
        if {*_AMBIGUOUS} <= {best, *(name for name, n in others if n == most)}:
            raise SourceError(
                f"The values of {column!r}, such as {shown}, can be read with the day or with the "
                "month first: state which, as in date_format='%d/%m/%Y' or '%m/%d/%Y'."
            )
        return best


def _order_of(form: str) -> str:
    """Which of the ambiguous orders a stated format of times has."""
    return _AMBIGUOUS[form.find("%m") < form.find("%d")]


def numbers(texts: pl.Series, reading: Reading) -> tuple[pl.Series, pl.Series]:
    """Numbers ``(n_rows,)``, and whether each text is none though it is not empty."""
    plain = _plain(_known(texts, reading))
    plain = plain.set(plain.is_in(_UNKNOWN_NUMBERS), None).replace(_TRUTH)
    decimal = reading.decimal or "."
    fits = plain.str.contains(_NUMBER[decimal]) & plain.str.contains(_DIGIT)
    thousands = "," if decimal == "." else "."
    usual = plain.str.replace_all(thousands, "", literal=True).str.replace(
        decimal, ".", literal=True
    )
    values = usual.set(~fits.fill_null(False), None).cast(pl.Float64, strict=False)
    return values, plain.is_not_null() & values.is_null()


def words(texts: pl.Series, reading: Reading) -> pl.Series:
    """Texts without blanks around them; null where nothing is left."""
    return _known(texts, reading)


def times(texts: pl.Series, reading: Reading) -> tuple[pl.Series, pl.Series]:
    """Local times ``(n_rows,)``, and whether each text is none though it is not empty."""
    known = _known(texts, reading)
    moments = _moments(known, reading.order or _FIRST, reading.years)
    if reading.time_zone is not None:
        moments = _localized(known, moments, reading)
    return moments, known.is_not_null() & moments.is_null()


def date_of(year: str, month: str, day: str) -> pl.Expr:
    """The date whose year, month and day stand in three columns, as numbers or as their texts; null
    where there is no such day.
    """
    whole = [pl.col(name).cast(pl.Float64, strict=False) for name in (year, month, day)]
    texts = [part.cast(pl.Int32, strict=False).cast(pl.String) for part in whole]
    is_whole = pl.all_horizontal(part == part.floor() for part in whole)
    text = pl.concat_str(texts, separator="-")
    return pl.when(is_whole).then(text).str.to_datetime("%Y-%m-%d", time_unit="us", strict=False)


def local_times(moments: pl.Series, column: str, time_zone: str | None) -> pl.Series:
    """Dates, and times with or without a zone, as local times. Raises ``SourceError``."""
    moments = moments.cast(pl.Datetime("us")) if moments.dtype == pl.Date else moments
    if not isinstance(moments.dtype, pl.Datetime):
        raise SourceError(
            f"{column!r} holds {moments.dtype}, expected a date and time: write it as one."
        )
    if moments.dtype.time_zone is not None:
        if time_zone is None:
            raise SourceError(
                f"The times in {column!r} have the zone {moments.dtype.time_zone}, and event times "
                "are local: state the zone in which a day begins, as in time_zone='UTC'."
            )
        moments = moments.dt.convert_time_zone(time_zone).dt.replace_time_zone(None)
    return moments.dt.cast_time_unit("us")


def _known(texts: pl.Series, reading: Reading) -> pl.Series:
    stripped = texts.str.strip_chars()
    return stripped.set(stripped.is_in(["", *reading.nulls]), None)


def _plain(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all(_ORNAMENT, "").str.to_lowercase()


def _has_zone(texts: pl.Series) -> pl.Series:
    """A time of the day comes before it: 2024-01-0130 is none."""
    return texts.str.contains(rf"\d:\d{{2}}.*{_ZONE}")


def _moments(texts: pl.Series, order: str, years: tuple[int, int] = _CENTURIES) -> pl.Series:
    """The times as they are written, whatever zone they name; null for other texts."""
    if order == _EPOCH:
        return _since_1970(texts)
    if order not in ORDERS:
        return _years(texts.str.to_datetime(order, strict=False, time_unit="us"), years)
    plain = (
        _without_zone(texts).str.replace("T", " ", literal=True)
        if order == "year first"
        else (_without_zone(texts))
    )
    return _first(plain, (day + time for time in TIMES for day in ORDERS[order]), years)


def _first(texts: pl.Series, formats: Iterable[str], years: tuple[int, int]) -> pl.Series:
    """By the first format that reads a text."""
    moments = pl.Series(texts.name, [None] * len(texts), dtype=pl.Datetime("us"))
    for form in formats:
        if not (missing := moments.is_null() & texts.is_not_null()).any():
            break
        found = _years(
            texts.set(~missing, None).str.to_datetime(form, strict=False, time_unit="us"), years
        )
        moments = moments.zip_with(moments.is_not_null(), found)
    return moments


def _years(moments: pl.Series, years: tuple[int, int]) -> pl.Series:
    """A year of two digits, read as one of four, is none."""
    likely = moments.dt.year().is_between(*years).fill_null(False)
    return moments.set(~likely, None) if len(moments) else moments


def _without_zone(texts: pl.Series) -> pl.Series:
    zoned = _has_zone(texts).fill_null(False)
    bare = texts.str.replace(rf"\s*{_ZONE}", "")
    return texts.zip_with(~zoned, bare)


def _since_1970(texts: pl.Series) -> pl.Series:
    digits = texts.str.extract(r"^(\d+)(?:\.\d+)?$")
    factor = digits.str.len_chars().replace_strict(_UNITS, default=None, return_dtype=pl.Int64)
    return (digits.cast(pl.Int64, strict=False) * factor).cast(pl.Datetime("us"))


def _localized(texts: pl.Series, moments: pl.Series, reading: Reading) -> pl.Series:
    """Moments of UTC, or of the zone that a text names, as local ones; a text that names none is
    local already.
    """
    assert reading.time_zone is not None
    zone = texts.str.extract(_ZONE).set(~_has_zone(texts).fill_null(False), None)
    sign = zone.str.starts_with("-").cast(pl.Int64) * -2 + 1
    digits = zone.str.replace("Z", "+0000", literal=True).str.replace_all(r"[+:-]", "")
    hours, minutes = (digits.str.slice(at, 2).cast(pl.Int64, strict=False) for at in (0, 2))
    offset = (sign * (hours * 60 + minutes) * 60_000_000).cast(pl.Duration("us"))
    if reading.order == _EPOCH:
        offset = pl.Series([0] * len(texts), dtype=pl.Int64).cast(pl.Duration("us"))
    utc = (moments - offset).dt.replace_time_zone("UTC")
    local = utc.dt.convert_time_zone(reading.time_zone).dt.replace_time_zone(None)
    return moments.zip_with(local.is_null(), local)
