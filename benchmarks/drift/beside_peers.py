"""Who alarms when: the drift check, Evidently's preset and NannyML's calculators on the same
windows.

Evidently has its default limits, on the distances that the check has measured anyway. NannyML runs
with its defaults in an environment of its own, which is made once; its telemetry is off."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from benchmarks.drift.planted import shifts
from benchmarks.drift.studies import scored
from benchmarks.drift.world import Champion, draw_days, draw_rows, evidently_fires
from benchmarks.environments import Unavailable, install, python_of
from blocks.settings import REPOSITORY
from usecases.definition import SCORE

PEERS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = REPOSITORY / ".laurel" / "benchmarks" / "venvs"
ROWS = 10_000  # of a window, and of each month of the reference
DAYS = 28
_BLOCK, _DECISION = "block", "decision"
_WINDOW_MONTH = date(2100, 1, 15)


@dataclass(frozen=True)
class Window:
    """Rows with the champion's scores; ``wanted`` is what a check should say of them."""

    name: str
    wanted: str
    rows: pl.DataFrame


def beside_peers(
    champion: Champion, months: Iterable[str], null_windows: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each window: real months, one planted shift of each kind at its largest size, and
    days drawn from the reference. Raises ``environments.Unavailable``.
    """
    install("nannyml", ENVIRONMENTS, PEERS)
    windows = [*real(champion, months), *with_faults(champion, seed)]
    windows += unchanged(champion, null_windows, seed)
    nannyml = ask_nannyml(champion, windows)
    for number, window in enumerate(windows):
        verdict = champion.judge(window.name, window.rows)
        alarms = nannyml[str(number)]
        yield {
            "window": window.name,
            "wanted": window.wanted,
            "laurel": verdict.outcome,
            "evidently": evidently_fires(verdict) if verdict.distances else None,
            "nannyml pca": alarms["pca"],
            "nannyml columns": alarms["columns"],
            "nannyml estimate": alarms["estimate"],
        }


def real(champion: Champion, months: Iterable[str]) -> Iterator[Window]:
    for month in months:
        rows = draw_rows(champion.case, scored(champion, month), ROWS, np.random.default_rng(7))
        yield Window(month, "", rows)


def with_faults(champion: Champion, seed: int) -> Iterator[Window]:
    largest = {shift.name: shift for shift in shifts(champion)}  # the last of a name
    for shift in largest.values():
        chance = np.random.default_rng([seed, DAYS])
        rows = shift.spoil(draw_days(champion.case, champion.training, DAYS, chance)[:ROWS], chance)
        if shift.rescored:
            scores = pl.Series(SCORE, champion.held_out(rows), dtype=pl.Float64)
            rows = rows.with_columns(scores)
        yield Window(f"{shift.name} ({shift.size})", shift.expected, rows)


def unchanged(champion: Champion, windows: int, seed: int) -> Iterator[Window]:
    for number in range(windows):
        chance = np.random.default_rng([seed, DAYS, number])
        rows = draw_days(champion.case, champion.training, DAYS, chance)
        yield Window(f"null {number + 1}", "stable", draw_rows(champion.case, rows, ROWS, chance))


def ask_nannyml(champion: Champion, windows: list[Window]) -> dict[str, dict[str, Any]]:
    """What NannyML says, by the window's number."""
    case = champion.case
    numbers = [column.name for column in case.columns if column.kind == "number"]
    categories = [column.name for column in case.columns if column.kind != "number"]
    columns = {
        "numbers": numbers,
        "categories": categories,
        "score": SCORE,
        "decision": _DECISION,
        "label": case.label,
    }
    month = pl.col(case.event_time).dt.truncate("1mo").dt.date()
    reference = champion.training.with_columns(month.alias(_BLOCK))
    reference = pl.concat(
        block.sample(min(ROWS, len(block)), seed=7)
        for block in reference.partition_by(_BLOCK, maintain_order=True)
    )

    def write(rows: pl.DataFrame, file: Path) -> None:
        decision = (pl.col(SCORE) >= case.decision_threshold).cast(pl.Int8).alias(_DECISION)
        rows.select(
            *numbers,
            pl.col(categories).cast(pl.String),
            SCORE,
            pl.col(case.label).cast(pl.Int8),
            _BLOCK,
            decision,
        ).write_parquet(file)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "columns.json").write_text(json.dumps(columns))
        write(reference, folder / "reference.parquet")
        for number, window in enumerate(windows):
            rows = window.rows.with_columns(pl.lit(_WINDOW_MONTH).alias(_BLOCK))
            write(rows, folder / f"window-{number}.parquet")
        process = subprocess.run(
            [python_of("nannyml", ENVIRONMENTS), PEERS / "nannyml_alarms.py", folder],
            env={**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if process.returncode:
        raise Unavailable(f"NannyML failed: {process.stderr.strip().splitlines()[-1]}")
    alarms: dict[str, dict[str, Any]] = json.loads(process.stdout.splitlines()[-1])
    return alarms
