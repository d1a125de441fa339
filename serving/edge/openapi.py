"""The OpenAPI document: FastAPI's, with the bodies that msgspec decodes and the champions' own
schemas and examples.

``/v1/{use_case}/predict`` appears once for each use case with a champion, with the row of its
package, and changes with the champion."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serving.champions.champion import Champion
from serving.formats.outputs import OUTPUT_KINDS
from serving.package.kinds import KINDS
from serving.package.manifest import Feature
from serving.package.outputs import Output

PREDICT_PATH = "/v1/{use_case}/predict"
FEEDBACK_PATH = "/v1/{use_case}/feedback"
CSV = "text/csv"
ARROW = "application/vnd.apache.arrow.stream"

_LABELS: Mapping[str, dict[str, Any]] = {
    "decision": {
        "anyOf": [{"type": "integer", "enum": [0, 1]}, {"type": "boolean"}],
        "description": "1.0 and 0.0 are accepted too",
    },
    "number": {"type": "number"},
    "category": {"type": "string"},
}
_LOCAL = {
    "type": "string",
    "pattern": r"^(19|20)\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"T([01]\d|2[0-3]):[0-5]\d:[0-5]\d$",
    "description": "local time, without a time zone",
    "example": "2013-06-01T15:00:00",
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


def _json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    return {
        "application/json": {"schema": schema} | ({} if example is None else {"example": example})
    }


_ID = {"type": "string"}
_ANY_PREDICTION = {
    "type": "object",
    "required": ["id"],
    "properties": {"id": _ID},
    "description": "its id, and the outputs that GET /v1/{use_case} lists",
}


def _feedback(label: dict[str, Any]) -> dict[str, Any]:
    one = _object(
        ["id"],
        id={"type": "string", "minLength": 1, "maxLength": 128, "description": "of the prediction"},
        label=label,
        reward={"type": "number", "description": "what the answer brought; an A/B may compare it"},
        event_time=_LOCAL | {"type": ["string", "null"]},
        time={
            "type": ["string", "null"],
            "format": "date-time",
            "description": "when the label became known; default: now",
        },
    )
    return one | {"anyOf": [{"required": ["label"]}, {"required": ["reward"]}]}


_ERROR = _object(
    ["error"],
    error=_object(
        ["code", "message"],
        code={"type": "string"},
        message={"type": "string"},
        row={"type": "integer"},
        field={"type": "string"},
    ),
)
_LOG = {
    "name": "log",
    "in": "query",
    "schema": {"type": "boolean", "default": True},
    "description": "false: answer only, for smoke requests; their ids take no feedback",
}
_ANY_ROW = {
    "type": "object",
    "description": "the features that GET /v1/{use_case} lists, and the event time if it is known",
}


def _answers(*statuses: int) -> dict[str, Any]:
    descriptions = {
        400: "Invalid JSON",
        404: "Unknown",
        408: "Too slow",
        409: "Too late",
        413: "Too large",
        415: "Unsupported content type",
    }
    descriptions |= {422: "Invalid content", 503: "Temporarily unavailable"}
    return {
        str(status): {"description": descriptions[status], "content": _json(_ERROR)}
        for status in statuses
    }


def prediction_schema(outputs: Sequence[Output]) -> dict[str, Any]:
    """Return the schema of one row's answer."""
    return _object(
        ["id", *(output.name for output in outputs)],
        id=_ID,
        **{output.name: _output(output) for output in outputs},
    )


def _output(output: Output) -> dict[str, Any]:
    # A "bound" is beyond its own bounds where the number is: it is never on its other side.
    bounds = {"minimum": output.low, "maximum": output.high} if output.kind == "number" else {}
    schema: dict[str, Any] = {"type": OUTPUT_KINDS[output.kind].schema}
    schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    if output.kind == "set":
        schema["items"] = {"type": "string", "enum": output.categories}
    elif output.categories:
        schema["enum"] = output.categories
    return schema | ({"description": output.description} if output.description else {})


