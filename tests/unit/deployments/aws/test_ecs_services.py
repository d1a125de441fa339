"""Services restored to what they ran, on moto's ECS."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from deployments.aws.ecs_services import RestoreFailed, main, record, restore, wait_until_stable

CLUSTER = "laurel"


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """ECS with a cluster, found by the default chain as the command does; its services run one task
    each.
    """
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    host, port = server.get_host_and_port()
    credentials = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    for name, value in {
        **credentials,
        "AWS_DEFAULT_REGION": "us-east-1",
        "MOTO_ECS_SERVICE_RUNNING": "1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("ecs")
    client.create_cluster(clusterName=CLUSTER)
    yield client
    # moto's state belongs to the process, not to the server.
    httpx.post(f"http://{host}:{port}/moto-api/reset").raise_for_status()
    server.stop()


def define(ecs: Any, family: str, tag: str) -> str:
    """A new task definition."""
    answer = ecs.register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["EC2"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": family,
                "image": f"registry.example/{family}:{tag}",
                "essential": True,
                "readonlyRootFilesystem": True,
                "environment": [{"name": "LAUREL_LAKE", "value": "s3://lake"}],
            }
        ],
    )
    return answer["taskDefinition"]["taskDefinitionArn"]


def serve(ecs: Any, name: str, tag: str = "old") -> str:
    definition = define(ecs, name, tag)
    ecs.create_service(
        cluster=CLUSTER,
        serviceName=name,
        taskDefinition=definition,
        desiredCount=1,
        launchType="EC2",
    )
    return definition


def deploy(ecs: Any, name: str, tag: str = "new") -> str:
    definition = define(ecs, name, tag)
    ecs.update_service(cluster=CLUSTER, service=name, taskDefinition=definition)
    return definition


def running(ecs: Any, name: str) -> dict[str, Any]:
    (service,) = ecs.describe_services(cluster=CLUSTER, services=[name])["services"]
    return ecs.describe_task_definition(taskDefinition=service["taskDefinition"], include=["TAGS"])[
        "taskDefinition"
    ]


def test_record_names_each_services_definition_and_images(ecs: Any) -> None:
    definition = serve(ecs, "serving")
    expected = {
        "task_definition": definition,
        "images": {"serving": "registry.example/serving:old"},
    }
    serve(ecs, "not-ours")
    assert record(ecs, CLUSTER) == {"serving": expected}


def test_tags_that_run_are_told_as_variables_of_terraform(
    ecs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tags", CLUSTER]) == 0
    assert (
        capsys.readouterr().out
        == "TF_VAR_image_tag=\nTF_VAR_servers_image_tag=\nTF_VAR_serving_image_tag=\n"
    )
    serve(ecs, "prefect", "servers-1")
    serve(ecs, "serving", "serving-1")
    image = {
        "Name": "/laurel/config/LAUREL_ECS_IMAGE",
        "Type": "String",
        "Value": "registry.example:5000/laurel-flows:flows-2",
    }
    boto3.client("ssm").put_parameter(**image)
    assert main(["tags", CLUSTER, "--prefix", "BEFORE_"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "BEFORE_image_tag=flows-2",
        "BEFORE_servers_image_tag=servers-1",
        "BEFORE_serving_image_tag=serving-1",
    ]


def test_restored_are_the_services_that_changed_and_no_others(ecs: Any) -> None:
    old, same = serve(ecs, "serving"), serve(ecs, "mlflow")
    before = record(ecs, CLUSTER)
    deploy(ecs, "serving")
    lines: list[str] = []
    assert restore(ecs, CLUSTER, before, lines.append) == ["serving"]
    assert (
        running(ecs, "serving")["taskDefinitionArn"],
        running(ecs, "mlflow")["taskDefinitionArn"],
    ) == (old, same)
    assert lines == ["serving: restored to serving:1, which runs registry.example/serving:old"]
    assert restore(ecs, CLUSTER, before, lines.append) == []


def test_deregistered_definition_comes_back_with_the_same_content(ecs: Any) -> None:
    old = serve(ecs, "serving")
    before, content = record(ecs, CLUSTER), running(ecs, "serving")
    deploy(ecs, "serving")
    ecs.deregister_task_definition(taskDefinition=old)
    restore(ecs, CLUSTER, before, lambda line: None)
    definition = running(ecs, "serving")
    assert definition["taskDefinitionArn"] != old and definition["status"] == "ACTIVE"
    for field in (
        "containerDefinitions",
        "cpu",
        "memory",
        "networkMode",
        "requiresCompatibilities",
        "family",
    ):
        assert definition[field] == content[field]


def test_service_that_the_deployment_made_is_left_alone(ecs: Any) -> None:
    serve(ecs, "serving")
    before = record(ecs, CLUSTER)
    arn = serve(ecs, "added")
    assert restore(ecs, CLUSTER, before, lambda line: None) == []
    assert running(ecs, "added")["taskDefinitionArn"] == arn


def test_service_that_is_gone_is_said_after_the_others_are_back(ecs: Any) -> None:
    old = serve(ecs, "serving")
    serve(ecs, "mlflow")
    before = record(ecs, CLUSTER)
    deploy(ecs, "serving")
    ecs.delete_service(cluster=CLUSTER, service="mlflow", force=True)
    with pytest.raises(RestoreFailed, match="gone from the cluster 'laurel'.*: mlflow"):
        restore(ecs, CLUSTER, before, lambda line: None)
    assert running(ecs, "serving")["taskDefinitionArn"] == old


def test_service_that_does_not_get_its_tasks_is_not_stable(
    ecs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(ecs, "serving")
    wait_until_stable(ecs, CLUSTER, ["serving"], timeout_seconds=0)
    monkeypatch.setenv("MOTO_ECS_SERVICE_RUNNING", "0")
    serve(ecs, "stuck")
    wait_until_stable(ecs, CLUSTER, ["serving"], timeout_seconds=0)
    with pytest.raises(RestoreFailed, match=r"stuck \(0 of 1 tasks\)"):
        wait_until_stable(ecs, CLUSTER, ["serving", "stuck"], timeout_seconds=0)


def test_wait_is_over_only_when_images_of_the_tag_run(ecs: Any) -> None:
    """A service that ECS itself rolled back is stable, but not deployed."""
    serve(ecs, "serving", "v2")
    serve(ecs, "worker", "v1")
    wait_until_stable(ecs, CLUSTER, ["serving"], timeout_seconds=0, tag="v2")
    with pytest.raises(RestoreFailed, match="Without images of v2: worker; ECS rolled them back"):
        wait_until_stable(ecs, CLUSTER, ["serving", "worker"], timeout_seconds=0, tag="v2")
    with pytest.raises(RestoreFailed, match="Without images of v2: mlflow; they do not exist"):
        wait_until_stable(ecs, CLUSTER, ["serving", "mlflow"], timeout_seconds=0, tag="v2")


def test_command_records_and_restores_by_a_file(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, file = serve(ecs, "serving"), tmp_path / "before.json"
    assert main(["record", CLUSTER, str(file)]) == 0
    assert set(json.loads(file.read_text())) == {"serving"}
    deploy(ecs, "serving")
    assert main(["restore", CLUSTER, str(file)]) == 0
    assert running(ecs, "serving")["taskDefinitionArn"] == old
    assert capsys.readouterr().out.endswith("1 services restored\n")


def test_command_says_a_cluster_that_is_not_there(
    ecs: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "nowhere", str(tmp_path / "before.json")]) == 1
    assert "ClusterNotFoundException" in capsys.readouterr().err
