"""The environment in which the processes of Laurel run, servers and clients alike: Laurel's
settings, Prefect's and MLflow's.
"""

from pydantic import SecretStr

from blocks.settings import Settings


def environment(settings: Settings) -> dict[str, str]:
    """What a process needs in its environment to work with the servers of these settings, their
    passwords included.
    """
    return {
        **_exported(settings),
        **_passwords(settings),
        "PREFECT_API_URL": settings.prefect_api_url,
        # Runs name their own page by it: in Slack, in MLflow and in the ledger.
        "PREFECT_UI_URL": settings.prefect_pages,
        "PREFECT_HOME": str(settings.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **flow_run_environment(settings),
        "MLFLOW_TRACKING_URI": settings.mlflow_tracking_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # The default lets a client hang for minutes on a server that is away; tasks have retries of
        # their own.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "PYTHONPATH": settings.flow_run_pythonpath,
        # Threads that spin while they wait make a fit ten times as long when something else wants
        # the cores.
        "OMP_WAIT_POLICY": "PASSIVE",
        # The matrices are narrow: a second BLAS thread doubles the time of a logistic regression.
        "OPENBLAS_NUM_THREADS": "1",
        "DO_NOT_TRACK": "1",
    }


def flow_run_environment(settings: Settings) -> dict[str, str]:
    """What must hold in each flow run, whoever starts it: the automations and a restart of the
    server rely on it.
    """
    return {
        # Prefect's default is 180 s, and the automation that finds dead runs counts in these.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(settings.heartbeat_seconds),
        # 2 + 4 + ... + 64 s, each a little more or less: a server that is away for a minute fails
        # no run.
        "PREFECT_CLIENT_MAX_RETRIES": "6",
    }


def prefect_auth(settings: Settings) -> str | None:
    """What Prefect's clients show its server, as they want it: ``user:password``."""
    return settings.prefect_auth.get_secret_value() if settings.prefect_auth else None


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
    shown = {}
    if auth := prefect_auth(settings):
        shown["PREFECT_API_AUTH_STRING"] = auth
    if settings.mlflow_username and settings.mlflow_password:
        shown["MLFLOW_TRACKING_USERNAME"] = settings.mlflow_username
        shown["MLFLOW_TRACKING_PASSWORD"] = settings.mlflow_password.get_secret_value()
    return shown
