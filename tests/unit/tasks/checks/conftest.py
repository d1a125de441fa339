"""A use case as a newcomer writes it, whole and right: tests spoil a part of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

import usecases

WRITTEN = '''"""Will this order be sent back?"""

import numpy as np
import polars as pl

from usecases.definition import LOG_LOSS, ROC_AUC, Binary, Candidate, Column, Gate, Invariance
from usecases.definition import MinimumFunction, Promotion, UseCase

PERIODS = [f"2024-{month:02d}" for month in range(1, 7)]
ROWS = 700


class Orders:
    def periods(self):
        return PERIODS

    def read(self, period):
        chance = np.random.default_rng(int(period[-2:]))
        age, amount = chance.normal(size=ROWS), chance.normal(size=ROWS)
        returned = (age + amount + chance.normal(0, 1.5, ROWS) > 0).astype(int)
        rows = pl.DataFrame(
            {
                "order": [f"{period}-{row}" for row in range(ROWS)],
                "placed": [f"{period}-{1 + row % 28:02d}T10:00:00" for row in range(ROWS)],
                "age": age,
                "amount": amount,
                "city": chance.choice(["Bonn", "Köln", "서울"], ROWS),
                "returned": returned,
            }
        ).with_columns(pl.col("placed").str.to_datetime())
        return rows


def build(params, layout, seed):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LogisticRegression(random_state=seed, **params))


USE_CASE = UseCase(
    name="NAME",
    title="Orders that are sent back",
    question="Will it be sent back?",
    source=Orders(),
    columns=(
        Column(name="age", kind="number", low=-10, high=10),
        Column(name="amount", kind="number"),
        Column(name="city", kind="category"),
    ),
    target=Binary(label="returned"),
    event_time="placed",
    key=("order",),
    candidates=(
        Candidate(name="logistic", build=build),
    ),
    gate=Gate(metric=ROC_AUC, threshold=0.7),
    promotion=Promotion(slices=("city",)),
)
'''

Write = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    """Write the use case with parts replaced, under a name of its own; returns the name, and the
    file's text."""
    folder = tmp_path / "usecases"
    folder.mkdir()
    monkeypatch.setattr(usecases, "__path__", [*usecases.__path__, str(folder)])
    monkeypatch.syspath_prepend(str(tmp_path))
    digits = abs(hash(request.node.nodeid)) % 10**8

    def write(*changes: tuple[str, str]) -> tuple[str, str]:
        text = WRITTEN.replace("NAME", name := f"orders_{digits}")
        for part, other in changes:
            assert part in text, part
            text = text.replace(part, other)
        (folder / f"{name}.py").write_text(text)
        return name, text

    return write
