"""Each role allows what its code asks of AWS: a fake IAM applies the policies from the plans."""

import ast
import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from moto.iam.aws_managed_policies import aws_managed_policies_data

from blocks.lake import Lake, LakeAway
from blocks.results import Results
from blocks.settings import REPOSITORY, Settings
from serving import errors
from serving.champions.reverts import Reverts
from serving.history.checks import History
from serving.history.decisions import Wanted
from serving.outside.lake import open_lake
from serving.records.ledger import Decision
from serving.records.rollout import revert_key
from tasks.data.dataset import versions
from tasks.drift import quarantine
from tasks.ledger import entries
from tasks.log.compaction import compact
from tasks.log.files import find_files
from tasks.retention.announced import read_announced, write_announced
from tasks.retention.lake_objects import old_predictions
from tests.fakes.heads import HeadRegistry
from tests.fakes.iam import GuardedS3, Policies, guarded_s3
from tests.fixtures.s3 import empty_bucket, lake_settings, s3_client, s3_server
from tests.infra.aws import Aws
from tests.infra.conftest import CLUSTER
from tests.infra.known import ACCOUNT
from tests.infra.terraform import Plan, Terraform

BUCKET = f"laurel-lake-{ACCOUNT}"
Guard = Callable[..., AbstractContextManager[GuardedS3]]


