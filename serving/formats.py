"""``POST /v1/{use_case}/predict`` in every form that rows come in and answers go out.

    application/json                             {"rows": [{...}, ...]} or {"columns": {"<field>": [...], ...}}
    text/csv                                     a header line, then a line for each row; an empty value is null
    application/vnd.apache.arrow.stream, .file   a column for each field, not compressed

The schema, the checks and the refusals are the same for all. The answer is JSON, or what ``Accept`` prefers: CSV or an Arrow stream
with ``id``, ``score``, ``decision`` and ``model_version``.
"""

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving.arrow_rows import read_arrow, read_arrow_pieces
from serving.boundary import Refused, read_body, read_content_type, read_flag
from serving.columns import columns_of
from serving.csv_rows import read_csv, read_csv_pieces
from serving.errors import InputError
from serving.openapi import PREDICT, PREDICT_PATH
from serving.predictions import Scored, answer_json
from serving.remarks import remark_headers
from serving.rows import Asked, RowReader, check_count, refuse_flood

if TYPE_CHECKING:
    from serving.service import Service

JSON = "application/json"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
_ANSWERS = {JSON: JSON, CSV: CSV, ARROW: ARROW, "*/*": JSON, "application/*": JSON, "text/*": CSV}
_HAS_ROWS = re.compile(rb'\s*\{\s*"rows"')
_HAS_COLUMNS = re.compile(rb'\s*\{\s*"columns"')
_ROW_BYTES = (20, 5000)


def read_rows(reader: RowReader, content_type: str, body: bytes, max_rows: int) -> Asked:
    """Rows of a body. Raises ``Refused`` for a type that is not read here, ``InputError`` naming row and field."""
    if content_type == JSON:
        return read_json(reader, body, max_rows)
    if content_type == CSV:
        return read_csv(columns_of(reader), body, max_rows)
    if content_type in (ARROW, ARROW_FILE):
        return read_arrow(columns_of(reader), body, max_rows)
    known = ", ".join((JSON, CSV, ARROW))
    raise Refused(415, "unsupported_media_type", f"The body's Content-Type is {content_type[:100]!r}; send {known} or {ARROW_FILE}.")


def read_pieces(reader: RowReader, content_type: str, body: bytes, max_rows: int, size: int | None) -> Iterator[Asked]:
    """The same rows, about ``size`` at a time where the form can be read so; ``None``: all at once.

    Raises as ``read_rows`` does, perhaps after some pieces.
    """
    if size is None:
        yield read_rows(reader, content_type, body, max_rows)
    elif content_type == CSV:
        yield from read_csv_pieces(columns_of(reader), body, max_rows, size)
    elif content_type in (ARROW, ARROW_FILE):
        yield from read_arrow_pieces(columns_of(reader), body, max_rows, size)
    elif content_type == JSON and _HAS_ROWS.match(body):
        refuse_flood(body, max_rows)
        count = 0
        for rows in reader.read_pieces(body, size * _row_bytes(body)):
            count += len(rows)
            check_count(count, max_rows)
            yield Asked(rows, b"")
    elif content_type == JSON and _HAS_COLUMNS.match(body):
        yield from columns_of(reader).read_pieces(body, max_rows, size)
    else:
        yield read_rows(reader, content_type, body, max_rows)


def _row_bytes(body: bytes) -> int:
    """The size of the first row, within reason."""
    least, most = _ROW_BYTES
    start = body.find(b"{", 1, most)
    return min(max(body.find(b"}", start, start + most) - start, least), most)


def read_json(reader: RowReader, body: bytes, max_rows: int) -> Asked:
    """Rows of either JSON form. Raises ``InputError`` naming row and field, ``MalformedBody`` where the body is no JSON."""
    refuse_flood(body, max_rows)
    try:
        rows = reader.read(body)
    except InputError as error:
        if error.field == "columns" and error.row is None:  # no field of the row form: it is the other
            return columns_of(reader).read(body, max_rows)
        raise
    check_count(len(rows), max_rows)
    return Asked(rows, body)


def choose_answer(accept: str) -> str:
    """The media type of the answer: the one that ``Accept`` prefers, JSON where it names none that there is."""
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
        said = [f"{name},{score!r},{str(decision).lower()},{scored.version}" for name, score, decision in lines]
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


def add_routes(app: FastAPI, service: "Service") -> None:
    max_rows = service.settings.serving_max_rows

    # The hot path (serving/protocol.py) answers plain JSON before it gets here; this route takes all else, and documents both.
    @app.post(PREDICT_PATH, openapi_extra=PREDICT, tags=["model"])
    async def predict(use_case: str, request: Request) -> Response:
        """Score rows with the champion."""
        service.watch(use_case)
        logged = read_flag(request, "log", default=True)
        kind, answer = read_content_type(request), choose_answer(request.headers.get("accept", JSON))
        body = await read_body(request)
        if "arrow" in kind + answer and "pyarrow.compute" not in sys.modules:
            await asyncio.to_thread(importlib.import_module, "pyarrow.compute")  # takes a tenth of a second, once
        scored = await service.score(
            use_case, body, kind, lambda champion, size: read_pieces(champion.reader, kind, body, max_rows, size), logged=logged
        )
        headers = remark_headers((), scored.unknown)
        written = await service.scorer.write(len(scored.ids), lambda: write_answer(scored, answer))
        return Response(written, headers=headers, media_type=answer)
