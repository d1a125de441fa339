"""The module lake: the bucket's configuration, and what it refuses."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.aws import Aws
from tests.infra.terraform import Stack, Terraform, TerraformError

BUCKET = "laurel-test-lake"


@pytest.fixture(scope="module")
def lake(terraform: Terraform) -> Iterator[Stack]:
    with terraform.applied("modules/lake", bucket=BUCKET) as stack:
        yield stack


@pytest.fixture(scope="module")
def s3(lake: Stack) -> Any:
    return lake.aws.client("s3")


def test_second_apply_changes_nothing(lake: Stack) -> None:
    assert lake.plan().changes == {}


def test_bucket_is_not_public(s3: Any) -> None:
    blocked = s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"]
    assert blocked == dict.fromkeys(
        ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"], True
    )
    owned = s3.get_bucket_ownership_controls(Bucket=BUCKET)["OwnershipControls"]["Rules"]
    assert owned == [{"ObjectOwnership": "BucketOwnerEnforced"}]


def test_bucket_refuses_requests_without_tls(s3: Any) -> None:
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Action"] == "s3:*"
    assert statement["Principal"] == "*"
    assert set(statement["Resource"]) == {f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"}
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_objects_are_encrypted_and_versioned(s3: Any) -> None:
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"


def test_a_given_key_encrypts_the_objects(terraform: Terraform, aws: Aws) -> None:
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    plan = terraform.stack("modules/lake", bucket="laurel-test-kms", kms_key_arn=key).plan()
    (encryption,) = plan.planned("aws_s3_bucket_server_side_encryption_configuration").values()
    (rule,) = encryption["rule"]
    assert rule["apply_server_side_encryption_by_default"] == [
        {"kms_master_key_id": key, "sse_algorithm": "aws:kms"}
    ]
    assert rule["bucket_key_enabled"] is True


def test_old_versions_and_broken_uploads_go_and_predictions_move_to_cheaper_storage(
    s3: Any,
) -> None:
    rules = {
        rule["ID"]: rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    }
    log = {"predictions", "feedback", "compacted"}
    assert set(rules) == {"old-versions-and-broken-uploads", "results", *log}
    assert (rules["results"]["Filter"], rules["results"]["Expiration"]) == (
        {"Prefix": "results/"},
        {"Days": 7},
    )
    everywhere = rules["old-versions-and-broken-uploads"]
    assert everywhere["NoncurrentVersionExpiration"]["NoncurrentDays"] == 30
    assert everywhere["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] == 3
    for kind in log:
        assert rules[kind]["Filter"] == {"Prefix": f"{kind}/"}
        assert rules[kind]["Transitions"] == [{"Days": 60, "StorageClass": "STANDARD_IA"}]
        # A file that expires before the manifest that names it would be a damaged day.
        assert "Expiration" not in rules[kind]


def test_eventbridge_is_told_of_new_objects_where_asked_for(lake: Stack) -> None:
    """By its plan: moto's server takes the configuration and forgets that EventBridge is in it."""
    assert not lake.plan().planned("aws_s3_bucket_notification")
    (notification,) = lake.plan(eventbridge=True).planned("aws_s3_bucket_notification").values()
    assert notification["eventbridge"] is True


def test_destroy_refuses_while_an_object_is_there(lake: Stack, s3: Any) -> None:
    # Moto's server knows no condition in a bucket's policy, so that "not without TLS" refuses every
    # write.
    s3.delete_bucket_policy(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="datasets/flights/one", Body=b"rows")
    with pytest.raises(TerraformError, match="BucketNotEmpty"):
        lake.destroy()
    for version in s3.list_object_versions(Bucket=BUCKET)["Versions"]:
        s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])


@pytest.mark.parametrize("variables", [{"noncurrent_days": 0}, {"predictions_cold_days": 29}])
def test_days_that_s3_would_refuse_are_refused_by_plan(
    terraform: Terraform, variables: dict[str, int]
) -> None:
    with pytest.raises(TerraformError, match="at least"):
        terraform.stack("modules/lake", bucket="laurel-test-wrong", **variables).plan()
