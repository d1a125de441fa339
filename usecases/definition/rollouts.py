"""How a winner of the contest comes into service: at once, or first in front of real traffic."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from usecases.definition.columns import Frozen
from usecases.definition.metrics import METRICS, Metric, RegisteredMetric

FEWEST_DAYS, MOST_DAYS = 8, 56  # where the test's errors were measured

MissingLabel = Literal["unknown", "negative", "none"]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Header = Annotated[str, Field(max_length=100, pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]*$")]


class Immediate(Frozen):
    """The winner takes the crown at once."""

    kind: Literal["immediate"] = "immediate"


class _Watched(Frozen):
    """A rollout during which answers are compared without labels: it ends if the difference between
    both mean answers is surely more than ``largest_shift`` standard deviations of the champion's
    answers from what it was in the contest (``None``: however far)."""

    largest_shift: float | None = Field(1.0, gt=0, allow_inf_nan=False)


class _Judged(_Watched):
    """A rollout that labels judge. ``metric`` (``None``: that of the gate) is compared by blocks of
    two days of event time, over ``days`` days; ``None``: until it is sure, for ``MOST_DAYS`` at
    most. ``smallest_gain`` is the gain in the metric's unit that matters: the plan says how long it
    takes. Only days count that are older than ``label_days``, by when labels are in; without one by
    then a row is left out, or a no (``missing_label``). Rows that are left out must be like the
    others, unless they have no outcome at all (``none``), as a flight that was cancelled."""

    metric: RegisteredMetric | None = None
    days: int | None = Field(28, ge=FEWEST_DAYS, le=MOST_DAYS)
    smallest_gain: float | None = Field(None, gt=0, allow_inf_nan=False)
    label_days: int = Field(7, ge=0, le=366)
    missing_label: MissingLabel = "unknown"

    @field_validator("metric", mode="before")
    @classmethod
    def _by_name(cls, metric: object) -> object:
        """A promotion's parameter names the metric."""
        return METRICS.get(metric, metric) if isinstance(metric, str) else metric


class Shadow(_Judged):
    """The challenger answers a copy of the requests, whom nobody hears, and both answers are judged
    by the same labels.

    It goes on if it is surely better, or with a ``margin`` (in the metric's unit) if it is surely
    not worse by more than that."""

    kind: Literal["shadow"] = "shadow"
    margin: float = Field(0.0, ge=0, allow_inf_nan=False)


class Canary(_Watched):
    """The challenger answers a share of the callers that grows by ``steps``, each for at least
    ``minimum_requests`` requests to it and ``minimum_minutes``. Guards judge, and no labels.

    The value of ``header`` (in lower case) tells callers apart, or else that of the column
    ``field`` in a request's first row; without both each request is routed on its own. A step that
    lacks its requests after ``patience_days`` ends the rollout."""

    kind: Literal["canary"] = "canary"
    steps: tuple[Share, ...] = Field((0.01, 0.05, 0.25, 1.0), min_length=1, max_length=20)
    minimum_requests: int = Field(1000, ge=0)
    minimum_minutes: float = Field(60.0, ge=0, allow_inf_nan=False)
    patience_days: float = Field(14.0, gt=0, allow_inf_nan=False)
    header: Header = ""
    field: str = ""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps are {self.steps}: each must be larger than the one before it")
        if self.minimum_minutes / 1440 > self.patience_days:
            raise ValueError(
                f"a step lasts {self.minimum_minutes:g} minutes at least, and its patience ends "
                f"after {self.patience_days:g} days: raise patience_days"
            )
        return self


class Reward(Frozen):
    """What an answer brings, such as the money that was spent after it, as callers send it to
    ``/feedback``. Both sides' means are compared, with each reward cut off at ``cap``, which is
    fixed beforehand: a few huge ones would decide otherwise. An answer without a reward by
    ``label_days`` brought nothing, or is left out (``missing``)."""

    cap: float = Field(gt=0, allow_inf_nan=False)
    higher_is_better: bool = True
    missing: Literal["zero", "unknown"] = "zero"


