"""MLflow's webhook: a reason to look at the aliases now, and never something to believe.

MLflow signs each call as the Standard Webhooks do: ``X-MLflow-Signature: v1,<base64 of
HMAC-SHA256>`` over delivery id, timestamp and body, joined by dots (mlflow/webhooks/delivery.py). A
call that is old, or was seen before by any worker, is refused. What a call says does not matter:
each worker asks the registry who the champion is."""

import base64
import hashlib
import hmac

from fastapi import FastAPI, Request
from fastapi.responses import Response

from blocks.settings import Settings
from serving.callbacks.signatures import LONGEST_AGE_SECONDS, Seen, is_of_now, read_small_body
from serving.edge.answers import json_response
from serving.errors import Refused
from serving.service.service import Service
from serving.service.workers import folder_of

PATH = "/webhooks/mlflow"
_LONGEST_ID = 256


class Deliveries:
    """Tells MLflow's calls from others, and new ones from old ones."""

    def __init__(self, secret: str, seen: Seen) -> None:
        self._secret = secret.encode()
        self._seen = seen

    @classmethod
    def of(cls, settings: Settings) -> "Deliveries | None":
        """``None`` where there is no secret: no call can be told from a forged one then."""
        secret = (
            settings.serving_webhook_secret.get_secret_value()
            if settings.serving_webhook_secret
            else ""
        )
        return cls(secret, Seen(folder_of(settings) / "deliveries")) if secret else None

    def check(self, delivery: str, timestamp: str, signature: str, body: bytes) -> None:
        """Raises ``Refused`` for a call that is forged, old, or was there before, or cannot be
        remembered.
        """
        content = f"{delivery}.{timestamp}.".encode() + body
        expected = b"v1," + base64.b64encode(hmac.digest(self._secret, content, hashlib.sha256))
        if not hmac.compare_digest(expected, signature.encode()):
            raise Refused(
                401,
                "bad_signature",
                "The signature is not that of LAUREL_SERVING_WEBHOOK_SECRET. Run "
                "deployments.apply again.",
            )
        if not is_of_now(timestamp):
            raise Refused(
                403,
                "too_old",
                f"The call's timestamp is not within {LONGEST_AGE_SECONDS} s of this "
                "machine's clock.",
            )
        try:
            if not self._seen.is_new(delivery):
                raise Refused(
                    409, "seen_before", "A call with this delivery id was accepted before."
                )
        except OSError as error:
            raise Refused(
                503,
                "disk_refuses",
                "The call cannot be remembered now; the poll finds the champion.",
            ) from error


def add_routes(app: FastAPI, service: Service) -> None:
    deliveries = Deliveries.of(service.settings)

    @app.post(PATH, tags=["operation"])
    async def mlflow(request: Request) -> Response:
        """MLflow says that an alias has moved: every worker looks at the registry now. Signed with
        the webhook's secret.
        """
        if deliveries is None:
            raise Refused(
                404,
                "no_webhook",
                "This service takes no webhooks: LAUREL_SERVING_WEBHOOK_SECRET is not set.",
            )
        names = ("X-MLflow-Delivery-Id", "X-MLflow-Timestamp", "X-MLflow-Signature")
        given = [request.headers.get(name, "")[:_LONGEST_ID] for name in names]
        if not all(given):
            raise Refused(401, "unsigned", f"A call of MLflow has the headers {', '.join(names)}.")
        delivery, timestamp, signature = given
        deliveries.check(delivery, timestamp, signature, await read_small_body(request, "MLflow"))
        for watch in service.watches.values():
            watch.poke()
        return json_response({"looks_at": list(service.watches)}, 202)
