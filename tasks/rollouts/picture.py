"""The picture of a rollout: how its gain came out, block by block."""

from typing import TYPE_CHECKING

import numpy as np

from serving.records.rollout import Rollout
from tasks.measures.plots import gains_of_rollout
from tasks.rollouts.card import all_findings
from tasks.rollouts.sequential import look
from tasks.rollouts.stages import horizon_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture(rollout: Rollout) -> "Figure | None":
    """The gains of the latest stage that labels or rewards judged, and the interval as it narrowed;
    ``None`` without such a stage."""
    judged = [findings for findings in all_findings(rollout) if findings.blocks]
    if not judged:
        return None
    findings = judged[-1]
    stage = next(stage for stage in rollout.stages if stage.kind == findings.kind)
    gains = np.array([block.gain for block in findings.blocks])
    looks = [look(gains[:k], horizon_of(stage), stage.margin) for k in range(1, len(gains) + 1)]
    return gains_of_rollout(
        [block.last for block in findings.blocks],
        gains,
        [(each.gain, each.low, each.high) for each in looks],
        stage.metric,
    )
