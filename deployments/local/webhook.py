"""The secrets with which the local MLflow calls the model service, created once and kept in
``.laurel/env``.
"""

import base64
import secrets

from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers.seaweedfs import remember


def prepare(settings: Settings) -> Settings:
    """The settings in force. If MLflow or the service runs elsewhere, nothing is created."""
    created = {}
    if settings.mlflow_url is None and settings.mlflow_webhook_key is None:
        created["mlflow_webhook_key"] = base64.urlsafe_b64encode(
            secrets.token_bytes(32)
        ).decode()  # as Fernet wants it
    if (
        settings.mlflow_url is None
        and settings.serving_url is None
        and settings.serving_webhook_secret is None
    ):
        created["serving_webhook_secret"] = secrets.token_hex(32)
    if not created:
        return settings
    remember(settings.state, {f"LAUREL_{name.upper()}": value for name, value in created.items()})
    return settings.model_copy(update={name: SecretStr(value) for name, value in created.items()})
