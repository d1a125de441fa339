"""The FastAPI application: HTTP and nothing else. The work of the routes is in
``serving/service/service.py``.
"""

import platform
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import onnxruntime
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from blocks.settings import Settings
from serving import VERSION
from serving.callbacks import slack_actions, webhook
from serving.edge.answers import json_response
from serving.edge.middleware import Edge
from serving.edge.openapi import ERRORS, FEEDBACK, FEEDBACK_PATH, make_document
from serving.edge.refusals import add_error_answers
from serving.edge.requests import read_body
from serving.errors import NotReady
from serving.formats.encodings import GzipAnswers
from serving.routes import (
    decisions,
    explain,
    fleet,
    history,
    inference_protocol,
    mlflow_protocol,
    operate,
    predict,
    rollout,
)
from serving.routes.lake_reader import LakeReader
from serving.routes.pages import page
from serving.service.description import describe, families
from serving.service.service import Service
from serving.service.siblings import snapshots


def create_app(settings: Settings, open_path: str | None = None) -> FastAPI:
    """The service's ASGI application. Its lifespan restores champions and begins to watch; building
    it does no I/O.

    ``open_path`` requires no key."""
    service = Service(settings, open_path)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await service.start()
        yield {"service": service}  # where serving/server/protocol.py finds it
        await service.stop()

    # The built-in pages load scripts from a CDN; ours at /docs is plain HTML.
    app = FastAPI(
        title="Laurel model service",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        # a redirect would lead to the host name that the caller sent
        redirect_slashes=False,
        responses=ERRORS,
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },  # otherwise looked up at every request
    )
    app.state.service = service
    app.openapi = _document_of(app, service)  # type: ignore[method-assign]
    service.metrics.watch(lambda: families(service))
    service.metrics.watch(service.use_cases.variants.families)
    app.add_middleware(GzipAnswers)
    app.add_middleware(
        Edge, admit=service.admit, account=service.account_asgi, ids=service.request_ids
    )
    add_error_answers(app)
    _add_model_routes(app, service)
    _add_operator_routes(app, service)
    lake = LakeReader(service)
    for records_of in (fleet, history, decisions, rollout):
        records_of.add_routes(app, service, lake)
    for part in (
        page,
        predict,
        explain,
        mlflow_protocol,
        inference_protocol,
        operate,
        webhook,
        slack_actions,
    ):
        part.add_routes(app, service)
    return app


def _document_of(app: FastAPI, service: Service) -> Callable[[], dict[str, Any]]:
    """The current OpenAPI document. It takes 20 ms to make and needs no key: it is made once for
    each set of champions.
    """
    documents: dict[tuple[str | None, ...], dict[str, Any]] = {}

    def document() -> dict[str, Any]:
        champions = {name: watch.champion for name, watch in service.use_cases.watches.items()}
        served = tuple(champion.version if champion else None for champion in champions.values())
        if served not in documents:
            documents.clear()
            documents[served] = openapi = make_document(app, champions)
            if service.settings.serving_path_prefix:
                openapi["servers"] = [{"url": service.settings.serving_path_prefix}]
            if service.keys.required:
                openapi["security"] = [{"key": []}, {"header": []}]
                for path, methods in openapi["paths"].items():
                    for method, route in methods.items():
                        if not service.scope_of(method.upper(), path):
                            route["security"] = []
        return documents[served]

    return document


def _add_model_routes(app: FastAPI, service: Service) -> None:
    @app.post(FEEDBACK_PATH, openapi_extra=FEEDBACK, tags=["model"])
    async def feedback(use_case: str, request: Request) -> Response:
        """Report the true labels of predicted rows. Sending a label again does no harm: the latest
        one counts.
        """
        service.use_cases.watch(use_case)
        return json_response(
            {"accepted": await service.keep_feedback(use_case, await read_body(request))}
        )

    @app.get("/v1/{use_case}", tags=["model"])
    async def describe_one(use_case: str) -> Response:
        """The champion: version, schema, metrics, since when; the last error of its watch; the
        prediction log's state.
        """
        return json_response(describe(service, use_case))


def _add_operator_routes(app: FastAPI, service: Service) -> None:
    @app.get("/health", tags=["operation"])
    async def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/ready", tags=["operation"])
    async def ready() -> Response:
        """Every use case has a champion; 503 until then, and when the service is about to stop."""
        service.check_stays()
        if missing := service.use_cases.not_ready():
            raise NotReady(f"No champion for {', '.join(missing)}. GET /v1/<use case> says why.")
        return json_response({"status": "ready"})

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(
            service.metrics.text(snapshots(service.board)), media_type=CONTENT_TYPE_LATEST
        )

    @app.get("/version", tags=["operation"])
    async def version() -> dict[str, Any]:
        """The versions of this service and of its runtime."""
        return {
            "laurel": VERSION,
            "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version(),
        }
