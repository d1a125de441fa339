"""What a use case predicts: a yes or no, one of several classes, or a number."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from usecases.definition.columns import Column, FieldName, Frozen
from usecases.definition.drift import SCORE
from usecases.definition.outputs import Output

TargetKind = Literal["binary", "classes", "number"]
MOST_CLASSES = 200


class Target(Frozen, ABC):
    """``label`` is the column of the source that is predicted, null where it is not known yet."""

    kind: ClassVar[TargetKind]
    label: FieldName

    @property
    @abstractmethod
    def outputs(self) -> tuple[Output, ...]:
        """What a model says of a row."""

    @property
    @abstractmethod
    def answer(self) -> Column:
        """The output whose distribution is watched for drift."""


class Binary(Target):
    """Yes or no. ``positive`` is the value of the label that means yes, and any other value means
    no; ``None``: the label is 1, true, 0 or false. The decision is yes from ``decision_threshold``
    on."""

    kind = "binary"
    positive: str | bool | int | float | None = None
    decision_threshold: float = Field(0.5, ge=0, le=1)

    @property
    def outputs(self) -> tuple[Output, ...]:
        positive = "true" if self.positive is None else self.positive
        return (
            Output(
                name=SCORE,
                kind="number",
                low=0.0,
                high=1.0,
                description=f"probability that {self.label} is {positive}",
            ),
            Output(
                name="decision",
                kind="decision",
                description=f"whether the score reaches {self.decision_threshold:g}",
            ),
        )

    @property
    def answer(self) -> Column:
        return Column(name=SCORE, kind="number")


def _unlike(classes: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f"classes named twice: {repeated}")
    return classes


class Classes(Target):
    """One of three or more ``classes``, as texts; an integer label is taken as its digits. The
    answer has a probability for each, ``score_<class>``, and the likeliest; with ``coverage`` (0-1)
    also ``class_set``, the classes that together are to hold that share of the labels."""

    kind = "classes"
    classes: Annotated[
        tuple[FieldName, ...],
        Field(min_length=3, max_length=MOST_CLASSES),
        AfterValidator(_unlike),
    ]
    coverage: float | None = Field(None, ge=0.5, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _enough(cls, fields: Any) -> Any:
        classes = fields.get("classes") if isinstance(fields, dict) else None
        if isinstance(classes, list | tuple) and len(classes) == 2:
            raise ValueError(
                f"two classes are a yes or no: write Binary(label=..., positive={classes[1]!r})"
            )
        return fields

    @property
    def outputs(self) -> tuple[Output, ...]:
        return (
            Output(
                name="class",
                kind="category",
                categories=self.classes,
                description=f"the likeliest {self.label}",
            ),
            *(
                Output(
                    name=f"{SCORE}_{name}",
                    kind="number",
                    low=0.0,
                    high=1.0,
                    description=f"probability that {self.label} is {name}",
                )
                for name in self.classes
            ),
            *([] if self.coverage is None else [self._set(self.coverage)]),
        )

    def _set(self, coverage: float) -> Output:
        return Output(
            name="class_set",
            kind="set",
            categories=self.classes,
            description=f"the classes that are to hold {coverage:.0%} of {self.label}",
        )

    @property
    def answer(self) -> Column:
        return Column(name="class", kind="category", categories=self.classes)


class Number(Target):
    """A number, in ``unit``. A label outside ``low..high`` (inclusive) goes to quarantine. The
    answer is a ``value`` and an interval, ``low`` and ``high``, that is to hold the share
    ``coverage`` (0-1) of the labels.

    ``intervals``: with ``quantiles`` they are as wide as the errors on rows like this one, where
    that proves itself; with ``split`` all are equally wide."""

    kind = "number"
    unit: str = ""
    low: float | None = Field(None, allow_inf_nan=False)
    high: float | None = Field(None, allow_inf_nan=False)
    coverage: float = Field(0.9, ge=0.5, lt=1)
    intervals: Literal["quantiles", "split"] = "quantiles"

    @model_validator(mode="after")
    def _possible(self) -> "Number":
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high is {self.high:g}: low comes first")
        return self

    @property
    def outputs(self) -> tuple[Output, ...]:
        unit = f" in {self.unit}" if self.unit else ""
        interval = f"of the interval that is to hold {self.coverage:.0%} of the labels"
        bounds = {"low": self.low, "high": self.high}
        return (
            Output(name="value", kind="number", description=f"{self.label}{unit}, as expected"),
            Output(name="low", kind="bound", description=f"lower end {interval}", **bounds),
            Output(name="high", kind="bound", description=f"upper end {interval}", **bounds),
        )

    @property
    def answer(self) -> Column:
        return Column(name="value", kind="number")
