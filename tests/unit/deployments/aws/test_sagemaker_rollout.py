"""A use case's rollout in SageMaker's terms; that Terraform takes them is in
tests/infra/test_terraform_plans.py."""

import re

import pytest

from deployments.aws.sagemaker_rollout import in_terraform
from usecases.definition import AB, Canary, Shadow

HOUR = "wait_seconds = 3600, termination_wait_seconds = 3600 }"


@pytest.mark.parametrize(
    ("canary", "shifts"),
    [
        (Canary(), f'kind = "linear", percent = 25, {HOUR}'),
        (Canary(steps=(0.1, 1)), f'kind = "canary", percent = 10, {HOUR}'),
        (Canary(steps=(0.001, 1)), f'kind = "canary", percent = 1, {HOUR}'),
        (Canary(steps=(0.75, 1)), f'kind = "linear", percent = 50, {HOUR}'),
        (
            Canary(steps=(0.1,)),
            'kind = "canary", percent = 10, wait_seconds = 3600, termination_wait_seconds = 600 }',
        ),
        (Canary(steps=(1,)), 'kind = "all_at_once", termination_wait_seconds = 3600 }'),
        # The alarm for latency needs minutes, SageMaker lets no step last longer than an hour, and
        # all of them not longer than eight.
        (
            Canary(steps=(0.1, 1), minimum_minutes=0),
            'kind = "canary", percent = 10, wait_seconds = 300, termination_wait_seconds = 300 }',
        ),
        (Canary(steps=(0.1, 1), minimum_minutes=600), f'kind = "canary", percent = 10, {HOUR}'),
        (
            Canary(steps=tuple(step / 20 for step in range(1, 21))),
            'kind = "linear", percent = 10, wait_seconds = 2519, termination_wait_seconds = 3600 }',
        ),
    ],
)
def test_the_steps_of_a_canary_are_those_that_sagemaker_has(canary: Canary, shifts: str) -> None:
    written = in_terraform("flights", [canary])
    assert f"\nrollout = {{ {shifts}\n" in written
    assert "waits for no requests" in written
    assert ("instances.min" in written) == ("all_at_once" not in shifts)


def test_a_chain_is_applied_stage_by_stage() -> None:
    written = in_terraform("flights", [Shadow(), Canary()])
    assert re.findall(r"^(?:# Step \d|\w+ =)", written, re.MULTILINE) == [
        "# Step 1",
        "shadow =",
        "# Step 2",
        "rollout =",
    ]
    assert "no label judges it" in written


def test_the_sides_of_an_ab_are_weights() -> None:
    weights = re.findall(r"(\w+) += .*weight = ([\d.]+)", in_terraform("flights", [AB(share=0.2)]))
    assert weights == [("champion", "0.8"), ("challenger", "0.2")]


def test_who_takes_the_crown_at_once_writes_nothing() -> None:
    assert in_terraform("flights", []) == ""
