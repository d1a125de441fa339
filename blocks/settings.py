"""The only settings class: each ``LAUREL_*`` variable, its unit and its default. Nothing else reads
the environment.

Precedence: environment, then ``.laurel/env`` (the local stack writes its random S3 keys there, mode
600), then the defaults below. Importing this module reads nothing. ``Settings.read()`` reads the
environment; ``Settings.of_stack()`` also reads the settings of the running stack, from
``.laurel/started.json``."""

import ipaddress
import json
import os
import re
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

REPOSITORY = Path(__file__).resolve().parent.parent
STARTED = "started.json"
_NONE: Mapping[str, str] = {}
# A running stack's ports cannot change: with another port, a shell would reach another program.
PLACES = ("host", "prefect_port", "mlflow_port", "s3_port", "serving_port")


class Settings(BaseSettings):
    """All settings of Laurel, from ``LAUREL_<NAME>``."""

    # Errors do not show the value: it may be a secret.
    model_config = SettingsConfigDict(
        env_prefix="LAUREL_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    home: Path = Field(REPOSITORY, description="the checkout that flow runs execute")
    state: Path = Field(
        REPOSITORY / ".laurel", description="databases, logs and buckets of the local stack"
    )
    commit: str = Field(
        "", description="commit of the code, if it is not a checkout; images have it built in"
    )
    pythonpath: str = Field(
        "",
        validation_alias="PYTHONPATH",
        description="folders of your own packages, such as `usecases`",
    )
    host: str = Field("127.0.0.1", description="address that the local stack listens on")
    prefect_port: int = Field(4200, description="Prefect server and UI")
    mlflow_port: int = Field(5000, description="MLflow server and UI")
    s3_port: int = Field(8333, description="S3 API of SeaweedFS")
    serving_port: int = Field(5001, description="model service")

    mlflow_url: str | None = Field(None, description="MLflow server; default: the local stack's")
    prefect_url: str | None = Field(
        None, description="Prefect API, with /api; default: the local stack's"
    )
    serving_url: str | None = Field(None, description="model service; default: the local stack's")

    prefect_page_url: str | None = Field(
        None, description="address of Prefect's pages for people; default: the one for programs"
    )
    mlflow_page_url: str | None = Field(
        None, description="address of MLflow's pages for people; default: the one for programs"
    )
    serving_page_url: str | None = Field(
        None, description="address of the service's page for people; default: the one for programs"
    )

    prefect_auth: SecretStr | None = Field(
        None, description="user:password that Prefect's server requires and clients send"
    )
    mlflow_username: str | None = Field(
        None, description="MLflow's administrator; set it together with the password"
    )
    mlflow_password: SecretStr | None = Field(
        None, description="that user's password, at least 12 characters"
    )
    prefect_database: SecretStr | None = Field(
        None, description="SQLAlchemy URL of Prefect's database; default: SQLite in state"
    )
    mlflow_store: SecretStr | None = Field(
        None, description="SQLAlchemy URL of MLflow's database; default: SQLite in state"
    )
    mlflow_auth_store: SecretStr | None = Field(
        None, description="SQLAlchemy URL of MLflow's users; default: SQLite"
    )
    database_admin: SecretStr | None = Field(
        None,
        description="PostgreSQL URL of a user that creates users and databases for these",
    )
    mlflow_allowed_hosts: str = Field(
        "", description="comma-separated host names of MLflow, in addition to localhost"
    )

    lake: str = Field(
        "s3://laurel",
        description="s3://bucket[/prefix] or file:///folder; 'none': a service without a log",
    )
    s3_endpoint: str | None = Field(
        None, description="S3 endpoint; default: the local stack's; 'aws' for AWS itself"
    )
    s3_access_key: SecretStr | None = Field(
        None, description="unset: the AWS default chain (roles, profiles)"
    )
    s3_secret_key: SecretStr | None = None
    s3_region: str = "us-east-1"

    warehouse_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the database that SqlSource use cases are read from"
    )

    search_database: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of the database of searches; default: SQLite in state",
    )

    dask_address: str | None = Field(
        None,
        description="Dask scheduler whose workers fit the trials of searches, as tcp://host:8786",
    )

    slack_token: SecretStr | None = Field(
        None, description="bot token (xoxb-...); unset: messages go to the run's log"
    )
    slack_channel: str = Field("#ml", description="channel name or id")
    slack_language: Literal["en", "ko"] = Field("en", description="language of messages: en or ko")
    slack_api_url: str = Field("https://slack.com/api/", description="changed only by tests")
    slack_signing_secret: SecretStr | None = Field(
        None, description="signs Slack's calls when a button is pressed; unset: no buttons"
    )
    slack_approvers: str = Field(
        "",
        description=("comma-separated Slack ids of users who may press buttons; empty: everybody"),
    )

    github_token: SecretStr | None = Field(
        None, description="a workflow's own token; writes the comment on a pull request"
    )

    serving_use_cases: str = Field(
        "*", description="comma-separated use cases that the service serves; `*`: all"
    )
    serving_workers: int = Field(
        1, ge=1, le=64, description="worker processes; each uses one core, all share the disk"
    )
    serving_key: SecretStr | None = Field(
        None,
        description="key that flows send to the service; the service itself accepts it",
    )
    serving_model_folder: Path | None = Field(
        None, description="model package to serve instead of the registry's champion"
    )
    sagemaker_bind_to_port: int = Field(
        8080,
        validation_alias="SAGEMAKER_BIND_TO_PORT",
        description="port of `python -m serving serve`",
    )
    serving_webhook_secret: SecretStr | None = Field(
        None,
        description="signs MLflow's calls to the service; the local stack makes it; unset: refused",
    )
    mlflow_webhook_key: SecretStr | None = Field(
        None,
        description="encrypts webhook secrets in the local MLflow's database; the stack makes it",
    )
    serving_poll_seconds: float = Field(
        2.0, gt=0, description="how often the service reads the champion alias"
    )
    serving_require_keys: bool = Field(
        False,
        description="require a key on loopback too; any other address always requires one",
    )
    serving_keys_file: Path | None = Field(
        None, description="digests of the keys; default: serving/keys.json in the state folder"
    )
    serving_allowed_hosts: str = Field(
        "", description="comma-separated host names that requests without a key may use"
    )
    serving_trusted_proxies: str = Field(
        "", description="comma-separated networks of proxies that report their callers"
    )
    serving_path_prefix: str = Field(
        "", description="path of the service behind a proxy, such as /models; empty: the root"
    )
    serving_leave_seconds: float = Field(
        3.0, ge=0, le=60, description="how long it keeps answering after SIGTERM, if it is probed"
    )
    serving_max_rows: int = Field(
        100_000, gt=0, description="maximum number of rows in one request"
    )
    serving_max_body_megabytes: int = Field(16, gt=0, description="maximum size of one request")
    serving_connections: int = Field(
        1000,
        gt=0,
        description="maximum connections of one worker at a time; more get a 503",
    )
    serving_queue_requests: int = Field(
        64, gt=0, description="maximum large requests in one worker; more get a 503"
    )
    serving_request_seconds: float = Field(
        30.0, gt=0, description="time limit to receive a request, and to read an answer"
    )
    serving_idle_seconds: float = Field(
        75.0, gt=0, description="how long a connection without requests stays open"
    )
    serving_access_log: Literal["all", "errors", "off"] = Field(
        "all", description="which requests get a line on standard output"
    )
    log_flush_seconds: float = Field(
        5.0, gt=0, description="maximum age of a prediction before it is uploaded"
    )
    log_flush_rows: int = Field(
        50_000, gt=0, description="rows of a log segment before it is uploaded"
    )
    log_durability: Literal["os", "fsync"] = Field(
        "os", description="where a prediction is once it is answered: in the kernel, or on disk"
    )
    log_backlog_megabytes: int = Field(
        512, gt=0, description="maximum size of the predictions that wait on disk for the lake"
    )

    ecs_cluster: str | None = Field(None, description="ECS cluster of flow runs, by name or ARN")
    ecs_capacity_provider: str | None = Field(
        None,
        description="capacity provider for flow runs: the cluster's own, FARGATE or FARGATE_SPOT",
    )
    ecs_image: str | None = Field(None, description="image of a flow run, with its tag or digest")
    ecs_task_role_arn: str | None = Field(None, description="role of the flow's code")
    ecs_execution_role_arn: str | None = Field(
        None, description="role that pulls the image, writes the log and reads the secrets"
    )
    ecs_log_group: str | None = Field(
        None, description="CloudWatch log group of flow runs; it must exist"
    )
    ecs_subnets: str | None = Field(
        None, description="comma-separated private subnets of flow runs"
    )
    ecs_security_groups: str | None = Field(
        None, description="comma-separated security groups of flow runs"
    )
    ecs_home: str = Field("/opt/laurel", description="folder of the code in the image")
    ecs_secrets: str = Field(
        "",
        description="comma-separated NAME=ARN: secrets that ECS puts into a flow run's environment",
    )

    heartbeat_seconds: int = Field(
        30,
        ge=30,
        le=3600,
        description="how often a flow run sends a heartbeat; Prefect's minimum is 30",
    )
    concurrent_runs: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="maximum training runs at a time; unset: Prefect's own limit",
    )
    memory_gib: float | None = Field(
        None, gt=0, description="memory that a training may take; unset: warn at the machine's"
    )
    warm_runs: bool = Field(
        True, description="whether a worker keeps a process from which runs begin faster"
    )
    keep_results_days: int = Field(
        7, ge=0, description="results of steps, for a run that is started again; 0: forever"
    )
    keep_report_pages_days: int = Field(
        90,
        ge=0,
        description="pages of drift reports, in the lake and in MLflow; 0: forever",
    )
    keep_runs_days: int = Field(
        90, ge=0, description="ended flow runs with their logs in Prefect; 0: forever"
    )
    keep_predictions_days: int = Field(
        0, ge=0, description="prediction log and feedback, unless the use case says it; 0: forever"
    )
    keep_challengers_days: int = Field(
        0, ge=0, description="packages of versions that never served; 0: forever"
    )
    keep_studies_days: int = Field(
        30, ge=0, description="searches that no run has continued for so long; 0: forever"
    )
    promote_timeout_seconds: float = Field(
        60.0, gt=0, description="how long promote waits for the service to swap"
    )

    @field_validator("state", mode="before")
    @classmethod
    def _is_named(cls, value: object) -> object:
        return value or own_state()  # an empty LAUREL_STATE would be the current folder

    @field_validator("prefect_auth")
    @classmethod
    def _both_halves(cls, value: SecretStr | None) -> SecretStr | None:
        text = "-:-" if value is None else value.get_secret_value()
        if not all(text.partition(":")[::2]) or not text.isascii() or not text.isprintable():
            raise ValueError(
                "must be user:password in ASCII, neither half empty: Prefect compares only ASCII"
            )
        return value

    @field_validator("serving_path_prefix")
    @classmethod
    def _is_a_path_of_its_own(cls, value: str) -> str:
        path = value.rstrip("/")
        if path and (
            not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", path)
            or path.split("/")[1] in ("v1", "v2", "invocations")
        ):
            raise ValueError(
                "must be a path such as /models, and must not begin with one of the service's "
                "own paths: /v1, /v2, /invocations"
            )
        return path

    @field_validator(
        "prefect_url",
        "mlflow_url",
        "serving_url",
        "prefect_page_url",
        "mlflow_page_url",
        "serving_page_url",
        "s3_endpoint",
    )
    @classmethod
    def _tells_no_password(cls, value: str | None) -> str | None:
        if value and "@" in urlsplit(value).netloc:
            raise ValueError(
                "contains a password, but logs and messages show addresses; passwords have "
                "their own settings"
            )
        return value

    @model_validator(mode="after")
    def _mlflow_user_is_whole(self) -> Self:
        if bool(self.mlflow_username) != bool(
            self.mlflow_password and self.mlflow_password.get_secret_value()
        ):
            raise ValueError(
                "only one of LAUREL_MLFLOW_USERNAME and LAUREL_MLFLOW_PASSWORD is set; set "
                "both or neither"
            )
        if ":" in (self.mlflow_username or ""):
            raise ValueError(
                "LAUREL_MLFLOW_USERNAME contains a colon, but a colon ends the name when it is "
                "sent with a password"
            )
        return self

    @classmethod
    def read(cls, state: Path | None = None) -> Self:
        """Read the settings of this process, for the state folder that the environment names, or
        for ``state``.

        Raises ``pydantic.ValidationError`` naming each wrong variable.
        """
        named: dict[str, Any] = {} if state is None else {"state": state}
        return cls(_env_file=(state or own_state()) / "env", **named)

    @classmethod
    def of_stack(
        cls,
        state: Path | None = None,
        fixed: Collection[str] = PLACES,
        private: Mapping[str, str] = _NONE,
    ) -> Self:
        """Read the settings of the running stack, even in a shell without them; if no stack runs,
        those of ``read``.

        The stack's values of ``fixed`` always apply. The environment may override another setting
        for one command; ``differences`` names it. ``private`` are the running stack's secrets, by
        variable. Raises ``pydantic.ValidationError``."""
        state = state or state_in_use()
        started = {**private, **started_with(state)}
        counts = {key for key in started if key not in os.environ or _argument(key) in fixed}
        values: dict[str, Any] = {name: started[key] for key in counts if (name := _argument(key))}
        return cls(_env_file=state / "env", **{**values, "state": state})

    @classmethod
    def differences(cls, state: Path | None = None) -> list[str]:
        """Name each variable of this process that differs from the running stack's, with both
        values.

        Secrets are left out. Empty if no stack runs.
        """
        state = state or state_in_use()
        started = started_with(state)
        here = cls.read(state)
        lines = []
        for name, value in here.plain_values().items() if started else ():
            # In Laurel's own processes the checkout comes before the folders of the stack.
            same = (
                {value, value.removeprefix(f"{here.home}{os.pathsep}")}
                if name == "PYTHONPATH"
                else {value}
            )
            if name in os.environ and name != "LAUREL_STATE" and started.get(name, "") not in same:
                here_value, stack_value = value or "not set", started.get(name) or "not set"
                counts = stack_value if _argument(name) in PLACES else here_value
                lines.append(
                    f"{name}: {here_value} here, {stack_value} in the running stack of {state}. "
                    f"{counts} is used."
                )
        return lines

    def plain_values(self) -> dict[str, str]:
        """Return each variable that has a value and is not private."""
        values = {_variable(name): getattr(self, name) for name in type(self).model_fields}
        private = private_variables()
        return {
            name: str(value)
            for name, value in values.items()
            if value is not None and name not in private
        }

    @property
    def is_exposed(self) -> bool:
        """Whether other machines reach servers on ``host``. Of a name, all addresses are
        checked.
        """
        return not is_loopback(self.host)

    @property
    def own_host(self) -> str:
        """The address at which this machine reaches servers on ``host``."""
        return "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104

    @property
    def inner_host(self) -> str:
        """The address of the local S3 server. Its inner ports require no key, so it listens on this
        machine only.
        """
        return "127.0.0.1" if self.is_exposed else self.host

    @property
    def flow_run_pythonpath(self) -> str:
        """The folders that flow runs import from: the checkout, then this process's
        ``PYTHONPATH``.
        """
        others = [
            folder
            for folder in self.pythonpath.split(os.pathsep)
            if folder and Path(folder) != self.home
        ]
        return os.pathsep.join([str(self.home), *others])

    @property
    def prefect_api_url(self) -> str:
        return self.prefect_url or f"http://{self.own_host}:{self.prefect_port}/api"

    @property
    def mlflow_tracking_uri(self) -> str:
        return self.mlflow_url or f"http://{self.own_host}:{self.mlflow_port}"

    @property
    def serving_base_url(self) -> str:
        return self.serving_url or f"http://{self.own_host}:{self.serving_port}"

    @property
    def prefect_pages(self) -> str:
        """The address in links to flow runs and artifacts."""
        return (
            self.prefect_page_url or self.prefect_api_url.rstrip("/").removesuffix("/api")
        ).rstrip("/")

    @property
    def mlflow_pages(self) -> str:
        """The address in links to runs, models and reports."""
        return (self.mlflow_page_url or self.mlflow_tracking_uri).rstrip("/")

    @property
    def serving_pages(self) -> str:
        """The address in links to the service's page."""
        return (self.serving_page_url or self.serving_base_url).rstrip("/")

    @property
    def serving_keys_path(self) -> Path:
        return self.serving_keys_file or self.state / "serving" / "keys.json"

    @property
    def studies_url(self) -> str | None:
        """Where searches keep their trials; ``None`` on a machine without a stack."""
        if self.search_database and self.search_database.get_secret_value():
            return self.search_database.get_secret_value()
        return f"sqlite:///{self.state.absolute()}/studies.db" if self.state.is_dir() else None

    @property
    def s3_endpoint_url(self) -> str | None:
        """The S3 endpoint; ``None`` for AWS itself."""
        return (
            None
            if self.s3_endpoint == "aws"
            else self.s3_endpoint or f"http://{self.inner_host}:{self.s3_port}"
        )


