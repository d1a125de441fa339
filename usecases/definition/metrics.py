"""What a score is called, which way is better, and what it may be. ``tasks/measures`` computes it.

A metric is registered here by its name, and measured by the ``Measure`` of that name."""

import difflib
import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from usecases.definition.columns import Frozen

if TYPE_CHECKING:
    import numpy as np


class Metric(Frozen):
    """A score by name that knows which way is better; it is never negated.

    ``targets`` are the kinds of target that it judges. All scores lie from ``lowest`` to
    ``highest``.
    ``words`` are its name as people write it, by language. Where ``near_perfect_is_suspicious``, a
    score beyond ``Promotion.suspicious_score`` is taken for a leak.

    A metric of a use case's own has a ``function(truth, predicted)``. Truth ``(n_rows,)`` is 0 or
    1, the place of the class among those of the target, or the number; predicted is the chance of
    a positive ``(n_rows,)``, the chances of the classes ``(n_rows, n_classes)``, or the number. It
    returns a score of each row, whose mean counts, or with ``by_row=False`` one of all rows."""

    name: str
    higher_is_better: bool
    targets: tuple[str, ...] = ("binary",)
    lowest: float = 0.0
    highest: float = 1.0
    words: Mapping[str, str] = {}
    near_perfect_is_suspicious: bool = False
    function: Callable[..., Any] | None = Field(None, repr=False, exclude=True)
    by_row: bool = True

    def gain(self, challenger: float, champion: float) -> float:
        """How much better the challenger is, positive when it is, whatever the metric's
        direction.
        """
        return challenger - champion if self.higher_is_better else champion - challenger

    @property
    def is_error_of_number(self) -> bool:
        """Whether it has no scale of its own: its size follows the numbers that are predicted."""
        return "number" in self.targets and self.lowest == 0

    def in_words(self, language: str = "en") -> str:
        """As people write it: ``roc_auc`` is ROC AUC."""
        return self.words.get(language, self.name.replace("_", " "))

    @property
    def in_each_language(self) -> dict[str, str]:
        return {language: self.in_words(language) for language in ("en", "ko")}


_CLASSES = ("binary", "classes")
_NUMBER = ("number",)
_LEAST_MEAN = 1e-12

ROC_AUC = Metric(
    name="roc_auc",
    higher_is_better=True,
    targets=_CLASSES,
    words={"en": "ROC AUC", "ko": "ROC AUC"},
    near_perfect_is_suspicious=True,
)
LOG_LOSS = Metric(
    name="log_loss",
    higher_is_better=False,
    targets=_CLASSES,
    highest=math.inf,
    words={"en": "log loss", "ko": "로그 손실"},
)
BRIER = Metric(
    name="brier",
    higher_is_better=False,
    targets=_CLASSES,
    highest=2.0,
    words={"en": "Brier score", "ko": "브라이어 점수"},
)
CALIBRATION_ERROR = Metric(
    name="calibration_error",
    higher_is_better=False,
    targets=_CLASSES,
    words={"en": "calibration error", "ko": "보정 오차"},
)
ACCURACY = Metric(
    name="accuracy",
    higher_is_better=True,
    targets=("classes",),
    words={"en": "accuracy", "ko": "정확도"},
)
BALANCED_ACCURACY = Metric(
    name="balanced_accuracy",
    higher_is_better=True,
    targets=("classes",),
    words={"en": "balanced accuracy", "ko": "균형 정확도"},
)
MACRO_F1 = Metric(
    name="macro_f1",
    higher_is_better=True,
    targets=("classes",),
    words={"en": "macro F1", "ko": "매크로 F1"},
)
AVERAGE_PRECISION = Metric(
    name="average_precision",
    higher_is_better=True,
    targets=_CLASSES,
    words={"en": "average precision", "ko": "평균 정밀도"},
)
RMSE = Metric(
    name="rmse",
    higher_is_better=False,
    targets=_NUMBER,
    highest=math.inf,
    words={"en": "RMSE", "ko": "RMSE"},
)
MAE = Metric(
    name="mae",
    higher_is_better=False,
    targets=_NUMBER,
    highest=math.inf,
    words={"en": "mean absolute error", "ko": "평균 절대 오차"},
)
MEDIAN_ABSOLUTE_ERROR = Metric(
    name="median_absolute_error",
    higher_is_better=False,
    targets=_NUMBER,
    highest=math.inf,
    words={"en": "median absolute error", "ko": "절대 오차 중앙값"},
)
R2 = Metric(
    name="r2",
    higher_is_better=True,
    targets=_NUMBER,
    lowest=-math.inf,
    words={"en": "R²", "ko": "R²"},
    near_perfect_is_suspicious=True,
)
MAPE = Metric(
    name="mape",
    higher_is_better=False,
    targets=_NUMBER,
    highest=math.inf,
    words={"en": "mean absolute percentage error", "ko": "평균 절대 백분율 오차"},
)
POISSON_DEVIANCE = Metric(
    name="poisson_deviance",
    higher_is_better=False,
    targets=_NUMBER,
    highest=math.inf,
    words={"en": "Poisson deviance", "ko": "푸아송 이탈도"},
)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *(ROC_AUC, LOG_LOSS, BRIER, CALIBRATION_ERROR, ACCURACY, BALANCED_ACCURACY, MACRO_F1),
        AVERAGE_PRECISION,
        *(RMSE, MAE, MEDIAN_ABSOLUTE_ERROR, R2, MAPE, POISSON_DEVIANCE),
    )
}


