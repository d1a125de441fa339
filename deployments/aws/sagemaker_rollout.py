"""A use case's rollout in SageMaker's terms: what to write into the Terraform module ``endpoint``.

SageMaker shifts requests in one step and the rest, or in equal steps, by the clock and under
alarms. What it cannot do is written beside it as a comment."""

from collections.abc import Sequence
from math import ceil

from usecases.definition import AB, Canary, Shadow, Stage

# SageMaker's limits: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TrafficRoutingConfig.html
LARGEST_STEP, SMALLEST_LINEAR_STEP = 50, 10  # percent
LONGEST_WAIT, LONGEST_ROLLOUT = 3600, 28_800  # seconds
_SHORTEST_WAIT = 300  # the alarm for latency needs three minutes, and its figures come late
_LAST_WAIT = 600  # the module's default, where the file has no step with all callers
_ARCHIVE = '{ model_data_url = "s3://<bucket>/<folder>/model.tar.gz" }'
_BY_CLOCK = "SageMaker goes on by the clock and stops by alarms: it waits for no requests"


def in_terraform(use_case: str, stages: Sequence[Stage]) -> str:
    """Arguments of the module, with comments, in the order of ``stages``; empty without any."""
    if not stages:
        return ""
    lines = [f"# {use_case} is rolled out: write this into the module endpoint."]
    for number, stage in enumerate(stages, 1):
        if len(stages) > 1:
            lines.append(f"# Step {number} of {len(stages)}, applied on its own:")
        lines += _lines_of(stage)
    return "\n".join(lines)


def _lines_of(stage: Stage) -> list[str]:
    if isinstance(stage, Shadow):
        return [
            f"shadow = {_ARCHIVE}",
            "# beside the champion in variants; CloudWatch has its errors and latency, and no "
            "label judges it",
        ]
    if isinstance(stage, AB):
        return [
            "variants = {",
            f"  champion   = {_weighted(1 - stage.share)}",
            f"  challenger = {_weighted(stage.share)}",
            "}",
            "# by request: no caller stays on a side; no label judges it, and a person ends it",
        ]
    return _shifts(stage)


def _weighted(weight: float) -> str:
    return f"{_ARCHIVE[:-2]}, weight = {weight:g} }}"


def _shifts(stage: Canary) -> list[str]:
    """A canary's steps as SageMaker's: the one before all of them, or as many equal ones."""
    wait = min(LONGEST_WAIT, max(_SHORTEST_WAIT, round(60 * stage.minimum_minutes)))
    last = wait if stage.steps[-1] == 1 else _LAST_WAIT
    before = [step for step in stage.steps if step < 1]
    ends = f"termination_wait_seconds = {last} }}"
    if not before:
        return [f'rollout = {{ kind = "all_at_once", {ends}', f"# {_BY_CLOCK}"]
    first = max(1, round(100 * before[0]))
    if len(before) == 1 and first <= LARGEST_STEP:
        shifts = f'kind = "canary", percent = {first}, wait_seconds = {wait}'
        return [f"rollout = {{ {shifts}, {ends}", f"# {_BY_CLOCK}; instances.min is 2 or more"]
    percent = min(LARGEST_STEP, max(SMALLEST_LINEAR_STEP, ceil(100 / (len(before) + 1))))
    wait = min(wait, (LONGEST_ROLLOUT - last - 1) // ceil(100 / percent))
    shifts = f'kind = "linear", percent = {percent}, wait_seconds = {wait}'
    return [
        f"rollout = {{ {shifts}, {ends}",
        f"# its steps are equal, {SMALLEST_LINEAR_STEP} percent at least; {_BY_CLOCK}; "
        "instances.min is 2 or more",
    ]
