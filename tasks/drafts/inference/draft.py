"""A draft: everything that was decided of a table, from which its file is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tasks.drafts.inference.keys import Key
from tasks.drafts.inference.leaks import Leaks
from tasks.drafts.inference.targets import Target
from tasks.drafts.inference.times import Timing
from tasks.drafts.reading.facts import Facts
from tasks.drafts.reading.tables import Table
from usecases.definition import LOG_COLUMNS, SCORE, UseCase
from usecases.definition.use_case import ARRIVED, RESERVED, ROW_ID

METRICS = {
    "binary": "ROC_AUC",
    "classes": "ACCURACY",
    "number": "RMSE",
    "count": "POISSON_DEVIANCE",
}


@dataclass(frozen=True)
class Baseline:
    """What the candidate ``model`` reached on rows that it had not seen: the mean and twice the
    standard deviation of folds as large as a hold-out. ``threshold`` is the gate's, ``chance``
    what a constant answer reaches."""

    model: str
    mean: float
    spread: float
    threshold: float
    chance: float
    no_better: bool = False


@dataclass(frozen=True)
class Draft:
    """``inputs`` are the columns of the model, with the arguments of ``Column`` in ``limits`` that
    say what each may hold. ``left_out`` are the other ones with the reason, and ``renamed`` the
    names in the use case of columns whose own name is taken there."""

    name: str
    table: Table
    path: str
    facts: Mapping[str, Facts]
    decimal: str
    nulls: tuple[str, ...]
    target: Target
    timing: Timing
    key: Key
    leaks: Leaks
    inputs: Sequence[Facts]
    left_out: Mapping[str, str]
    limits: Mapping[str, Mapping[str, Any]]
    renamed: Mapping[str, str] = field(default_factory=dict)
    baseline: Baseline | None = None

    @property
    def event(self) -> Facts | None:
        return self.facts[self.timing.column] if self.timing.column else None

    @property
    def texts(self) -> list[str]:
        return [column.name for column in self.inputs if column.kind == "text"]

    @property
    def metric(self) -> str:
        """The constant of the gate's metric: for classes of which one has most rows, each counts
        alike.
        """
        if self.target.kind == "classes":
            counts = self.target.labels.drop_nulls().value_counts()["count"]
            if float(counts.max() or 0) > 0.6 * float(counts.sum()):  # type: ignore[arg-type]
                return "BALANCED_ACCURACY"
        return METRICS[self.target.kind]

    @property
    def training_rows(self) -> int:
        known = len(self.target.labels.drop_nulls()) * self.table.step
        return max(0, known - self.timing.holdout_rows)

    def named(self, column: str) -> str:
        """Its name in the use case."""
        return self.renamed.get(column, column)

    def rows(self, case: UseCase) -> pl.DataFrame:
        """The labelled rows of the sample as the flows would have them: typed inputs, the label,
        and the event time.
        """
        columns = [column.values.alias(self.named(column.name)) for column in self.inputs]
        label = self.target.labels.alias(case.label)
        time = [] if self.event is None else [self.event.values.alias(case.event_time)]
        frame = pl.DataFrame([*columns, label, *time])
        if time:
            frame = frame.drop_nulls(case.event_time)
        if self.target.classes:
            label_known = pl.col(case.label).is_in(list(self.target.classes))
            return frame.filter(label_known)
        return frame.drop_nulls(case.label)


def taken_names(target: Target) -> set[str]:
    """Names that no input can have: the prediction log has columns of its own."""
    outputs = {
        "binary": {"decision"},
        "classes": {"class", "class_set", *(f"{SCORE}_{name}" for name in target.classes)},
    }.get(target.kind, {"value", "low", "high"})
    return {*LOG_COLUMNS, *RESERVED, SCORE, ARRIVED, ROW_ID, *outputs}
