"""The one settings class: each ``LAUREL_*`` variable, its unit and its default. Nothing else reads the environment.

Precedence: environment, then ``.laurel/env`` (written by the local stack, mode 600: its random S3 keys), then the
defaults below. Importing this module reads nothing; ``Settings.read()`` does.
"""

import os
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Every setting of Laurel, from ``LAUREL_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="LAUREL_", extra="ignore", frozen=True)

    home: Path = Field(REPOSITORY, description="the checkout that flow runs execute")
    state: Path = Field(REPOSITORY / ".laurel", description="databases, logs and buckets of the local stack")
    pythonpath: str = Field("", validation_alias="PYTHONPATH", description="folders of your own packages, `usecases` among them")
    host: str = Field("127.0.0.1", description="address that the local stack listens on")
    prefect_port: int = Field(4200, description="Prefect server and UI")
    mlflow_port: int = Field(5000, description="MLflow server and UI")
    s3_port: int = Field(8333, description="S3 API of SeaweedFS")
    serving_port: int = Field(5001, description="model service")

    mlflow_url: str | None = Field(None, description="MLflow server; default: the local stack's")
    prefect_url: str | None = Field(None, description="Prefect API, with /api; default: the local stack's")
    serving_url: str | None = Field(None, description="model service; default: the local stack's")

    lake: str = Field("s3://laurel", description="s3://bucket[/prefix] or file:///folder")
    s3_endpoint: str | None = Field(None, description="S3 endpoint; default: the local stack's; 'aws' for AWS itself")
    s3_access_key: SecretStr | None = Field(None, description="unset: the AWS default chain (roles, profiles)")
    s3_secret_key: SecretStr | None = None
    s3_region: str = "us-east-1"

    slack_token: SecretStr | None = Field(None, description="bot token (xoxb-...); unset: messages go to the run's log")
    slack_channel: str = Field("#ml", description="channel name or id")
    slack_api_url: str = Field("https://slack.com/api/", description="changed only by tests")

    serving_use_cases: str = Field("flights", description="comma-separated use cases that the service serves")
    serving_workers: int = Field(1, ge=1, le=64, description="processes that answer; a core each, with the disk in common")
    serving_key: SecretStr | None = Field(None, description="key that flows show the service, where it asks for one")
    serving_webhook_secret: SecretStr | None = Field(None, description="signs MLflow's calls to the service; locally made; unset: refused")
    mlflow_webhook_key: SecretStr | None = Field(None, description="encrypts the webhook secrets in the local MLflow's database; made")
    serving_poll_seconds: float = Field(2.0, gt=0, description="how often the champion alias is asked for")
    serving_require_keys: bool = Field(False, description="ask callers for a key on loopback too; elsewhere one is always asked for")
    serving_keys_file: Path | None = Field(None, description="digests of the keys; default: serving/keys.json in the state folder")
    serving_allowed_hosts: str = Field("", description="comma-separated names that requests without a key may call the service by")
    serving_max_rows: int = Field(100_000, gt=0, description="rows of one request, at most")
    serving_max_body_megabytes: int = Field(16, gt=0, description="size of one request, at most")
    serving_connections: int = Field(1000, gt=0, description="connections of one worker at a time, at most; more are answered 503")
    serving_queue_requests: int = Field(64, gt=0, description="large requests in one worker, at most; more are answered 503")
    serving_request_seconds: float = Field(30.0, gt=0, description="within this time a request must be there, and an answer read")
    serving_idle_seconds: float = Field(75.0, gt=0, description="how long a connection without requests stays open")
    serving_access_log: Literal["all", "errors", "off"] = Field("all", description="which requests get a line on standard output")
    log_flush_seconds: float = Field(5.0, gt=0, description="oldest age of a prediction before it is uploaded")
    log_flush_rows: int = Field(50_000, gt=0, description="rows of a log segment before it is uploaded")
    log_durability: Literal["os", "fsync"] = Field("os", description="who has a prediction when it is answered: the kernel, or the disk")
    log_backlog_megabytes: int = Field(512, gt=0, description="bound of predictions waiting on disk for the lake")

    retrain_cooldown_seconds: int = Field(3600, ge=0, description="drift events of a use case within this time start one retrain")
    promote_timeout_seconds: float = Field(60.0, gt=0, description="how long promote waits for the service to swap")

    @classmethod
    def read(cls) -> Self:
        """The settings of this process. Raises ``pydantic.ValidationError`` naming each wrong variable."""
        state = Path(os.environ.get("LAUREL_STATE", REPOSITORY / ".laurel"))
        return cls(_env_file=state / "env")

    @property
    def flow_run_pythonpath(self) -> str:
        """What flow runs import from: the checkout, and then the folders of this process's own ``PYTHONPATH``."""
        others = [folder for folder in self.pythonpath.split(os.pathsep) if folder and Path(folder) != self.home]
        return os.pathsep.join([str(self.home), *others])

    @property
    def prefect_api_url(self) -> str:
        return self.prefect_url or f"http://{self.host}:{self.prefect_port}/api"

    @property
    def mlflow_tracking_uri(self) -> str:
        return self.mlflow_url or f"http://{self.host}:{self.mlflow_port}"

    @property
    def serving_base_url(self) -> str:
        return self.serving_url or f"http://{self.host}:{self.serving_port}"

    @property
    def serving_keys_path(self) -> Path:
        return self.serving_keys_file or self.state / "serving" / "keys.json"

    @property
    def s3_endpoint_url(self) -> str | None:
        """``None`` where AWS itself is meant."""
        if self.s3_endpoint == "aws":
            return None
        return self.s3_endpoint or f"http://{self.host}:{self.s3_port}"
