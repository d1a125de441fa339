"""Rewards as the measure of an A/B: the mean of what the answers of each side brought."""

import math
from typing import Any

from usecases.definition import Metric


def _itself(reward: Any, answers: Any) -> Any:
    return reward


MEAN_REWARD = Metric(
    name="mean_reward",
    higher_is_better=True,
    targets=("number",),
    lowest=-math.inf,
    highest=math.inf,
    words={"en": "mean reward", "ko": "평균 보상"},
    function=_itself,
)
MEAN_COST = MEAN_REWARD.model_copy(
    update={
        "name": "mean_cost",
        "higher_is_better": False,
        "words": {"en": "mean cost", "ko": "평균 비용"},
    }
)
REWARDS = {metric.name: metric for metric in (MEAN_REWARD, MEAN_COST)}
