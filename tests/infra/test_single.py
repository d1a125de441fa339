"""The stack single: applied to moto's server, inspected with boto3, applied again, restored from a
snapshot, destroyed.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.terraform import Stack, Terraform, TerraformError

REQUIRED = {"repository": "https://git.example.org/laurel.git", "revision": "v1"}
IMAGES = {
    name: f"123456789012.dkr.ecr.us-east-1.amazonaws.com/laurel-{name}:1"
    for name in ("flows", "serving")
}
# Moto's server knows Amazon's images and not Canonical's.
IMAGE = (
    'data "aws_ssm_parameter" "ami" {\n  name = '
    '"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"\n}\n'
)
# It has no Data Lifecycle Manager and cannot list whom a budget tells: plans cover both. It shows
# an instance's security groups on the interface only. And a volume that is kept from Terraform's
# destroy would outlive the test.
AT_MOTO = f"""{IMAGE}
resource "aws_dlm_lifecycle_policy" "daily" {{
  count = 0
}}

resource "aws_budgets_budget" "month" {{
  count = 0
}}

resource "aws_instance" "box" {{
  lifecycle {{
    ignore_changes = [ami, vpc_security_group_ids]
  }}
}}
"""
DESTROYED = (
    'resource "aws_ebs_volume" "data" {\n  lifecycle {\n    prevent_destroy = false\n  }\n}\n'
)


@pytest.fixture(scope="module")
def box(terraform: Terraform) -> Iterator[Stack]:
    overrides = {"moto": AT_MOTO, "destroyed": DESTROYED}
    with terraform.applied(
        "single", overrides, name="laurel-box", alarm_email="ml@example.org", **REQUIRED
    ) as stack:
        yield stack


@pytest.fixture(scope="module")
def planned(terraform: Terraform) -> Stack:
    """A stack that is only planned, complete except for the image."""
    stack = terraform.stack("single", name="laurel-plan", **REQUIRED)
    stack.override("image", IMAGE)
    return stack


@pytest.fixture(scope="module")
def ec2(box: Stack) -> Any:
    return box.aws.client("ec2")


@pytest.fixture(scope="module")
def instance(box: Stack, ec2: Any) -> Any:
    return ec2.describe_instances(InstanceIds=[box.outputs()["instance_id"]])["Reservations"][0][
        "Instances"
    ][0]


def test_second_apply_changes_nothing(box: Stack) -> None:
    assert box.plan().changes == {}


def test_no_port_is_open_unless_listed(ec2: Any, instance: Any) -> None:
    (interface,) = instance["NetworkInterfaces"]
    (group,) = ec2.describe_security_groups(
        GroupIds=[group["GroupId"] for group in interface["Groups"]]
    )["SecurityGroups"]
    assert group["GroupName"] == "laurel-box-box"
    assert group["IpPermissions"] == []
    assert sorted((rule["FromPort"], rule["ToPort"]) for rule in group["IpPermissionsEgress"]) == [
        (80, 80),
        (443, 443),
    ]


def test_disks_are_encrypted_and_the_data_volume_outlives_the_box(
    box: Stack, ec2: Any, instance: Any
) -> None:
    disks = {disk["DeviceName"]: disk["Ebs"] for disk in instance["BlockDeviceMappings"]}
    volumes = ec2.describe_volumes(VolumeIds=[disk["VolumeId"] for disk in disks.values()])[
        "Volumes"
    ]
    assert [volume["Encrypted"] for volume in volumes] == [True, True]
    assert disks["/dev/sdf"]["VolumeId"] == box.outputs()["volume_id"]
    assert disks["/dev/sdf"]["DeleteOnTermination"] is False


def test_only_imdsv2_is_answered(instance: Any) -> None:
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    # Containers are one hop further away.
    assert instance["MetadataOptions"]["HttpPutResponseHopLimit"] == 2


def test_bucket_is_private_encrypted_and_over_tls(box: Stack) -> None:
    s3, bucket = box.aws.client("s3"), box.outputs()["lake"].removeprefix("s3://")
    assert set(
        s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()
    ) == {True}
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]


def test_role_may_use_its_bucket_and_its_own_session_and_nothing_else(box: Stack) -> None:
    iam, bucket = box.aws.client("iam"), box.outputs()["lake"].removeprefix("s3://")
    assert iam.list_attached_role_policies(RoleName="laurel-box-box")["AttachedPolicies"] == []
    assert iam.list_role_policies(RoleName="laurel-box-box")["PolicyNames"] == ["box"]
    statements = iam.get_role_policy(RoleName="laurel-box-box", PolicyName="box")["PolicyDocument"][
        "Statement"
    ]
    allowed = {statement["Sid"]: statement for statement in statements}
    assert set(allowed) == {"LakeList", "LakeObjects", "Session"}
    assert not [
        action for statement in statements for action in statement["Action"] if "*" in action
    ]
    assert allowed["LakeList"]["Resource"] == f"arn:aws:s3:::{bucket}"
    assert allowed["LakeObjects"]["Resource"] == f"arn:aws:s3:::{bucket}/*"
    assert {action.partition(":")[0] for action in allowed["Session"]["Action"]} == {
        "ssm",
        "ssmmessages",
    }


def test_images_of_ecr_give_the_right_to_pull_just_those(planned: Stack) -> None:
    assert set(planned.plan().planned("aws_iam_role_policy")) == {"aws_iam_role_policy.box"}
    policy = planned.plan(images=IMAGES).planned("aws_iam_role_policy")[
        "aws_iam_role_policy.images[0]"
    ]["policy"]
    login, pull = json.loads(policy)["Statement"]
    assert login["Action"] == "ecr:GetAuthorizationToken"
    assert sorted(pull["Resource"]) == [
        f"arn:aws:ecr:us-east-1:123456789012:repository/laurel-{name}"
        for name in ("flows", "serving")
    ]
    assert not [action for action in pull["Action"] if "*" in action or "Put" in action]


def test_a_sick_box_is_moved_or_started_again_and_somebody_is_told(
    box: Stack, instance: Any
) -> None:
    alarms = {
        alarm["MetricName"]: alarm
        for alarm in box.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]
    }
    assert set(alarms) == {"StatusCheckFailed_System", "StatusCheckFailed_Instance"}
    (topic,) = box.aws.client("sns").list_topics()["Topics"]
    for metric, action in {
        "StatusCheckFailed_System": "recover",
        "StatusCheckFailed_Instance": "reboot",
    }.items():
        assert set(alarms[metric]["AlarmActions"]) == {
            f"arn:aws:automate:us-east-1:ec2:{action}",
            topic["TopicArn"],
        }
        assert alarms[metric]["Dimensions"] == [
            {"Name": "InstanceId", "Value": instance["InstanceId"]}
        ]
    (subscription,) = box.aws.client("sns").list_subscriptions()["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ml@example.org")


def test_snapshots_are_made_daily_of_the_data_volume_and_kept(planned: Stack) -> None:
    plan = planned.plan(snapshot_days=21)
    (policy,) = plan.planned("aws_dlm_lifecycle_policy").values()
    (details,) = policy["policy_details"]
    (schedule,) = details["schedule"]
    assert policy["state"] == "ENABLED"
    assert (
        schedule["create_rule"][0]["interval"],
        schedule["create_rule"][0]["interval_unit"],
    ) == (24, "HOURS")
    assert schedule["retain_rule"][0]["count"] == 21
    (volume,) = plan.planned("aws_ebs_volume").values()
    assert details["target_tags"].items() <= volume["tags"].items()


def test_budget_tells_whoever_left_an_address(planned: Stack) -> None:
    assert not planned.plan().planned("aws_budgets_budget")
    (budget,) = (
        planned.plan(alarm_email="ml@example.org", budget_usd=80)
        .planned("aws_budgets_budget")
        .values()
    )
    assert (budget["limit_amount"], budget["limit_unit"], budget["time_unit"]) == (
        "80",
        "USD",
        "MONTHLY",
    )
    assert {
        notification["notification_type"]: notification["threshold"]
        for notification in budget["notification"]
    } == {
        "ACTUAL": 80,
        "FORECASTED": 100,
    }
    assert all(
        notification["subscriber_email_addresses"] == ["ml@example.org"]
        for notification in budget["notification"]
    )


def test_listed_ports_are_open_to_those_listed(planned: Stack) -> None:
    rules = planned.plan(
        inbound=[{"port": 5001, "cidrs": ["10.1.0.0/16", "203.0.113.7/32"]}]
    ).planned("aws_vpc_security_group_ingress_rule")
    assert {(rule["from_port"], rule["to_port"], rule["cidr_ipv4"]) for rule in rules.values()} == {
        (5001, 5001, "10.1.0.0/16"),
        (5001, 5001, "203.0.113.7/32"),
    }


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "0.0.0.0/1"])
def test_the_whole_internet_is_refused_unless_stated(planned: Stack, cidr: str) -> None:
    inbound = [{"port": 5001, "cidrs": [cidr]}]
    with pytest.raises(TerraformError, match="inbound_from_anywhere"):
        planned.plan(inbound=inbound)
    (rule,) = (
        planned.plan(inbound=inbound, inbound_from_anywhere=True)
        .planned("aws_vpc_security_group_ingress_rule")
        .values()
    )
    assert rule["cidr_ipv4"] == cidr


def test_spot_box_stops_and_comes_back_when_it_is_taken_away(planned: Stack) -> None:
    assert not list(planned.plan().planned("aws_instance").values())[0].get(
        "instance_market_options"
    )
    (box,) = planned.plan(spot=True).planned("aws_instance").values()
    (market,) = box["instance_market_options"]
    (options,) = market["spot_options"]
    assert market["market_type"] == "spot"
    assert (options["spot_instance_type"], options["instance_interruption_behavior"]) == (
        "persistent",
        "stop",
    )


@pytest.mark.parametrize(
    ("instance_type", "architecture"), [("t3.large", "amd64"), ("t4g.large", "arm64")]
)
def test_image_is_of_the_architecture_of_the_box(
    terraform: Terraform, instance_type: str, architecture: str
) -> None:
    """Moto's server names the requested parameter in its error, since it does not have it."""
    with pytest.raises(
        TerraformError, match=f"canonical/ubuntu/server/24.04/stable/current/{architecture}/hvm"
    ):
        terraform.stack("single", instance_type=instance_type, **REQUIRED).plan()


