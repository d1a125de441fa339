"""A delimited text file (CSV) as frames of texts: its encoding, separator and header are found, and
it is read in blocks.
"""

import codecs
import csv
import io
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tasks.data.files.streams import opened
from usecases.definition import SourceError

if TYPE_CHECKING:
    import polars as pl

SEPARATORS = (",", ";", "\t", "|")
_HEAD_LINES = 400
_HEAD_CHARACTERS = 1 << 18
_BLOCK_BYTES = 8 << 20
_ALIKE = 0.8
_SHOWN = 3
_FOOTER_LINES = 3
_TOTAL_WIDTH = 5  # columns from which an empty row can be told
_EMPTY = 0.34
_HANGUL = (0xAC00, 0xD7A3)
_MOSTLY = 0.6


@dataclass(frozen=True)
class Delimited:
    """How a file is written. ``header`` are its names as they stand there, ``skipped`` the lines
    before it. ``assumed`` tells an encoding that the bytes do not prove.
    """

    encoding: str
    assumed: bool
    separator: str
    header: tuple[str, ...]
    skipped: int

    def __str__(self) -> str:
        separator = {"\t": "tab"}.get(self.separator, repr(self.separator))
        banner = f", {self.skipped} lines before the header" if self.skipped else ""
        return (
            f"{self.encoding}{' (assumed)' if self.assumed else ''}, separator {separator}{banner}"
        )


def inspect(
    path: Path, name: str, compression: str | None, encoding: str | None, separator: str | None
) -> Delimited:
    """How the file is written; what is stated is taken. ``name`` is how people are told of it.

    The separator is the one that cuts most of the first 400 lines into equally many fields, and the
    header is the first such line. Raises ``SourceError``."""
    with opened(path, name, compression, "any encoding") as stream:
        found, assumed = (encoding, False) if encoding else _encoding(stream)
    with opened(path, name, compression, found) as stream:
        text = io.TextIOWrapper(stream, encoding=found, newline="").read(_HEAD_CHARACTERS)
    if "\0" in text:
        raise SourceError(
            f"{name} holds bytes of zero: it is no text in {found}. State the encoding, such as "
            "FileSource(..., encoding='utf-16')."
        )
    text = text.removeprefix("\ufeff")
    if len(text) == _HEAD_CHARACTERS:
        text = text[: text.rfind("\n") + 1] or text
    best, width = _separator(text, separator)
    skipped, header = _header(text, best, width)
    names = [cell.strip() for cell in header]
    if repeated := sorted({cell for cell in names if cell and names.count(cell) > 1}):
        raise SourceError(f"{name} names columns twice in its header: {repeated}. Rename one.")
    return Delimited(found, assumed, best, tuple(header), skipped)


