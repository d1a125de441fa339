"""What a plan must contain for the stack to come up, stay up, and go down: limits that AWS checks
only when it creates something.
"""

import itertools
import json
import re
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import pytest

from deployments.aws.sagemaker_rollout import in_terraform
from tests.infra.aws import REGION
from tests.infra.known import ACCOUNT, known
from tests.infra.terraform import Plan, Stack, Terraform, TerraformError
from tests.infra.test_endpoint import ARCHIVE, IMAGE
from usecases.definition import AB, Canary, Shadow, Stage

DAY = 86_400


@pytest.fixture(scope="module")
def other_plan(known_cluster: Stack) -> Plan:
    """Another image of flows beside the same servers, a default use case, the longest name that is
    taken, and the longest silence.
    """
    alarms = {"latency_seconds": 0.5, "errors": 10, "no_prediction_minutes": 1440}
    tags = {
        "image_tag": "flows-2",
        "servers_image_tag": "servers-1",
        "serving_image_tag": "serving-1",
    }
    return known_cluster.plan(
        name="a0123456789012345678",
        alarms=alarms,
        use_cases=["flights", "*"],
        keep_days={"runs": 30, "report_pages": 0},
        **tags,
    )


@pytest.fixture(scope="module")
def needs(terraform: Terraform) -> dict[str, set[str]]:
    """Of the stack cluster: ``edges``."""
    return edges(terraform.stack("cluster"))


@pytest.fixture(scope="module")
def endpoint(terraform: Terraform) -> Stack:
    return known(terraform, "modules/endpoint", image=IMAGE, variants=ARCHIVE)


@pytest.fixture(scope="module")
def endpoint_plan(endpoint: Stack) -> Plan:
    """One instance at least."""
    return endpoint.plan()


def test_instances_are_replaced_before_they_are_old_and_when_there_is_a_newer_image(
    cluster_plan: Plan,
) -> None:
    groups = {
        group["name"]: group for group in cluster_plan.planned("aws_autoscaling_group").values()
    }
    assert {group["max_instance_lifetime"] for group in groups.values()} == {30 * DAY}
    (refresh,) = groups["laurel-services"]["instance_refresh"]
    (preferences,) = refresh["preferences"]
    # They are protected from scaling in: by default a refresh would leave them as they are.
    assert groups["laurel-services"]["protect_from_scale_in"] is True
    assert preferences["scale_in_protected_instances"] == "Refresh"
    # New instances first: Prefect's only task runs on one of the two.
    assert (preferences["min_healthy_percentage"], preferences["max_healthy_percentage"]) == (
        100,
        200,
    )
    assert not groups["laurel-flows"]["instance_refresh"]  # they come and go with their runs


def test_ecs_can_go_back_to_a_revision_that_a_newer_one_took_the_place_of(
    cluster_plan: Plan,
) -> None:
    definitions = cluster_plan.planned("aws_ecs_task_definition").values()
    assert {definition["family"]: definition["skip_destroy"] for definition in definitions} == {
        f"laurel-{name}": True for name in ("prefect", "mlflow", "worker", "serving", "command")
    }


def test_only_what_must_not_run_twice_is_away_while_it_is_deployed(cluster_plan: Plan) -> None:
    bounds = {
        service["name"]: (
            service["deployment_minimum_healthy_percent"],
            service["deployment_maximum_percent"],
        )
        for service in cluster_plan.planned("aws_ecs_service").values()
    }
    assert bounds == {
        "prefect": (0, 100),
        "worker": (0, 100),
        "mlflow": (100, 200),
        "serving": (100, 200),
    }


def test_a_use_case_that_changed_starts_no_server_anew(other_plan: Plan) -> None:
    """Tags come from the content: a new flows image affects only the command and the pool."""
    tags = {}
    for definition in other_plan.planned("aws_ecs_task_definition").values():
        images = {
            container["image"] for container in json.loads(definition["container_definitions"])
        }
        tags[definition["family"].rpartition("-")[2]] = {
            image.rpartition(":")[2] for image in images
        }
    servers = dict.fromkeys(("prefect", "mlflow", "worker"), {"servers-1"})
    assert tags == servers | {"serving": {"serving-1"}, "command": {"flows-2"}}