def test_a_new_revision_replaces_the_box_and_leaves_the_data(box: Stack) -> None:
    changes = box.plan(revision="v2").changes
    assert sorted(changes["aws_instance.box"]) == ["create", "delete"]
    assert "aws_ebs_volume.data" not in changes
    assert not [address for address in changes if address.startswith("module.lake")]


def test_destroy_refuses_to_take_the_data_volume(box: Stack) -> None:
    box.override("destroyed", "")
    with pytest.raises(TerraformError, match="prevent_destroy"):
        box.destroy()
    box.override("destroyed", DESTROYED)
    assert box.plan().changes == {}


def test_restore_makes_the_volume_from_the_snapshot_and_keeps_the_old_one(
    box: Stack, ec2: Any
) -> None:
    """The README's steps: a snapshot, the volume out of the state, an apply with
    `restore_snapshot_id`.
    """
    old = box.outputs()["volume_id"]
    snapshot = ec2.create_snapshot(VolumeId=old)["SnapshotId"]
    box.override("destroyed", "")
    box.run("state", "rm", "aws_ebs_volume.data")
    box.apply(restore_snapshot_id=snapshot)
    new = box.outputs()["volume_id"]
    volumes = {
        volume["VolumeId"]: volume
        for volume in ec2.describe_volumes(VolumeIds=[old, new])["Volumes"]
    }
    assert old != new
    assert volumes[new]["SnapshotId"] == snapshot
    assert volumes[new]["Encrypted"] is True
    assert [place["InstanceId"] for place in volumes[new]["Attachments"]] == [
        box.outputs()["instance_id"]
    ]
    assert volumes[old]["Attachments"] == []
    assert box.plan().changes == {}
    assert box.plan(restore_snapshot_id=None).changes == {}
    ec2.delete_volume(VolumeId=old)
    box.override("destroyed", DESTROYED)
