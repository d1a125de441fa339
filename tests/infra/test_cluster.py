"""The stack cluster: applied to moto's server, inspected with boto3, applied again, destroyed;
parts that moto lacks are tested by the plan.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.aws import Aws
from tests.infra.terraform import Plan, Stack, Terraform, TerraformError

# The provider polls some resources for a minute before it believes in them.
pytestmark = pytest.mark.timeout(1200)
ATTEMPTS = 5
VARIABLES = {
    "image_tag": "v1",
    "allowed_cidrs": ["203.0.113.0/24"],
    "alarm_email": "ml@example.org",
    "github": {"repository": "example/laurel"},
    "protect": False,
}
SERVING = {
    "cpu": 512,
    "memory": 768,
    "minimum": 2,
    "maximum": 6,
    "requests_per_task_a_minute": 6000,
    "cpu_percent": 60,
}
# Only for moto's server, as files by their paths. What is left out or ignored here is covered by
# the plan:
AT_MOTO = {
    # its services forget capacity provider strategy and tags, so that each plan would make them
    # anew; and the provider dies of the empty network that it reports for a service in mode bridge,
    # so that there every service gets some subnets;
    "modules/service/moto.tf": 'data "aws_subnets" "any" {}\n',
    "modules/service/moto_override.tf": """
resource "aws_ecs_service" "main" {
  network_configuration {
    subnets = var.network == null ? data.aws_subnets.any.ids : var.network.subnets
  }

  lifecycle {
    ignore_changes = all
  }
}
""",
    # it cannot describe the subscribers of a budget;
    "modules/monitoring/moto_override.tf": (
        'resource "aws_budgets_budget" "monthly" {\n  count = 0\n}\n'
    ),
    # it cannot list the tags of a scalable target, for which the provider tries for minutes;
    "cluster/moto_override.tf": """
resource "aws_appautoscaling_target" "serving" {
  count = 0
}

resource "aws_appautoscaling_policy" "serving" {
  for_each = {}
}
""",
    # deleting a group by force it leaves the instances that are protected, and their disks; and it
    # forgets how long an instance may live, so that each apply would update the group, at which it
    # forgets the types of instances as well;
    "modules/ecs/moto_override.tf": """
resource "aws_autoscaling_group" "main" {
  protect_from_scale_in = false
  max_instance_lifetime = null
}
""",
    # it gives a parameter group back without its parameters;
    "modules/database/moto_override.tf": """
resource "aws_db_parameter_group" "main" {
  lifecycle {
    ignore_changes = [parameter]
  }
}
""",
    # and it gives JSON back with other white space.
    "modules/events/moto_override.tf": """
resource "aws_sqs_queue" "tasks" {
  lifecycle {
    ignore_changes = [redrive_policy]
  }
}
""",
}


@pytest.fixture(scope="module")
def cluster(terraform: Terraform, aws: Aws) -> Iterator[Stack]:
    before = aws.standing()
    stack = terraform.stack("cluster", **VARIABLES)
    for path, text in AT_MOTO.items():
        (stack.copy / "terraform" / path).write_text(text)
    try:
        apply(stack)
        # A rule between two groups gets its description only now: moto's server forgets it when the
        # rule is made.
        apply(stack)
        yield stack
    finally:
        stack.destroy()
    assert stack.standing() == []
    # ECS keeps a deleted cluster as inactive for a while, and moto's server for good.
    assert {
        cluster["status"]
        for cluster in aws.client("ecs").describe_clusters(clusters=["laurel"])["clusters"]
    } == {"INACTIVE"}
    assert aws.standing() - before - Counter({"ecs clusterArns": 1}) == {}


def apply(stack: Stack) -> None:
    """Apply, and retry only after a 500: moto's server answers so if one thread lists what another
    changes.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            stack.apply()
            return
        except TerraformError as error:
            errors = [line for line in str(error).splitlines() if line.startswith("Error: ")]
            if attempt == ATTEMPTS or not all("StatusCode: 500" in line for line in errors):
                raise


@pytest.fixture(scope="module")
def planned(terraform: Terraform) -> Plan:
    """The plan of the whole stack."""
    return terraform.stack("cluster", **VARIABLES).plan()


@pytest.fixture(scope="module")
def bare(terraform: Terraform) -> Stack:
    """The stack without variables, for plans."""
    return terraform.stack("cluster")


