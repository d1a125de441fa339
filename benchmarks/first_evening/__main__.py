"""Run it: ``python -m benchmarks.first_evening`` (``--speed``: large tables are drafted too;
``--to-champion``: each table goes on to a champion that answers, on a stack of its own).

Each decision of a draft is compared with what ``truth.py`` says: the target, its kind and its
positive value, the event time, the period, the key, the leaks, and the kind of each column."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import environments
from benchmarks.first_evening.champions import spend_evenings, summary
from benchmarks.first_evening.truth import TRUTH, Truth
from tasks.drafts.drafting import Wishes, draft_of
from tasks.drafts.inference.draft import Draft
from tasks.drafts.naming import name_of
from tasks.drafts.reading.tables import read_files

HERE = Path(__file__).parent
NAME = "tables"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--speed", action="store_true", help="draft large tables too")
    arguments.add_argument("--to-champion", action="store_true", help="to a model that serves")
    arguments.add_argument("--environments", type=Path, default=Path(".laurel/environments"))
    arguments.add_argument("--only", help="one table, such as AER/HMDA")
    chosen = arguments.parse_args()
    environments.install(NAME, chosen.environments, HERE)
    names = [name for name in TRUTH if chosen.only in (None, name)]
    export = [str(environments.python_of(NAME, chosen.environments)), str(HERE / "export.py")]
    if chosen.to_champion:
        with tempfile.TemporaryDirectory() as folder:
            evenings = spend_evenings(names, Path(folder), export)
        print(json.dumps(summary(evenings), ensure_ascii=False))
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*export, folder, *names], check=True)
        results = [_judged(name, Path(folder)) for name in names]
    right, wrong = (sum(result[side] for result in results) for side in ("right", "wrong"))
    print(
        json.dumps(
            {
                "tables": len(results),
                "without dates": sum(TRUTH[name].time is None for name in names),
                "right": right,
                "wrong": wrong,
                "roles right": sum(result["roles"] for result in results),
                "roles wrong": sum(result["roles wrong"] for result in results),
                "share": round(right / max(1, right + wrong), 4),
                "columns dropped silently": sum(result["silent"] for result in results),
                "questions beyond the target": sum(
                    max(0, int(result["asked"]) - 1) for result in results
                ),
                "targets asked for": sum(result["asked"] for result in results),
                "seconds": round(sum(result["seconds"] for result in results), 1),
            }
        )
    )
    if chosen.speed:
        _speed()


def _judged(name: str, folder: Path) -> dict[str, float]:
    truth, questions = TRUTH[name], list[Sequence[str]]()

    def ask(candidates: Sequence[str]) -> str:
        questions.append(candidates)
        return truth.target

    path = str(folder / f"{name.partition('/')[2]}.csv")
    began = time.perf_counter()
    draft, _ = draft_of(read_files(path, folder), name_of(path), path, Wishes(), ask)
    seconds = time.perf_counter() - began
    roles = dict(_roles(draft, truth, asked=bool(questions)))
    decisions = {**roles, **dict(_columns(draft, truth))}
    wrong = [what for what, is_right in decisions.items() if not is_right]
    silent = _silent(draft)
    print(
        f"{name:28} {len(decisions) - len(wrong):3} right {len(wrong):2} wrong  {seconds:5.1f} s"
        f"  {'; '.join([*wrong, *(f'silent: {column}' for column in silent)])}"
    )
    return {
        "right": len(decisions) - len(wrong),
        "wrong": len(wrong),
        "roles": sum(roles.values()),
        "roles wrong": len(roles) - sum(roles.values()),
        "silent": len(silent),
        "asked": len(questions),
        "seconds": seconds,
    }


def _roles(draft: Draft, truth: Truth, asked: bool) -> Iterator[tuple[str, bool]]:
    target, key = draft.target, set(draft.key.columns)
    yield f"target {target.name}", target.name == truth.target and asked == truth.asked
    yield f"kind {target.kind}", target.kind == truth.kind
    if truth.kind == "binary":
        yield f"positive {target.positive!r}", target.positive == truth.positive
    if truth.classes:
        yield f"{len(target.classes)} classes", len(target.classes) == truth.classes
    yield f"time {draft.timing.column}", draft.timing.column == truth.time
    if truth.time:
        yield f"period {draft.timing.period}", draft.timing.period in truth.periods
    by_content = not key if truth.time is None else truth.time in key
    yield (
        f"key {sorted(key)}",
        "rownames" not in key and (set(truth.key) <= key if truth.key else by_content),
    )
    yield (
        f"leaks {sorted(draft.leaks.sure)}",
        set(draft.leaks.sure)
        <= {
            *truth.leaks,
            *truth.may_be_left,
        }
        and set(truth.leaks) <= set(draft.leaks.sure),
    )


def _columns(draft: Draft, truth: Truth) -> Iterator[tuple[str, bool]]:
    inputs = {column.name: column.kind for column in draft.inputs}
    for name in draft.facts:
        if name in (truth.target, truth.time, *truth.leaks):
            continue
        said = inputs.get(name, "left out")
        right = {"category"} if name in truth.categories.split() else {"number"}
        right = {"category", "number"} if name in truth.either.split() else right
        if name in (*truth.left, *truth.key) and name not in truth.categories.split():
            right = {"left out"}
        if name in truth.may_be_left:
            right |= {"left out"}
        yield f"{name} {said}", said in right


def _silent(draft: Draft) -> list[str]:
    """Columns that are nowhere in the draft."""
    told = {
        draft.target.name,
        draft.timing.column,
        *draft.key.columns,
        *draft.left_out,
        *(column.name for column in draft.inputs),
    }
    return [name for name in draft.facts if name not in told]


def _speed() -> None:
    """``laurel new`` of a million rows and 20 columns, and of 10,000 rows and 300, as a process."""
    import numpy as np
    import polars as pl

    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        rows = 1_000_000
        numbers = {f"n{at}": chance.normal(size=rows).round(3) for at in range(13)}
        texts = {f"c{at}": chance.choice(["a", "b", "c"], rows) for at in range(4)}
        day = pl.Series(np.arange(rows) * 360 // rows).cast(pl.Int64)
        times = pl.select(pl.date(2024, 1, 1) + pl.duration(days=pl.lit(day))).to_series()
        target = (numbers["n0"] + chance.normal(size=rows) > 1).astype(int)
        long = {"id": np.arange(rows), "placed_at": times, **numbers, **texts, "returned": target}
        pl.DataFrame(long).write_csv(Path(folder) / "long.csv")
        matrix = chance.normal(size=(10_000, 299)).round(3)
        columns = {f"n{at}": matrix[:, at] for at in range(299)}
        target = (matrix[:, 0] + chance.normal(size=10_000) > 0).astype(int)
        pl.DataFrame({**columns, "target": target}).write_csv(Path(folder) / "wide.csv")
        for name in ("long", "wide"):
            print(json.dumps({"table": name, **_timed(Path(folder) / f"{name}.csv", folder)}))


def _timed(table: Path, folder: str) -> dict[str, float]:
    """Seconds of the wall and of the processor, of a process that writes no file of ours."""
    import os
    import resource

    room = Path(folder) / "room" / "usecases"
    room.mkdir(parents=True, exist_ok=True)
    (room / "__init__.py").write_text(
        '__path__ = __import__("pkgutil").extend_path(__path__, __name__)\n'
    )
    path = os.pathsep.join([str(Path.cwd()), str(room.parent)])
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "laurel", "new", str(table), "--json"],
        check=True,
        cwd=room.parent,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(time.perf_counter() - began, 1), "processor": round(processor, 1)}


if __name__ == "__main__":
    main()