def test_the_service_serves_every_use_case_unless_some_are_named(
    cluster_plan: Plan, other_plan: Plan
) -> None:
    def served(plan: Plan) -> str:
        (value,) = [
            parameter["value"]
            for parameter in plan.planned("aws_ssm_parameter").values()
            if parameter["name"].endswith("/LAUREL_SERVING_USE_CASES")
        ]
        return str(value)

    assert served(cluster_plan) == "*"
    assert served(other_plan) == "flights,*"


def edges(stack: Stack) -> dict[str, set[str]]:
    """Resource -> the resources that it names."""
    targets: dict[str, set[str]] = {}
    for source, target in re.findall(
        r'^\s*"([^"]+)" -> "([^"]+)";', stack.run("graph"), re.MULTILINE
    ):
        targets.setdefault(source, set()).add(target)
    return targets


def reached(
    direct: dict[str, set[str]], node: str, through: Callable[[str], bool] = bool
) -> set[str]:
    """All that ``node`` depends on, through resources that ``through`` accepts: they are created
    before it, and destroyed after it.
    """
    visited: set[str] = set()
    ask = [node]
    while ask:
        for target in direct.get(ask.pop(), set()) - visited:
            visited.add(target)
            if through(target):
                ask.append(target)
    return visited


# Resources that work by themselves, and what they need meanwhile: a user of a role, a group or a
# subnet also needs its rights, its rules or its routes.
AT_WORK = (
    "aws_ecs_service",
    "aws_autoscaling_group",
    "aws_instance",
    "aws_nat_gateway",
    "aws_lb",
    "aws_flow_log",
    "aws_cloudwatch_event_target",
    "aws_sagemaker_model",
    "aws_cloudformation_stack",
)
OWNERS = {
    "aws_iam_role_policy": "aws_iam_role",
    "aws_iam_role_policy_attachment": "aws_iam_role",
    "aws_sqs_queue_policy": "aws_sqs_queue",
    "aws_vpc_security_group_egress_rule": "aws_security_group",
    "aws_route": "aws_route_table",
    "aws_route_table_association": "aws_subnet",
}


def module(address: str) -> str:
    return "".join(re.findall(r"module\.[^.]+\.", address))


def kind(address: str) -> str:
    return re.sub(r"^(module\.[^.]+\.)*", "", address).partition(".")[0]


# A service has the roles of its task definition, an instance those of its template and profile.
PARTS = ("aws_ecs_task_definition", "aws_launch_template", "aws_iam_instance_profile")


def lacking(direct: dict[str, set[str]]) -> list[str]:
    """``service lacks policy`` for each that uses an owner and does not wait for what belongs to
    it.
    """
    faults = []
    for worker in direct:
        if kind(worker) not in AT_WORK:
            continue
        uses, above = (
            reached(direct, worker, lambda node: kind(node) in PARTS),
            reached(direct, worker),
        )
        for part, named in direct.items():
            owners = {address for address in named if kind(address) == OWNERS.get(kind(part))}
            # A rule names two groups: its own, and the one that it lets in or out.
            owners = {address for address in owners if module(address) == module(part)} or owners
            if owners & uses and part not in above and worker not in reached(direct, part):
                faults.append(f"{worker} lacks {part}")
    return sorted(faults)


def test_what_works_has_its_rights_rules_and_routes_until_it_is_gone(
    terraform: Terraform, needs: dict[str, set[str]]
) -> None:
    """By the graph: a resource that is not upstream of a service may be created after it, and
    destroyed while its agents still report.
    """
    for graph in (
        needs,
        edges(terraform.stack("single")),
        edges(terraform.stack("modules/endpoint")),
    ):
        assert [worker for worker in graph if kind(worker) in AT_WORK]
        assert lacking(graph) == []