def policies(aws: Aws) -> dict[str, list[dict[str, Any]]]:
    """The statements of each role of the stack, actions and resources as lists."""
    iam, by_role = aws.client("iam"), {}
    for role in iam.list_roles()["Roles"]:
        names = iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        documents = [
            iam.get_role_policy(RoleName=role["RoleName"], PolicyName=name)["PolicyDocument"]
            for name in names
        ]
        statements = [statement for document in documents for statement in document["Statement"]]
        by_role[role["RoleName"]] = [
            {
                **statement,
                "Action": listed(statement["Action"]),
                "Resource": listed(statement["Resource"]),
            }
            for statement in statements
        ]
        assert iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"] == []
    return {name: statements for name, statements in by_role.items() if name.startswith("laurel-")}


def listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]


def containers(plan_or_aws: Aws, family: str) -> dict[str, dict[str, Any]]:
    definition = plan_or_aws.client("ecs").describe_task_definition(taskDefinition=family)[
        "taskDefinition"
    ]
    return {container["name"]: container for container in definition["containerDefinitions"]}


def test_second_apply_changes_nothing(cluster: Stack) -> None:
    assert cluster.plan().changes == {}


def test_no_secret_is_in_the_state_nor_in_the_plan(cluster: Stack, aws: Aws) -> None:
    secrets = aws.client("secretsmanager")
    documents = (cluster.folder / "terraform.tfstate").read_text() + json.dumps(
        cluster.plan().document
    )
    values = {
        secret["Name"]: secrets.get_secret_value(SecretId=secret["Name"])["SecretString"]
        for secret in secrets.list_secrets()["SecretList"]
    }
    databases = {f"laurel/database/{user}" for user in ("laurel", "prefect", "mlflow")}
    assert (
        set(values)
        == {"laurel/prefect-auth", "laurel/mlflow-password", "laurel/serving-key"} | databases
    )
    assert values["laurel/prefect-auth"].startswith("laurel:")
    urls = {name: url for secret in databases for name, url in json.loads(values[secret]).items()}
    users = {name: url.partition("://")[2].partition("@")[0] for name, url in urls.items()}
    passwords = {login.partition(":")[2] for login in users.values()}
    assert {name: login.partition(":")[0] for name, login in users.items()} == {
        "LAUREL_DATABASE_ADMIN": "laurel",
        "LAUREL_PREFECT_DATABASE": "prefect",
        "LAUREL_MLFLOW_STORE": "mlflow",
        "LAUREL_MLFLOW_AUTH_STORE": "mlflow",
    }
    assert len(passwords) == 3
    random = [
        values["laurel/prefect-auth"].removeprefix("laurel:"),
        values["laurel/mlflow-password"],
        values["laurel/serving-key"],
        *passwords,
    ]
    assert len(set(random)) == 6
    assert min(map(len, random)) >= 32
    assert [value for value in random if value in documents] == []


def test_only_listed_addresses_come_in_and_only_to_the_load_balancer(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    names = {
        group["GroupId"]: group["GroupName"]
        for group in ec2.describe_security_groups()["SecurityGroups"]
    }
    inward = [
        rule
        for rule in rules
        if not rule["IsEgress"] and names.get(rule["GroupId"], "").startswith("laurel-")
    ]
    by_address = {
        (names[rule["GroupId"]], rule["CidrIpv4"], rule["FromPort"])
        for rule in inward
        if "CidrIpv4" in rule
    }
    assert by_address == {("laurel-balancer", "203.0.113.0/24", 80)}
    assert not [rule for rule in inward if rule["FromPort"] <= 22 <= rule["ToPort"]]
    into = {
        (names[rule["GroupId"]], names[rule["ReferencedGroupInfo"]["GroupId"]])
        for rule in inward
        if "ReferencedGroupInfo" in rule
    }
    assert {client for group, client in into if group == "laurel-database"} == {
        "laurel-prefect",
        "laurel-mlflow",
    }
    assert {client for group, client in into if group == "laurel-instances"} == {"laurel-balancer"}


def test_nothing_but_the_nat_gateway_has_a_public_address(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "cidr", "Values": ["10.20.0.0/16"]}])["Vpcs"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])[
        "Subnets"
    ]
    assert len({subnet["AvailabilityZone"] for subnet in subnets}) == 2
    assert not any(subnet["MapPublicIpOnLaunch"] for subnet in subnets)
    (balancer,) = aws.client("elbv2").describe_load_balancers()["LoadBalancers"]
    assert balancer["Scheme"] == "internal"
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])[
        "RouteTables"
    ]
    (database,) = [
        table for table in tables if {"Key": "Name", "Value": "laurel-database"} in table["Tags"]
    ]
    assert [route["DestinationCidrBlock"] for route in database["Routes"]] == ["10.20.0.0/16"]


