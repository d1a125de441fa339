"""The file of a draft is written, whole and never over another one."""

import importlib
import itertools
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.drafts.drafting import Ask, Wishes, draft_of, relative_path
from tasks.drafts.inference.draft import Draft
from tasks.drafts.naming import name_of, name_of_query
from tasks.drafts.reading.tables import NoDraft, read_files, read_query
from tasks.drafts.writing.report import report_of
from tasks.drafts.writing.usecase_file import CHOOSE
from usecases.definition import UseCaseError, folder_of, known, load
from usecases.definition.use_case import refuse_name


@dataclass(frozen=True)
class Drafted:
    """What was written where. ``kept`` is the copy of the file that was there before."""

    draft: Draft
    file: Path
    text: str
    seconds: float
    kept: Path | None = None

    @property
    def shown(self) -> str:
        """The file as a person at this terminal would name it."""
        here = Path.cwd()
        return str(self.file.relative_to(here) if self.file.is_relative_to(here) else self.file)

    @property
    def choices(self) -> list[int]:
        """The lines whose comment asks a person to choose."""
        lines = enumerate(self.text.splitlines(), start=1)
        return [number for number, line in lines if line.lstrip().startswith(f"# {CHOOSE}")]

    def report(self) -> list[str]:
        """Lines of at most 80 columns."""
        count = len(self.choices)
        asks = {0: "nothing is left to choose", 1: "1 comment asks you to choose"}.get(
            count, f"{count} comments ask you to choose"
        )
        lines = report_of(self.draft, self.text)
        if self.kept:
            lines.append(f"The file that was there is now {self.kept.name}.")
        size = len(self.text.splitlines())
        lines += [f"Wrote {self.shown}", f"{size} lines; {asks}.   {self.seconds:.1f} s"]
        if self.draft.table.query is not None:
            lines.append("Before the next command: set LAUREL_WAREHOUSE_URL to the URL.")
        return [*lines, f"Next: laurel check {self.draft.name}"]

    def document(self) -> dict[str, Any]:
        """The same for programs."""
        draft, gate = self.draft, self.draft.baseline
        assert gate is not None
        return {
            "use_case": draft.name,
            "file": str(self.file),
            "rows": draft.table.rows,
            "form": draft.table.form,
            "target": {"column": draft.target.name, "kind": draft.target.kind}
            | {"positive": draft.target.positive, "classes": list(draft.target.classes)},
            "event_time": draft.timing.column,
            "period": draft.timing.period,
            "holdout_periods": draft.timing.holdout_periods,
            "key": list(draft.key.columns),
            "columns": {draft.named(one.name): one.kind for one in draft.inputs},
            "left_out": dict(draft.left_out),
            "leaks": dict(draft.leaks.sure),
            "suspects": dict(draft.leaks.suspects),
            "gate": {"metric": draft.metric.lower(), "threshold": gate.threshold}
            | {"model": gate.model, "mean": gate.mean, "spread": gate.spread},
            "choices": self.choices,
            "next": f"laurel check {draft.name}",
        }


def draft_file(
    place: str,
    *,
    home: Path,
    ask: Ask,
    name: str | None = None,
    query: str | None = None,
    wishes: Wishes | None = None,
    force: bool = False,
) -> Drafted:
    """Write ``usecases/NAME.py`` from the table at ``place``, which begins at ``home``; ``ask`` is
    called where no column's name says that it is the target.

    Raises ``NoDraft`` and ``SourceError``; nothing is written then."""
    began = time.monotonic()
    is_url = "://" in place and place.partition("://")[0] not in ("s3", "lake")
    if is_url and not query:
        raise NoDraft('A SQL URL needs --query, such as --query "SELECT * FROM orders".')
    if query and not is_url:
        raise NoDraft("--query is for a SQL URL, such as postgresql://reader@host/shop.")
    chosen = name or (name_of_query(query) if query else name_of(place))
    folder = _folder(home)
    file = folder / f"{chosen}.py"
    _refuse(chosen, file, force)
    table = read_query(place, query) if query else read_files(place, home)
    path = relative_path(place, home, folder)
    draft, text = draft_of(table, chosen, path, wishes or Wishes(), ask)
    kept = _write(chosen, file, text)
    return Drafted(draft, file, text, time.monotonic() - began, kept)


def _folder(home: Path) -> Path:
    """The folder ``usecases`` that is nearest to the person: here, else the team's, else Laurel's
    own.
    """
    import usecases
    import usecases.definition

    folders = [Path(entry).resolve() for entry in dict.fromkeys(usecases.__path__)]
    own = Path(usecases.definition.__file__).resolve().parent.parent
    here = (home / "usecases").resolve()
    if here in folders:
        return here
    return next((folder for folder in folders if folder != own and folder.is_dir()), own)


def _refuse(name: str, file: Path, force: bool) -> None:
    if refusal := refuse_name(name):
        raise NoDraft(f"{refusal}.")
    if file.exists() and not force:
        raise NoDraft(
            f"{file} exists, and is not overwritten. Write --name for another name, such as "
            f"--name {_free(name)}, or --force to replace it and keep a copy."
        )
    if not file.exists() and name in known():
        raise NoDraft(
            f"{folder_of(name)} has a use case {name!r} already: write --name, such as --name "
            f"{_free(name)}."
        )


def _free(name: str) -> str:
    """The name with the first number that no use case has."""
    return next(free for at in itertools.count(2) if (free := f"{name}_{at}") not in known())


def _write(name: str, file: Path, text: str) -> Path | None:
    """Write the file and load it as the flows do. A fault leaves everything as it was."""
    kept = None
    if file.exists():
        kept = next(
            copy
            for copy in (file.with_name(f"{file.name}.{at}") for at in itertools.count(1))
            if not copy.exists()
        )
        file.rename(kept)
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(text)
        importlib.invalidate_caches()
        sys.modules.pop(f"usecases.{name}", None)
        load(name)
    except (OSError, UseCaseError) as error:
        if not isinstance(error, FileExistsError):
            file.unlink(missing_ok=True)
            if kept:
                kept.rename(file)
        raise NoDraft(f"{file} was not written: {error}") from error
    return kept