def test_destroy_keeps_nat_egress_and_the_role_of_the_instances_to_the_end(
    needs: dict[str, set[str]],
) -> None:
    for service in ("prefect", "mlflow", "worker", "serving"):
        above = reached(needs, f"module.{service}.aws_ecs_service.main")
        assert above >= {
            "module.network.aws_nat_gateway.main",
            "module.network.aws_route.internet",
            "module.network.aws_route_table_association.public",
            "module.ecs.aws_iam_role_policy.instances",
            "module.ecs.aws_vpc_security_group_egress_rule.instances",
            f"module.{service}.module.execution_role.aws_iam_role_policy.main",
        }
    assert "aws_vpc_security_group_egress_rule.database" in reached(
        needs, "module.prefect.aws_ecs_service.main"
    )


def test_no_alarm_looks_back_further_than_cloudwatch_does(
    other_plan: Plan, single_plan: Plan, endpoint_plan: Plan
) -> None:
    alarms = [
        list(plan.planned("aws_cloudwatch_metric_alarm").values())
        for plan in (other_plan, single_plan, endpoint_plan)
    ]
    assert all(alarms), "a stack has no alarm"
    for alarm in itertools.chain(*alarms):
        periods = (
            [alarm["period"]]
            if alarm.get("period")
            else [
                query["metric"][0]["period"] for query in alarm["metric_query"] if query["metric"]
            ]
        )
        assert all(period in (10, 20, 30) or period % 60 == 0 for period in periods)
        assert max(periods) * alarm["evaluation_periods"] <= (
            DAY if max(periods) < 3600 else 7 * DAY
        ), alarm["alarm_name"]


# The permitted names in a plan: letters, length, and prefixes that AWS refuses.
LIMITS: dict[str, tuple[str, str]] = {
    "aws_ecs_capacity_provider": ("name", r"(?!aws|ecs|fargate)[\w-]{1,255}"),
    "aws_ecs_cluster": ("name", r"[\w-]{1,255}"),
    "aws_s3_bucket": ("bucket", r"(?!xn--|sthree-|amzn-s3-demo-)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"),
    "aws_lb": ("name", r"(?!internal-)[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?"),
    "aws_db_instance": ("identifier", r"[a-z](?:-?[a-z0-9]){0,62}"),
    "aws_iam_role": ("name", r"[\w+=,.@-]{1,64}"),
    "aws_ssm_parameter": ("name", r"/(?!aws|ssm)[\w./-]{1,1010}"),
    "aws_ecr_repository": ("name", r"[a-z0-9](?:[._/-]?[a-z0-9]+)*"),
    "aws_sqs_queue": ("name", r"[\w-]{1,80}"),
    "aws_cloudwatch_log_group": ("name", r"(?!aws/)[\w./#-]{1,512}"),
    "aws_cloudwatch_event_rule": ("name", r"[\w.-]{1,64}"),
    # Not with a hyphen and six letters at its end: AWS would take them for those that it adds
    # itself.
    "aws_secretsmanager_secret": ("name", r"(?!.*-[A-Za-z0-9]{6}$)[\w/+=.@-]{1,512}"),
    "aws_launch_template": ("name", r"[\w().\/-]{3,128}"),
    "aws_security_group": ("name", r"(?!sg-)[\w .:\/()#,@\[\]+=&;{}!$*-]{1,255}"),
    "aws_service_discovery_private_dns_namespace": ("name", r"[a-z0-9.-]{1,253}"),
}


def test_how_long_things_are_kept_reaches_the_deployments(
    other_plan: Plan, cluster_plan: Plan
) -> None:
    def kept(plan: Plan) -> dict[str, str]:
        parameters = plan.planned("aws_ssm_parameter").values()
        named = {one["name"].rpartition("/")[2]: one for one in parameters}
        return {
            name: parameter.get("insecure_value") or parameter["value"]
            for name, parameter in named.items()
            if name.startswith("LAUREL_KEEP_")
        }

    assert kept(other_plan) == {
        "LAUREL_KEEP_RUNS_DAYS": "30",
        "LAUREL_KEEP_REPORT_PAGES_DAYS": "0",
    }
    assert kept(cluster_plan) == {}


