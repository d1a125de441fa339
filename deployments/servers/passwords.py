"""Passwords of Prefect and MLflow, and a key of the service: created for a local stack that others
can reach; the first two are mandatory.
"""

import secrets
from collections.abc import Callable

from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers.errors import OpenServerError
from deployments.servers.seaweedfs import remember

USER = "laurel"
SHORTEST_MLFLOW_PASSWORD = 12  # MLflow refuses a shorter password


def prepare(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The settings in force: beyond loopback with passwords and a key; missing ones are created and
    kept in ``.laurel/env``.
    """
    if not settings.is_exposed:
        return settings
    created: dict[str, str | SecretStr] = {}
    if settings.prefect_url is None and not settings.prefect_auth:
        created["prefect_auth"] = SecretStr(f"{USER}:{secrets.token_urlsafe(24)}")
    if settings.mlflow_url is None and not settings.mlflow_username:
        created |= {
            "mlflow_username": USER,
            "mlflow_password": SecretStr(secrets.token_urlsafe(24)),
        }
    if settings.serving_url is None and not settings.serving_key:
        created["serving_key"] = SecretStr(secrets.token_urlsafe(32))
    if not created:
        return settings
    plain = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in created.items()
    }
    remember(settings.state, {f"LAUREL_{name.upper()}": value for name, value in plain.items()})
    say(
        f"Others can reach {settings.host}: Prefect and MLflow require passwords, the "
        f"service a key; all are in {settings.state / 'env'}."
    )
    return settings.model_copy(update=created)


def insist_on_prefect(settings: Settings) -> None:
    """Raises ``OpenServerError`` if anyone who reaches Prefect's server could use it."""
    if settings.is_exposed and not settings.prefect_auth:
        raise OpenServerError(
            _refusal("Prefect's server", settings.host, "LAUREL_PREFECT_AUTH=user:password")
        )


def insist_on_mlflow(settings: Settings) -> None:
    """Raises ``OpenServerError`` if anyone who reaches MLflow could use it, or if MLflow would
    refuse the password.
    """
    if settings.is_exposed and not (settings.mlflow_username and settings.mlflow_password):
        raise OpenServerError(
            _refusal("MLflow", settings.host, "LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD")
        )
    if (
        settings.mlflow_password
        and len(settings.mlflow_password.get_secret_value()) < SHORTEST_MLFLOW_PASSWORD
    ):
        raise OpenServerError(
            f"LAUREL_MLFLOW_PASSWORD has fewer than {SHORTEST_MLFLOW_PASSWORD} characters, "
            "which MLflow refuses."
        )


def _refusal(server: str, host: str, missing: str) -> str:
    where = host or "every address"
    return (
        f"{server} would listen on {where}, where others can reach it, without a password. "
        f"Set {missing}, or LAUREL_HOST=127.0.0.1."
    )