def run_of_process() -> str | None:
    """Return the flow run that a worker started this process for."""
    return os.environ.get("PREFECT__FLOW_RUN_ID")


def own_state() -> Path:
    """Return the state folder that ``LAUREL_STATE`` names, or the checkout's."""
    return Path(os.environ.get("LAUREL_STATE") or REPOSITORY / ".laurel")


def state_in_use() -> Path:
    """Return ``own_state()``; without ``LAUREL_STATE``, the demo's folder if the demo's stack is
    the only one that runs.
    """
    own = own_state()
    demo = demo_state(own)
    own_counts = (own / STARTED).exists() and (_lives(own) or not _lives(demo))
    demo_alone = not os.environ.get("LAUREL_STATE") and (demo / STARTED).exists() and not own_counts
    return demo if demo_alone else own


def _lives(state: Path) -> bool:
    """Whether the stack's process exists: its files remain after a power cut."""
    with suppress(OSError, ValueError):
        os.kill(int((state / "supervisord.pid").read_text()), 0)
        return True
    return False


def demo_state(state: Path) -> Path:
    """Return the state folder of the demo beside the stack of ``state``."""
    return state.with_name(f"{state.name}-demo")


def private_variables() -> set[str]:
    """Return the variables of secrets, and of MLflow's user: without its password it is
    refused.
    """
    fields = Settings.model_fields.items()
    return {
        _variable(name)
        for name, field in fields
        if "SecretStr" in str(field.annotation) or name == "mlflow_username"
    }


def started_with(state: Path) -> dict[str, str]:
    """Return the starting settings of the stack of ``state``, by variable; empty if none runs."""
    try:
        started = json.loads((state / STARTED).read_text())
    except (OSError, ValueError):
        return {}
    return (
        {str(name): str(value) for name, value in started.items()}
        if isinstance(started, dict)
        else {}
    )


def _variable(name: str) -> str:
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"LAUREL_{name.upper()}"


def _argument(variable: str) -> str | None:
    """Return the argument of ``Settings`` for ``variable``; ``None`` if it does not know the
    variable (any more).
    """
    fields = {_variable(name): name for name in Settings.model_fields}
    if variable not in fields:
        return None
    return (
        variable if Settings.model_fields[fields[variable]].validation_alias else fields[variable]
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches servers on ``host``, an address or a name. Of a name, all
    addresses are checked.
    """
    with suppress(ValueError):  # a name, or an address in short form
        return ipaddress.ip_address(host).is_loopback
    if not host:
        return False  # it means every address
    try:
        addresses = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(address[0]).is_loopback for *_, address in addresses)
