"""Write predictions in each form of answer: JSON, or the form that ``Accept`` prefers."""

from serving.formats.bodies import ARROW, CSV, JSON
from serving.scoring.predictions import Scored, answer_json

_ANSWERS = {JSON: JSON, CSV: CSV, ARROW: ARROW, "*/*": JSON, "application/*": JSON, "text/*": CSV}


def choose_answer(accept: str) -> str:
    """The media type of the answer: the one that ``Accept`` prefers, JSON if it names no supported
    one.
    """
    candidates = []
    for number, media_range in enumerate(accept.lower().split(",")[:20]):
        kind, *parameters = (part.strip() for part in media_range.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if kind in _ANSWERS and quality.replace(".", "", 1).isdecimal() and float(quality) > 0:
            candidates.append((-float(quality), number, _ANSWERS[kind]))
    return min(candidates)[2] if candidates else JSON


def write_answer(scored: Scored, kind: str) -> bytes:
    """The answer as ``kind``, a result of ``choose_answer``."""
    form = scored.champion.form
    if kind == CSV:
        return form.csv(scored.ids, scored.values, scored.version)
    if kind == ARROW:
        return form.arrow(scored.ids, scored.values, scored.version)
    return answer_json(scored)