def role(plan: Plan, address: str) -> Policies:
    """All policies of the role whose ``aws_iam_role_policy`` addresses begin so."""
    policies = [
        policy["policy"]
        for name, policy in plan.planned("aws_iam_role_policy").items()
        if name.startswith(f"{address}.aws_iam_role_policy.")
    ]
    assert policies, f"the plan has no policy of {address}"
    return Policies.of(*policies)


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 that allows everything."""
    with s3_server() as url:
        yield s3_client(url)


@pytest.fixture
def guard(s3: Any) -> Guard:
    """``with guard(policies, lake=bucket) as guarded``: an empty bucket behind these policies."""

    @contextmanager
    def guarded(policies: Policies, bucket: str = BUCKET) -> Iterator[GuardedS3]:
        empty_bucket(s3.meta.endpoint_url, bucket)
        with guarded_s3(s3.meta.endpoint_url, policies) as guarded_store:
            yield guarded_store

    return guarded


def settings(guarded: GuardedS3, bucket: str = BUCKET) -> Settings:
    return lake_settings(guarded.url, f"s3://{bucket}")


def test_the_service_writes_its_log_and_reads_its_history_from_the_first_minute_on(
    cluster_plan: Plan, guard: Guard, s3: Any
) -> None:
    with guard(role(cluster_plan, "module.serving[0]")) as guarded:
        lake = open_lake(settings(guarded))
        for folder in ("predictions", "feedback"):
            lake.put(f"{folder}/flights/date=2013-06-01/one.parquet", b"rows")
        # Before the first decision, drift check or report.
        assert History(lake).decisions("flights", Wanted(), None, 10).items == []
        assert History(lake).reigns("flights") == []
        assert History(lake).drift("flights", 10) == []
        assert History(lake).report("flights", "2013-06") is None
        s3.put_object(Bucket=BUCKET, Key="reports/flights/2013-06/verdict.json", Body=b"{}")
        s3.put_object(Bucket=BUCKET, Key="decisions/flights/00000001.json", Body=b"{}")
        assert [check.outcome for check in History(lake).drift("flights", 10)] == ["unreadable"]
        assert len(History(lake).decisions("flights", Wanted(), None, 10).items) == 1
        # A replica tells the others of a revert.
        assert Reverts("flights", lake).find("2-0a1b2c3d") is None
        Reverts("flights", lake).keep("2-0a1b2c3d", "2", "it failed 2 of 2 requests")
        assert Reverts("flights", lake).find("2-0a1b2c3d") == "it failed 2 of 2 requests"
        assert guarded.refused == []
        for folder in ("datasets", "mlflow", "predictions"):
            with pytest.raises(errors.LakeAway, match="ACCESS_DENIED"):
                lake.list(f"{folder}/flights")
        with pytest.raises(errors.LakeAway, match="ACCESS_DENIED"):
            lake.put("decisions/flights/00000002.json", b"mine")


def flows_use(lake: Lake) -> None:
    """Write and read each kind of object that flows use, with the code that does so."""
    assert versions(lake, "flights") == []
    manifest = {"use_case": "flights", "version": "2013-06-0a1b2c3d", "schema": {}, "periods": []}
    path = "datasets/flights/2013-06-0a1b2c3d/manifest.json"
    assert not lake.exists(path)
    lake.write(path, json.dumps(manifest).encode())
    assert versions(lake, "flights") == ["2013-06-0a1b2c3d"]
    with lake.open(path) as stream:
        assert json.loads(stream.read()) == manifest
    mlflow: Any = HeadRegistry()
    for number in (1, 2):
        text = {
            "use_case": "flights",
            "time": f"2026-11-2{number}T10:00:00.000+00:00",
            "reasons": [f"{number}"],
            "by": "a test",
            "run": None,
        }
        entries.add_entry(lake, mlflow, Decision(**text, kind="contest", verdict="keep"))
    assert len(entries.read(lake, "flights")) == 2
    assert entries.find_tampering(lake, "flights", None) == []
    lake.write("reports/flights/2013-06/verdict.json", b"{}")
    assert not quarantine.is_quarantined(lake, "flights", "2013-06")
    lake.create("slack/run/0.head", b"1")
    lake.write("slack/run.json", b"{}")
    results = Results(lake=lake)
    results.write_path("one", b"returned")
    assert results.read_path("one") == b"returned"
    assert lake.newest("predictions/flights") is None
    assert lake.list("feedback/flights") == []
    with pytest.raises(FileNotFoundError):
        lake.read("slack/another.json")
    buffer = pl.DataFrame({"a": list(range(1_000_000))}).write_csv().encode()
    lake.write(
        "datasets/flights/periods/large.parquet", buffer[: 6 << 20]
    )  # in parts, as S3 requires for large objects


def test_flow_runs_keep_and_read_all_that_they_do(
    cluster_plan: Plan, guard: Guard, s3: Any
) -> None:
    with guard(role(cluster_plan, "module.flow_runs")) as guarded:
        lake = Lake.of(settings(guarded))
        flows_use(lake)
        s3.put_object(Bucket=BUCKET, Key="incoming/flights/2013-06.csv", Body=b"a\n1\n")
        assert lake.read("incoming/flights/2013-06.csv") == b"a\n1\n"
        with pytest.raises(FileNotFoundError):
            lake.read(revert_key("flights", "2-0a1b2c3d"))
        s3.put_object(Bucket=BUCKET, Key=revert_key("flights", "2-0a1b2c3d"), Body=b"{}")
        assert lake.read(revert_key("flights", "2-0a1b2c3d")) == b"{}"
        tidies(lake, s3)
        assert guarded.refused == []
        # The ledger only grows, the service's log is the service's, and the sender's file the
        # sender's.
        for path in (
            "decisions/flights/00000001.json",
            "predictions/flights/x.parquet",
            "incoming/flights/2013-06.csv",
            "mlflow/1/x",
        ):
            with pytest.raises(LakeAway, match="ACCESS_DENIED"):
                lake.write(path, b"mine")


def tidies(lake: Lake, s3: Any) -> None:
    """Compact a day, delete what it replaced, and then the day itself."""
    data = io.BytesIO()
    pl.DataFrame({"id": ["a"]}).write_parquet(data)
    for name in ("one", "two"):
        key = f"predictions/flights/date=2013-06-01/{name}.parquet"
        s3.put_object(Bucket=BUCKET, Key=key, Body=data.getvalue())
    now = datetime.now(UTC)
    for hours in (2, 10):
        compact(lake, "predictions", "flights", now + timedelta(hours=hours))
    days = (date(2013, 6, 1), date(2013, 6, 1))
    assert len(find_files(lake, "predictions", "flights", *days)) == 1
    write_announced(lake, "flights", read_announced(lake, "flights"))
    old_predictions(lake, "flights", 30, now + timedelta(days=40)).remove()
    assert find_files(lake, "predictions", "flights", *days) == []
    assert lake.list("predictions/flights") == [] == lake.list("compacted")


def test_on_the_box_flows_and_service_share_the_role(single_plan: Plan, guard: Guard) -> None:
    bucket = f"laurel-box-lake-{ACCOUNT}"
    box = Policies.of(
        single_plan.planned("aws_iam_role_policy")["aws_iam_role_policy.box"]["policy"]
    )
    with guard(box, bucket) as guarded:
        flows_use(Lake.of(settings(guarded, bucket)))
        lake = open_lake(settings(guarded, bucket))
        lake.put("predictions/flights/date=2013-06-01/one.parquet", b"rows")
        assert History(lake).entries("toy", 10) == []
        assert guarded.refused == []


def test_mlflow_keeps_gives_lists_and_deletes_artifacts(
    cluster_plan: Plan, guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    with guard(role(cluster_plan, "module.mlflow[0]")) as guarded:
        for name, value in {
            "MLFLOW_S3_ENDPOINT_URL": guarded.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE", "path")
        artifacts = S3ArtifactRepository(f"s3://{BUCKET}/mlflow/1/0a1b/artifacts")
        (tmp_path / "model.onnx").write_bytes(b"\0" * (9 << 20))  # in parts
        assert artifacts.list_artifacts() == []
        artifacts.log_artifact(str(tmp_path / "model.onnx"), "model")
        assert [artifact.path for artifact in artifacts.list_artifacts("model")] == [
            "model/model.onnx"
        ]
        assert Path(artifacts.download_artifacts("model", str(tmp_path))).is_dir()
        artifacts.delete_artifacts("model")
        assert artifacts.list_artifacts() == []
        assert guarded.refused == []


def test_an_endpoint_of_sagemaker_writes_its_log(terraform: Terraform, guard: Guard) -> None:
    image = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/laurel-serving:1.0"
    archive = {"champion": {"model_data_url": "s3://models/7/model.tar.gz"}}
    plan = terraform.stack("modules/endpoint", image=image, variants=archive, lake=BUCKET).plan()
    policies = Policies.of(
        plan.planned("aws_iam_role_policy")["aws_iam_role_policy.endpoint"]["policy"]
    )
    with guard(policies) as guarded:
        open_lake(settings(guarded)).put("predictions/flights/date=2013-06-01/one.parquet", b"rows")
        assert guarded.refused == []
    assert policies.allow("s3:GetObject", "arn:aws:s3:::models/7/model.tar.gz")


def test_ecs_may_fetch_all_that_a_task_is_started_with(cluster_plan: Plan) -> None:
    """Image, log, secrets and parameters of each container, by the execution role of its task."""
    definitions = {
        address.partition(".aws_ecs")[0]: definition
        for address, definition in cluster_plan.planned("aws_ecs_task_definition").items()
    }
    for module, definition in definitions.items():
        role_name = "command_execution_role" if module == "module.flow_runs" else "execution_role"
        policies = role(cluster_plan, f"{module}.module.{role_name}")
        for container in json.loads(definition["container_definitions"]):
            for secret in container.get("secrets", []):
                arn = secret["valueFrom"]
                action = "ssm:GetParameters" if ":ssm:" in arn else "secretsmanager:GetSecretValue"
                assert policies.allow(action, ":".join(arn.split(":")[:7])), (
                    container["name"],
                    secret,
                )
            group = container["logConfiguration"]["options"]["awslogs-group"]
            for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
                assert policies.allow(
                    action, f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{group}:log-stream:x"
                )
            repository = container["image"].partition("/")[2].partition(":")[0]
            assert policies.allow(
                "ecr:BatchGetImage", f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository/{repository}"
            )
        assert policies.allow("ecr:GetAuthorizationToken", "*") and policies.allow(
            "kms:Decrypt", key(cluster_plan)
        )


def key(plan: Plan) -> str:
    return str(next(iter(plan.planned("aws_sqs_queue").values()))["kms_master_key_id"])


def called_methods(*files: Path) -> set[str]:
    """Methods of AWS's clients that the files call, in IAM's spelling: ``ecs.run_task`` ->
    RunTask.
    """
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            function = (
                node.func
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                else None
            )
            owner = function.value.id if function and isinstance(function.value, ast.Name) else ""
            if function and re.fullmatch(r"(\w*_)?(ecs|logs|ssm|sqs|client)(_client)?", owner):
                names.add("".join(part.title() for part in function.attr.split("_")))
    return names


HERE = f"us-east-1:{ACCOUNT}"
IN_CLUSTER = {"ecs:cluster": f"arn:aws:ecs:{HERE}:cluster/laurel"}


def test_the_worker_may_do_all_that_prefect_aws_does(cluster_plan: Plan) -> None:
    import prefect_aws

    folder = Path(prefect_aws.__file__).parent
    policies = role(cluster_plan, "module.worker[0]")
    definition, task = (
        f"arn:aws:ecs:{HERE}:task-definition/prefect_ec2_retrain:3",
        f"arn:aws:ecs:{HERE}:task/laurel/0a1b",
    )
    queue, stream = (
        f"arn:aws:sqs:{HERE}:laurel-ecs-tasks-events",
        f"arn:aws:logs:{HERE}:log-group:/laurel/flow-runs:log-stream:x",
    )
    requests_by_method: dict[str, tuple[str, str, dict[str, str]]] = {
        "RunTask": ("ecs", definition, IN_CLUSTER),
        "RegisterTaskDefinition": ("ecs", definition, {}),
        "DescribeTaskDefinition": ("ecs", "*", {}),
        "DeregisterTaskDefinition": ("ecs", "*", {}),
        "DescribeTasks": ("ecs", task, {}),
        "StopTask": ("ecs", task, {}),
        "GetQueueUrl": ("sqs", queue, {}),
        "ReceiveMessage": ("sqs", queue, {}),
        "DeleteMessage": ("sqs", queue, {}),
        "ChangeMessageVisibility": ("sqs", queue, {}),
        "GetLogEvents": ("logs", stream, {}),
    }
    # Of a network that is to be found by its VPC; ours is named.
    unused = {"DescribeSubnets", "DescribeVpcs"}
    calls = called_methods(folder / "workers/ecs_worker.py", folder / "observers/ecs.py") - {
        "ReadFlowRun",
        "Emit",
        "Aexit",
    }
    assert {"RunTask", "ReceiveMessage", "GetLogEvents"} <= calls
    assert calls - unused - set(requests_by_method) == set(), (
        "prefect-aws asks AWS for something new"
    )
    for name, (service, resource, context) in requests_by_method.items():
        assert policies.allow(f"{service}:{name}", resource, context), name
    for name, resource in {"RunTask": task, "RegisterTaskDefinition": definition}.items():
        assert policies.allow("ecs:TagResource", resource, {"ecs:CreateAction": name})
    for passed in ("laurel-flow-run", "laurel-flow-run-start"):
        assert policies.allow(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/{passed}",
            {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        )
    assert not policies.allow(
        "ecs:RunTask", f"arn:aws:ecs:{HERE}:task-definition/laurel-command:1", IN_CLUSTER
    )


def test_a_deployment_may_do_all_that_its_programs_do(cluster_plan: Plan) -> None:
    policies = {
        name: Policies.of(
            *[
                policy["policy"]
                for address, policy in cluster_plan.planned("aws_iam_role_policy").items()
                if owner in address
            ]
        )
        for name, owner in {
            "deploy": "module.github[0]",
            "plan": "module.github[0].aws_iam_role_policy.plan",
        }.items()
    }
    service, definition = (
        f"arn:aws:ecs:{HERE}:service/laurel/prefect",
        f"arn:aws:ecs:{HERE}:task-definition/laurel-prefect:3",
    )
    requests_by_method: dict[str, tuple[str, str, dict[str, str]]] = {
        "DescribeServices": ("ecs", service, {}),
        "UpdateService": ("ecs", service, {}),
        "DescribeTaskDefinition": ("ecs", "*", {}),
        "RegisterTaskDefinition": ("ecs", definition, {}),
        "RunTask": ("ecs", f"arn:aws:ecs:{HERE}:task-definition/laurel-command:1", IN_CLUSTER),
        "DescribeTasks": ("ecs", f"arn:aws:ecs:{HERE}:task/laurel/0a1b", {}),
        "StopTask": ("ecs", f"arn:aws:ecs:{HERE}:task/laurel/0a1b", {}),
        "GetLogEvents": ("logs", f"arn:aws:logs:{HERE}:log-group:/laurel/command:log-stream:x", {}),
    }
    requests_by_method["GetParameters"] = (
        "ssm",
        f"arn:aws:ssm:{HERE}:parameter/laurel/config/LAUREL_ECS_IMAGE",
        {},
    )
    calls = called_methods(
        REPOSITORY / "deployments/aws/ecs_services.py",
        REPOSITORY / "deployments/aws/ecs_command.py",
    )
    assert {"RunTask", "UpdateService"} <= calls
    assert calls - set(requests_by_method) == set(), "a program asks AWS for something new"
    for name, (kind, resource, context) in requests_by_method.items():
        assert policies["deploy"].allow(f"{kind}:{name}", resource, context), name
    for action in (
        "ecr:PutImage",
        "ecr:DescribeImages",
        "ecr:InitiateLayerUpload",
        "ecr:UploadLayerPart",
        "ecr:CompleteLayerUpload",
    ):
        assert policies["deploy"].allow(action, f"arn:aws:ecr:{HERE}:repository/laurel-serving"), (
            action
        )


def test_a_pull_request_that_trains_cannot_leave_an_image_for_a_deployment_to_take(
    cluster_plan: Plan,
) -> None:
    """Tags come from the content, so it could push its own image under the tag that the next
    deployment would run.
    """
    roles = cluster_plan.planned("aws_iam_role_policy")
    training_images = {
        name: Policies.of(
            roles[f'module.github[0].aws_iam_role_policy.command["{name}"]']["policy"]
        )
        for name in ("train", "deploy")
    }
    pushed = {
        name: {
            repository
            for repository in ("flows", "serving", "train")
            if allowed.allow("ecr:PutImage", f"arn:aws:ecr:{HERE}:repository/laurel-{repository}")
        }
        for name, allowed in training_images.items()
    }
    assert pushed == {"train": {"train"}, "deploy": {"flows", "serving"}}
    image = f"arn:aws:ecr:{HERE}:repository/laurel-train"
    starts = {
        name: role(cluster_plan, f"module.{name}.module.execution_role")
        for name in ("flow_runs", "prefect[0]", "worker[0]")
    }
    assert [name for name, start in starts.items() if start.allow("ecr:BatchGetImage", image)] == [
        "flow_runs"
    ]


def managed(name: str) -> dict[str, Any]:
    """The document of one of AWS's own policies, as AWS published it."""
    return dict(json.loads(aws_managed_policies_data)[name]["Document"])


