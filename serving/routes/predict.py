"""``POST /v1/{use_case}/predict`` in every format of rows and of answers.

    application/json                             {"rows": [{...}, ...]} or {"columns": {"<field>":
                                                 [...], ...}}
    text/csv                                     a header line, then a line for each row; an empty
                                                 value is null
    multipart/form-data                          a part for each field; images are files
    application/vnd.apache.arrow.stream, .file   a column for each field, not compressed

The schema, the checks and the refusals are the same for all. The answer is JSON, or what ``Accept``
prefers: CSV or an Arrow stream with ``id``, the outputs of the package, and ``model_version``."""

import asyncio
import importlib
import sys
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving.edge.openapi import PREDICT, PREDICT_PATH
from serving.edge.requests import read_body, read_content_type, read_flag
from serving.formats.bodies import JSON, read_pieces
from serving.scoring.answers import choose_answer, write_answer
from serving.scoring.remarks import remark_headers

if TYPE_CHECKING:
    from serving.service.service import Service


def add_routes(app: FastAPI, service: "Service") -> None:
    max_rows = service.settings.serving_max_rows

    # The hot path (serving/server/protocol.py) answers plain JSON before it gets here; this route
    # takes all else, and documents both.
    @app.post(PREDICT_PATH, openapi_extra=PREDICT, tags=["model"])
    async def predict(use_case: str, request: Request) -> Response:
        """Score rows with the champion."""
        service.use_cases.watch(use_case)
        logged = read_flag(request, "log", default=True)
        kind, answer = (
            read_content_type(request),
            choose_answer(request.headers.get("accept", JSON)),
        )
        body = await read_body(request)
        if "arrow" in kind + answer and "pyarrow.compute" not in sys.modules:
            await asyncio.to_thread(
                importlib.import_module, "pyarrow.compute"
            )  # takes a tenth of a second, once
        scored = await service.score(
            use_case,
            request.scope,
            body,
            kind,
            lambda champion, size: read_pieces(champion.reader, kind, body, max_rows, size),
            logged=logged,
        )
        headers = remark_headers((), scored.unknown)
        content = await service.scorer.write(scored, lambda: write_answer(scored, answer))
        return Response(content, headers=headers, media_type=answer)
