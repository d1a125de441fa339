"""What each column of a table is: its kind, and its values read so.

The texts of files are read as ``tasks/data/files/values.py`` reads them for the flows, so that what
a draft promises is what an ingest finds."""

from dataclasses import replace

import polars as pl

from serving.package.kinds import BOOLEANS
from tasks.data.files import values
from tasks.data.files.values import Reading, Votes
from tasks.drafts.reading.dates import dates_in, dates_in_digits
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import Table
from tasks.drafts.reading.words import IDS, NAMES, is_row_number, words_of

VOTING_ROWS = 50_000
_MOSTLY = 0.98
_ID_SHARE = 0.2
_STEP_ROWS = 20
MOST_CATEGORIES = 255
_WORDS = ((2.5, 0.5), (4.0, 0.2))  # from so many words and so many distinct values on: a text
_TRUE = frozenset(word for word, value in BOOLEANS.items() if value and str(word).isalpha())
_FALSE = frozenset(word for word, value in BOOLEANS.items() if not value and str(word).isalpha())
_NULL_WORDS = frozenset(("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A"))
_NULL_SIGNS = frozenset(("-", "?", "."))
_MARKS = [sign * float("9" * digits) for digits in range(1, 7) for sign in (-1, 1)]


def describe_columns(table: Table) -> tuple[dict[str, Facts], str, tuple[str, ...]]:
    """The columns by name, the decimal mark of the table's numbers, and the texts that stand for
    null in it.
    """
    sample = table.sample
    voting = sample.gather_every(max(1, len(sample) // VOTING_ROWS))
    if not table.is_text:
        return (
            {name: _describe(sample[name], voting[name], ".", False) for name in voting.columns},
            ".",
            (),
        )
    mark = _decimal_mark(voting)
    nulls = _null_texts(voting, mark)
    if nulls:
        sample, voting = (_without(frame, nulls) for frame in (sample, voting))
    facts = {name: _describe(sample[name], voting[name], mark, True) for name in sample.columns}
    return facts, mark, nulls


def _null_texts(voting: pl.DataFrame, mark: str) -> tuple[str, ...]:
    """Texts such as NA that stand for null in the whole table: nothing else keeps a column from
    being numbers or dates. ``-`` and its like do so among numbers by themselves, and may be a
    category.
    """
    found = set[str]()
    for column in voting:
        if column.dtype != pl.String:
            continue
        known = _known(column)
        present = {*_NULL_WORDS, *_NULL_SIGNS} & set(known.unique())
        rest = known.filter(~known.is_in(list(present))) if present else known
        if not present or not len(rest):
            continue
        if _share_of_numbers(rest.head(1000), mark) > _MOSTLY:
            found |= present & _NULL_WORDS
        elif (dated := dates_in(rest, rest)) is not None and dated.kind == "datetime":
            found |= present
    return tuple(sorted(found))


def _without(frame: pl.DataFrame, nulls: tuple[str, ...]) -> pl.DataFrame:
    texts = pl.col(pl.String)
    return frame.with_columns(pl.when(~texts.str.strip_chars().is_in(list(nulls))).then(texts))


def _decimal_mark(voting: pl.DataFrame) -> str:
    """One vote a value, of columns whose values are numbers with either mark."""
    votes = Votes()
    texts = [column for column in voting if column.dtype == pl.String]
    with_comma = {column.name for column in texts if column.str.contains(",", literal=True).any()}
    # Without a comma there is no vote for one, and most tables have none.
    for column in sorted(texts, key=lambda column: column.name not in with_comma):
        if column.name not in with_comma and not votes.commas:
            break
        few = _known(column).head(1000)
        if len(few) and max(_share_of_numbers(few, mark) for mark in (".", ",")) > _MOSTLY:
            votes.count_numbers(_known(column))
    return votes.reading("", Reading(order="year first")).decimal or "."


def _describe(column: pl.Series, voting: pl.Series, mark: str, is_text: bool) -> Facts:
    if column.dtype == pl.String and is_text:
        return _of_texts(column, voting, mark)
    if column.dtype == pl.String:
        return _of_words(column, _known(voting))
    return _of_values(column)


def _of_values(column: pl.Series) -> Facts:
    """A column that has a type already, of Parquet or of a database."""
    name, dtype = column.name, column.dtype
    if dtype == pl.Boolean:
        return Facts(name, "boolean", column).unless_constant()
    if dtype in (pl.Categorical, pl.Enum):
        words = column.cast(pl.String)
        return _of_words(words, _known(words.head(VOTING_ROWS)))
    if dtype.is_numeric():
        return _of_numbers(name, column.cast(pl.Float64).fill_nan(None))
    if dtype == pl.Date or isinstance(dtype, pl.Datetime):
        zoned = getattr(dtype, "time_zone", None) is not None
        moments = values.local_times(column, name, "UTC" if zoned else None)
        return Facts(name, "datetime", moments, zoned=zoned).unless_constant()
    if dtype == pl.Null:
        return Facts(name, "none", column, why="empty")
    return Facts(name, "none", column, why=f"holds {dtype}")


def _of_texts(column: pl.Series, voting: pl.Series, mark: str) -> Facts:
    name, known = column.name, _known(voting)
    if not len(known):
        if column.str.strip_chars().is_in(["", None]).all():
            return Facts(name, "none", column, why="empty")
        known = _known(column)
    lower = set(known.unique().str.to_lowercase().head(5))
    if lower <= _TRUE | _FALSE and lower & _TRUE and lower & _FALSE:
        read = values.words(column, Reading()).str.to_lowercase()
        return Facts(name, "boolean", read.is_in(_TRUE).set(read.is_null(), None))
    coded = known.str.contains(r"^0\d+$").any()
    is_number = not coded and _share_of_numbers(known.head(1000), mark) > _MOSTLY
    if is_number and (
        known.cast(pl.Float64, strict=False).is_finite().all()
        or _share_of_numbers(known.unique(), mark) > _MOSTLY
    ):
        dated = dates_in_digits(column, known)
        return dated or _numbers_of_texts(column, mark)
    if (dated := dates_in(column, known)) is not None:
        return dated
    return _of_words(values.words(column, Reading()), known)


def _numbers_of_texts(column: pl.Series, mark: str) -> Facts:
    plain = column.str.strip_chars()
    numbers = plain.cast(pl.Float64, strict=False)
    if (numbers.is_null() & (plain != "")).any() or not numbers.is_finite().all():
        numbers = values.numbers(column, Reading(decimal=mark))[0]
    known = set(numbers.filter(numbers.is_in(_MARKS)).unique())
    found = [value for value in _MARKS if value in known and _is_mark(numbers, value)]
    if not found:
        return _of_numbers(column.name, numbers)
    marked = numbers.is_in(found)
    spelled = tuple(plain.filter(marked.fill_null(False)).unique().sort())
    return replace(_of_numbers(column.name, numbers.set(marked, None)), marks=spelled)


def _is_mark(numbers: pl.Series, value: float) -> bool:
    """Whether -999 and its like stand for null: more than .5 % of rows, and far from the rest."""
    marked = numbers == value
    if not (marked.sum() or 0) > 0.005 * len(numbers):
        return False
    rest = numbers.filter(~marked).drop_nulls()
    if len(rest) < _STEP_ROWS:
        return False
    low, high = rest.quantile(0.01) or 0.0, rest.quantile(0.99) or 0.0
    below = value < 0 <= low and value < low - (high - low) / 2
    return below or (value >= 99 and value > 2 * high)


def _of_numbers(name: str, numbers: pl.Series) -> Facts:
    known = numbers.drop_nulls()
    if not len(known):
        return Facts(name, "none", numbers, why="empty")
    distinct = known.n_unique() / len(known)
    whole = bool((known == known.round()).all())
    facts = Facts(name, "number", numbers, is_integer=whole, distinct=distinct)
    if whole and is_row_number(name) and distinct == 1:
        return facts.without("numbers the rows")
    if whole and _is_step(known):
        named = bool(IDS & set(words_of(name)))
        return replace(facts, is_id=True).without("" if named else "numbers the rows")
    if whole and distinct > _ID_SHARE and _is_named_id(name):
        return replace(facts, is_id=True).without("an id")
    return facts.unless_constant()


def _is_step(known: pl.Series) -> bool:
    """Whether they are 1, 2, 3, ... (of a sample: each so far from the next)."""
    if len(known) < _STEP_ROWS:
        return False
    steps = known.diff().drop_nulls()
    return bool(steps[0] > 0 and (steps == steps[0]).all())


def _is_named_id(name: str) -> bool:
    words = words_of(name)
    return bool(words) and (words[-1] in IDS or words[0] in IDS or name.lower().endswith("id"))


def _of_words(column: pl.Series, voting: pl.Series) -> Facts:
    name, known = column.name, column.drop_nulls()
    if not len(known):
        return Facts(name, "none", column, why="empty")
    count = known.n_unique()
    distinct = count / len(known)
    facts = Facts(name, "category", column, distinct=distinct)
    words = int(voting.str.count_matches(r"\S+").sum()) / max(1, len(voting))
    if is_row_number(name) and distinct == 1:
        return facts.without("names the rows")
    if NAMES & set(words_of(name)) and distinct > 0.5:
        return facts.without("names, nearly one a row")
    if any(words >= least and distinct > share for least, share in _WORDS):
        return replace(facts, kind="text")
    if count == len(known) and count >= _STEP_ROWS:
        return replace(facts, is_id=True).without("an id, another in each row")
    if distinct > _ID_SHARE and _is_named_id(name) and count > 10:
        return replace(facts, is_id=True).without("an id")
    if count > MOST_CATEGORIES or (distinct > 0.5 and count > _STEP_ROWS):
        return facts.without(f"{count:,} different values")
    return facts.unless_constant()


def _share_of_numbers(known: pl.Series, mark: str) -> float:
    numbers, bad = values.numbers(known, Reading(decimal=mark))
    return float(numbers.is_not_null().sum()) / max(1, len(known) - _unknown(numbers, bad))


def _unknown(numbers: pl.Series, bad: pl.Series) -> int:
    """Texts such as ``-`` and ``n/a`` are null among numbers."""
    return int((numbers.is_null() & ~bad).sum()) if numbers.is_not_null().any() else 0


def _known(texts: pl.Series) -> pl.Series:
    stripped = texts.str.strip_chars()
    return stripped.filter(stripped.is_not_null() & (stripped != ""))
