"""MLflow's webhook: a reason to check the aliases now, and never a source of facts.

MLflow signs each call as the Standard Webhooks do: ``X-MLflow-Signature: v1,<base64 of
HMAC-SHA256>`` over delivery id, timestamp and body, joined by dots (mlflow/webhooks/delivery.py). A
call that is old, or that any worker has accepted before, is refused. The content of a call does not
matter: each worker asks the registry for the champion."""

import base64

from fastapi import FastAPI, Request
from fastapi.responses import Response

from blocks.settings import Settings
from serving.callbacks.signatures import Caller, Signatures, read_small_body
from serving.edge.answers import json_response
from serving.errors import Refused
from serving.service.service import Service
from serving.service.workers import folder_of

PATH = "/webhooks/mlflow"
_LONGEST_ID = 256


_MLFLOW = Caller(
    write=lambda digest: b"v1," + base64.b64encode(digest),
    forged=(
        "The signature does not match LAUREL_SERVING_WEBHOOK_SECRET. Run deployments.apply again."
    ),
    repeated="A call with this delivery id was accepted before.",
    unrecorded="The call cannot be recorded now; the next poll finds the champion.",
    too_old_status=403,
    repeated_status=409,
)


def deliveries_of(settings: Settings) -> Signatures | None:
    """``None`` if the settings have no webhook secret."""
    return Signatures.of(
        _MLFLOW, settings.serving_webhook_secret, folder_of(settings) / "deliveries"
    )


def add_routes(app: FastAPI, service: Service) -> None:
    deliveries = deliveries_of(service.settings)

    @app.post(PATH, tags=["operation"])
    async def mlflow(request: Request) -> Response:
        """MLflow reports that an alias has moved: every worker checks the registry now. Signed with
        the webhook's secret.
        """
        if deliveries is None:
            raise Refused(
                404,
                "no_webhook",
                "This service accepts no webhooks: LAUREL_SERVING_WEBHOOK_SECRET is not set.",
            )
        names = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")
        headers = [request.headers.get(name, "")[:_LONGEST_ID] for name in names]
        if not all(headers):
            raise Refused(
                401, "unsigned", f"A call from MLflow has the headers {', '.join(names)}."
            )
        delivery, timestamp, signature = headers
        body = await read_small_body(request, "MLflow")
        signed = f"{delivery}.{timestamp}.".encode() + body
        deliveries.check(signed, signature, timestamp, name=delivery)
        for watch in service.use_cases.watches.values():
            watch.poke()
        return json_response({"looks_at": list(service.use_cases.watches)}, 202)