def test_every_name_is_one_that_aws_takes(other_plan: Plan) -> None:
    for resource, (attribute, pattern) in LIMITS.items():
        names = [item[attribute] for item in other_plan.planned(resource).values()]
        assert names, resource
        assert [item for item in names if not re.fullmatch(pattern, item)] == [], resource


def test_every_graph_shows_a_metric_that_somebody_publishes(cluster_plan: Plan) -> None:
    (dashboard,) = cluster_plan.planned("aws_cloudwatch_dashboard").values()
    widgets = json.loads(dashboard["dashboard_body"])["widgets"]
    published = metrics(cluster_plan)
    graphed = {(line[0], line[1]) for widget in widgets for line in widget["properties"]["metrics"]}
    watched = {
        (metric["namespace"], metric["metric_name"])
        for alarm in cluster_plan.planned("aws_cloudwatch_metric_alarm").values()
        for metric in (
            [alarm]
            if alarm.get("metric_name")
            else [query["metric"][0] for query in alarm["metric_query"] if query["metric"]]
        )
    }
    assert watched
    assert (graphed | watched) - published == set()


def metrics(plan: Plan) -> set[tuple[str, str]]:
    """Namespace and name of every published metric: AWS's own, those of groups with metrics
    enabled, and those of log filters.
    """
    balancer = (
        "RequestCount",
        "TargetResponseTime",
        "HTTPCode_Target_5XX_Count",
        "HTTPCode_ELB_5XX_Count",
        "HTTPCode_Target_4XX_Count",
    )
    published = {("AWS/ApplicationELB", name) for name in (*balancer, "HealthyHostCount")}
    published |= {
        ("AWS/ECS", "CPUUtilization"),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/RDS", "FreeStorageSpace"),
    }
    for group in plan.planned("aws_autoscaling_group").values():
        published |= {("AWS/AutoScaling", name) for name in group.get("enabled_metrics") or []}
    for metric_filter in plan.planned("aws_cloudwatch_log_metric_filter").values():
        published |= {
            (transformation["namespace"], transformation["name"])
            for transformation in metric_filter["metric_transformation"]
        }
    return published


def stack_of(plan: Plan) -> dict[str, Any]:
    (stack,) = plan.planned("aws_cloudformation_stack").values()
    return dict(json.loads(stack["template_body"])["Resources"]["Endpoint"]["Properties"])


