"""The OpenAPI document's part for the Open Inference Protocol's routes."""

from typing import Any

HEAD_LENGTH = "Inference-Header-Content-Length"


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "responses": {
            "200": {
                "description": "As the protocol defines it",
                "content": {"application/json": {"schema": schema}},
            }
        }
    }


_TEXT = {"type": "string"}
_PARAMETERS = {"type": "object"}
_VALUES = {"type": "array", "items": {"description": "of the tensor's datatype"}}
_SHAPE = {"type": "array", "items": {"type": "integer"}}
_ABOUT = _object(
    ["name", "datatype", "shape"], name=_TEXT, datatype=_TEXT, shape=_SHAPE, parameters=_PARAMETERS
)
_TENSOR = _object(
    ["name", "datatype", "shape"],
    name=_TEXT,
    datatype=_TEXT,
    shape=_SHAPE,
    parameters=_PARAMETERS,
    data=_VALUES,
)
READY = _answer(_object(["name", "ready"], name=_TEXT, ready={"type": "boolean"}))
_METADATA = _object(
    ["name", "versions", "platform", "inputs", "outputs"],
    name=_TEXT,
    versions={"type": "array", "items": _TEXT},
    platform=_TEXT,
    inputs={"type": "array", "items": _ABOUT},
    outputs={"type": "array", "items": _ABOUT},
)
MODEL = _answer(_METADATA)
_REQUEST = _object(
    ["inputs"],
    id=_TEXT,
    parameters=_PARAMETERS,
    inputs={"type": "array", "items": _TENSOR},
    outputs={
        "type": "array",
        "items": _object(
            ["name"],
            name={"type": "string", "description": "an output that GET /v2/models/{model} lists"},
            parameters=_PARAMETERS,
        ),
    },
)
_INFERRED = _object(
    ["model_name", "model_version", "outputs"],
    model_name=_TEXT,
    model_version=_TEXT,
    id=_TEXT,
    outputs={"type": "array", "items": _TENSOR},
)
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_ERROR = {"application/json": {"schema": _object(["error"], error=_TEXT)}}
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the message says where and why", "content": _ERROR},
    "5XX": {"description": "Failed, or temporarily unavailable", "content": _ERROR},
}
INFER = {
    "parameters": [
        {
            "name": HEAD_LENGTH,
            "in": "header",
            "schema": {"type": "integer"},
            "description": "bytes of JSON, if binary tensors follow it",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _REQUEST}} | _BINARY,
    },
    "responses": {
        "200": {
            "description": "A value for each row",
            "content": {"application/json": {"schema": _INFERRED}} | _BINARY,
        },
    },
}
MODEL_PARAMETER: dict[str, Any] = {
    "name": "model",
    "in": "path",
    "required": True,
    "description": "a use case",
}
VERSION_PARAMETER = {"name": "version", "in": "path", "required": True, "schema": _TEXT}
