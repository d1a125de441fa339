"""What a use case is: the one object that every flow, the service and the drift check read.

A use case is a module of the package ``usecases`` with a constant ``USE_CASE``. ``load("flights")`` finds it.
All objects are frozen and refuse unknown fields, so a typo fails when the module is imported.
"""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import polars as pl


# What the prediction log says of a row beside its inputs.
LOG_COLUMNS = frozenset({"id", "time", "event_time", "score", "decision", "model_version", "sample_rate"})


class UseCaseError(ValueError):
    """A use case is unknown, or its definition contradicts itself."""


class SourceError(RuntimeError):
    """The source of a use case cannot be read: the message says which file or table, and what to do."""


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Column(Frozen):
    """One input column: what it may hold, and what a healthy batch of it looks like.

    Rows outside ``low..high`` (inclusive), or null where ``nullable`` is false, go to quarantine one by one.
    A batch is refused as a whole when its share of nulls is above ``null_tolerance`` (0-1), or its median leaves
    ``typical``: that is what a changed unit does. ``categories`` closes the set; ``None`` leaves it open, and an
    unknown one is then encoded like a missing one.
    """

    name: str
    kind: Literal["number", "category"]
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] | None = None
    null_tolerance: float = 0.05
    typical: tuple[float, float] | None = None
    monitored: bool = True
    description: str = ""

    def refuses(self, value: str | float | None) -> str | None:
        """Why ``value`` cannot stand in this column; ``None`` where it can."""
        if value is None:
            return None if self.nullable else f"{self.name!r} may not be null"
        if isinstance(value, str) != (self.kind == "category"):
            return f"{self.name!r} is a {self.kind}, and {value!r} is none"
        if isinstance(value, str):
            return None if self.categories is None or value in self.categories else f"{self.name!r} has no category {value!r}"
        inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return None if inside else f"{self.name!r} may be {self.low} to {self.high}, and not {value:g}"


class Metric(Frozen):
    """A score by name (see ``tasks/metrics.py``) that knows which way is better; it is never negated."""

    name: Literal["roc_auc", "log_loss", "brier", "calibration_error"]
    higher_is_better: bool

    def gain(self, challenger: float, champion: float) -> float:
        """How much better the challenger is, positive when it is, whatever the metric's direction."""
        return challenger - champion if self.higher_is_better else champion - challenger


ROC_AUC = Metric(name="roc_auc", higher_is_better=True)
LOG_LOSS = Metric(name="log_loss", higher_is_better=False)
BRIER = Metric(name="brier", higher_is_better=False)
CALIBRATION_ERROR = Metric(name="calibration_error", higher_is_better=False)


class Gate(Frozen):
    """The absolute floor on the hold-out: a candidate below ``threshold`` is never registered."""

    metric: Metric
    threshold: float

    def passes(self, score: float) -> bool:
        """Not-a-number never passes."""
        return score >= self.threshold if self.metric.higher_is_better else score <= self.threshold


class Guard(Frozen):
    """A second metric that the challenger may lose by at most ``tolerance`` (in the metric's own unit)."""

    metric: Metric
    tolerance: float


class Layout(Frozen):
    """Positions of the columns in the encoded matrix ``(n_rows, n_features)``.

    Categories stand first, as integer codes (-1: null or unknown), then the numbers (NaN: null).
    """

    categories: tuple[int, ...]
    numbers: tuple[int, ...]


class Range(Frozen):
    """One dimension of a search space, both ends included."""

    low: float
    high: float
    log: bool = False
    integer: bool = False


class Search(Frozen):
    """How to tune an estimator: Optuna's TPE over ``space``, halved at each rung of ``resource``.

    ``resource`` is the parameter that grows (``max_iter``) and its rungs; the last one is what is kept.
    """

    space: Mapping[str, Range]
    resource: tuple[str, tuple[int, ...]]
    trials: int = 20


class Candidate(Frozen):
    """A recipe: ``build(params, layout, seed)`` returns an unfitted scikit-learn classifier on the encoded matrix.

    ``baseline`` candidates are fitted by every ``train``; the others are reached by HPO or as the champion's recipe.
    """

    name: str
    build: Callable[[Mapping[str, Any], Layout, int], Any]
    params: Mapping[str, Any] = {}
    baseline: bool = True
    search: Search | None = None