def read(
    path: Path,
    name: str,
    compression: str | None,
    form: Delimited,
    wanted: list[str],
    notes: list[str] | None = None,
) -> Iterator["pl.DataFrame"]:
    """Frames of the ``wanted`` columns that the file has, all texts, in the order of the file.
    Lines that repeat the header, and up to three at the end that are no rows, such as a total, are
    left out; ``notes`` gets how many.

    Raises ``SourceError`` after the last frame for lines with another number of fields."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.csv

    first: list[Any] = []
    last: deque[Any] = deque(maxlen=_FOOTER_LINES)
    misfits = 0

    def set_aside(row: Any) -> str:
        nonlocal misfits
        misfits += 1
        first.extend([row] if misfits <= _SHOWN else [])
        last.append(row)
        return "skip"

    own = {cell.strip(): cell for cell in form.header}
    lines, repeated, held = 1, 0, pl.DataFrame()
    with opened(path, name, compression, form.encoding) as stream:
        try:
            reader = pa.csv.open_csv(
                stream,
                pa.csv.ReadOptions(
                    encoding=form.encoding,
                    block_size=_BLOCK_BYTES,
                    skip_rows=form.skipped,
                    use_threads=False,
                ),
                pa.csv.ParseOptions(
                    delimiter=form.separator,
                    newlines_in_values=True,
                    ignore_empty_lines=True,
                    invalid_row_handler=set_aside,
                ),
                pa.csv.ConvertOptions(
                    include_columns=[own[cell] for cell in wanted if cell in own],
                    column_types={cell: pa.string() for cell in form.header},
                    check_utf8=True,
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            for batch in reader:
                frame = pl.DataFrame(pl.from_arrow(batch)).rename(lambda cell: cell.strip())
                rows = _without_header(frame)
                lines, repeated = lines + len(frame), repeated + len(frame) - len(rows)
                if len(held):
                    yield held
                held = rows
        except pa.ArrowInvalid as error:
            raise SourceError(f"{name} cannot be read as CSV ({form}): {error}") from error
    footer = _footer(last, lines + misfits + form.skipped, len(form.header))
    misfits -= footer
    rows = held if misfits else _without_total(held)
    footer += len(held) - len(rows)
    if len(rows):
        yield rows
    if notes is not None and repeated:
        notes.append(f"{name}: lines that repeat the header, left out: {repeated}")
    if notes is not None and footer:
        notes.append(f"{name}: lines at the end that are no rows, left out: {footer}")
    if misfits:
        shown = "; ".join(
            f"{row.actual_columns} fields in {str(row.text)[:80]!r}" for row in first[:misfits]
        )
        raise SourceError(
            f"{name}: {misfits:,} lines do not have the {len(form.header)} fields of the "
            f"header: {shown}. Mend them (a text with {form.separator!r} needs quotes), or state "
            "FileSource(..., separator=...)."
        )


def _without_header(frame: "pl.DataFrame") -> "pl.DataFrame":
    """The rows that do not repeat the header."""
    import polars as pl

    if not frame.width or not (frame.to_series(0).str.strip_chars() == frame.columns[0]).any():
        return frame
    same = (pl.col(cell).str.strip_chars() == cell for cell in frame.columns)
    return frame.filter(~pl.all_horizontal(same))


def _footer(misfits: Iterable[Any], lines: int, width: int) -> int:
    """How many of the last of the file's ``lines`` have fewer fields than the header."""
    footer = 0
    for row in reversed(list(misfits)):
        if row.actual_columns >= width or row.number < lines - footer:
            break
        footer += 1
    return footer


def _without_total(rows: "pl.DataFrame") -> "pl.DataFrame":
    """The rows without up to three at the end that are far emptier than those before them."""
    import polars as pl

    if len(rows) <= 2 * _FOOTER_LINES or rows.width < _TOTAL_WIDTH:
        return rows
    filled = rows.tail(_HEAD_LINES).select(pl.sum_horizontal(pl.all().str.strip_chars() != ""))
    counts = filled.to_series().to_list()
    usual = sorted(counts[:-_FOOTER_LINES])[len(counts[:-_FOOTER_LINES]) // 20]
    total = 0
    while total < _FOOTER_LINES and counts[-1 - total] <= usual * _EMPTY:
        total += 1
    return rows.head(len(rows) - total)


def _encoding(stream: IO[bytes]) -> tuple[str, bool]:
    """The encoding of all bytes, and whether it is assumed. Other bytes than UTF-8 are Korean
    (cp949) if most of what they mean there is Hangul, and Western European (cp1252) otherwise.
    """
    start = stream.read(_BLOCK_BYTES)
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if start.startswith(mark):
            return encoding, False
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = start
    try:
        while block:
            decoder.decode(block)
            block = stream.read(_BLOCK_BYTES)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return _without_proof(block), True
    return "utf-8", False


def _without_proof(block: bytes) -> str:
    whole_lines = block[: block.rfind(b"\n") + 1] or block
    meant = [letter for letter in whole_lines.decode("cp949", errors="replace") if letter > "\x7f"]
    hangul = sum(_HANGUL[0] <= ord(letter) <= _HANGUL[1] for letter in meant)
    return "cp949" if hangul > _MOSTLY * len(meant) else "cp1252"


def _separator(text: str, stated: str | None) -> tuple[str, int]:
    """The separator, and into how many fields it cuts a line."""
    best, most = stated or ",", 1
    for separator in (stated,) if stated else SEPARATORS:
        widths = [len(fields) for fields in _records(text, separator) if fields]
        if not widths:
            continue
        width, count = Counter(widths).most_common(1)[0]
        if count >= _ALIKE * len(widths) and width > most:
            best, most = separator, width
    return best, most


def _header(text: str, separator: str, width: int) -> tuple[int, list[str]]:
    """The lines before the header, and its fields."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    before = 0
    for fields in reader:
        if len(fields) == width:
            return before, fields
        before = reader.line_num
    return 0, next(_records(text, separator), [])


def _records(text: str, separator: str) -> Iterator[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    for fields in reader:
        yield fields
        if reader.line_num >= _HEAD_LINES:
            return
