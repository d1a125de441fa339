"""How many of its training rows a model is fitted on."""

from typing import Literal

from pydantic import Field

from usecases.definition.columns import Frozen

WEIGHT = "laurel_weight"
"""The column of a sample that says for how many rows each stands."""


class Sample(Frozen):
    """A model is fitted on ``rows`` of its labelled training rows, if there are more of them.

    They are drawn at random in each period, as many as its share. ``by="class"`` draws as many of
    each class as there are, so that a rare class is whole, and ``by="period"`` as many of each
    period. A row counts in a fit as many times as it stands for rows that were not drawn. The
    hold-out is never sampled."""

    rows: int = Field(ge=1000)
    by: Literal["class", "period"] | None = None