class Promotion(Frozen):
    """The rule of the contest (``tasks/contest.py``): paired block bootstrap, by ``block`` of the event time.

    Promoted when the lower ``1 - confidence`` bound of the gain is above zero, and those of all guards and slices, which hold
    together, are above minus their tolerance. Slices below ``slice_minimum_rows`` are not judged, and that is said.
    A gain above ``suspicious_gain``, a ROC AUC above ``suspicious_score``, or one column that alone reaches the share
    ``suspicious_column`` of the challenger's lift over chance and ranks better than the champion is taken for a leak; ``None``
    does not look at columns.
    A package that takes more than ``latency_ratio`` times the champion's time, and ``latency_floor_milliseconds`` longer, stays out.
    """

    block: Literal["hour", "day", "week"] = "day"
    replicates: int = Field(400, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    minimum_blocks: int = 10
    minimum_rows: int = 500
    guards: tuple[Guard, ...] = ()
    slices: tuple[str, ...] = ()
    slice_tolerance: float = 0.02
    slice_minimum_rows: int = 1000
    suspicious_gain: float = 0.10
    suspicious_score: float = 0.97
    suspicious_column: float | None = Field(0.95, gt=0)
    latency_ratio: float = Field(3.0, gt=1)
    latency_floor_milliseconds: float = Field(5.0, ge=0)


class ColumnChange(Frozen):
    """What a model must do whatever it scores (Ribeiro et al. 2020, CheckList), tried on hold-out rows with one column changed.

    It must hold for at least the ``share`` (0-1] of the rows. Rows that have the new value already are not tried; no row at all fails.
    """

    name: str
    column: str
    share: float = Field(1.0, gt=0, le=1)
    tolerance: float = Field(ge=0, lt=1)

    def values(self) -> tuple[Any, ...]:
        """The values that the column is set to."""
        return ()


class Invariance(ColumnChange):
    """With any of the values ``to`` in the column the score moves by at most ``tolerance``, either way."""

    kind: Literal["invariance"] = "invariance"
    to: tuple[str | float | None, ...] = Field(min_length=1)

    def values(self) -> tuple[Any, ...]:
        return self.to


class Direction(ColumnChange):
    """With ``add`` more in the column, or with the value ``to``, the score goes ``moves``: against it by at most ``tolerance``.

    A number is kept within the column's ``low..high``, and a null stays out. ``mean``: by how much the score must move on the average row.
    """

    kind: Literal["direction"] = "direction"
    moves: Literal["up", "down"]
    add: float | None = None
    to: str | float | None = None
    mean: float = Field(0.0, ge=0, lt=1)
    tolerance: float = Field(0.0, ge=0, lt=1)

    def values(self) -> tuple[Any, ...]:
        return () if self.to is None else (self.to,)

    @model_validator(mode="after")
    def _one_change(self) -> "Direction":
        if (self.add is None) == (self.to is None):
            raise ValueError(f"direction {self.name!r} needs either add or to")
        return self


class MinimumFunction(Frozen):
    """Each of ``rows``, which name every column that may not be null, must score within ``low..high``."""

    name: str
    kind: Literal["minimum function"] = "minimum function"
    rows: tuple[Mapping[str, str | float | None], ...] = Field(min_length=1)
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)


def _misfits(behaviour: Invariance | Direction | MinimumFunction, columns: Mapping[str, Column]) -> list[str]:
    """Why the behaviour cannot be tried on rows of these columns."""
    rows = behaviour.rows if isinstance(behaviour, MinimumFunction) else [dict.fromkeys([behaviour.column])]
    if strangers := sorted({name for row in rows for name in row} - set(columns)):
        return [f"{strangers} are not input columns; those are {list(columns)}"]
    if isinstance(behaviour, MinimumFunction):
        asked = [(column, row.get(name)) for row in rows for name, column in columns.items()]
        backwards = [f"no score is within {behaviour.low:g} to {behaviour.high:g}"] if behaviour.low > behaviour.high else []
        return backwards + [fault for column, value in asked if (fault := column.refuses(value))]
    column = columns[behaviour.column]
    if isinstance(behaviour, Direction) and behaviour.add is not None and column.kind != "number":
        return [f"{column.name!r} is no number that can be added to: say to="]
    return [fault for value in behaviour.values() if (fault := column.refuses(value))]


class RetrainPolicy(Frozen):
    """The governor before ``retrain``: how often it may run by itself, and when it must ask a person.

    Within ``cooldown_hours`` of the last start, or after ``runs_per_day`` starts within 24 hours, none is started. After
    ``breaker_rejections`` challengers in a row that were not promoted the breaker opens, for ``breaker_hours`` or until somebody closes it.
    A run that a person starts is held to one at a time only, and counted.
    """

    cooldown_hours: float = Field(1.0, ge=0, le=8784)
    runs_per_day: int = Field(4, ge=1)
    breaker_rejections: int = Field(3, ge=1)
    breaker_hours: float = Field(72.0, gt=0, le=8784)


