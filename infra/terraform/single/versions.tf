terraform {
  required_version = ">= 1.10"

  # bucket, key, region and use_lockfile come from `terraform init -backend-config=...`.
  backend "s3" {}

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      project = "laurel"
      stack   = var.name
    }
  }
}