def pinball(level: float) -> Metric:
    """The loss of a quantile: of 0.9 it is least where nine of ten numbers lie below the answer
    (Koenker & Bassett 1978).
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of a quantile lies between 0 and 1, not {level!r}")

    def pinball_loss(truth: "np.ndarray", predicted: "np.ndarray") -> "np.ndarray":
        import numpy as np

        return np.maximum(level * (truth - predicted), (level - 1) * (truth - predicted))

    return _of_numbers(f"pinball_{100 * level:g}", pinball_loss)


def tweedie_deviance(power: float) -> Metric:
    """The deviance of numbers from 0 on with a share of zeros, such as claims: the variance grows
    as the mean to the ``power``, between 1 (Poisson) and 2 (gamma) (Jørgensen 1987).
    """
    if not 1 < power < 2:
        raise ValueError(f"the power lies between 1 and 2, not {power!r}")

    def deviance(truth: "np.ndarray", predicted: "np.ndarray") -> "np.ndarray":
        import numpy as np

        mean = np.maximum(predicted, _LEAST_MEAN)
        return 2 * (
            np.maximum(truth, 0) ** (2 - power) / ((1 - power) * (2 - power))
            - truth * mean ** (1 - power) / (1 - power)
            + mean ** (2 - power) / (2 - power)
        )

    return _of_numbers(f"tweedie_deviance_{100 * power:g}", deviance)


def _of_numbers(name: str, function: Callable[..., Any]) -> Metric:
    name = name.replace(".", "_")
    return Metric(
        name=name, higher_is_better=False, targets=_NUMBER, highest=math.inf, function=function
    )


def find_metric(metric: Metric) -> Metric:
    """The registered metric of that name, or one with a function of its own. Raises ``ValueError``
    for another name or direction.
    """
    registered = METRICS.get(metric.name)
    if metric.function is not None:
        if registered is not None:
            raise ValueError(f"{metric.name!r} is a metric of Laurel's: give yours another name")
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", metric.name):
            raise ValueError(
                f"{metric.name!r} is no name of a metric: use a-z, digits and _, with a letter "
                "first, at most 40"
            )
        return metric
    if registered is None:
        nearest = difflib.get_close_matches(metric.name, METRICS, n=1)
        hint = f"; did you mean {nearest[0].upper()}?" if nearest else ""
        raise ValueError(
            f"no metric is named {metric.name!r}; there are {constants()}{hint}. A metric of your "
            "own needs a function"
        )
    if metric.higher_is_better != registered.higher_is_better:
        better = "higher" if registered.higher_is_better else "lower"
        raise ValueError(f"a {better} {metric.name} is better: import {metric.name.upper()}")
    return registered


def constants() -> str:
    """The names of the registered metrics as a use case imports them."""
    *others, last = (name.upper() for name in METRICS)
    return f"{', '.join(others)} or {last}"


RegisteredMetric = Annotated[Metric, AfterValidator(find_metric)]
