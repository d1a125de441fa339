"""Predictions in every form that an answer can have: JSON, or what ``Accept`` prefers."""

from serving.formats.bodies import ARROW, CSV, JSON
from serving.scoring.predictions import Scored, answer_json

_ANSWERS = {JSON: JSON, CSV: CSV, ARROW: ARROW, "*/*": JSON, "application/*": JSON, "text/*": CSV}


def choose_answer(accept: str) -> str:
    """The media type of the answer: the one that ``Accept`` prefers, JSON where it names none that
    there is.
    """
    wanted = []
    for number, given in enumerate(accept.lower().split(",")[:20]):
        kind, *parameters = (part.strip() for part in given.split(";"))
        quality = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        if kind in _ANSWERS and quality.replace(".", "", 1).isdecimal() and float(quality) > 0:
            wanted.append((-float(quality), number, _ANSWERS[kind]))
    return min(wanted)[2] if wanted else JSON


def write_answer(scored: Scored, kind: str) -> bytes:
    """The answer as ``kind``, which ``choose_answer`` gave."""
    if kind == CSV:
        lines = zip(scored.ids, scored.scores, scored.decisions, strict=True)
        said = [
            f"{name},{score!r},{str(decision).lower()},{scored.version}"
            for name, score, decision in lines
        ]
        return "\n".join(["id,score,decision,model_version", *said, ""]).encode()
    if kind == ARROW:
        return _write_arrow(scored)
    return answer_json(scored)


def _write_arrow(scored: Scored) -> bytes:
    import pyarrow as pa

    columns = {
        "id": pa.array(scored.ids, pa.string()),
        "score": pa.array(scored.scores, pa.float64()),
        "decision": pa.array(scored.decisions, pa.bool_()),
        "model_version": pa.repeat(pa.scalar(scored.version, pa.string()), len(scored.ids)),
    }
    sink = pa.BufferOutputStream()
    batch = pa.record_batch(columns)
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()
