"""``POST /invocations`` and ``GET /ping``: callers of ``mlflow models serve`` or of a SageMaker
endpoint change only the address.

What is taken and answered is what ``mlflow models serve`` takes and answers with Laurel's own
models: see ``serving/formats/mlflow/rows.py``, and ``{"predictions": [[probability of false, of
true], ...]}`` for a package that decides by a probability (its pipeline's ``predict_proba``).
Statuses are MLflow's too: 400 for rows that do not fit, 415 for another content type; the error is
its ``{"error_code", "message"}``. Where the package's schema says more than MLflow's signature, the
schema holds: values out of range, nulls where there are none and numbers for categories, which
MLflow lets through, are refused; a nullable field may be left out. Columns that are no fields are
left out, as there, and the answer's header ``X-Laurel-Ignored-Columns`` names them.

The rows are scored by the champion of ``X-Laurel-Use-Case`` (or of SageMaker's
``X-Amzn-SageMaker-Target-Model``), or of the first use case of the settings; where they name none,
of the only one. They reach the prediction log as all others do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

from serving.champions.champion import Champion
from serving.edge.refusals import RETRY_AFTER_SECONDS
from serving.edge.requests import read_body, read_content_type, read_flag
from serving.errors import Refused
from serving.formats.mlflow.pieces import read_json_pieces
from serving.formats.mlflow.rows import read_csv, read_json
from serving.formats.rows import CheckedRows, RowReader
from serving.scoring.predictions import Scored
from serving.scoring.remarks import remark_headers

if TYPE_CHECKING:
    from serving.service.service import Service

_JSON, _CSV = "application/json", "text/csv"


def read_rows(reader: RowReader, content_type: str, body: bytes, max_rows: int) -> CheckedRows:
    """Read all rows. Raises ``InputError`` naming row and field. ``content_type`` has passed
    ``check_content_type``.
    """
    (rows,) = read_pieces(reader, content_type, body, max_rows, None)
    return rows


def read_pieces(
    reader: RowReader, content_type: str, body: bytes, max_rows: int, size: int | None
) -> Iterator[CheckedRows]:
    """Read about ``size`` rows at a time; ``None``: all at once."""
    if content_type == _CSV:
        yield from read_csv(reader, body, max_rows, size)
    elif size is None:
        yield read_json(reader, body, max_rows)
    else:
        yield from read_json_pieces(reader, body, max_rows, size)


def check_content_type(request: Request) -> str:
    """The body's type. Raises ``Refused`` for an unsupported type, and for parameters such as
    MLflow 1's ``format=``.
    """
    kind = read_content_type(request)
    if kind not in (_JSON, _CSV):
        raise Refused(
            415,
            "unsupported_media_type",
            f"The body's Content-Type is {kind[:100]!r}; send {_JSON} or {_CSV}.",
        )
    for parameter in request.headers.get("content-type", "").split(";")[1:]:
        name, _, value = (part.strip().lower() for part in parameter.partition("="))
        if name != "charset" or value.strip('"') not in ("utf-8", "utf8"):
            raise Refused(
                415,
                "unsupported_media_type",
                f"The Content-Type has {parameter.strip()[:100]!r}; only charset=utf-8 is "
                "allowed there.",
            )
    return kind


def write_answer(scored: Scored) -> bytes:
    """The output of the champion's own pipeline: a probability of each class for a row, of false
    and of true if the package decides; a number for each row if it has one.
    """
    first, *others = numbers = scored.numbers
    predictions: list[Any] = first
    if others:
        predictions = list(zip(*numbers, strict=True))
    elif scored.champion.form.is_chance:
        predictions = [(1 - score, score) for score in first]
    return msgspec.json.encode({"predictions": predictions})


def choose_use_case(request: Request, default: str | None) -> str:
    """The use case that the caller names, or ``default``. Raises ``Refused`` without either."""
    named = (
        request.headers.get("x-laurel-use-case")
        or request.headers.get("x-amzn-sagemaker-target-model")
        or default
    )
    if named is None:
        raise Refused(
            400,
            "no_use_case",
            "This service serves several use cases or none yet: name one in the header "
            "X-Laurel-Use-Case. The operator makes one "
            "the default by naming it first, as in LAUREL_SERVING_USE_CASES=flights,*.",
        )
    return named.strip().removesuffix(".tar.gz")


def add_routes(app: FastAPI, service: "Service") -> None:
    max_rows = service.settings.serving_max_rows

    @app.post("/invocations", openapi_extra=_INVOCATIONS, responses=_ERRORS, tags=["mlflow"])
    async def invocations(request: Request) -> Response:
        """Score rows as ``mlflow models serve`` does."""
        use_case = service.use_cases.watch(
            choose_use_case(request, service.use_cases.default)
        ).use_case
        request.scope["laurel.use_case"] = use_case
        logged = read_flag(request, "log", default=True)
        kind = check_content_type(request)
        body = await read_body(request)
        ignored: dict[str, None] = {}

        def pieces(champion: Champion, size: int | None) -> Iterator[CheckedRows]:
            for rows in read_pieces(champion.reader, kind, body, max_rows, size):
                ignored.update(dict.fromkeys(rows.ignored))
                yield rows

        scored = await service.score(use_case, request.scope, body, kind, pieces, logged=logged)
        service.metrics.ignored_columns[use_case] += bool(ignored)
        headers = remark_headers(tuple(ignored), scored.unknown)
        answer = await service.scorer.write(scored, lambda: write_answer(scored))
        return Response(answer, headers=headers, media_type=_JSON)

    @app.get(
        "/ping",
        response_class=PlainTextResponse,
        responses={503: {"description": "No champion yet"}},
        tags=["mlflow"],
    )
    async def ping() -> Response:
        """The default use case has a champion; 503 until then, and when the service is about to
        stop. The body is MLflow's: a newline.
        """
        ready = service.is_ready(service.use_cases.default)
        return PlainTextResponse(
            "\n",
            200 if ready else 503,
            None if ready else {"Retry-After": str(RETRY_AFTER_SECONDS)},
        )


def _shape(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [name],
        "properties": {name: schema, "params": {"description": "accepted and ignored"}},
    }


_ANY = {"description": "any value"}
_RECORDS = {"type": "array", "minItems": 1, "items": {"type": "object"}}
_COLUMNS = {
    "type": "object",
    "additionalProperties": {"description": "the values of one field, or one value for all rows"},
}
_SPLIT = {
    "type": "object",
    "required": ["columns", "data"],
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}},
        "data": {"type": "array", "minItems": 1, "items": {"type": "array", "items": _ANY}},
        "index": {"type": "array", "items": _ANY},
    },
    "additionalProperties": False,
}
_SHAPES = [
    _shape("dataframe_split", _SPLIT),
    _shape("dataframe_records", _RECORDS),
    _shape("instances", {"anyOf": [_RECORDS, _COLUMNS]}),
    _shape("inputs", {"anyOf": [_RECORDS, _COLUMNS]}),
]
_CHANCES = {
    "type": "array",
    "minItems": 2,
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "description": "of each class; of false and of true if the model decides",
}
_NUMBER = {"type": "number", "description": "of a model with one number that is not a probability"}
_PREDICTIONS = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array", "items": {"anyOf": [_CHANCES, _NUMBER]}}},
}
_TEXT = {"type": "string"}
_MLFLOW_ERROR = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": _TEXT, "message": _TEXT},
}
_ERROR_CONTENT = {"application/json": {"schema": _MLFLOW_ERROR}}
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the message says where and why", "content": _ERROR_CONTENT},
    "5XX": {"description": "Failed, or temporarily unavailable", "content": _ERROR_CONTENT},
}
_INVOCATIONS = {
    "parameters": [
        {
            "name": name,
            "in": "header",
            "schema": _TEXT,
            "description": "the use case, if it is not the first one",
        }
        for name in ("X-Laurel-Use-Case", "X-Amzn-SageMaker-Target-Model")
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": _SHAPES}},
            "text/csv": {"schema": _TEXT},
        },
    },
    "responses": {
        "200": {
            "description": "Probabilities in the order of the rows",
            "content": {"application/json": {"schema": _PREDICTIONS}},
        }
    },
}