class AB(_Judged):
    """The challenger answers a fixed ``share`` of the callers, and labels judge each side by its
    own rows, or the ``reward``: then half of the callers, since the larger side of two looks better
    where a few rewards are huge. ``header`` and ``field`` are as in ``Canary``: name what tells
    your callers apart."""

    kind: Literal["ab"] = "ab"
    reward: Reward | None = None
    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    header: Header = ""
    field: str = ""

    @model_validator(mode="after")
    def _fits_a_reward(self) -> Self:
        if self.reward is None:
            return self
        if self.metric is not None or self.missing_label != "unknown":
            raise ValueError(
                "a reward judges without labels: leave out metric and missing_label, or the reward"
            )
        if self.share != 0.5:
            raise ValueError(f"share is {self.share:g}: with a reward it must be 0.5")
        return self


Stage = Shadow | Canary | AB
Rollout = Immediate | Shadow | Canary | AB
_KINDS: dict[str, type[Frozen]] = {
    "immediate": Immediate,
    "shadow": Shadow,
    "canary": Canary,
    "ab": AB,
}


def stages_of(rollout: Rollout | Sequence[Rollout]) -> tuple[Stage, ...]:
    """The stages before the crown, in order; none for an immediate one."""
    chain = rollout if isinstance(rollout, Sequence) else (rollout,)
    return tuple(stage for stage in chain if not isinstance(stage, Immediate))


def rollout_named(text: str, written: Rollout | Sequence[Rollout]) -> tuple[Stage, ...]:
    """The stages that a promotion's parameter asks for: names such as ``shadow,canary``, each as
    ``written`` in the use case's file or else by its defaults, or JSON such as ``{"kind": "canary",
    "steps": [0.1, 1]}``. Raises ``ValueError`` that says what to write."""
    if text.strip().startswith(("{", "[")):
        chain = _read_chain(text)
    else:
        own: dict[str, Stage] = {stage.kind: stage for stage in stages_of(written)}
        names = [name.strip() for name in text.split(",")]
        chain = tuple(own.get(name) or _kind_named(name)() for name in names)
    if problem := chain_problem(chain):
        raise ValueError(problem)
    return stages_of(chain)


def _kind_named(name: object) -> type[Any]:
    if name not in _KINDS:
        raise ValueError(
            f"rollout names {name!r}: write {', '.join(_KINDS)}, or a chain such as shadow,canary"
        )
    return _KINDS[str(name)]


def _read_chain(text: str) -> tuple[Rollout, ...]:
    try:
        parts = json.loads(text)
        parts = parts if isinstance(parts, list) else [parts]
        return tuple(_kind_named(part.get("kind"))(**part) for part in parts)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:3]
        )
        raise ValueError(f"rollout cannot be used: {faults}") from error
    except (AttributeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"rollout is {text!r}: write names such as shadow,canary, or JSON such as "
            '{"kind": "canary", "steps": [0.1, 1]}'
        ) from error


def chain_problem(rollout: Rollout | Sequence[Rollout]) -> str | None:
    """Why these cannot follow each other; ``None`` if they can."""
    kinds = [stage.kind for stage in (rollout if isinstance(rollout, Sequence) else (rollout,))]
    if not kinds:
        return "rollout is an empty chain: write Immediate()"
    if repeated := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        return f"rollout has {repeated} twice: each kind may come once"
    if "immediate" in kinds and len(kinds) > 1:
        return "rollout is a chain with Immediate(), after which there is nothing to roll out"
    if "shadow" in kinds[1:]:
        return "rollout has Shadow() after callers have met the challenger: put it first"
    return None


def misfits(
    rollout: Rollout | Sequence[Rollout],
    gate: Metric,
    target: str,
    label: str,
    columns: Sequence[str],
) -> list[str]:
    """Why these stages do not fit a use case with such ``columns``, whose ``label`` is a target of
    the kind ``target``."""
    problems = []
    for stage in stages_of(rollout):
        if not isinstance(stage, Shadow) and stage.field and stage.field not in columns:
            problems.append(
                f"{type(stage).__name__}.field is {stage.field!r}, which is no input column"
            )
        if not isinstance(stage, _Judged):
            continue
        name, metric = type(stage).__name__, stage.metric or gate
        if target not in metric.targets:
            problems.append(f"{name}.metric is {metric.name}, which cannot judge {label!r}")
        if stage.missing_label == "negative" and target != "binary":
            problems.append(
                f'{name}(missing_label="negative") needs a yes or no, and {label!r} is none'
            )
    return problems
