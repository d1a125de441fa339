"""The table that a draft is made from, files or a query: a sample of its rows."""

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from tasks.data.files import delimited
from tasks.data.files.json_lines import JsonLines
from tasks.data.files.places import StoredFile, find_files
from usecases.definition import FileSource, SourceError

MOST_CELLS = 12_000_000
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp")
_SHOWN_VALUES = 3


class NoDraft(ValueError):
    """No use case can be drafted from the table: the message says why, and what to do."""


@dataclass(frozen=True)
class Table:
    """``rows`` of all its rows are in the ``sample``, which are every ``step``-th of them: values
    of text files as they stand there, others with their types. ``form`` says how it is written,
    and ``notes`` what was left out. ``assumed`` is an ``encoding`` that
    the bytes do not prove, with values that show whether it is right.
    ``is_text``: its texts are read by ``Typing``, as those of a database are not."""

    place: str
    sample: pl.DataFrame
    rows: int
    step: int
    form: str
    notes: tuple[str, ...]
    assumed: str | None = None
    encoding: str | None = None
    is_text: bool = True
    query: str | None = None
    files: tuple[StoredFile, ...] = ()


def read_files(path: str, home: Path) -> Table:
    """The table of a file, a folder or a pattern; a relative one begins at ``home``. Raises
    ``NoDraft``, ``SourceError``, ``LakeAway``.
    """
    _refuse_images(path, home)
    files = find_files(FileSource(path=path), home)
    read = _Files(files)
    frames, columns = read.frames(), read.columns
    if not columns:
        raise NoDraft(f"{path} is empty: give a table with a header and rows.")
    sample, rows, step = _sampled(frames, columns)
    if not rows:
        raise NoDraft(f"{path} has a header and no rows: give a table with rows.")
    return Table(
        place=path,
        sample=sample,
        rows=rows,
        step=step,
        form=read.form,
        notes=tuple(read.notes),
        assumed=read.assumed_of(sample),
        encoding=read.encoding,
        files=tuple(files),
    )


def repeated_in(table: Table, columns: list[str]) -> float:
    """The share (0-1) of all rows of the table's files that have these columns in common with a row
    before.
    """
    read = _Files(list(table.files), columns)
    rows = pl.concat(list(read.frames()), how="vertical_relaxed")
    return 1 - rows.n_unique() / max(1, len(rows))


