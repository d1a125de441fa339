"""The webhook by which MLflow's registry calls the service when an alias moves, configured from the
settings.

Without it new champions are found by polling, so nothing here may fail a start: a refusal by MLflow
is only reported."""

from typing import Any, Literal

from blocks.settings import Settings

NAME = "laurel-model-service"
EVENTS = [{"entity": "MODEL_VERSION_ALIAS", "action": action} for action in ("CREATED", "DELETED")]
_TIMEOUT_SECONDS = 30  # a test call to an unreachable service takes MLflow about ten seconds
_UNSIGNED = 401  # what the service answers to another secret's signature


class Refused(RuntimeError):
    """MLflow does not take the webhook; the message says why, and what follows."""


def apply_webhook(settings: Settings) -> Literal["created", "updated", "unchanged"]:
    """Have MLflow call the service, signed with ``settings.serving_webhook_secret``.

    MLflow never reveals the secret that it has, so it is asked to make a test call. Raises
    ``Refused``."""
    import httpx

    assert settings.serving_webhook_secret is not None
    url = f"{settings.serving_base_url}/webhooks/mlflow"
    fields: dict[str, Any] = {"name": NAME, "url": url, "events": EVENTS, "status": "ACTIVE"}
    secret = {"secret": settings.serving_webhook_secret.get_secret_value()}
    user, password = settings.mlflow_username, settings.mlflow_password
    auth = (user, password.get_secret_value()) if user and password else None
    with httpx.Client(
        base_url=f"{settings.mlflow_tracking_uri}/api/2.0/mlflow/",
        auth=auth,
        timeout=_TIMEOUT_SECONDS,
    ) as mlflow:
        webhook = _find(mlflow)
        if webhook is None:
            _ask(mlflow, "POST", "webhooks", fields | secret)
            return "created"
        place = f"webhooks/{webhook['webhook_id']}"
        if {name: webhook.get(name) for name in fields} == fields:
            answer = _ask(mlflow, "POST", f"{place}/test", {})
            if answer.get("result", {}).get("response_status") != _UNSIGNED:
                return "unchanged"
        _ask(mlflow, "PATCH", place, fields | secret)
        return "updated"


def _find(mlflow: Any) -> dict[str, Any] | None:
    """Laurel's webhook, or ``None``. A second webhook with the same name would call a second time,
    and is removed.
    """
    webhooks: list[dict[str, Any]] = []
    page = None
    while page != "":
        answer = _ask(mlflow, "GET", "webhooks", params={"page_token": page} if page else None)
        webhooks += [webhook for webhook in answer.get("webhooks", []) if webhook["name"] == NAME]
        page = answer.get("next_page_token", "")
    for duplicate in webhooks[1:]:
        _ask(mlflow, "DELETE", f"webhooks/{duplicate['webhook_id']}")
    return webhooks[0] if webhooks else None


def _ask(
    mlflow: Any,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    params: dict[str, str] | None = None,
) -> dict[str, Any]:
    import httpx

    try:
        response = mlflow.request(method, path, json=body, params=params)
        content: Any = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise Refused(
            f"MLflow did not answer as expected ({error}); new champions are found by polling"
        ) from error
    if response.status_code != 200 or not isinstance(content, dict):
        reason = str(content.get("message") if isinstance(content, dict) else content)[:200]
        raise Refused(
            f"MLflow answered {response.status_code} ({reason}); new champions are found by polling"
        )
    return content
