"""What may happen by itself and what needs a person; what labels are worth; what is logged of
predictions.
"""

from typing import Literal

from pydantic import Field

from usecases.definition.columns import Frozen


class RetrainPolicy(Frozen):
    """The governor before ``retrain``: how often it may run by itself, and when it must ask a
    person.

    Within ``cooldown_hours`` of the last start, or after ``runs_per_day`` starts within 24 hours,
    none is started. After ``breaker_rejections`` challengers in a row that were not promoted the
    breaker opens, for ``breaker_hours`` or until somebody closes it. A run that a person starts is
    held to one at a time only, and counted."""

    cooldown_hours: float = Field(1.0, ge=0, le=8784)
    runs_per_day: int = Field(4, ge=1)
    breaker_rejections: int = Field(3, ge=1)
    breaker_hours: float = Field(72.0, gt=0, le=8784)


class Approval(Frozen):
    """Whether a person must agree before a challenger that won takes the crown; nobody's answer in
    ``hours`` is a no.

    ``when_unsure``: for what the contest calls suspicious, which is kept out without a question
    where the answer is ``never``."""

    ask: Literal["never", "when_unsure", "always"] = "never"
    hours: float = Field(24.0, gt=0, le=144)


class LabelPolicy(Frozen):
    """What a metric on late labels is worth: *provisional* below ``coverage`` (0-1) of the
    predictions, ``rows`` labels, or ``days``.

    The interval draws whole days, so that of a few days says nothing. People are told that the
    answers' own intervals or sets do not hold what they promise after ``coverage_windows`` windows
    in a row.
    """

    coverage: float = Field(0.8, gt=0, le=1)
    rows: int = Field(500, ge=1)
    days: int = Field(7, ge=2)
    coverage_windows: int = Field(2, ge=1, le=52)


class EventTimePolicy(Frozen):
    """How far from now the event time of a prediction may be, in days; a row outside is refused.
    ``None``: no bound on that side.

    The prediction log has a folder for each day of events, so a caller's mistaken clock or unit
    would make folders without end. State what callers really send. Whatever is stated, the service
    takes events of at most 400 days in one request."""

    past_days: float | None = Field(7305.0, ge=0, le=3_650_000)
    future_days: float | None = Field(731.0, ge=0, le=2_900_000)


class PredictionLogPolicy(Frozen):
    """What the service logs of its answers: a share of the requests (0-1], without the columns in
    ``leave_out``.

    Those never reach a disk of the service or the prediction log in the lake, and the drift check
    does not look at them.

    ``keep_days``: the flow ``tidy`` deletes days of predictions and feedback that are older; 0
    keeps them forever, and without it the setting ``LAUREL_KEEP_PREDICTIONS_DAYS`` counts."""

    sample_rate: float = Field(1.0, gt=0, le=1)
    leave_out: tuple[str, ...] = ()
    keep_days: int | None = Field(None, ge=0)
