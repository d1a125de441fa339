"""The outputs of a use case's models, as answers, the prediction log and the lake name them."""

from typing import Literal

from usecases.definition.columns import Frozen
from usecases.definition.drift import SCORE


class Output(Frozen):
    """One value for a row: a "number" in ``low..high``, a "decision" (true or false), or a
    "category", one of ``categories``.
    """

    name: str
    kind: Literal["number", "decision", "category"]
    low: float | None = None
    high: float | None = None
    description: str = ""
    categories: tuple[str, ...] = ()


def binary_outputs(label: str, threshold: float) -> tuple[Output, ...]:
    """Of a model that says how likely ``label`` is, and decides at ``threshold``."""
    return (
        Output(
            name=SCORE,
            kind="number",
            low=0.0,
            high=1.0,
            description=f"probability that {label} is true",
        ),
        Output(
            name="decision",
            kind="decision",
            description=f"whether the score reaches {threshold:g}",
        ),
    )
