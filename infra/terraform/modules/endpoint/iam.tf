# What the endpoint may do: fetch its image and its models, write its log and its numbers, look at its alarms, and nothing else.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  arn        = "arn:${data.aws_partition.current.partition}"
  here       = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  repository = regex("^[0-9]+\\.dkr\\.ecr\\.[^/]+/([^:@]+)", var.image)[0]
  log_groups = "${local.arn}:logs:${local.here}:log-group:/aws/sagemaker/Endpoints/${var.name}"
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["sagemaker.amazonaws.com"]
    }

    # Only SageMaker of this account may act for it.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "endpoint" {
  statement {
    sid       = "Models"
    actions   = ["s3:GetObject"]
    resources = [for model in concat(values(var.variants), var.shadow == null ? [] : [var.shadow]) : "${local.arn}:s3:::${trimprefix(model.model_data_url, "s3://")}"]
  }

  statement {
    # checkov:skip=CKV_AWS_356:The login to ECR and a measurement's name cannot be narrowed to a resource
    # checkov:skip=CKV_AWS_111:The login to ECR and a measurement's name cannot be narrowed to a resource
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid       = "Image"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    resources = ["${local.arn}:ecr:${local.here}:repository/${local.repository}"]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = [local.log_groups, "${local.log_groups}:*"]
  }

  statement {
    sid       = "Numbers"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringLike"
      variable = "cloudwatch:namespace"
      values   = ["/aws/sagemaker/*", "AWS/SageMaker"]
    }
  }

  # Without it no alarm takes a deployment back.
  statement {
    sid       = "Alarms"
    actions   = ["cloudwatch:DescribeAlarms"]
    resources = ["${local.arn}:cloudwatch:${local.here}:alarm:${var.name}-*"]
  }

  dynamic "statement" {
    for_each = var.lake == null ? [] : [var.lake]

    content {
      sid       = "PredictionLog"
      actions   = ["s3:PutObject"]
      resources = [for folder in ["predictions", "feedback", "traffic"] : "${local.arn}:s3:::${statement.value}/${folder}/*"]
    }
  }

  dynamic "statement" {
    for_each = var.capture == null ? [] : [var.capture.url]

    content {
      sid       = "Capture"
      actions   = ["s3:PutObject"]
      resources = ["${local.arn}:s3:::${trimsuffix(trimprefix(statement.value, "s3://"), "/")}/*"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      sid       = "Key"
      actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "endpoint" {
  name               = "${var.name}-endpoint"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "endpoint" {
  name   = "endpoint"
  role   = aws_iam_role.endpoint.id
  policy = data.aws_iam_policy_document.endpoint.json
}
