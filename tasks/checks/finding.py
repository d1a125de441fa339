"""What a check found out: a state, a sentence, and where and how to change it."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["ok", "look", "wrong", "not checked"]


@dataclass(frozen=True)
class Finding:
    """``place`` is ``usecases/orders.py:31``, empty if it is of no line; ``remedy`` says what to
    do. ``numbers`` are the facts of the sentence by name, as JSON can hold them."""

    check: str
    state: State
    sentence: str
    place: str = ""
    remedy: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


class Failed(Exception):
    """A check found something wrong, so that those which need it cannot be made."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(finding.sentence for finding in findings))
        self.findings = findings
