"""What the OpenAPI document says of bodies that msgspec decodes, not FastAPI."""

from typing import Any

_LABEL = {"anyOf": [{"type": "integer", "enum": [0, 1]}, {"type": "boolean"}]}
_LOCAL = {"type": "string", "format": "date-time", "description": "local, without a zone", "example": "2013-06-01T15:00:00"}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_ROW = {"type": "object", "description": "the features that GET /v1/{use_case} lists, and the event time if it is known"}
_PREDICTION = _object(
    ["id", "score", "decision"], id={"type": "string"}, score={"type": "number", "minimum": 0, "maximum": 1}, decision={"type": "boolean"}
)
_ANSWER = _object(
    ["predictions", "model_version", "use_case"],
    predictions=_list(_PREDICTION),
    model_version={"type": "string"},
    use_case={"type": "string"},
)
_FEEDBACK = _object(
    ["id", "label"],
    id={"type": "string", "minLength": 1, "maxLength": 128, "description": "of the prediction"},
    label=_LABEL,
    event_time=_LOCAL,
    time={"type": "string", "format": "date-time", "description": "when the label was known; default: now"},
)
_ERROR = _object(
    ["error"],
    error=_object(
        ["code", "message"], code={"type": "string"}, message={"type": "string"}, row={"type": "integer"}, field={"type": "string"}
    ),
)

_USE_CASE = {"name": "use_case", "in": "path", "required": True, "schema": {"type": "string"}}
_LOG = {
    "name": "log",
    "in": "query",
    "schema": {"type": "boolean", "default": True},
    "description": "false: answer only, for smoke requests; their ids take no feedback",
}
PREDICT = {
    "parameters": [_USE_CASE, _LOG],
    "requestBody": {"required": True, "content": _json(_object(["rows"], rows=_list(_ROW)))},
    "responses": {"200": {"description": "Scores in the order of the rows", "content": _json(_ANSWER)}},
}
FEEDBACK = {
    "parameters": [_USE_CASE],
    "requestBody": {"required": True, "content": _json(_object(["feedback"], feedback=_list(_FEEDBACK)))},
    "responses": {"200": {"description": "Kept", "content": _json(_object(["accepted"], accepted={"type": "integer"}))}},
}
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the message says where and why", "content": _json(_ERROR)},
    "5XX": {"description": "Not now", "content": _json(_ERROR)},
}
