"""A newcomer's evening: from a CSV of Excel's to a served champion, in a repository of her own,
with an empty home, in a folder with a blank and Korean letters, and with MLflow's port taken."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.processes import free_port
from tests.fixtures.wheel import install, laurel

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.nightly("an evening on a stack of its own, from the wheel"),
]
ROWS, DAYS = 12_000, 420


def orders(path: Path) -> None:
    """As a German Excel writes them: semicolons, decimal commas, cp1252, days first."""
    chance = np.random.default_rng(3)
    amount, items = chance.gamma(2, 40, ROWS), chance.poisson(2, ROWS) + 1
    city, express = chance.choice(["Köln", "München", "Bonn"], ROWS), chance.random(ROWS) < 0.3
    margin = -1.6 + 0.012 * (amount - 80) + 0.35 * (items - 3) + 0.9 * express
    back = chance.random(ROWS) < 1 / (1 + np.exp(-margin))
    lines = ["Bestellung;placed_at;amount;items;city;express;returned"]
    for row in range(ROWS):
        day = date(2024, 1, 1) + timedelta(days=row * DAYS // ROWS)
        price = f"{amount[row]:.2f}".replace(".", ",")
        words = ["ja" if one else "nein" for one in (express[row], back[row])]
        lines.append(
            f"B{row:06d};{day:%d.%m.%Y};{price};{items[row]};{city[row]};{';'.join(words)}"
        )
    path.write_bytes("\r\n".join(lines).encode("cp1252"))


class Newcomer:
    """Types commands in the folder of her own, at a terminal of 80 columns."""

    def __init__(self, ours: Path, home: Path, taken: int) -> None:
        self._ours = ours
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        ports = ("PREFECT", "S3", "SERVING")
        self._environment = kept | {
            "HOME": str(home),
            "COLUMNS": "80",
            "LINES": "24",
            # The usual port of MLflow is taken on every Mac; here it is this one.
            "LAUREL_MLFLOW_PORT": str(taken),
            **{f"LAUREL_{name}_PORT": str(free_port()) for name in ports},
        }

    def types(self, *words: str, code: int = 0) -> str:
        """What the command prints. Fails unless it ends with ``code``."""
        ended = subprocess.run(
            laurel(self._ours, *words),
            cwd=self._ours,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == code, f"{words}: {ended.stdout[-3000:]}{ended.stderr[-3000:]}"
        return ended.stdout + ended.stderr

    def reads(self, *words: str) -> Any:
        return json.loads(self.types(*words, "--json").splitlines()[-1])

    def moves(self, name: str) -> None:
        self._environment[f"LAUREL_{name}_PORT"] = str(free_port())


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    place = tmp_path_factory.mktemp("evening")
    ours, home = install(place), place / "home"
    home.mkdir()
    orders(ours / "orders.csv")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        person = Newcomer(ours, home, taken.getsockname()[1])
        yield person
        person.types("down")


def test_from_a_csv_to_a_served_champion(newcomer: Newcomer) -> None:
    drafted = newcomer.types("new", "orders.csv")
    assert '"ja" is yes' in drafted and "decimal comma" in drafted and "key      Best" in drafted
    assert max(map(len, drafted.splitlines())) <= 80
    checked = newcomer.types("check", "orders")
    assert "0 ✗ wrong" in checked and "Next: laurel run retrain orders" in checked

    refused = newcomer.types("up", code=1)
    assert "LAUREL_MLFLOW_PORT" in refused  # it is taken, and what to write is said
    newcomer.moves("MLFLOW")
    newcomer.types("up")

    crowned = newcomer.reads("run", "retrain", "orders")
    assert (crowned["verdict"], crowned["exit_code"]) == ("promoted", 0)
    assert crowned["score"] >= crowned["gate"] > 0.6
    (row,) = newcomer.reads("status")["use_cases"]
    assert (row["use_case"], row["champion"], row["needs"]) == ("orders", crowned["version"], [])
    answer = newcomer.reads("predict", "orders", "--example")
    assert answer["model_version"] == crowned["version"]
    assert 0 < answer["predictions"][0]["score"] < 1

    # Nothing has changed: the crown stays, and there is none before it to go back to.
    again = newcomer.reads("run", "retrain", "orders")
    assert again["verdict"] != "promoted" and again["exit_code"] == 0
    assert "no champion before version" in newcomer.types("rollback", "orders", code=1)
    assert newcomer.reads("champion", "orders")["champion"] == crowned["version"]
    scored = newcomer.types("score", "orders", "orders.csv", "--to", "scores.parquet")
    assert f"{ROWS:,} rows" in scored
    assert "✗" not in newcomer.types("doctor")


def test_use_case_that_is_younger_than_the_stack_needs_no_second_up(newcomer: Newcomer) -> None:
    newcomer.types("new", "orders.csv", "--name", "younger")
    told = newcomer.types("run", "ingest", "younger")
    assert "younger is new to the stack" in told and "done" in told
    assert {row["use_case"] for row in newcomer.reads("status")["use_cases"]} == {
        "orders",
        "younger",
    }