def test_lake_is_private_encrypted_and_tells_eventbridge(aws: Aws, planned: Plan) -> None:
    s3, bucket = aws.client("s3"), "laurel-lake-123456789012"
    assert set(
        s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()
    ) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    # The notification itself is left out where stacks are tested, and has its test with the module.
    assert planned.document["configuration"]["root_module"]["module_calls"]["lake"]["expressions"][
        "eventbridge"
    ] == {"constant_value": True}


def test_all_that_is_stored_is_encrypted_with_a_key_that_rotates(aws: Aws) -> None:
    kms = aws.client("kms")
    (key,) = [
        alias["TargetKeyId"]
        for alias in kms.list_aliases()["Aliases"]
        if alias["AliasName"] == "alias/laurel"
    ]
    assert kms.get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
    arn = kms.describe_key(KeyId=key)["KeyMetadata"]["Arn"]
    (database,) = aws.client("rds").describe_db_instances()["DBInstances"]
    assert (database["StorageEncrypted"], database["KmsKeyId"], database["PubliclyAccessible"]) == (
        True,
        arn,
        False,
    )
    assert database["BackupRetentionPeriod"] == 7
    for repository in aws.client("ecr").describe_repositories()["repositories"]:
        assert repository["encryptionConfiguration"] == {"encryptionType": "KMS", "kmsKey": arn}
        assert repository["imageTagMutability"] == "IMMUTABLE"
        assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    sqs = aws.client("sqs")
    queues = [
        sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for url in sqs.list_queues()["QueueUrls"]
    ]
    assert {queue["KmsMasterKeyId"] for queue in queues} == {arn}
    assert {
        secret["KmsKeyId"] for secret in aws.client("secretsmanager").list_secrets()["SecretList"]
    } == {arn}


def test_every_log_is_encrypted_and_ends(aws: Aws) -> None:
    groups = {
        group["logGroupName"]: group
        for group in aws.client("logs").describe_log_groups()["logGroups"]
    }
    ours = {
        name: group
        for name, group in groups.items()
        if name.startswith(("/laurel/", "/aws/rds/instance/laurel/"))
    }
    expected = {
        f"/laurel/{name}"
        for name in [
            "prefect",
            "mlflow",
            "worker",
            "serving",
            "flow-runs",
            "command",
            "refused-connections",
        ]
    }
    assert expected <= set(ours)
    assert {group["retentionInDays"] for group in ours.values()} == {30}
    assert all("kmsKeyId" in group for group in ours.values())


def test_no_role_may_do_everything_and_none_passes_more_than_it_must(aws: Aws) -> None:
    by_role = policies(aws)
    assert [
        action
        for statements in by_role.values()
        for statement in statements
        for action in statement["Action"]
        if "*" in action
    ] == []
    # Only actions for which AWS has no narrower resource.
    unbound = {
        action
        for statements in by_role.values()
        for statement in statements
        if "*" in statement["Resource"]
        for action in statement["Action"]
    }
    assert unbound == {
        "ecr:GetAuthorizationToken",
        "ecs:DeregisterTaskDefinition",
        "ecs:DescribeTaskDefinition",
        "ecs:DiscoverPollEndpoint",
        "ecs:Poll",
        "ecs:StartTelemetrySession",
        "ssm:UpdateInstanceInformation",
        "ssmmessages:CreateControlChannel",
        "ssmmessages:CreateDataChannel",
        "ssmmessages:OpenControlChannel",
        "ssmmessages:OpenDataChannel",
    }
    passed_roles = {
        role: statement["Resource"]
        for role, statements in by_role.items()
        for statement in statements
        if "iam:PassRole" in statement["Action"]
    }
    assert set(passed_roles) == {
        "laurel-worker",
        "laurel-incoming",
        "laurel-github-deploy",
        "laurel-github-train",
    }
    assert names(passed_roles["laurel-github-train"]) == {"laurel-command", "laurel-command-start"}
    assert names(passed_roles["laurel-worker"]) == {"laurel-flow-run", "laurel-flow-run-start"}
    assert names(passed_roles["laurel-incoming"]) == {"laurel-command", "laurel-command-start"}


def names(arns: list[str]) -> set[str]:
    return {arn.partition("/")[2] for arn in arns}


