# The bucket that the other stacks keep their state in. Its own state is a file here, and can be made again by `terraform import`.

terraform {
  required_version = ">= 1.10"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}

module "bucket" {
  source = "../modules/lake"
  bucket = "${var.name}-state-${data.aws_caller_identity.current.account_id}"
  # A state that a wrong apply overwrote can be brought back for a quarter of a year.
  noncurrent_days = 90
}
