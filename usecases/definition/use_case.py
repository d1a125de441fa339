"""A use case, whole."""

import inspect
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator, model_validator

from usecases.definition.behaviours import Direction, Invariance, MinimumFunction, misfits
from usecases.definition.columns import LOG_COLUMNS, Column, FieldName, Frozen, Layout
from usecases.definition.contest import Gate, Promotion
from usecases.definition.drift import SCORE, DriftPolicy
from usecases.definition.kinds import KINDS
from usecases.definition.metrics import METRICS
from usecases.definition.outputs import Output
from usecases.definition.period_kinds import PeriodKind
from usecases.definition.periods import PeriodNoun, window_kind
from usecases.definition.policies import (
    Approval,
    EventTimePolicy,
    LabelPolicy,
    PredictionLogPolicy,
    RetrainPolicy,
)
from usecases.definition.recipes import Candidate
from usecases.definition.rollouts import (
    Immediate,
    Rollout,
    Stage,
    chain_problem,
    stages_of,
)
from usecases.definition.rollouts import misfits as rollout_misfits
from usecases.definition.sampling import WEIGHT, Sample
from usecases.definition.sources import Source, SqlSource, TableSource
from usecases.definition.targets import Binary, Classes, Number

if TYPE_CHECKING:
    import polars as pl

# Names of modules, of deployments, of models, of folders, and of paths in the service.
NAME = re.compile(r"[a-z][a-z0-9_]*")
# Folders of the service beside those of the use cases, and the definition itself.
TAKEN = frozenset({"definition", "log", "workers"})
_BINARY_FIELDS = ("label", "decision_threshold")
# Quarantine and reports name a column of their own so, and rows of a sample.
RESERVED = frozenset({"quarantine_reason", WEIGHT})
# The columns that rows without a time, or without a key, get.
ARRIVED, ROW_ID = "arrived_at", "row_id"


class UseCaseError(ValueError):
    """A use case is unknown, or its file cannot be used: the message names file, line and
    remedy.
    """


def refuse_name(name: str) -> str | None:
    """Why no use case, and no file of one, can have this name; ``None`` if it can."""
    if not NAME.fullmatch(name):
        nearest = re.sub(r"[^a-z0-9_]", "_", name.lower()).lstrip("_0123456789")
        hint = f", such as {nearest!r}" if nearest else ""
        return (
            f"{name!r} is no valid use case name: use a-z, digits and _, with a letter first{hint}"
        )
    return f"{name!r} is reserved by Laurel: choose another name" if name in TAKEN else None