def test_each_task_reaches_only_its_part_of_the_lake_and_only_its_secrets(aws: Aws) -> None:
    by_role = policies(aws)

    def prefixes(role: str, action: str) -> set[str]:
        resources = [
            resource
            for statement in by_role[role]
            if action in statement["Action"]
            for resource in statement["Resource"]
        ]
        return {resource.partition("123456789012/")[2] for resource in resources}

    assert prefixes("laurel-serving", "s3:PutObject") == {
        "predictions/*",
        "feedback/*",
        "traffic/*",
        "rollouts/*",
    }
    assert prefixes("laurel-serving", "s3:GetObject") == {
        "reports/*",
        "decisions/*",
        "traffic/*",
        "rollouts/*",
    }
    assert prefixes("laurel-flow-run", "s3:PutObject") == {
        "compacted/*",
        "datasets/*",
        "reports/*",
        "decisions/*",
        "results/*",
        "slack/*",
        "tidy/*",
    }
    written = prefixes("laurel-flow-run", "s3:PutObject") - {"decisions/*"}
    log = {"predictions/*", "feedback/*"}
    assert prefixes("laurel-flow-run", "s3:DeleteObject") == written | log
    ledger = [
        statement
        for statement in by_role["laurel-flow-run"]
        if "s3:PutObject" in statement["Action"] and "decisions/*" in str(statement["Resource"])
    ]
    assert [statement["Condition"] for statement in ledger] == [
        {"Null": {"s3:if-none-match": "false"}}
    ]
    assert prefixes("laurel-mlflow", "s3:PutObject") == {"mlflow/*"}
    assert by_role["laurel-prefect"] == by_role["laurel-command"] == []
    secrets = {
        role: statement["Resource"]
        for role, statements in by_role.items()
        for statement in statements
        if "secretsmanager:GetSecretValue" in statement["Action"]
    }
    short = {
        role: {arn.rpartition(":")[2].rpartition("-")[0] for arn in arns}
        for role, arns in secrets.items()
    }
    assert short["laurel-serving-start"] == {
        "laurel/serving-key",
        "laurel/mlflow-password",
        "laurel/prefect-auth",
    }
    for server, secret in {"prefect": "prefect-auth", "mlflow": "mlflow-password"}.items():
        # The administrator's is for the container that prepares the databases.
        assert short[f"laurel-{server}-start"] == {
            f"laurel/{secret}",
            f"laurel/database/{server}",
            "laurel/database/laurel",
        }
    assert short["laurel-worker-start"] == short["laurel-flow-run-start"] == {"laurel/prefect-auth"}


def test_flow_runs_get_instances_from_zero_and_services_keep_theirs(
    cluster: Stack, aws: Aws, planned: Plan
) -> None:
    groups = {
        group["AutoScalingGroupName"]: group
        for group in aws.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    }
    assert (
        groups["laurel-flows"]["MinSize"],
        groups["laurel-flows"]["DesiredCapacity"],
        groups["laurel-flows"]["MaxSize"],
    ) == (0, 0, 8)
    assert groups["laurel-services"]["MinSize"] == 2
    providers = aws.client("ecs").describe_capacity_providers(
        capacityProviders=["laurel-flows", "laurel-services"]
    )["capacityProviders"]
    for provider in providers:
        group = provider["autoScalingGroupProvider"]
        assert (group["managedScaling"]["status"], group["managedTerminationProtection"]) == (
            "ENABLED",
            "ENABLED",
        )
    spot = {
        name: group["MixedInstancesPolicy"]["InstancesDistribution"]
        for name, group in groups.items()
    }
    assert spot["laurel-flows"]["OnDemandPercentageAboveBaseCapacity"] == 0
    assert (
        spot["laurel-flows"]["OnDemandBaseCapacity"],
        spot["laurel-services"]["OnDemandBaseCapacity"],
    ) == (0, 2)
    assert all(
        group["protect_from_scale_in"]
        for group in planned.planned("aws_autoscaling_group").values()
    )


def test_instances_have_imdsv2_alone_encrypted_disks_and_no_ssh_key(aws: Aws) -> None:
    ec2 = aws.client("ec2")
    for name in ("laurel-flows", "laurel-services"):
        (version,) = ec2.describe_launch_template_versions(
            LaunchTemplateName=name, Versions=["$Latest"]
        )["LaunchTemplateVersions"]
        data = version["LaunchTemplateData"]
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        assert [disk["Ebs"]["Encrypted"] for disk in data["BlockDeviceMappings"]] == [True]
        assert "KeyName" not in data


