"""Why a flow was started: its parameter ``reason`` is a text, be it a person's own words or those
of the service, of ``laurel`` or of the automation on drift."""

import re

from serving.records.reasons import because

_BY = re.compile(r"(?P<by>.+) asked for it", re.DOTALL)
_ON_DRIFT = re.compile(r"drift in (?P<window>\S+): (?P<what>.+)", re.DOTALL)
_CAUSES = {
    "data": because("data_drifted"),
    "performance": because("performance_fell"),
    "data and performance": because("data_and_performance"),
}


def why_asked(reason: str) -> str:
    """Return the text as a reason if it is not a person's own."""
    if reason == "asked for":
        return because("asked_for")
    if by := _BY.fullmatch(reason):
        return because("asked_by", by=by["by"])
    if drift := _ON_DRIFT.fullmatch(reason):
        what = _CAUSES.get(drift["what"], drift["what"])
        return because("drift_in", window=drift["window"], what=what)
    return reason