class Approval(Frozen):
    """Whether a person must agree before a challenger that won takes the crown; nobody's answer in ``hours`` is a no.

    ``when_unsure``: for what the contest calls suspicious, which is kept out without a question where the answer is ``never``.
    """

    ask: Literal["never", "when_unsure", "always"] = "never"
    hours: float = Field(24.0, gt=0, le=144)


class LabelPolicy(Frozen):
    """What a metric on late labels is worth: *provisional* below ``coverage`` (0-1) of the predictions, ``rows`` labels, or ``days``.

    The interval draws whole days, so that of a few days says nothing.
    """

    coverage: float = Field(0.8, gt=0, le=1)
    rows: int = Field(500, ge=1)
    days: int = Field(7, ge=2)


DistanceMethod = Literal["wasserstein", "jensenshannon", "psi"]
USUAL_METHODS: Mapping[str, DistanceMethod] = {"number": "wasserstein", "category": "jensenshannon"}  # by kind
SCORE = "score"  # the champion's answer, as the prediction log and the drift reference name it


class DriftPolicy(Frozen):
    """When a window counts as drifted, and when its data are broken (``docs/drift.md``).

    A column's threshold is ``max(floor, factor * d)``, ``d`` being its largest distance when one block of the
    reference is held against the others, or the one in ``thresholds``. Fewer than ``minimum_blocks`` blocks: ``floor`` alone,
    marked uncalibrated. Columns weigh as much as the model uses them, together ``1 - score_weight``; the model's score weighs
    ``score_weight``. *Drifted*: the columns beyond their threshold weigh ``share`` or more, now and in ``k_of_n[0]`` of the last
    ``k_of_n[1]`` checked windows. ``described`` columns are shown and never count. A window of fewer than ``minimum_days`` is
    *inconclusive*, since the thresholds are those of months, and days differ more.

    ``methods`` goes by the name of a column or by its kind. Beyond ``new_category_tolerance``, or a jump by ``unit_factor``, the
    data are *broken*. When no check saw fresh predictions for ``silent_hours`` people are told: with a daily check, more than 24.
    """

    share: float = Field(0.30, gt=0, le=1)
    factor: float = Field(1.5, gt=0)
    floor: float = Field(0.10, ge=0)
    minimum_blocks: int = Field(3, ge=2)
    minimum_rows: int = Field(1000, ge=1)
    minimum_days: int = Field(7, ge=1)
    sample_rows: int = Field(20_000, ge=100)
    new_category_tolerance: float = Field(0.10, ge=0, le=1)
    unit_factor: float = Field(5.0, gt=1)
    thresholds: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    methods: Mapping[str, DistanceMethod] = {}
    described: tuple[str, ...] = ()
    score_weight: float = Field(0.25, ge=0, lt=1)
    k_of_n: tuple[int, int] = (1, 1)
    silent_hours: float = Field(36.0, ge=0.01)

    @model_validator(mode="after")
    def _possible(self) -> "DriftPolicy":
        wanted, windows = self.k_of_n
        if not 1 <= wanted <= windows:
            raise ValueError(
                f"k_of_n is {self.k_of_n}: it must be (k, n) with 1 <= k <= n, such as (2, 3) for two of the last three windows"
            )
        return self

    def method(self, column: Column) -> DistanceMethod:
        """The column's own method, that of its kind, or what suits the kind."""
        return self.methods.get(column.name, self.methods.get(column.kind, USUAL_METHODS[column.kind]))

    def problems(self, columns: tuple[Column, ...]) -> list[str]:
        """What it says of columns that there are not, or that cannot be."""
        known = [*[column.name for column in columns], SCORE]
        named = {"thresholds": set(self.thresholds), "methods": set(self.methods) - set(USUAL_METHODS), "described": set(self.described)}
        found = [
            f"drift.{field} names {strangers}, which are no columns; known: {', '.join(known)}"
            for field, names in named.items()
            if (strangers := sorted(names - set(known)))
        ]
        texts = [column for column in columns if column.kind == "category" and self.method(column) == "wasserstein"]
        found += [f"drift.methods gives {column.name!r} wasserstein, which needs numbers: it is a category" for column in texts]
        if columns and not {column.name for column in columns if column.monitored} - set(self.described):
            found.append("drift.described names every monitored column: none would count")
        return found


class PredictionLogPolicy(Frozen):
    """What the service logs of its answers: a share of the requests (0-1], without the columns in ``leave_out``.

    Those never reach a disk of the service or the prediction log in the lake, and the drift check does not look at them.
    """

    sample_rate: float = Field(1.0, gt=0, le=1)
    leave_out: tuple[str, ...] = ()