def test_an_update_of_the_endpoint_keeps_its_instances_and_shifts_under_alarms(
    endpoint: Stack,
) -> None:
    plan = endpoint.plan(instances={"min": 2, "max": 6})
    properties = stack_of(plan)
    assert (properties["EndpointName"], properties["EndpointConfigName"]) == (
        "laurel",
        "laurel-0a1b",
    )
    # Autoscaling's number stays; the weights are those of the new configuration.
    assert properties["RetainAllVariantProperties"] is True
    assert properties["ExcludeRetainedVariantProperties"] == [
        {"VariantPropertyType": "DesiredWeight"}
    ]
    update = properties["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert update["TrafficRoutingConfiguration"] == {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 300,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
    }
    (stack,) = plan.planned("aws_cloudformation_stack").values()
    waited_minutes = (
        update["TerminationWaitInSeconds"]
        + 2 * update["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"]
    ) / 60
    assert int(stack["timeouts"]["update"].removesuffix("m")) > 2 * waited_minutes
    alarms_of = {
        alarm["AlarmName"]
        for alarm in properties["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    }
    assert alarms_of == {"laurel-champion-5xx", "laurel-champion-latency"}


def test_of_one_instance_no_half_can_be_tried(endpoint_plan: Plan) -> None:
    routing = stack_of(endpoint_plan)["DeploymentConfig"]["BlueGreenUpdatePolicy"][
        "TrafficRoutingConfiguration"
    ]
    assert routing == {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300}


def written(endpoint: Stack, *stages: Stage) -> Plan:
    """Planned with what ``sagemaker_package`` prints for a rollout, of two instances or more."""
    path = endpoint.folder / "z.auto.tfvars"
    path.write_text(in_terraform("flights", stages))
    try:
        return endpoint.plan(instances={"min": 2, "max": 6})
    finally:
        path.unlink()


def test_what_a_rollout_is_written_as_is_what_sagemaker_shifts_by(endpoint: Stack) -> None:
    """A shadow of its own beside the champion, and then equal steps."""
    plan = written(endpoint, Shadow(), Canary())
    (configuration,) = plan.planned("aws_sagemaker_endpoint_configuration").values()
    (champion,), (shadow,) = (
        configuration[name] for name in ("production_variants", "shadow_production_variants")
    )
    assert (champion["variant_name"], shadow["variant_name"]) == ("champion", "shadow")
    assert champion["initial_variant_weight"] == shadow["initial_variant_weight"]
    models = {
        model["name"].rsplit("-", 1)[0]: model
        for model in plan.planned("aws_sagemaker_model").values()
    }
    assert models["laurel-shadow"]["primary_container"][0]["environment"] is None
    assert models["laurel-shadow"]["enable_network_isolation"] is True
    (role,) = plan.planned("aws_iam_role_policy").values()
    allowed = {each["Sid"]: each for each in json.loads(role["policy"])["Statement"]}
    assert len(allowed["Models"]["Resource"]) == 2
    properties = stack_of(plan)
    update = properties["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    assert update == {
        "TerminationWaitInSeconds": 3600,
        "TrafficRoutingConfiguration": {
            "Type": "LINEAR",
            "WaitIntervalInSeconds": 3600,
            "LinearStepSize": {"Type": "CAPACITY_PERCENT", "Value": 25},
        },
    }
    # Nobody hears the shadow: its alarm would take nothing back.
    alarms = properties["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]
    names = {alarm["AlarmName"] for alarm in alarms}
    assert names == {"laurel-champion-5xx", "laurel-champion-latency"}
    alarm_arn = allowed["Alarms"]["Resource"]
    assert all(
        fnmatch(f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}", alarm_arn) for name in names
    )
    (stack,) = plan.planned("aws_cloudformation_stack").values()
    assert int(stack["timeouts"]["update"].removesuffix("m")) >= 5 * 60 + 60


def test_the_weights_of_an_ab_are_those_of_its_share(endpoint: Stack) -> None:
    (configuration,) = (
        written(endpoint, AB(share=0.2)).planned("aws_sagemaker_endpoint_configuration").values()
    )
    assert {
        variant["variant_name"]: variant["initial_variant_weight"]
        for variant in configuration["production_variants"]
    } == {"champion": 0.8, "challenger": 0.2}


@pytest.mark.parametrize(
    ("rollout", "more", "message"),
    [
        ({"kind": "canari"}, {}, "all_at_once, canary or linear"),
        ({"kind": "canary", "percent": 51}, {}, "of a canary 1 to 50"),
        ({"kind": "linear", "percent": 9}, {}, "of a linear step 10 to 50"),
        ({"wait_seconds": 3601}, {}, "from 0 to 3600"),
        ({"kind": "linear", "wait_seconds": 3600}, {}, "larger steps, or shorter waits"),
        ({"timeout_seconds": 599}, {}, "from 600 to 28800"),
        ({"kind": "canary"}, {"instances": {"min": 1, "max": 4}}, "instances.min of 2"),
        (
            {},
            {
                "shadow": ARCHIVE["champion"],
                "variants": ARCHIVE | {"second": ARCHIVE["champion"]},
            },
            "requests of one variant",
        ),
    ],
)
def test_a_rollout_that_sagemaker_would_refuse_late_is_refused_by_plan(
    endpoint: Stack, rollout: dict[str, Any], more: dict[str, Any], message: str
) -> None:
    with pytest.raises(TerraformError, match=message.replace(" ", r"\s+(?:│\s+)?")):
        endpoint.plan(**{"instances": {"min": 2, "max": 6}, "rollout": rollout} | more)
