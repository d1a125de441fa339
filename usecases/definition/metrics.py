"""What a score is called, which way is better, and what it may be. ``tasks/measures`` computes it.

A metric is registered here by its name, and measured by the ``Measure`` of that name."""

import difflib
import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

from usecases.definition.columns import Frozen


class Metric(Frozen):
    """A score by name that knows which way is better; it is never negated.

    ``targets`` are the kinds of target that it judges. All scores lie from ``lowest`` to
    ``highest``.
    ``words`` are its name as people write it, by language. Where ``near_perfect_is_suspicious``, a
    score beyond ``Promotion.suspicious_score`` is taken for a leak."""

    name: str
    higher_is_better: bool
    targets: tuple[str, ...] = ("binary",)
    lowest: float = 0.0
    highest: float = 1.0
    words: Mapping[str, str] = {}
    near_perfect_is_suspicious: bool = False

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


_CLASSES = ("binary", "classes")
_NUMBER = ("number",)

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
        *(RMSE, MAE, MEDIAN_ABSOLUTE_ERROR, R2, MAPE, POISSON_DEVIANCE),
    )
}


def find_metric(metric: Metric) -> Metric:
    """The registered metric of that name. Raises ``ValueError`` for another name or direction."""
    registered = METRICS.get(metric.name)
    if registered is None:
        nearest = difflib.get_close_matches(metric.name, METRICS, n=1)
        hint = f"; did you mean {nearest[0].upper()}?" if nearest else ""
        raise ValueError(f"no metric is named {metric.name!r}; there are {constants()}{hint}")
    if metric.higher_is_better != registered.higher_is_better:
        better = "higher" if registered.higher_is_better else "lower"
        raise ValueError(f"a {better} {metric.name} is better: import {metric.name.upper()}")
    return registered


def constants() -> str:
    """The names of the registered metrics as a use case imports them."""
    *others, last = (name.upper() for name in METRICS)
    return f"{', '.join(others)} or {last}"


RegisteredMetric = Annotated[Metric, AfterValidator(find_metric)]