def test_services_run_the_images_with_their_secrets_and_a_root_that_nobody_writes(aws: Aws) -> None:
    for service, repository in {
        "prefect": "flows",
        "mlflow": "flows",
        "worker": "flows",
        "serving": "serving",
    }.items():
        by_name = containers(aws, f"laurel-{service}")
        assert by_name[service]["image"].endswith(f"/laurel-{repository}:v1")
        assert all(container["readonlyRootFilesystem"] for container in by_name.values())
    assert containers(aws, "laurel-serving")["serving"]["portMappings"][0]["containerPort"] == 8080
    assert containers(aws, "laurel-prefect")["preparation"]["command"] == [
        "python",
        "-m",
        "deployments.servers.databases",
    ]
    worker = {
        variable["name"]: variable["value"]
        for variable in containers(aws, "laurel-worker")["worker"]["environment"]
    }
    assert (
        worker["PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"] == "laurel-ecs-tasks-events"
    )
    names = {variable["name"] for variable in containers(aws, "laurel-mlflow")["mlflow"]["secrets"]}
    assert {
        "LAUREL_MLFLOW_PASSWORD",
        "LAUREL_MLFLOW_USERNAME",
        "LAUREL_MLFLOW_STORE",
        "LAUREL_MLFLOW_AUTH_STORE",
        "LAUREL_LAKE",
    } <= names
    assert "LAUREL_PREFECT_AUTH" in {
        variable["name"] for variable in containers(aws, "laurel-prefect")["prefect"]["secrets"]
    }


def test_deployments_roll_and_go_back_and_serving_grows_by_requests_and_cpu(planned: Plan) -> None:
    services = {item["name"]: item for item in planned.planned("aws_ecs_service").values()}
    assert set(services) == {"prefect", "mlflow", "worker", "serving"}
    for service in services.values():
        assert service["deployment_circuit_breaker"] == [{"enable": True, "rollback": True}]
        assert [item["capacity_provider"] for item in service["capacity_provider_strategy"]] == [
            "laurel-services"
        ]
    assert (
        services["serving"]["deployment_minimum_healthy_percent"],
        services["serving"]["deployment_maximum_percent"],
    ) == (100, 200)
    assert services["worker"]["network_configuration"] == []
    scaled = [
        policy["target_tracking_scaling_policy_configuration"][0]
        for policy in planned.planned("aws_appautoscaling_policy").values()
    ]
    assert {
        item["predefined_metric_specification"][0]["predefined_metric_type"] for item in scaled
    } == {
        "ALBRequestCountPerTarget",
        "ECSServiceAverageCPUUtilization",
    }
    (target,) = planned.planned("aws_appautoscaling_target").values()
    assert (target["min_capacity"], target["max_capacity"]) == (2, 6)