class UseCase(Frozen):
    """One prediction problem, whole. ``columns`` are the model's inputs, ``target`` is what it
    predicts; ``label="late"`` is short for ``target=Binary(label="late")``, and takes a
    ``decision_threshold``.

    Rows are ingested and held out by ``period`` of their event time, in UTC. A model learns the
    ``train_periods`` latest of them before its hold-out; ``None``: all. With ``half_life_days`` a
    row that is so much older than the newest one counts half as much in a fit. With a ``sample``
    it learns so many of its rows, which stand for the others.

    With ``arrival=True`` rows have no event time: each ingest is a batch of those that were not
    there before, and they are dealt over the days in which they arrived, by weeks if no ``period``
    is given, of which two are held out. A row without a ``key`` is then known by its inputs."""

    name: str
    title: str = Field(min_length=1)
    question: str = Field(min_length=1)
    source: Source | TableSource
    columns: tuple[Column, ...] = Field(min_length=1)
    target: Binary | Classes | Number
    event_time: FieldName = ARRIVED
    key: tuple[FieldName, ...] = Field((ROW_ID,), min_length=1)
    arrival: bool = False
    period: PeriodNoun = "month"
    train_periods: int | None = Field(None, ge=1)
    half_life_days: float | None = Field(None, gt=0, allow_inf_nan=False)
    sample: Sample | None = None
    candidates: tuple[Candidate, ...] = Field(min_length=1)
    gate: Gate
    promotion: Promotion = Promotion()
    drift: DriftPolicy = DriftPolicy()
    labels: LabelPolicy = LabelPolicy()
    retrain: RetrainPolicy = RetrainPolicy()
    approval: Approval = Approval()
    rollout: Rollout | tuple[Rollout, ...] = Immediate()
    behaviours: tuple[Invariance | Direction | MinimumFunction, ...] = ()
    prediction_log: PredictionLogPolicy = PredictionLogPolicy()
    event_times: EventTimePolicy = EventTimePolicy()
    parity_tolerance: float = Field(1e-5, gt=0, lt=1)
    minimum_training_rows: int = Field(200, ge=2)

    @model_validator(mode="before")
    @classmethod
    def _label_is_a_target(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        short = {name: fields[name] for name in _BINARY_FIELDS if name in fields}
        if not short:
            return fields
        if "target" in fields:
            raise ValueError(
                f"{' and '.join(short)} beside target: they belong to the target, such as "
                "Binary(label=..., decision_threshold=...)"
            )
        others = {name: value for name, value in fields.items() if name not in short}
        return {**others, "target": Binary(**short)}

    @model_validator(mode="before")
    @classmethod
    def _time_or_arrival(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        if not fields.get("arrival"):
            if "event_time" not in fields:
                raise ValueError(
                    "event_time is missing: name the column with the time of a row, or write "
                    "arrival=True if rows have none"
                )
            if "key" not in fields:
                raise ValueError("key is missing: name the columns that identify a row")
            return fields
        if fields.get("event_time", ARRIVED) != ARRIVED:
            raise ValueError(
                "event_time beside arrival=True, which is for rows without a time: leave one out"
            )
        made: dict[str, Any] = {}
        if "period" not in fields:
            # A week has too few days to judge on, and two of ten are a fifth of the rows.
            made = {"period": "week", "promotion": Promotion(holdout_periods=2)}
        return {**made, **fields}

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if refusal := refuse_name(name):
            raise ValueError(refusal)
        return name

    @field_validator("source", mode="before")
    @classmethod
    def _is_a_source(cls, source: object) -> object:
        if inspect.isclass(source):
            raise ValueError(f"source is the class {source.__name__}: write {source.__name__}()")
        missing = [
            name for name in ("periods", "read") if not callable(getattr(source, name, None))
        ]
        if missing and not isinstance(source, TableSource):
            raise ValueError(
                f"source is a {type(source).__name__} without {' and '.join(missing)}(): "
                "give an object "
                "with periods() and read(period), or FileSource(path=...), SqlSource(query=...) or "
                "FrameSource(function=...)"
            )
        return source

    @model_validator(mode="after")
    def _each_column_has_one_part(self) -> "UseCase":
        names = self.column_names
        if repeated := _repeated(names):
            raise ValueError(f"columns named twice: {repeated}")
        for reserved in (self.label, self.event_time):
            if reserved in names:
                raise ValueError(
                    f"{reserved!r} is not known when predicting, so it cannot be an input column"
                )
        if self.label == self.event_time:
            raise ValueError(
                f"label and event_time are both {self.label!r}: they must be two columns"
            )
        if repeated := _repeated(self.key):
            raise ValueError(f"key names columns twice: {repeated}")
        if self.label in self.key:
            raise ValueError(
                f"key contains the label {self.label!r}, which comes late and changes: a row "
                "must keep its key"
            )
        if in_use := sorted(RESERVED & {*names, *self.key, self.label, self.event_time}):
            raise ValueError(f"Laurel itself uses the column names {in_use}: rename yours")
        return self

    @model_validator(mode="after")
    def _arrival_is_of_tables_by_days(self) -> "UseCase":
        if not self.arrival:
            return self
        if not isinstance(self.source, TableSource):
            raise ValueError(
                "arrival=True needs a source that gives all rows at once: FileSource(path=...), "
                "FrameSource(function=...) or SqlSource(query=...)"
            )
        if isinstance(self.source, SqlSource) and self.source.cursor_column:
            raise ValueError(
                "arrival=True reads the whole table to know what is new: leave cursor_column out"
            )
        if self.period == "hour":
            raise ValueError("arrival=True deals rows over days: a period has a day at least")
        if self.promotion.block == "hour":
            raise ValueError(
                "arrival=True deals rows over days, so that a day has no hours: write "
                'Promotion(block="day") and holdout_periods for ten days or more'
            )
        own = {*self.column_names, self.label, *self.key}
        if in_use := sorted({ARRIVED, ROW_ID} & own if self.key != (ROW_ID,) else {ARRIVED} & own):
            raise ValueError(f"Laurel itself makes the columns {in_use}: rename yours")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "UseCase":
        names = self.column_names
        unknown = sorted(set(self.promotion.slices) - set(names))
        if unknown:
            raise ValueError(f"slices are not columns: {unknown}")
        if strangers := sorted(set(self.prediction_log.leave_out) - set(names)):
            raise ValueError(
                f"prediction_log.leave_out names {strangers}, which are not input columns; "
                f"those are {names}"
            )
        days, window = self.prediction_log.keep_days, self.drift_window.longest.days + 1
        if days and days < window:
            raise ValueError(
                f"prediction_log.keep_days is {days}, but the drift check reads a window of up to "
                f"{window - 1} days: keep {window} days or more, or set drift.window shorter"
            )
        if not set(names) - set(self.prediction_log.leave_out):
            raise ValueError(
                "prediction_log.leave_out names every input column: nothing would be left to "
                "watch for drift"
            )
        outputs = {output.name for output in self.outputs}
        if in_use := sorted(set(names) & (LOG_COLUMNS | outputs | {SCORE})):
            raise ValueError(
                f"the prediction log itself uses the column names {in_use}: "
                "rename the input columns"
            )
        if problems := self.drift.problems(self.columns):
            raise ValueError("; ".join(problems))
        if not any(candidate.baseline for candidate in self.candidates):
            raise ValueError("no baseline candidate: train would have nothing to fit")
        if repeated := _repeated([candidate.name for candidate in self.candidates]):
            raise ValueError(f"candidates named twice: {repeated}")
        for candidate in self.candidates:
            if strangers := sorted(set(candidate.vectorizers) - {*self.texts}):
                raise ValueError(
                    f"vectorizers of candidate {candidate.name!r} names {strangers}, which are no "
                    f"columns of kind 'text'; those are {list(self.texts)}"
                )
        metric, threshold = self.gate.metric, self.gate.threshold
        if self.promotion.too_good(metric, threshold):
            raise ValueError(
                f"the gate requires a {metric.in_words()} of {threshold:g}, but "
                "promotion.suspicious_score treats one above "
                f"{self.promotion.suspicious_score:g} as a leak: nothing could be promoted"
            )
        guards = [guard.metric for guard in self.promotion.guards]
        kind = self.target.kind
        if strangers := [name.name for name in (metric, *guards) if kind not in name.targets]:
            fit = [known.name.upper() for known in METRICS.values() if kind in known.targets]
            raise ValueError(
                f"{strangers} cannot judge {self.label!r}, which is a "
                f"{type(self.target).__name__}: choose from {', '.join(fit)}"
            )
        return self

    @model_validator(mode="after")
    def _sample_fits_the_target(self) -> "UseCase":
        if self.sample and self.sample.by == "class" and isinstance(self.target, Number):
            raise ValueError(
                f"sample is by class, and {self.label!r} is a number: write Sample(rows=...) or "
                'Sample(rows=..., by="period")'
            )
        if self.sample and self.sample.rows < self.minimum_training_rows:
            raise ValueError(
                f"sample has {self.sample.rows} rows, and minimum_training_rows is "
                f"{self.minimum_training_rows}: nothing could be fitted"
            )
        return self

    @model_validator(mode="after")
    def _rollout_fits(self) -> "UseCase":
        problems = rollout_misfits(
            self.rollout,
            self.gate.metric,
            self.target.kind,
            self.target.label,
            self.column_names,
        )
        if chained := chain_problem(self.rollout):
            problems = [chained, *problems]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _periods_suffice(self) -> "UseCase":
        problems = [
            *self.promotion.problems(self.period_kind),
            *self.drift.problems_of_window(self.drift_window),
        ]
        if self.train_periods is not None and self.train_periods < self.promotion.holdout_periods:
            problems.append(
                f"train_periods is {self.train_periods}, and a hold-out has "
                f"{self.promotion.holdout_periods}, which the champion learns in its refit: "
                f"write train_periods={self.promotion.holdout_periods} or more"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _behaviours_fit_the_columns(self) -> "UseCase":
        columns = {column.name: column for column in self.columns}
        if repeated := _repeated([behaviour.name for behaviour in self.behaviours]):
            raise ValueError(f"behaviours named twice: {repeated}")
        if faults := [
            f"behaviour {behaviour.name!r}: {fault}"
            for behaviour in self.behaviours
            for fault in misfits(behaviour, columns, self.target)
        ]:
            raise ValueError("; ".join(faults))
        return self

    @property
    def matrix_columns(self) -> list[Column]:
        """The columns in the order of the encoded matrix: that of ``KINDS``, then their own."""
        order = list(KINDS)
        return sorted(self.columns, key=lambda column: order.index(column.kind))

    @property
    def layout(self) -> Layout:
        lists = [
            KINDS[column.kind].layout
            for column in self.matrix_columns
            for _ in range(KINDS[column.kind].width(column))
        ]
        return Layout(
            categories=tuple(at for at, name in enumerate(lists) if name == "categories"),
            numbers=tuple(at for at, name in enumerate(lists) if name == "numbers"),
            pixels=tuple(at for at, name in enumerate(lists) if name == "pixels"),
            terms=len(lists) if self.texts else None,
        )

    @property
    def texts(self) -> tuple[str, ...]:
        """The names of the columns that a candidate's vectoriser makes terms of."""
        return tuple(
            column.name for column in self.matrix_columns if KINDS[column.kind].layout == "terms"
        )

    @property
    def outputs(self) -> tuple[Output, ...]:
        """The outputs of a model of this use case for a row."""
        return self.target.outputs

    @property
    def label(self) -> str:
        return self.target.label

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What a winner goes through before the crown; empty: it is crowned at once."""
        return stages_of(self.rollout)

    @property
    def decision_threshold(self) -> float | None:
        """That of a yes or no; ``None`` for any other target."""
        return self.target.decision_threshold if isinstance(self.target, Binary) else None

    @property
    def answer(self) -> Column:
        """The output whose distribution is watched for drift, as ``SCORE``."""
        return self.target.answer

    @property
    def period_kind(self) -> PeriodKind:
        """How its event time is cut into periods."""
        return window_kind(self.period)

    @property
    def period_of_rows(self) -> "pl.Expr":
        """The name of each row's period."""
        import polars as pl

        return self.period_kind.names(pl.col(self.event_time))

    @property
    def drift_window(self) -> PeriodKind:
        """How the prediction log is cut into windows that are checked for drift."""
        return window_kind(self.drift.window) if self.drift.window else self.period_kind

    @property
    def drift_days(self) -> int:
        """How many days a window needs to be judged."""
        return self.drift.days_needed(self.drift_window)

    def training_window(self, periods: Sequence[str]) -> tuple[str, ...]:
        """Those of ``periods``, oldest first, that a model learns."""
        return tuple(periods if self.train_periods is None else periods[-self.train_periods :])

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def candidate(self, name: str) -> Candidate:
        """Raises ``UseCaseError`` naming the known candidates."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise UseCaseError(
            f"{self.name!r} has no candidate {name!r}; it has {[c.name for c in self.candidates]}."
        )


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
