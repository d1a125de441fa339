"""From a CSV to a served champion as a newcomer goes: ``laurel new``, ``check``, ``run retrain``
and ``predict``, in a repository of her own with Laurel's wheel, on one stack that is up.

She names the target where no column's name does, and writes ``trusted=True`` where ``check`` asks
whether a column is known when a model is asked. Whatever else stops her, ends her evening."""

import json
import os
import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.first_evening.truth import TRUTH
from blocks.settings import REPOSITORY

MOST_SECONDS = 180
_COMMAND = "import sys; from laurel.main import main; sys.exit(main())"


class Stopped(Exception):
    """A command that did not do what it was asked; the message is what it printed."""


@dataclass
class Evening:
    """``end`` is ``served``, or the command that ended it, and ``why`` what that said. ``seconds``
    are those of the clock by command; ``processor`` is seconds of a core of the commands and of the
    whole stack meanwhile."""

    table: str
    end: str = "served"
    why: str = ""
    trusted: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    processor: float = 0.0

    @property
    def clock(self) -> float:
        return sum(self.seconds.values())

    def __str__(self) -> str:
        steps = "  ".join(f"{name} {seconds:.0f}" for name, seconds in self.seconds.items())
        end = f"{self.end}: {self.why}" if self.why else self.end
        trusted = f"  trusted: {', '.join(self.trusted)}" if self.trusted else ""
        return (
            f"{self.table:28} {self.clock:5.0f} s  {self.processor:5.0f} s of a core  "
            f"({steps})  {end}{trusted}"
        )


class Project:
    """A repository made by ``laurel init``, whose ``.laurel`` is the state of a stack, on free
    ports where the usual ones are taken."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "our models"
        site = place / "site"
        wheel = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
        subprocess.run(wheel, cwd=REPOSITORY, capture_output=True, check=True)
        (built,) = place.glob("*.whl")
        zipfile.ZipFile(built).extractall(site)
        own = {name: value for name, value in os.environ.items() if not name.startswith("LAUREL_")}
        self._environment = {**own, "PYTHONPATH": str(site)}
        self.folder.mkdir()
        self.types("init", str(self.folder))

    def types(self, *words: str, code: int = 0) -> str:
        """What the command prints. Raises ``Stopped`` unless it ends with ``code``."""
        ended = subprocess.run(
            [sys.executable, "-P", "-c", _COMMAND, *words],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode not in (0, code):
            raise Stopped((ended.stdout.strip() or ended.stderr.strip())[-2000:])
        return ended.stdout

    def reads(self, *words: str, code: int = 0) -> Any:
        return json.loads(self.types(*words, "--json", code=code).splitlines()[-1])

    @contextmanager
    def stack(self) -> Iterator[None]:
        try:
            self.types("up")
            yield
        finally:
            self.types("down")


def spend_evenings(names: Sequence[str], place: Path, export: Sequence[str]) -> list[Evening]:
    """One evening a table, one after the other; each is printed as it ends. ``export`` is the
    command that writes tables into a folder."""
    project = Project(place)
    subprocess.run([*export, str(project.folder), *names], check=True)
    evenings = []
    with project.stack():
        for name in names:
            evenings.append(_evening(project, name))
            print(evenings[-1], flush=True)
    return evenings


def summary(evenings: Sequence[Evening]) -> dict[str, Any]:
    served = [evening for evening in evenings if evening.end == "served"]
    return {
        "tables": len(evenings),
        "served": len(served),
        f"within {MOST_SECONDS} s": sum(evening.clock <= MOST_SECONDS for evening in served),
        "longest, s": round(max((evening.clock for evening in served), default=0)),
        "most of a core, s": round(max((evening.processor for evening in served), default=0)),
        "stopped": [asdict(evening) for evening in evenings if evening.end != "served"],
    }


def _evening(project: Project, name: str) -> Evening:
    evening = Evening(name)
    before = _processor_seconds(project)
    try:
        _to_champion(project, evening)
    except Stopped as stopped:
        evening.end, evening.why = list(evening.seconds)[-1], str(stopped)
    evening.processor = _processor_seconds(project) - before
    return evening


def _to_champion(project: Project, evening: Evening) -> None:
    truth, table = TRUTH[evening.table], f"{evening.table.partition('/')[2]}.csv"
    with _timed(evening, "new"):
        target = ["--target", truth.target] if truth.asked else []
        use_case = project.reads("new", table, *target)["use_case"]
    with _timed(evening, "check"):
        _check(project, evening, project.folder / "usecases" / f"{use_case}.py")
    with _timed(evening, "retrain"):
        ended = project.reads("run", "retrain", use_case)
        if ended["verdict"] != "promoted":
            raise Stopped(f"{ended['verdict']}: {ended['message']}")
    with _timed(evening, "predict"):
        answer = project.reads("predict", use_case, "--example")
        # A busy service may not have told the run's numbers in time.
        if ended["version"] not in (None, answer["model_version"]):
            raise Stopped(f"version {answer['model_version']} answers, not {ended['version']}")


def _check(project: Project, evening: Evening, file: Path) -> None:
    """Until nothing is wrong: a suspect is trusted once, anything else ends the evening."""
    while wrong := [
        finding
        for finding in project.reads("check", file.stem, code=1)["findings"]
        if finding["state"] not in ("ok", "look")
    ]:
        for finding in wrong:
            column = finding["numbers"].get("column")
            if finding["check"] != "leak" or column is None or column in evening.trusted:
                raise Stopped(f"{finding['check']}: {finding['sentence']} {finding['remedy']}")
            named = f'name="{column}",'
            file.write_text(file.read_text().replace(named, f"{named} trusted=True,", 1))
            evening.trusted.append(column)


@contextmanager
def _timed(evening: Evening, step: str) -> Iterator[None]:
    began = time.monotonic()
    evening.seconds[step] = 0.0
    try:
        yield
    finally:
        evening.seconds[step] = round(time.monotonic() - began, 1)


def _processor_seconds(project: Project) -> float:
    """Of the commands so far, and of the processes of the stack with those that they waited for."""
    import psutil

    from deployments.supervision.supervisor import MARKER

    state, commands = str(project.folder / ".laurel"), resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = commands.ru_utime + commands.ru_stime
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == state:
                seconds += sum(process.cpu_times()[:4])
        except (psutil.Error, OSError):
            continue
    return seconds
