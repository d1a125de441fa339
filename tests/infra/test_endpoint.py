"""The module endpoint: a SageMaker endpoint of laurel-serving, applied to moto's server and
destroyed. Moto's SageMaker keeps models, configurations and endpoints, but starts nothing; the
service's own tests check that the image fulfils SageMaker's contract.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.terraform import Stack, Terraform, TerraformError

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/team/laurel-serving:1.0"
URL = "s3://laurel-models/flights/7/model.tar.gz"
ARCHIVE = {"champion": {"model_data_url": URL}}
# Moto's server cannot list the tags of a scaling target, which the provider asks for at once: a
# plan covers the scaling. It answers with an empty network and an empty capture where none was
# asked for.
AT_MOTO = """
resource "aws_appautoscaling_target" "variant" {
  for_each = {}
}

resource "aws_appautoscaling_policy" "variant" {
  for_each = {}
}

resource "aws_sagemaker_model" "variant" {
  lifecycle {
    ignore_changes = [vpc_config]
  }
}

resource "aws_sagemaker_endpoint_configuration" "endpoint" {
  lifecycle {
    ignore_changes = [data_capture_config]
  }
}
"""


@pytest.fixture(scope="module")
def endpoint(terraform: Terraform) -> Iterator[Stack]:
    variables = {
        "name": "laurel-flights",
        "image": IMAGE,
        "variants": ARCHIVE,
        "lake": "laurel-lake",
    }
    with terraform.applied("modules/endpoint", {"moto": AT_MOTO}, **variables) as stack:
        yield stack


@pytest.fixture(scope="module")
def sagemaker(endpoint: Stack) -> Any:
    return endpoint.aws.client("sagemaker")


def test_second_apply_changes_nothing(endpoint: Stack) -> None:
    assert endpoint.plan().changes == {}


def test_the_endpoint_serves_the_archive_with_the_image(endpoint: Stack, sagemaker: Any) -> None:
    # Moto's CloudFormation gives the endpoint a name of its own; that of the template is in
    # test_terraform_plans.py.
    (summary,) = sagemaker.list_endpoints()["Endpoints"]
    served = sagemaker.describe_endpoint(EndpointName=summary["EndpointName"])
    (variant,) = sagemaker.describe_endpoint_config(
        EndpointConfigName=served["EndpointConfigName"]
    )["ProductionVariants"]
    assert (variant["VariantName"], variant["InitialInstanceCount"]) == ("champion", 1)
    model = sagemaker.describe_model(ModelName=variant["ModelName"])
    container = model["PrimaryContainer"]
    assert (container["Image"], container["ModelDataUrl"]) == (IMAGE, URL)
    assert container["Environment"] == {
        "LAUREL_LAKE": "s3://laurel-lake",
        "LAUREL_S3_ENDPOINT": "aws",
    }
    assert model["ExecutionRoleArn"].endswith("role/laurel-flights-endpoint")


def test_role_may_fetch_what_it_serves_and_write_its_log_and_nothing_else(endpoint: Stack) -> None:
    iam = endpoint.aws.client("iam")
    statements = iam.get_role_policy(RoleName="laurel-flights-endpoint", PolicyName="endpoint")[
        "PolicyDocument"
    ]["Statement"]
    allowed = {statement["Sid"]: statement for statement in statements}
    assert set(allowed) == {
        "Models",
        "Login",
        "Image",
        "Log",
        "Numbers",
        "Alarms",
        "PredictionLog",
    }
    assert not [statement for statement in statements if "*" in str(statement["Action"])]
    assert {name for name, statement in allowed.items() if statement["Resource"] == "*"} == {
        "Login",
        "Numbers",
    }
    assert allowed["Models"]["Resource"] == "arn:aws:s3:::laurel-models/flights/7/model.tar.gz"
    assert (
        allowed["Image"]["Resource"]
        == "arn:aws:ecr:us-east-1:123456789012:repository/team/laurel-serving"
    )
    assert sorted(allowed["PredictionLog"]["Resource"]) == [
        f"arn:aws:s3:::laurel-lake/{kind}/*" for kind in ("feedback", "predictions", "traffic")
    ]
    trust = iam.get_role(RoleName="laurel-flights-endpoint")["Role"]["AssumeRolePolicyDocument"][
        "Statement"
    ][0]
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}


def test_errors_and_slowness_ring_an_alarm(endpoint: Stack) -> None:
    alarms = {
        alarm["MetricName"]: alarm
        for alarm in endpoint.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert set(alarms) == {"Invocation5XXErrors", "ModelLatency"}
    # 200 ms, in microseconds.
    assert (alarms["ModelLatency"]["Threshold"], alarms["ModelLatency"]["ExtendedStatistic"]) == (
        200_000,
        "p99",
    )


def test_a_new_champion_is_a_new_model_that_stands_before_the_old_one_goes(endpoint: Stack) -> None:
    changes = endpoint.plan(
        variants={"champion": {"model_data_url": URL.replace("/7/", "/8/")}}
    ).changes
    assert changes['aws_sagemaker_model.variant["champion"]'] == ["create", "delete"]
    assert changes["aws_sagemaker_endpoint_configuration.endpoint"] == ["create", "delete"]
    assert changes["aws_cloudformation_stack.endpoint"] == ["update"]


def test_two_variants_share_scale_and_a_bad_deployment_is_taken_back(terraform: Terraform) -> None:
    """By a plan, with two variants: moto's server does not keep an endpoint's deployment
    configuration.
    """
    variants = {
        "champion": {"model_data_url": URL, "weight": 9},
        "challenger": {"model_data_url": URL.replace("/7/", "/8/")},
    }
    key = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"
    capture = {"url": "s3://laurel-capture/flights", "percent": 5}
    plan = terraform.stack(
        "modules/endpoint", image=IMAGE, variants=variants, kms_key_arn=key, capture=capture
    ).plan()
    targets = plan.planned("aws_appautoscaling_target").values()
    assert {item["resource_id"] for item in targets} == {
        f"endpoint/laurel/variant/{name}" for name in variants
    }
    assert {(item["min_capacity"], item["max_capacity"]) for item in targets} == {(1, 4)}
    for policy in plan.planned("aws_appautoscaling_policy").values():
        (tracked,) = policy["target_tracking_scaling_policy_configuration"]
        assert (
            tracked["predefined_metric_specification"][0]["predefined_metric_type"]
            == "SageMakerVariantInvocationsPerInstance"
        )
        assert tracked["target_value"] == 6000
    (configuration,) = plan.planned("aws_sagemaker_endpoint_configuration").values()
    weights = {
        item["variant_name"]: item["initial_variant_weight"]
        for item in configuration["production_variants"]
    }
    assert weights == {"champion": 9, "challenger": 1}
    assert configuration["kms_key_arn"] == key
    assert configuration["data_capture_config"][0]["initial_sampling_percentage"] == 5
    # Without a log the container needs nobody, and reaches nobody.
    assert {
        model["enable_network_isolation"] for model in plan.planned("aws_sagemaker_model").values()
    } == {True}


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"image": "docker.io/laurel-serving:1.0"}, "one of ECR"),
        (
            {"variants": {"champion": {"model_data_url": "s3://laurel-models/flights/7/"}}},
            "model.tar.gz",
        ),
        ({"instances": {"min": 3, "max": 2}}, "at least min"),
    ],
)
def test_what_sagemaker_would_refuse_late_is_refused_by_plan(
    terraform: Terraform, variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(TerraformError, match=message):
        terraform.stack(
            "modules/endpoint", **({"image": IMAGE, "variants": ARCHIVE} | variables)
        ).plan()
