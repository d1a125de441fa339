"""The Open Inference Protocol, version 2, below ``/v2``: for clients of KServe, Triton, MLServer
and OpenVINO.

A model is a use case; its only version is the champion's. Its inputs are a tensor
for each feature (``serving/formats/tensors.py``), its outputs one for each output of the package,
such as ``score`` (FP64) and ``decision`` (BOOL), and ``prediction_id`` (BYTES), in JSON or as
binary tensors. Refusals are the protocol's ``{"error":
"..."}`` (``serving/edge/refusals.py``): 400 for a request that does not fit, 404 for an unknown
model or version, 503 while there is none yet."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import Response

from serving import VERSION
from serving.champions.champion import Champion
from serving.edge.answers import json_response
from serving.edge.requests import read_body, read_content_type, read_flag
from serving.errors import InputError, Refused
from serving.formats.columns import columns_of
from serving.formats.rows import CheckedRows
from serving.formats.tensors import LENGTH, Inference, Output, read_inference, read_tensor_pieces
from serving.routes.inference_openapi import (
    ERRORS,
    HEAD_LENGTH,
    INFER,
    MODEL,
    MODEL_PARAMETER,
    READY,
    VERSION_PARAMETER,
)
from serving.scoring.predictions import Scored
from serving.scoring.remarks import remark_headers

if TYPE_CHECKING:
    from serving.service.service import Service

_TYPES = ("application/json", "application/octet-stream")


def head_length(header: str | None, size: int) -> int:
    """The length of a body's JSON in bytes. Raises ``InputError`` for an invalid header."""
    if header is None:
        return size
    if not re.fullmatch(r"[0-9]{1,12}", header) or int(header) > size:
        raise InputError(f"{HEAD_LENGTH} is {header[:20]!r}; the body has {size} bytes.")
    return int(header)


def check_version(champion: Champion, model: str, version: str | None) -> None:
    """Raises ``Refused`` for a version that is not the champion's."""
    if version not in (None, champion.version):
        raise Refused(
            404,
            "unknown_version",
            f"Model {model!r} has version {champion.version!r} here, not {version[:100]!r}.",
        )


def describe_model(champion: Champion, model: str) -> dict[str, Any]:
    """The answer of ``GET /v2/models/{model}``. ``optional`` tensors may be left out, and their
    values null.
    """
    reader = columns_of(champion.reader)
    kinds = [(name, reader.kinds[name].datatype, reader.nullable[name]) for name in reader.names]
    inputs = [
        {"name": name, "datatype": datatype, "shape": [-1], "parameters": {"optional": optional}}
        for name, datatype, optional in [*kinds, (reader.event_time, "BYTES", True)]
    ]
    outputs = [
        {"name": name, "datatype": datatype, "shape": [-1]}
        for name, datatype in champion.form.tensors.items()
    ]
    return {
        "name": model,
        "versions": [champion.version],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": outputs,
    }


def write_answer(scored: Scored, model: str, inference: Inference) -> tuple[bytes, int | None]:
    """The answer, and the length of its JSON part if binary tensors follow it."""
    datatypes = scored.champion.form.tensors
    values_by_output = scored.champion.form.flat(scored.values)
    columns = dict(zip(datatypes, [*values_by_output, scored.ids], strict=True))
    all_binary = (inference.parameters or {}).get("binary_data_output") is True
    outputs, tail = [], []
    for requested in inference.outputs or map(Output, datatypes):
        values, datatype = columns[requested.name], datatypes[requested.name]
        output: dict[str, Any] = {
            "name": requested.name,
            "datatype": datatype,
            "shape": [len(values)],
        }
        if (requested.parameters or {}).get("binary_data", all_binary) is True:
            tail.append(_to_bytes(datatype, values))
            outputs.append(output | {"parameters": {"binary_data_size": len(tail[-1])}})
        else:
            outputs.append(output | {"data": values})
    model_of = {"model_name": model, "model_version": scored.version} | (
        {"id": inference.id} if inference.id else {}
    )
    head = msgspec.json.encode(model_of | {"outputs": outputs})
    return b"".join([head, *tail]), len(head) if tail else None