def test_database_takes_tls_only_and_the_budget_tells_before_it_is_spent(planned: Plan) -> None:
    (group,) = planned.planned("aws_db_parameter_group").values()
    assert {"rds.force_ssl": "1"}.items() <= {
        item["name"]: item["value"] for item in group["parameter"]
    }.items()
    (budget,) = planned.planned("aws_budgets_budget").values()
    notifications = {
        (item["notification_type"], item["threshold"]) for item in budget["notification"]
    }
    assert notifications == {("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)}


def test_health_of_the_service_decides_who_gets_requests(aws: Aws) -> None:
    (group,) = aws.client("elbv2").describe_target_groups()["TargetGroups"]
    assert (group["HealthCheckPath"], group["TargetType"]) == ("/health", "instance")


def test_every_alarm_tells_somebody(aws: Aws) -> None:
    alarms = {
        item["AlarmName"]: item
        for item in aws.client("cloudwatch").describe_alarms(AlarmNamePrefix="laurel-")[
            "MetricAlarms"
        ]
    }
    expected = {
        "5xx",
        "latency",
        "no-healthy-target",
        "no-worker",
        "no-prefect",
        "no-mlflow",
        "no-prediction",
        "dead-letters",
        "database-disk",
    }
    assert set(alarms) == {f"laurel-{name}" for name in expected}
    (topic,) = [
        item["TopicArn"]
        for item in aws.client("sns").list_topics()["Topics"]
        if item["TopicArn"].endswith("laurel-alarms")
    ]
    assert all(alarm["AlarmActions"] == [topic] for alarm in alarms.values())
    assert alarms["laurel-latency"]["ExtendedStatistic"] == "p99"
    # Missing data raise an alarm too, if there must be some.
    assert {name for name, alarm in alarms.items() if alarm["TreatMissingData"] == "breaching"} == {
        f"laurel-{name}"
        for name in ["no-healthy-target", "no-worker", "no-prefect", "no-mlflow", "no-prediction"]
    }
    (subscription,) = aws.client("sns").list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ml@example.org")
    (dashboard,) = aws.client("cloudwatch").list_dashboards(DashboardNamePrefix="laurel")[
        "DashboardEntries"
    ]
    body = json.loads(
        aws.client("cloudwatch").get_dashboard(DashboardName=dashboard["DashboardName"])[
            "DashboardBody"
        ]
    )
    assert len(body["widgets"]) == 8


def test_predictions_are_counted_from_the_access_log_as_the_service_writes_it(aws: Aws) -> None:
    import msgspec

    from serving.edge.access_log import Entry

    (metric_filter,) = aws.client("logs").describe_metric_filters(logGroupName="/laurel/serving")[
        "metricFilters"
    ]
    assert metric_filter["filterPattern"] == "{ $.rows > 0 && $.status = 200 }"
    line = json.loads(
        msgspec.json.encode(Entry(0.0, "1", "POST", "/v1/flights/predict", 200, 1.0, rows=3))
    )
    assert (line["rows"], line["status"]) == (3, 200)


def test_an_object_in_incoming_starts_ingest_and_what_fails_is_kept(aws: Aws) -> None:
    events = aws.client("events")
    pattern = json.loads(events.describe_rule(Name="laurel-incoming")["EventPattern"])
    assert pattern["detail"]["bucket"] == {"name": ["laurel-lake-123456789012"]}
    assert pattern["detail"]["object"] == {"key": [{"prefix": "incoming/"}]}
    (target,) = events.list_targets_by_rule(Rule="laurel-incoming")["Targets"]
    assert target["DeadLetterConfig"]["Arn"].endswith(":laurel-dead-letters")
    template = target["InputTransformer"]["InputTemplate"]
    filled = json.loads(
        template.replace("<key>", "incoming/flights/2013-03.csv").replace(
            "<write>", "0055AED6DCD90281E5"
        )
    )
    (override,) = filled["containerOverrides"]
    assert override["command"] == [
        "python",
        "-m",
        "deployments.runs.incoming",
        "incoming/flights/2013-03.csv",
        "0055AED6DCD90281E5",
    ]
    assert override["name"] in containers(aws, "laurel-command")
    (target,) = events.list_targets_by_rule(Rule="laurel-failed-commands")["Targets"]
    assert target["Arn"].endswith(":laurel-dead-letters")


def test_the_worker_hears_of_tasks_that_end(aws: Aws) -> None:
    events, sqs = aws.client("events"), aws.client("sqs")
    pattern = json.loads(events.describe_rule(Name="laurel-tasks")["EventPattern"])
    assert pattern["detail-type"] == ["ECS Task State Change"]
    (target,) = events.list_targets_by_rule(Rule="laurel-tasks")["Targets"]
    assert target["Arn"].endswith(":laurel-ecs-tasks-events")
    url = sqs.get_queue_url(QueueName="laurel-ecs-tasks-events")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert json.loads(attributes["RedrivePolicy"])["deadLetterTargetArn"].endswith(
        ":laurel-dead-letters"
    )
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":rule/laurel-tasks")


def test_configuration_is_all_that_the_work_pool_asks_for(aws: Aws) -> None:
    from blocks.settings import Settings

    ssm = aws.client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path="/laurel/config", Recursive=True
    )
    parameters = {
        item["Name"].rpartition("/")[2]: item["Value"]
        for page in pages
        for item in page["Parameters"]
    }
    setting_names = {f"LAUREL_{name.upper()}" for name in Settings.model_fields}
    assert set(parameters) <= setting_names
    assert {
        f"LAUREL_{name.upper()}"
        for name, field in Settings.model_fields.items()
        if name.startswith("ecs_") and not field.default
    } <= set(parameters)
    assert parameters["LAUREL_ECS_CAPACITY_PROVIDER"] == "laurel-flows"
    assert parameters["LAUREL_ECS_IMAGE"].endswith("/laurel-flows:v1")
    assert parameters["LAUREL_ECS_SECRETS"].startswith(
        "PREFECT_API_AUTH_STRING=arn:aws:secretsmanager:"
    )
    # Every variable in a task's environment is a known setting.
    for service in ("prefect", "mlflow", "worker", "serving", "command"):
        (main,) = [
            item for name, item in containers(aws, f"laurel-{service}").items() if name == service
        ]
        names = {item["name"] for item in [*main.get("secrets", []), *main.get("environment", [])]}
        assert {name for name in names if name.startswith("LAUREL_")} <= setting_names