def _answer(prediction: dict[str, Any]) -> dict[str, Any]:
    return _object(
        ["predictions", "model_version", "use_case"],
        predictions=_list(prediction),
        model_version={"type": "string"},
        use_case={"type": "string"},
        warnings={
            "type": "array",
            "items": {"type": "string"},
            "description": "categories that look like a mistake, scored as unknown",
        },
    )


def _predict(
    row: dict[str, Any],
    columns: dict[str, Any],
    prediction: dict[str, Any],
    example: Mapping[str, Any] | None,
) -> dict[str, Any]:
    rows = _object(["rows"], rows=_list(row))
    by_column = _object(["columns"], columns=columns)
    body = {
        "application/json": {"schema": {"anyOf": [rows, by_column]}}
        | ({} if example is None else {"example": {"rows": [example]}}),
        CSV: {
            "schema": {
                "type": "string",
                "description": "a header line, then rows; an empty field is null",
            }
        },
        ARROW: {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "an uncompressed Arrow IPC stream",
            }
        },
    }
    answer = _json(_answer(prediction)) | {
        CSV: {"schema": {"type": "string"}},
        ARROW: {"schema": {"type": "string", "format": "binary"}},
    }
    return {
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "Scores in the order of the rows", "content": answer},
            **_answers(400, 413, 415, 422, 503),
        },
    }


PREDICT = {"parameters": [_LOG]} | _predict(_ANY_ROW, {"type": "object"}, _ANY_PREDICTION, None)


def _feedback_operation(label: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": _json(_object(["feedback"], feedback=_list(_feedback(label)))),
        },
        "responses": {
            "200": {
                "description": "Stored",
                "content": _json(_object(["accepted"], accepted={"type": "integer"})),
            },
            **_answers(400, 413, 415, 422, 503),
        },
    }


FEEDBACK = _feedback_operation(_LABELS["decision"])
_WORDS = {"type": "string", "maxLength": 1000}
_STRING = {"type": "string"}
_VERSION = {"type": ["string", "null"], "pattern": "^[1-9][0-9]{0,9}$"}


def _operation(
    body: dict[str, Any], status: int, description: str, answer: dict[str, Any]
) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            str(status): {"description": description, "content": _json(answer)},
            **_answers(400, 404, 409, 413, 415, 422, 503),
        },
    }


APPROVAL = _operation(
    _object(
        ["approved"],
        approved={"type": "boolean"},
        by={
            "type": ["string", "null"],
            "maxLength": 1000,
            "description": "who decides; default: the name of the key",
        },
        why=_WORDS,
    ),
    200,
    "Answered: the run continues",
    _object(
        ["use_case", "run", "approved", "by", "page"],
        use_case=_STRING,
        run=_STRING,
        approved={"type": "boolean"},
        by=_STRING,
        page=_STRING,
    ),
)
ROLLBACK = _operation(
    _object(
        [],
        version=_VERSION
        | {"description": "the version to return to; default: the previous champion"},
        why=_WORDS,
        champion=_VERSION
        | {
            "description": (
                "the version that you see serving: 409 if another one has become champion"
            )
        },
    ),
    202,
    "Started: the run's page shows its progress",
    _object(["use_case", "run", "page"], use_case=_STRING, run=_STRING, page=_STRING),
)
STEER = _operation(
    _object(
        ["do", "why"],
        do={
            "enum": ["advance", "hold", "resume", "revert"],
            "description": "the next step now; stay at this one, and go on; or end the rollout",
        },
        why={"type": "string", "minLength": 1, "maxLength": 1000},
        by={
            "type": ["string", "null"],
            "maxLength": 1000,
            "description": "who asks; default: the name of the key",
        },
        rollout={
            "type": ["string", "null"],
            "description": "the id of the rollout that you see: 409 if it no longer runs",
        },
        stage={"type": ["integer", "null"], "description": "that you see: 409 if it is at another"},
        step={"type": ["integer", "null"], "description": "that you see: 409 if it is at another"},
    ),
    202,
    "Started: the run's page shows its progress",
    _object(["use_case", "run", "page"], use_case=_STRING, run=_STRING, page=_STRING),
)
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: the message says where and why", "content": _json(_ERROR)},
    "5XX": {"description": "Failed, or temporarily unavailable", "content": _json(_ERROR)},
}


