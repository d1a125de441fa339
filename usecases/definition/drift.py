"""When a window of predictions counts as drifted, and when its data are broken."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from usecases.definition.columns import Column, Frozen, trait_columns
from usecases.definition.kinds import KINDS, DistanceMethod
from usecases.definition.period_kinds import PeriodKind
from usecases.definition.periods import window_kind

WEEK_DAYS = 7
SCORE = "score"  # the champion's answer, as the prediction log and the drift reference name it


def usual_method(column: Column) -> DistanceMethod:
    """The usual distance method of the column's kind."""
    return KINDS[column.kind].distances[0]


class DriftPolicy(Frozen):
    """When a window counts as drifted, and when its data are broken (``docs/drift.md``).

    A column's threshold is ``max(floor, factor * d)``, ``d`` being its largest distance when one
    block of the reference is held against the others, or the one in ``thresholds``. Fewer than
    ``minimum_blocks`` blocks: ``floor`` alone, marked uncalibrated, and only thresholds that are
    fixed decide. Columns weigh as much as the model uses them, together ``1 - score_weight``; the
    model's score weighs ``score_weight``. *Drifted*: the columns beyond their threshold weigh
    ``share`` or more, or the score is beyond its own, now and in ``k_of_n[0]`` of the last
    ``k_of_n[1]`` checked windows. ``described`` columns are shown and never count.

    A block, and a window of predictions, is a ``window`` long: hours, days or weeks such as
    ``"12h"``, ``"7d"`` or ``"4w"``, or ``"month"`` and the like; ``None``: the use case's period. A
    window of fewer than ``minimum_days`` (``None``: seven, or all days of a shorter window) is
    *inconclusive*, since the thresholds are those of whole windows, and days differ more.

    With fewer than ``relation_blocks`` blocks a relation between columns that is lost, and a value
    with new mass, are said and do not decide.

    ``methods`` goes by the name of a column or by its kind. Beyond ``new_category_tolerance``, or a
    jump by ``unit_factor``, the data are *broken*. When no check saw fresh predictions for
    ``silent_hours`` people are told: with a daily check, more than 24."""

    share: float = Field(0.30, gt=0, le=1)
    factor: float = Field(1.5, gt=0)
    floor: float = Field(0.10, ge=0)
    minimum_blocks: int = Field(3, ge=2)
    relation_blocks: int = Field(6, ge=2)
    minimum_rows: int = Field(1000, ge=1)
    minimum_days: int | None = Field(None, ge=1)
    window: str | None = None
    sample_rows: int = Field(20_000, ge=100)
    new_category_tolerance: float = Field(0.10, ge=0, le=1)
    unit_factor: float = Field(5.0, gt=1)
    thresholds: Mapping[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}
    methods: Mapping[str, DistanceMethod] = {}
    described: tuple[str, ...] = ()
    score_weight: float = Field(0.25, ge=0, lt=1)
    k_of_n: tuple[int, int] = (1, 1)
    silent_hours: float = Field(36.0, ge=0.01)

    @field_validator("window")
    @classmethod
    def _is_a_length(cls, window: str | None) -> str | None:
        if window is not None:
            window_kind(window)
        return window

    @model_validator(mode="after")
    def _possible(self) -> "DriftPolicy":
        times, windows = self.k_of_n
        if not 1 <= times <= windows:
            raise ValueError(
                f"k_of_n is {self.k_of_n}: it must be (k, n) with 1 <= k <= n, such as (2, "
                "3) for two of the last three windows"
            )
        return self

    def days_needed(self, window: PeriodKind) -> int:
        """How many days with predictions a window needs."""
        return self.minimum_days or min(WEEK_DAYS, window.least_days)

    def problems_of_window(self, window: PeriodKind) -> list[str]:
        """Why no window could be judged."""
        most = -(-window.longest // timedelta(days=1))
        if self.minimum_days is None or self.minimum_days <= most:
            return []
        return [
            f"drift.minimum_days is {self.minimum_days}, and {window.one} has {most}: none could "
            "be judged. Leave it out, or give drift a longer window, such as "
            f"drift=DriftPolicy(window='{self.minimum_days}d')"
        ]

    def method(self, column: Column) -> DistanceMethod:
        """The column's own method, that of its kind, or what suits the kind."""
        of_kind = self.methods.get(column.kind, usual_method(column))
        return self.methods.get(column.name, of_kind)

    def problems(self, columns: tuple[Column, ...]) -> list[str]:
        """Its settings on columns that are missing or that cannot have them. A column with traits
        is named by these.
        """
        columns = tuple(own for column in columns for own in trait_columns(column) or (column,))
        valid = [*[column.name for column in columns], SCORE]
        named = {
            "thresholds": set(self.thresholds),
            "methods": set(self.methods) - set(KINDS),
            "described": set(self.described),
        }
        problems = [
            f"drift.{field} names {strangers}, which are not columns; known: {', '.join(valid)}"
            for field, names in named.items()
            if (strangers := sorted(names - set(valid)))
        ]
        problems += [
            f"drift.methods gives {column.name!r} {method}, which needs {_who_can(method)}, but it "
            f"is {column.noun}"
            for column in columns
            if (method := self.method(column)) not in KINDS[column.kind].distances
        ]
        if columns and not {column.name for column in columns if column.monitored} - set(
            self.described
        ):
            problems.append("drift.described names every monitored column: none would count")
        return problems


def _who_can(method: DistanceMethod) -> str:
    """The kinds of column that the distance can be measured on."""
    return " or ".join(kind.plural for kind in KINDS.values() if method in kind.distances)
