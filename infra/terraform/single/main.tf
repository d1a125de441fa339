# One box that runs compose.yaml; its lake is a bucket. What it knows lives on a volume that outlives it.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

data "aws_availability_zones" "usable" {
  # checkov:skip=CKV_AWS_394:Only the first is taken; should it ever be another one, the data volume refuses to be moved
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_subnet" "box" {
  id                = var.subnet_id
  default_for_az    = var.subnet_id == null ? true : null
  availability_zone = var.subnet_id == null ? coalesce(var.availability_zone, data.aws_availability_zones.usable.names[0]) : null
}

data "aws_ec2_instance_type" "box" {
  instance_type = var.instance_type
}

locals {
  arm = contains(data.aws_ec2_instance_type.box.supported_architectures, "arm64")
  arn = "arn:${data.aws_partition.current.partition}"
}

# Ubuntu, since its own packages have Docker, Compose v2 and the ECR login, and its image has the agent of Session Manager.
data "aws_ssm_parameter" "ami" {
  name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/${local.arm ? "arm64" : "amd64"}/hvm/ebs-gp3/ami-id"
}

module "lake" {
  source        = "../modules/lake"
  bucket        = "${var.name}-lake-${data.aws_caller_identity.current.account_id}"
  kms_key_arn   = var.kms_key_arn
  force_destroy = var.force_destroy
}