def row_schema(champion: Champion) -> dict[str, Any]:
    """Return the schema of this champion's rows."""
    manifest = champion.package.manifest
    properties = {feature.name: _value(feature) for feature in manifest.features}
    properties[manifest.event_time] = _LOCAL | {"type": ["string", "null"]}
    return _object(
        [feature.name for feature in manifest.features if not feature.nullable], **properties
    )


def _value(feature: Feature) -> dict[str, Any]:
    json_type = KINDS[feature.kind].json_type
    types = [json_type] if isinstance(json_type, str) else json_type
    schema: dict[str, Any] = {"type": [*types, "null"] if feature.nullable else json_type}
    own = KINDS[feature.kind].json_schema
    schema |= {name: value for name, value in own.items() if name != "description"}
    bounds = {"minimum": feature.low, "maximum": feature.high, "maxLength": feature.longest}
    schema |= {name: bound for name, bound in bounds.items() if bound is not None}
    categories = feature.categories or []
    words = [
        feature.description,
        own.get("description", ""),
        _bounds_of_time(feature),
        f"known: {', '.join(categories[:20])}{', ...' if len(categories) > 20 else ''}"
        if categories
        else "",
        "a PNG or JPEG in base64, or an array of numbers from 0 to 255; resized to "
        f"{feature.size[0]} rows of {feature.size[1]} pixels"
        if feature.size
        else "",
    ]
    if description := "; ".join(filter(None, words)):
        schema["description"] = description
    return schema


def _bounds_of_time(feature: Feature) -> str:
    bounds = (("from", feature.earliest), ("to", feature.latest))
    return " ".join(f"{word} {bound}" for word, bound in bounds if bound)


def make_document(app: FastAPI, champions: Mapping[str, Champion | None]) -> dict[str, Any]:
    """Return the current document. Use cases without a champion share the general path."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    for path, route in ((PREDICT_PATH, _predict_route), (FEEDBACK_PATH, _feedback_route)):
        general = document["paths"].pop(path)
        if any(champion is None for champion in champions.values()):
            document["paths"][path] = general
        for name, champion in champions.items():
            if champion is not None:
                own = route(general["post"], name, champion)
                document["paths"][path.replace("{use_case}", name)] = {"post": own}
    schemes = {
        "key": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    }
    document.setdefault("components", {})["securitySchemes"] = schemes
    document["security"] = [{}, {"key": []}, {"header": []}]
    return document


def _feedback_route(general: Mapping[str, Any], name: str, champion: Champion) -> dict[str, Any]:
    label = champion.form.label
    schema = _LABELS[label.kind]
    if label.categories:
        schema = {**schema, "enum": sorted(label.categories)}
    return {
        **general,
        "operationId": f"feedback_{name}",
        "summary": f"Labels of predictions of {name}",
        "parameters": [],
        **_feedback_operation(schema),
    }


def _predict_route(general: Mapping[str, Any], name: str, champion: Champion) -> dict[str, Any]:
    row = row_schema(champion)
    columns = _object(
        row["required"],
        **{field: {"type": "array", "items": value} for field, value in row["properties"].items()},
    )
    title = champion.package.manifest.question
    return {
        **general,
        "operationId": f"predict_{name}",
        "summary": f"Score rows of {name} with version {champion.version}",
        "description": title,
        "parameters": [_LOG],
        **_predict(
            row,
            columns,
            prediction_schema(champion.package.manifest.outputs),
            champion.package.smoke.rows[0],
        ),
    }