def test_github_gets_a_role_for_one_repository_and_environment_without_any_key(aws: Aws) -> None:
    iam = aws.client("iam")
    for role, environment in {"deploy": "production", "train": "training"}.items():
        (trust,) = iam.get_role(RoleName=f"laurel-github-{role}")["Role"][
            "AssumeRolePolicyDocument"
        ]["Statement"]
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert trust["Condition"] == {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": (
                    f"repo:example/laurel:environment:{environment}"
                ),
            }
        }
    assert iam.list_users()["Users"] == []
    statements = {item["Sid"]: item for item in policies(aws)["laurel-github-deploy"]}
    assert {arn.rpartition("/")[2] for arn in statements["Push"]["Resource"]} == {
        "laurel-flows",
        "laurel-serving",
    }
    assert names(statements["PassRoles"]["Resource"]) == {
        f"laurel-{item}{start}"
        for item in ["prefect", "mlflow", "worker", "serving", "command"]
        for start in ["", "-start"]
    }
    trains = {item["Sid"]: item for item in policies(aws)["laurel-github-train"]}
    assert {arn.rpartition("/")[2] for arn in trains["Push"]["Resource"]} == {"laurel-train"}
    assert "ecs:UpdateService" not in {
        action for item in trains.values() for action in item["Action"]
    }
    assert (
        trains["Command"]["Resource"]
        == statements["Command"]["Resource"]
        == ["arn:aws:ecs:us-east-1:123456789012:task-definition/laurel-command:*"]
    )


def test_jobs_get_roles_for_terraform_only_where_their_policies_are_named(bare: Stack) -> None:
    terraform_policies = {"plan": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}
    plan = bare.plan(
        github={"repository": "example/laurel", "terraform_policy_arns": terraform_policies}
    )
    roles = {address for address in plan.planned("aws_iam_role") if "module.github" in address}
    assert roles == {
        f'module.github[0].aws_iam_role.main["{role}"]' for role in ("deploy", "train", "plan")
    }


def test_before_the_first_image_nothing_runs_and_no_alarm_misses_it(bare: Stack) -> None:
    plan = bare.plan()
    assert plan.planned("aws_ecs_service") == plan.planned("aws_ecs_task_definition") == {}
    assert not [
        alarm
        for alarm in plan.planned("aws_cloudwatch_metric_alarm").values()
        if alarm["treat_missing_data"] == "breaching"
    ]
    assert len(plan.planned("aws_ecr_repository")) == 3


def test_without_being_asked_nothing_is_deleted_with_what_it_holds(bare: Stack) -> None:
    plan = bare.plan()
    (database,) = plan.planned("aws_db_instance").values()
    assert (database["deletion_protection"], database["skip_final_snapshot"]) == (True, False)
    (balancer,) = plan.planned("aws_lb").values()
    assert balancer["enable_deletion_protection"] is True
    assert [bucket["force_destroy"] for bucket in plan.planned("aws_s3_bucket").values()] == [False]
    assert not plan.planned("aws_iam_openid_connect_provider")


def test_with_a_certificate_the_balancer_speaks_https_and_may_be_open(bare: Stack) -> None:
    certificate = {
        "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
        "domain_name": "models.example.org",
    }
    plan = bare.plan(public=True, allowed_cidrs=["0.0.0.0/0"], **certificate)
    (listener,) = plan.planned("aws_lb_listener").values()
    assert (listener["port"], listener["protocol"]) == (443, "HTTPS")
    assert "TLS13" in listener["ssl_policy"]
    (balancer,) = plan.planned("aws_lb").values()
    assert balancer["internal"] is False


def of_family(plan: Plan, family: str) -> dict[str, Any]:
    (definition,) = [
        item
        for item in plan.planned("aws_ecs_task_definition").values()
        if item["family"] == family
    ]
    return definition