def _to_bytes(datatype: str, values: list[Any]) -> bytes:
    if datatype == "BYTES":
        return b"".join(LENGTH.pack(len(data)) + data for data in map(str.encode, values))
    return np.array(values, "<f8" if datatype == "FP64" else "?").tobytes()


def add_routes(app: FastAPI, service: "Service") -> None:
    _add_server_routes(app, service)
    names = {} if service.use_cases.serves_all else {"enum": list(service.use_cases.watches)}
    model = MODEL_PARAMETER | {"schema": {"type": "string"} | names}
    _add_model_routes(app, service, "/v2/models/{model}", "model", [model])
    _add_model_routes(
        app, service, "/v2/models/{model}/versions/{version}", "version", [model, VERSION_PARAMETER]
    )


def _add_server_routes(app: FastAPI, service: "Service") -> None:
    @app.get("/v2", tags=["inference protocol"])
    async def server() -> dict[str, Any]:
        """The server, and the extensions of the protocol that it supports."""
        return {"name": "laurel", "version": VERSION, "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", tags=["inference protocol"])
    async def live() -> dict[str, bool]:
        """The process answers."""
        return {"live": True}

    @app.get(
        "/v2/health/ready",
        responses={503: {"description": "Some model has no champion yet"}},
        tags=["inference protocol"],
    )
    async def ready() -> Response:
        """Every model has a champion; 503 until then, and when the service is about to stop."""
        ready = service.is_ready()
        return json_response({"ready": ready}, 200 if ready else 503)


def _add_model_routes(
    app: FastAPI, service: "Service", path: str, name: str, parameters: list[dict[str, Any]]
) -> None:
    """``parameters`` are those of ``path``."""

    def described(operation: str, spec: dict[str, Any]) -> dict[str, Any]:
        extra = spec | {"parameters": [*parameters, *spec.get("parameters", [])]}
        return {
            "operation_id": f"{name}_{operation}",
            "openapi_extra": extra,
            "responses": ERRORS,
            "tags": ["inference protocol"],
        }

    @app.get(path, **described("metadata", MODEL))
    async def metadata(request: Request) -> Response:
        """The model's versions, inputs and outputs."""
        model = request.path_params["model"]
        champion = service.use_cases.champion(model)
        check_version(champion, model, request.path_params.get("version"))
        return json_response(describe_model(champion, model))

    @app.get(f"{path}/ready", **described("ready", READY))
    async def ready(request: Request) -> Response:
        """The model has a champion; 503 until then."""
        model = request.path_params["model"]
        check_version(service.use_cases.champion(model), model, request.path_params.get("version"))
        service.check_stays()
        return json_response({"name": model, "ready": True})

    @app.post(f"{path}/infer", **described("infer", INFER))
    async def infer(request: Request) -> Response:
        """Score rows, given as a tensor for each feature."""
        return await _infer(service, request.path_params["model"], request)


async def _infer(service: "Service", model: str, request: Request) -> Response:
    service.use_cases.watch(model)
    logged = read_flag(request, "log", default=True)
    if (kind := read_content_type(request)) not in _TYPES:
        raise Refused(
            415,
            "unsupported_media_type",
            f"The body's Content-Type is {kind[:100]!r}; send {' or '.join(_TYPES)}.",
        )
    body = await read_body(request)
    length = head_length(request.headers.get(HEAD_LENGTH), len(body))
    version = request.path_params.get("version")
    read: list[Inference] = []
    most = service.settings.serving_max_rows

    def pieces(champion: Champion, size: int | None) -> Iterator[CheckedRows]:
        check_version(champion, model, version)
        read.append(read_inference(body[:length], champion.form.tensors))
        return read_tensor_pieces(
            columns_of(champion.reader), read[0], memoryview(body)[length:], most, size or most
        )

    scored = await service.score(
        model, request.scope, body, kind if length == len(body) else "", pieces, logged=logged
    )
    answer, head = await service.scorer.write(scored, lambda: write_answer(scored, model, read[0]))
    headers = remark_headers((), scored.unknown)
    if head is None:
        return Response(answer, headers=headers, media_type=_TYPES[0])
    return Response(answer, headers=headers | {HEAD_LENGTH: str(head)}, media_type=_TYPES[1])
