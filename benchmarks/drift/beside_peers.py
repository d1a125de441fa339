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

from benchmarks.drift.faults import MONTH, faults, word_of
from benchmarks.drift.studies import sampled, scored
from benchmarks.drift.world import Champion, draw_weeks, evidently_fires
from benchmarks.environments import Unavailable, install, python_of
from blocks.settings import REPOSITORY
from tasks.measures.estimate import estimate
from tasks.measures.metrics import score
from tasks.models import modelling
from usecases.definition import ROC_AUC, SCORE

PEERS = Path(__file__).resolve().parent / "peers"
ENVIRONMENTS = REPOSITORY / ".laurel" / "benchmarks" / "venvs"
ROWS = 10_000  # of each month of the reference
WEEKS = 4
_BLOCK, _DECISION = "block", "decision"
_WINDOW_MONTH = date(2100, 1, 15)


@dataclass(frozen=True)
class Window:
    """A sample of ``counted`` rows, with the champion's scores; ``wanted`` is what a check should
    say of them."""

    name: str
    wanted: str
    rows: pl.DataFrame
    counted: int


def beside_peers(
    champion: Champion, months: Iterable[str], null_windows: int, seed: int
) -> Iterator[dict[str, Any]]:
    """A row for each window: real months, faults in a sound one, and days drawn from the
    reference. Raises ``environments.Unavailable``.
    """
    install("nannyml", ENVIRONMENTS, PEERS)
    windows = [*real(champion, months), *with_faults(champion, seed)]
    windows += unchanged(champion, null_windows, seed)
    nannyml = ask_nannyml(champion, windows)
    for number, window in enumerate(windows):
        verdict = champion.judge(window.name, window.rows, window.counted)
        alarms = nannyml[str(number)]
        yield {
            "window": window.name,
            "wanted": window.wanted,
            "laurel": word_of(verdict),
            "evidently": evidently_fires(verdict) if verdict.distances else None,
            "nannyml pca": alarms["pca"],
            "nannyml columns": alarms["columns"],
            "nannyml estimate": alarms["estimate"],
            **errors_of_estimates(champion, window, alarms["roc_auc"]),
        }


def errors_of_estimates(
    champion: Champion, window: Window, nannyml: float | None
) -> dict[str, float | None]:
    """ROC AUC, and by how much it is missed by the estimates that need no labels: both are made
    from the scores as they are. Of real months only."""
    if window.wanted:
        return {"roc_auc": None, "estimate off": None, "nannyml's off": None}
    rows = window.rows.drop_nulls(champion.case.label)
    scores = rows[SCORE].to_numpy()
    realised = score(ROC_AUC, modelling.labels(champion.case, rows), scores)
    return {
        "roc_auc": realised,
        "estimate off": estimate(ROC_AUC, scores, scores) - realised,
        "nannyml's off": None if nannyml is None else nannyml - realised,
    }


def real(champion: Champion, months: Iterable[str]) -> Iterator[Window]:
    for month in months:
        rows = scored(champion, month)
        yield Window(month, "", sampled(champion, rows), len(rows))


def with_faults(champion: Champion, seed: int) -> Iterator[Window]:
    month = scored(champion, MONTH)
    numbers = [column.name for column in champion.case.columns if column.kind == "number"]
    for number, (name, wanted, spoil) in enumerate(faults(numbers)):
        rows = spoil(month, np.random.default_rng([seed, number]))
        yield Window(name, wanted, sampled(champion, rows), len(rows))


def unchanged(champion: Champion, windows: int, seed: int) -> Iterator[Window]:
    for number in range(windows):
        chance = np.random.default_rng([seed, WEEKS, number])
        rows = draw_weeks(champion.case, champion.training, WEEKS, chance)
        yield Window(f"null {number + 1}", "stable", sampled(champion, rows), len(rows))


def ask_nannyml(champion: Champion, windows: list[Window]) -> dict[str, dict[str, Any]]:
    """What NannyML says, by the window's number; ``None`` where it fails."""
    with tempfile.TemporaryDirectory() as name:
        write_windows(champion, windows, Path(name))
        process = subprocess.run(
            [python_of("nannyml", ENVIRONMENTS), PEERS / "nannyml_alarms.py", name],
            env={**os.environ, "NML_DISABLE_USAGE_LOGGING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    return read_answer(process)


def write_windows(champion: Champion, windows: list[Window], folder: Path) -> None:
    """Everything that ``nannyml_alarms.py`` reads: the columns, at most 10,000 rows of each month
    of the reference, and each window as another month."""
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

    (folder / "columns.json").write_text(json.dumps(columns))
    write(reference, folder / "reference.parquet")
    for number, window in enumerate(windows):
        rows = window.rows.with_columns(pl.lit(_WINDOW_MONTH).alias(_BLOCK))
        write(rows, folder / f"window-{number}.parquet")


def read_answer(process: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """The last line that ``nannyml_alarms.py`` printed. Raises ``Unavailable`` if it failed, with
    the last line of its errors."""
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        raise Unavailable(f"NannyML failed: {lines[-1] if lines else process.returncode}")
    alarms: dict[str, dict[str, Any]] = json.loads(process.stdout.splitlines()[-1])
    return alarms