def requests(aws: Aws) -> list[str]:
    """The requests to AWS since the recording began, as IAM actions; S3 reads only by method."""
    httpx.post(f"{aws.url}/moto-api/recorder/stop-recording").raise_for_status()
    lines = httpx.get(f"{aws.url}/moto-api/recorder/download-recording").text.splitlines()
    return sorted({_action(json.loads(line)) for line in lines})


def _action(request: dict[str, Any]) -> str:
    headers = {name.lower(): value for name, value in request["headers"].items()}
    service = headers["authorization"].split("/")[3]
    body = request.get("body") or ""
    body = base64.b64decode(body).decode() if request.get("body_encoded") else body
    target = headers.get("x-amz-target")
    named = (
        target.rpartition(".")[2]
        if target
        else "".join(re.findall(r"(?:^|&)Action=(\w+)", str(body))[:1])
    )
    return f"{service}:{named or request['method'].title() + 'Object'}"


def test_the_role_of_pull_requests_may_do_all_that_a_plan_does(
    terraform: Terraform, aws: Aws, cluster_plan: Plan
) -> None:
    """Recorded while Terraform plans: data sources, and the passwords that each plan generates and
    nothing stores.
    """
    stack = terraform.stack("cluster", **CLUSTER)
    httpx.post(f"{aws.url}/moto-api/recorder/start-recording").raise_for_status()
    stack.plan()
    calls = requests(aws)
    assert {"sts:GetCallerIdentity", "ssm:GetParameter", "secretsmanager:GetRandomPassword"} <= set(
        calls
    )
    policy = cluster_plan.planned("aws_iam_role_policy")[
        "module.github[0].aws_iam_role_policy.plan[0]"
    ]["policy"]
    policies = Policies.of(policy, managed("ReadOnlyAccess"))
    # GetCallerIdentity needs no right.
    assert [
        action
        for action in calls
        if action != "sts:GetCallerIdentity" and not policies.allow(action, "*")
    ] == []
    assert not policies.allow(
        "secretsmanager:GetSecretValue",
        f"arn:aws:secretsmanager:{HERE}:secret:laurel/database/laurel-AbCdEf",
    )


