"""The environment of Laurel's processes, servers and clients alike: Laurel's settings, Prefect's
and MLflow's.
"""

from pathlib import Path

from pydantic import SecretStr

from blocks.settings import Settings

AUTHORITIES = "PREFECT_API_SSL_CERT_FILE"
# One certificate, whose key was never kept.
NO_AUTHORITY = Path(__file__).with_name("no_authority.pem")


def environment(settings: Settings) -> dict[str, str]:
    """The variables that a process needs to work with the servers of these settings, including
    passwords.
    """
    return {
        **_exported(settings),
        **_passwords(settings),
        "PREFECT_API_URL": settings.prefect_api_url,
        **_authorities(settings),
        # Runs use it to link to their own page: in Slack, in MLflow and in the ledger.
        "PREFECT_UI_URL": settings.prefect_pages,
        "PREFECT_HOME": str(settings.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # What belonged to the runs that the flow tidy deletes.
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,orphans",
        **flow_run_environment(settings),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # By default a client hangs for minutes on an unreachable server; tasks have their own
        # retries.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PYTHONPATH": settings.flow_run_pythonpath,
        # Threads that spin while they wait make a fit take ten times as long if something else
        # needs the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # The matrices are narrow: a second BLAS thread doubles the time of a logistic regression.
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
    }


def flow_run_environment(settings: Settings) -> dict[str, str]:
    """The variables of every flow run, however it starts: the automations and a restart of the
    server rely on them.
    """
    return {
        # Prefect's default is 180 s; the automation that finds dead runs counts these heartbeats.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(settings.heartbeat_seconds),
        # 2 + 4 + ... + 64 s, with jitter: if the server is away for a minute, no run fails.
        "PREFECT_CLIENT_MAX_RETRIES": "6",
        **{
            f"LAUREL_{name.upper()}": str(getattr(settings, name))
            for name in type(settings).model_fields
            if name.startswith("keep_")
        },
        **({"LAUREL_DASK_ADDRESS": settings.dask_address} if settings.dask_address else {}),
    }


def prefect_auth(settings: Settings) -> str | None:
    """Prefect's credentials for its clients: ``user:password``."""
    return settings.prefect_auth.get_secret_value() if settings.prefect_auth else None


def _authorities(settings: Settings) -> dict[str, str]:
    """Each of Prefect's clients, dozens in a run, reads all authorities that the machine trusts,
    even if its API has no TLS (docs/decisions/0020-warm-parent.md).
    """
    if not settings.prefect_api_url.startswith("http://"):
        return {}
    return {AUTHORITIES: str(NO_AUTHORITY)}


def _exported(settings: Settings) -> dict[str, str]:
    values = {
        name: getattr(settings, name)
        for name, field in type(settings).model_fields.items()
        if field.validation_alias is None
    }
    return {
        f"LAUREL_{name.upper()}": value.get_secret_value()
        if isinstance(value, SecretStr)
        else str(value)
        for name, value in values.items()
        if value is not None
    }


def _passwords(settings: Settings) -> dict[str, str]:
    passwords = {}
    if auth := prefect_auth(settings):
        passwords["PREFECT_API_AUTH_STRING"] = auth
    if settings.mlflow_username and settings.mlflow_password:
        passwords["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_username
        passwords["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_password.get_secret_value()
    return passwords
