"""The outputs of a use case's models, as answers, the prediction log and the lake name them."""

from typing import Literal

from usecases.definition.columns import Frozen


class Output(Frozen):
    """One value for a row: a "number" in ``low..high``, a "decision" (true or false), a
    "bound" of the number, a "category", one of ``categories``, or a "set" of them.
    """

    name: str
    kind: Literal["number", "decision", "bound", "category", "set"]
    low: float | None = None
    high: float | None = None
    description: str = ""
    categories: tuple[str, ...] = ()