@runtime_checkable
class Source(Protocol):
    """Where rows come from. Implementations read lazily: constructing one does no I/O."""

    def periods(self) -> list[str]:
        """The complete periods (``2013-04``) that can be read now, oldest first. Raises ``SourceError``."""

    def read(self, period: str) -> "pl.DataFrame":
        """The rows of one period: all columns of the use case, its event time and its label (null: unknown).

        Raises ``SourceError`` where the period cannot be read.
        """


class SqlSource(Frozen):
    """Rows of the SQL database that ``LAUREL_WAREHOUSE_URL`` names, read by the flows month by month of the use case's event time.

    ``query`` selects them all: every column of the use case, its key, event time and label, by those names.
    """

    query: str


class UseCase(Frozen):
    """One prediction problem, whole. ``columns`` are the model's inputs."""

    name: str
    title: str
    question: str
    source: Source | SqlSource
    columns: tuple[Column, ...]
    label: str
    event_time: str
    key: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    gate: Gate
    promotion: Promotion = Promotion()
    drift: DriftPolicy = DriftPolicy()
    labels: LabelPolicy = LabelPolicy()
    retrain: RetrainPolicy = RetrainPolicy()
    approval: Approval = Approval()
    behaviours: tuple[Invariance | Direction | MinimumFunction, ...] = ()
    prediction_log: PredictionLogPolicy = PredictionLogPolicy()
    decision_threshold: float = 0.5
    parity_tolerance: float = 1e-5
    minimum_training_rows: int = 200

    @model_validator(mode="after")
    def _consistent(self) -> "UseCase":
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"columns named twice: {repeated}")
        for reserved in (self.label, self.event_time):
            if reserved in names:
                raise ValueError(f"{reserved!r} is not known when predicting, so it cannot be an input column")
        unknown = sorted(set(self.promotion.slices) - set(names))
        if unknown:
            raise ValueError(f"slices are not columns: {unknown}")
        if strangers := sorted(set(self.prediction_log.leave_out) - set(names)):
            raise ValueError(f"prediction_log.leave_out names {strangers}, which are not input columns; those are {names}")
        if not set(names) - set(self.prediction_log.leave_out):
            raise ValueError("prediction_log.leave_out names every input column: nothing would be left to watch for drift")
        if taken := sorted(set(names) & LOG_COLUMNS):
            raise ValueError(f"the prediction log has columns of its own named {taken}: call the input columns otherwise")
        if problems := self.drift.problems(self.columns):
            raise ValueError("; ".join(problems))
        if not any(candidate.baseline for candidate in self.candidates):
            raise ValueError("no baseline candidate: train would have nothing to fit")
        recipes = [candidate.name for candidate in self.candidates]
        if len(set(recipes)) != len(recipes):
            raise ValueError(f"candidates named twice: {recipes}")
        return self

    @model_validator(mode="after")
    def _behaviours_fit_the_columns(self) -> "UseCase":
        columns = {column.name: column for column in self.columns}
        named = [one.name for one in self.behaviours]
        if repeated := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"behaviours named twice: {repeated}")
        if faults := [f"behaviour {one.name!r}: {fault}" for one in self.behaviours for fault in _misfits(one, columns)]:
            raise ValueError("; ".join(faults))
        return self

    @property
    def matrix_columns(self) -> list[Column]:
        """The columns in the order of the encoded matrix: categories first, then numbers."""
        return sorted(self.columns, key=lambda column: column.kind)

    @property
    def layout(self) -> Layout:
        categories = sum(column.kind == "category" for column in self.columns)
        return Layout(categories=tuple(range(categories)), numbers=tuple(range(categories, len(self.columns))))

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    def candidate(self, name: str) -> Candidate:
        """Raises ``UseCaseError`` naming the known candidates."""
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        raise UseCaseError(f"{self.name!r} has no candidate {name!r}; it has {[c.name for c in self.candidates]}.")


def known() -> list[str]:
    """Names of the use cases that ``load`` can find, sorted."""
    import usecases

    return sorted(m.name for m in pkgutil.iter_modules(usecases.__path__) if m.name != "definition" and not m.name.startswith("_"))


def load(name: str) -> UseCase:
    """The use case of that name. Raises ``UseCaseError`` that lists the known ones and names the nearest."""
    names = known()
    if name not in names:
        nearest = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise UseCaseError(
            f"Unknown use case {name!r}. Known: {', '.join(names)}.{hint} A use case is a file usecases/<name>.py with a constant USE_CASE."
        )
    found = getattr(importlib.import_module(f"usecases.{name}"), "USE_CASE", None)
    if not isinstance(found, UseCase):
        raise UseCaseError(f"usecases/{name}.py has no constant USE_CASE = UseCase(...).")
    if found.name != name:
        raise UseCaseError(f"usecases/{name}.py defines a use case named {found.name!r}: name and file must agree.")
    return found