def read_query(url: str, query: str) -> Table:
    """The rows of ``query`` in the database at ``url``. Raises ``NoDraft``."""
    from blocks.warehouse import Warehouse, WarehouseAway, WarehouseError

    try:
        sample = Warehouse(url=url).read_all(query)
    except (WarehouseError, WarehouseAway) as error:
        raise NoDraft(str(error).replace("LAUREL_WAREHOUSE_URL", "the URL")) from error
    if sample.is_empty():
        raise NoDraft(f"The query has no rows: {query}")
    place = url.partition("://")[0].partition("+")[0]
    rows = len(sample)
    step = -(-sample.width * rows // MOST_CELLS)
    return Table(
        place=place,
        sample=sample.gather_every(step),
        rows=rows,
        step=step,
        form=f"query of {place}",
        notes=(),
        is_text=False,
        query=query,
    )


def _refuse_images(path: str, home: Path) -> None:
    whole = home / Path(path).expanduser()
    inside = list(whole.iterdir())[:1000] if whole.is_dir() else [whole]
    images = [one.name for one in inside if one.suffix.lower() in _IMAGES]
    if images and 2 * len(images) > len(inside):
        raise NoDraft(
            f"{path} holds images, such as {images[0]}, and says nothing of what is to be "
            "predicted. Give a table with a row for each image; docs/use-cases.md#images shows a "
            "use case of images."
        )


def _sampled(frames: Iterator[pl.DataFrame], columns: list[str]) -> tuple[pl.DataFrame, int, int]:
    """Every ``step``-th row, so that there are at most ``MOST_CELLS``; all rows, and the step."""
    most = max(1000, MOST_CELLS // len(columns))
    kept, held, rows, step = list[pl.DataFrame](), 0, 0, 1
    for frame in frames:
        chosen = frame.gather_every(step, offset=-rows % step) if rows or step > 1 else frame
        kept, held, rows = [*kept, chosen], held + len(chosen), rows + len(frame)
        while held > most:
            whole = pl.concat(kept, how="vertical_relaxed").gather_every(2)
            kept, held, step = [whole], len(whole), step * 2
    return (pl.concat(kept, how="vertical_relaxed") if kept else pl.DataFrame()), rows, step


class _Files:
    """The files of a source, each read as ``tasks/data/files`` reads it."""

    def __init__(self, files: list[StoredFile], wanted: list[str] | None = None) -> None:
        self._files, self._folder = files, tempfile.TemporaryDirectory(prefix="laurel-new-")
        self.notes: list[str] = []
        self.form = ""
        self.encoding: str | None = None
        each = [self._columns(file) for file in files]
        full = [columns for columns in each if columns] or [[]]
        common = [name for name in full[0] if all(name in other for other in full)]
        partial = sorted({name for columns in full for name in columns} - {*common})
        self.columns = [name for name in common if wanted is None or name in wanted]
        if any(full) and not common:
            raise NoDraft(
                f"{files[0].name} and the other files have no column in common: give one table."
            )
        if partial:
            self.notes.append(f"not in every file, and left out: {', '.join(partial)}")

    def frames(self) -> Iterator[pl.DataFrame]:
        """The rows of all files, one block at a time."""
        for file in self._files:
            yield from self._blocks(file)
        self._folder.cleanup()

    def assumed_of(self, sample: pl.DataFrame) -> str | None:
        """The encoding that is assumed, with values that show whether it is right."""
        if self.encoding is None:
            return None
        texts = [column for column in sample if column.dtype == pl.String]
        values = [name for name in sample.columns if not name.isascii()] + [
            value
            for column in texts
            for value in column.unique(maintain_order=True).drop_nulls().head(2000)
            if not value.isascii()
        ]
        shown = ", ".join(value[:20] for value in values[:_SHOWN_VALUES])
        return f"{self.encoding}, assumed: {shown}" if shown else f"{self.encoding}, assumed"

    def _columns(self, file: StoredFile) -> list[str]:
        copy = self._copy(file)
        if file.format == "parquet":
            try:
                return list(pl.read_parquet_schema(copy))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise SourceError(f"{file.name} cannot be read as Parquet: {error}") from error
        if file.format == "jsonl":
            return JsonLines(copy, file.name, file.compression, None).names()
        if not file.size:
            return []
        form = delimited.inspect(copy, file.name, file.compression, None, None)
        if form.assumed:
            self.encoding = form.encoding
        self.form = self.form or str(form)
        return [cell.strip() for cell in form.header if cell.strip()]

    def _blocks(self, file: StoredFile) -> Iterable[pl.DataFrame]:
        import pyarrow.parquet as pq

        copy, columns = self._copy(file), self.columns
        if file.format == "parquet":
            self.form = "Parquet"
            with pq.ParquetFile(copy) as parquet:
                for batch in parquet.iter_batches(100_000, columns=columns):
                    yield pl.DataFrame(pl.from_arrow(batch)).select(columns)
        elif file.format == "jsonl":
            self.form = "JSON lines"
            yield from JsonLines(copy, file.name, file.compression, None).frames(columns)
        elif file.size:
            form = delimited.inspect(copy, file.name, file.compression, None, None)
            frames = delimited.read(copy, file.name, file.compression, form, columns, self.notes)
            yield from (frame.select(columns) for frame in frames)

    def _copy(self, file: StoredFile) -> Path:
        folder = Path(self._folder.name) / str(self._files.index(file))
        known = folder / PurePosixPath(file.key).name
        if known.exists():
            return known
        folder.mkdir(exist_ok=True)
        return file.copy_to(folder)