def test_runs_and_model_service_go_to_fargate_by_a_variable(bare: Stack) -> None:
    plan = bare.plan(image_tag="v1", fargate={"flows": "FARGATE_SPOT", "serving": "FARGATE"})
    (providers,) = plan.planned("aws_ecs_cluster_capacity_providers").values()
    assert {"FARGATE", "FARGATE_SPOT"} <= {*providers["capacity_providers"]}
    assert set(plan.planned("aws_autoscaling_group")) == {
        'module.ecs.aws_autoscaling_group.main["services"]'
    }
    parameters = {
        item["name"]: item.get("insecure_value") or item.get("value")
        for item in plan.planned("aws_ssm_parameter").values()
        if "CAPACITY_PROVIDER" in item["name"]
    }
    assert parameters == {"/laurel/config/LAUREL_ECS_CAPACITY_PROVIDER": "FARGATE_SPOT"}
    task = of_family(plan, "laurel-serving")
    assert (task["requires_compatibilities"], task["network_mode"]) == (["FARGATE"], "awsvpc")
    # Of 768 MiB, the next size of half a core.
    assert (task["cpu"], task["memory"]) == ("512", "1024")
    assert task["runtime_platform"][0]["cpu_architecture"] == "X86_64"
    assert task["volume"][0]["docker_volume_configuration"] == []
    services = {item["name"]: item for item in plan.planned("aws_ecs_service").values()}
    provider, placement = "capacity_provider_strategy", "ordered_placement_strategy"
    assert services["serving"][provider][0]["capacity_provider"] == "FARGATE"
    assert services["serving"][placement] == services["serving"]["service_registries"] == []
    assert len(services["serving"]["network_configuration"]) == 1
    (group,) = plan.planned("aws_lb_target_group").values()
    assert (group["target_type"], group["port"]) == ("ip", 8080)
    rules = plan.planned("aws_vpc_security_group_ingress_rule")
    into = {rule["description"]: rule["to_port"] for rule in rules.values()}
    assert into["Model service, from the load balancer"] == 8080
    for server in ("prefect", "mlflow"):
        assert f'aws_vpc_security_group_ingress_rule.server["{server} serving"]' in rules
    # The servers stay on the instances.
    for name in ("prefect", "mlflow", "worker"):
        assert services[name][provider][0]["capacity_provider"] == "laurel-services"
        assert of_family(plan, f"laurel-{name}")["requires_compatibilities"] == ["EC2"]


def test_what_fargate_lacks_is_not_asked_of_it(bare: Stack) -> None:
    """A file system in memory, a driver of volumes, and a port that Docker chooses."""
    plan = bare.plan(image_tag="v1", fargate={"serving": "FARGATE_SPOT"})
    names = {name for name in plan.planned("aws_autoscaling_group") if "flows" in name}
    assert len(names) == 1, "flow runs stay on instances of their own"
    (service,) = [
        module
        for module in plan.document["planned_values"]["root_module"]["child_modules"]
        if module["address"] == "module.serving[0]"
    ]
    (task,) = [item for item in service["resources"] if item["type"] == "aws_ecs_task_definition"]
    assert task["values"]["volume"][0]["docker_volume_configuration"] == []
    template = (bare.copy / "terraform/modules/service/main.tf").read_text()
    assert "local.fargate ? {} : { tmpfs" in template


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"fargate": {"serving": "EC2"}}, "FARGATE or FARGATE_SPOT"),
        (
            {
                "image_tag": "v1",
                "fargate": {"serving": "FARGATE"},
                "serving": SERVING | {"cpu": 768},
            },
            "Fargate has no task of 768 CPU units",
        ),
        (
            {
                "image_tag": "v1",
                "fargate": {"serving": "FARGATE"},
                "serving": SERVING | {"memory": 5000},
            },
            "Fargate has no task of 512 CPU units and 5000 MiB",
        ),
        ({"allowed_cidrs": ["0.0.0.0/0"]}, "Without a certificate"),
        (
            {"certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/1"},
            "set domain_name",
        ),
        ({"name": "Laurel"}, "lower-case"),
        ({"name": "aws-team"}, "two hyphens in a row"),
        ({"name": "ecs-models"}, "two hyphens in a row"),
        ({"name": "fargate1"}, "two hyphens in a row"),
        ({"name": "ssm-models"}, "two hyphens in a row"),
        ({"name": "internal-models"}, "two hyphens in a row"),
        ({"name": "sthree-models"}, "two hyphens in a row"),
        ({"name": "team--models"}, "two hyphens in a row"),
        (
            {"alarms": {"latency_seconds": 0.5, "errors": 10, "no_prediction_minutes": 1445}},
            "multiple of 5",
        ),
        (
            {"alarms": {"latency_seconds": 0.5, "errors": 10, "no_prediction_minutes": -5}},
            "multiple of 5",
        ),
        (
            {"alarms": {"latency_seconds": 0.5, "errors": 10, "no_prediction_minutes": 7}},
            "multiple of 5",
        ),
        ({"image_tag": "latest"}, "names one build"),
        ({"github": {"repository": "example/*"}}, "without a star"),
        ({"cidr": "10.0.0.0/24"}, "/16"),
        ({"log_retention_days": 31}, "CloudWatch keeps logs"),
    ],
)
def test_what_would_not_be_safe_or_not_work_is_refused_by_plan(
    bare: Stack, variables: dict[str, Any], message: str
) -> None:
    with pytest.raises(TerraformError, match=message):
        bare.plan(**variables)