def test_the_flow_log_may_find_and_fill_its_group(cluster_plan: Plan) -> None:
    """What AWS requires of such a role:
    https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
    """
    policies = role(cluster_plan, "module.network")
    group = f"arn:aws:logs:{HERE}:log-group:/laurel/refused-connections"
    for action, resource in {
        "logs:CreateLogGroup": group,
        "logs:CreateLogStream": f"{group}:log-stream:eni",
        "logs:PutLogEvents": f"{group}:log-stream:eni",
        "logs:DescribeLogStreams": f"{group}:*",
        "logs:DescribeLogGroups": f"arn:aws:logs:{HERE}:log-group:*",
    }.items():
        assert policies.allow(action, resource), action


def test_eventbridge_may_start_the_command_in_the_cluster_alone(cluster_plan: Plan) -> None:
    policies = role(cluster_plan, "module.events")
    definition = f"arn:aws:ecs:{HERE}:task-definition/laurel-command"
    assert policies.allow("ecs:RunTask", definition, IN_CLUSTER)
    assert not policies.allow(
        "ecs:RunTask", definition, {"ecs:cluster": f"arn:aws:ecs:{HERE}:cluster/another"}
    )
    assert policies.allow(
        "ecs:TagResource", f"arn:aws:ecs:{HERE}:task/laurel/0a1b", {"ecs:CreateAction": "RunTask"}
    )
    for passed in ("laurel-command", "laurel-command-start"):
        assert policies.allow(
            "iam:PassRole",
            f"arn:aws:iam::{ACCOUNT}:role/{passed}",
            {"iam:PassedToService": "ecs-tasks.amazonaws.com"},
        )
