import ssl
from pathlib import Path

from pydantic import SecretStr

from blocks.settings import Settings
from deployments.servers import mlflow_server, prefect_server
from deployments.servers.environment import AUTHORITIES, environment
from deployments.supervision.programs import programs

KEYS = {"s3_access_key": SecretStr("access"), "s3_secret_key": SecretStr("secret")}


def names(settings: Settings) -> list[str]:
    return [program.name for program in programs(settings)]


def test_whole_stack_is_five_programs() -> None:
    assert names(Settings(**KEYS)) == ["prefect", "seaweedfs", "mlflow", "service", "worker"]


def test_folder_as_lake_needs_no_seaweedfs() -> None:
    assert names(Settings(lake="file:///lake")) == ["prefect", "mlflow", "service", "worker"]


def test_servers_that_run_elsewhere_are_not_started_and_nothing_waits_for_them() -> None:
    settings = Settings(
        lake="file:///lake",
        prefect_url="https://prefect.example/api",
        mlflow_url="https://mlflow.example",
    )
    service, worker = programs(settings)
    assert (service.name, service.after, worker.name, worker.after) == (
        "service",
        None,
        "worker",
        None,
    )
    assert worker.url == "https://prefect.example/work-pools/work-pool/ec2"


def test_s3_keys_reach_only_the_programs_that_need_them() -> None:
    assert not [
        program.name
        for program in programs(Settings(**KEYS))
        if "secret" in program.environment.values()
    ]
    assert mlflow_server.variables(Settings(**KEYS))["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "secret" not in prefect_server.variables(Settings(**KEYS)).values()
    assert not [
        program.name
        for program in programs(Settings(**KEYS))
        if "secret" in " ".join(program.command)
    ]


def test_prefects_clients_read_one_certificate_where_no_certificate_is_needed() -> None:
    plain = environment(Settings(prefect_url="http://prefect:4200/api"))
    assert ssl.create_default_context(cafile=plain[AUTHORITIES]).cert_store_stats()["x509"] == 1
    assert AUTHORITIES not in environment(Settings(prefect_url="https://prefect.example.com/api"))


def test_environment_points_at_the_stack_and_at_no_folder_of_the_user() -> None:
    variables = environment(
        Settings(
            state=Path("/state"), prefect_port=1, mlflow_port=2, slack_token=SecretStr("xoxb-1")
        )
    )
    assert variables["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert variables["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:2"
    assert variables["PREFECT_HOME"] == "/state/prefect"
    assert variables["LAUREL_STATE"] == "/state"
    assert variables["LAUREL_SLACK_TOKEN"] == "xoxb-1"
    assert "LAUREL_S3_ENDPOINT" not in variables
